"""The demo transformer's function in half the passes over memory, for training on a CPU.

The same weights and the same result as diffusers' forward, which the tests hold it to, under two conditions that hold
in training: all entries of the batch share one time, so every modulation folds into a layer norm or a weight; and the
text is one constant token, so every cross-attention is one constant vector. 3D convolutions are written as 2D ones:
on some CPUs, torch 2.13 returns garbage as the weight gradient of a bfloat16 Conv3d.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, gelu, layer_norm, linear, pad, rms_norm, scaled_dot_product_attention

from .adapter import AdapterFeatures, ExpPortraitAdapter

HEAD_WIDTH = 128


def fast_forward(
    transformer: nn.Module,  # a WanTransformer3DModel
    x: Tensor,  # [B, C, T, H, W] noisy latents
    t: float,  # time of all entries, 1 is noise
    condition: Tensor,  # [B, 4 + C, T, H, W]
    features: AdapterFeatures,
    text: Tensor,  # [1, 1, 4096]
    dtype: torch.dtype = torch.bfloat16,
) -> Tensor:  # [B, C, T, H, W]
    """What `DemoGenerator.predict` returns for one time."""
    if features.reference is not None:
        condition = condition + features.reference.to(condition)
    hidden = torch.cat([x, condition], 1).to(dtype)
    tokens = _conv3d(transformer.patch_embedding, hidden, dtype) + features.pose.to(dtype)
    tokens = tokens.flatten(2).transpose(1, 2).contiguous()  # [B, L, d]
    time = torch.full((1,), t * 1000, device=x.device)
    embedded, modulation, text, _ = transformer.condition_embedder(time, text)
    rotary = _rotation(transformer, hidden, dtype)
    for block in transformer.blocks:
        tokens = _block(block, tokens, modulation.view(6, -1), text, rotary, dtype)
    shift, scale = transformer.scale_shift_table[0] + embedded
    tokens = _norm(tokens, scale, shift, transformer.norm_out.eps)
    out = linear(tokens, transformer.proj_out.weight.to(dtype), transformer.proj_out.bias.to(dtype))
    batch, _, frames, height, width = x.shape
    out = out.view(batch, frames, height // 2, width // 2, 2, 2, -1)
    return out.permute(0, 6, 1, 2, 4, 3, 5).reshape(batch, -1, frames, height, width)


def fast_encode(
    adapter: ExpPortraitAdapter,  # one without compression in time
    normals: Tensor,  # [B, 3, F, H, W] in -1..1
    reference_normals: Tensor,  # [B, 3, H, W] in -1..1
    dtype: torch.dtype = torch.bfloat16,
) -> AdapterFeatures:
    """What `adapter.encode` returns."""
    pose = normals.to(dtype)
    for layer in adapter.dwpose_embedding:
        pose = _conv3d(layer, pose, dtype) if isinstance(layer, nn.Conv3d) else layer(pose)
    reference = reference_normals.to(dtype)
    for layer in adapter.randomref_embedding_pose:
        if isinstance(layer, nn.Conv2d):
            weight, bias = layer.weight.to(dtype), layer.bias.to(dtype)
            reference = conv2d(reference, weight, bias, layer.stride, layer.padding)
        else:
            reference = layer(reference)
    return AdapterFeatures(pose, reference.unsqueeze(2))


def _conv3d(layer: nn.Conv3d, video: Tensor, dtype: torch.dtype) -> Tensor:  # [B, C, T, H, W]
    """A 3D convolution of temporal stride 1: the frames that it sees become channels of a 2D one."""
    reach, frames = layer.padding[0], video.shape[2]
    padded = pad(video, (0, 0, 0, 0, reach, reach)).transpose(1, 2)  # [B, T + 2 reach, C, H, W]
    seen = torch.cat([padded[:, i : i + frames] for i in range(layer.kernel_size[0])], dim=2)
    weight = layer.weight.transpose(1, 2).flatten(1, 2).to(dtype)  # [out, kernel · C, h, w]
    out = conv2d(seen.flatten(0, 1), weight, layer.bias.to(dtype), layer.stride[1:], layer.padding[1:])
    return out.unflatten(0, (-1, frames)).transpose(1, 2)


def _block(block: nn.Module, x: Tensor, modulation: Tensor, text: Tensor, rotary: Tensor, dtype: torch.dtype) -> Tensor:
    shift, scale, gate, ffn_shift, ffn_scale, ffn_gate = block.scale_shift_table[0] + modulation
    attention, cross = block.attn1, block.attn2
    batch, length, width = x.shape
    heads = width // HEAD_WIDTH
    order = _halves(width, x.device)
    h = _norm(x, scale, shift, block.norm1.eps)
    weight = torch.cat([attention.to_q.weight[order], attention.to_k.weight[order], attention.to_v.weight]).to(dtype)
    bias = torch.cat([attention.to_q.bias[order], attention.to_k.bias[order], attention.to_v.bias]).to(dtype)
    q, k, v = linear(h, weight, bias).split(width, dim=-1)
    q = rms_norm(q, (width,), attention.norm_q.weight[order].to(dtype), attention.norm_q.eps)
    k = rms_norm(k, (width,), attention.norm_k.weight[order].to(dtype), attention.norm_k.eps)
    q, k = (_rotate(a.view(batch, length, heads, HEAD_WIDTH), rotary) for a in (q, k))
    a = scaled_dot_product_attention(*(a.transpose(1, 2) for a in (q, k, v.view(batch, length, heads, HEAD_WIDTH))))
    a = a.transpose(1, 2).reshape(batch, length, width)
    constant = cross.to_out[0](cross.to_v(text[0, 0]))
    out = attention.to_out[0]
    x = x + linear(a, (gate[:, None] * out.weight).to(dtype), (gate * out.bias + constant).to(dtype))
    h = _norm(x, ffn_scale, ffn_shift, block.norm3.eps)
    first, second = block.ffn.net[0].proj, block.ffn.net[2]
    h = gelu(linear(h, first.weight.to(dtype), first.bias.to(dtype)), approximate="tanh")
    return x + linear(h, (ffn_gate[:, None] * second.weight).to(dtype), (ffn_gate * second.bias).to(dtype))


def _norm(x: Tensor, scale: Tensor, shift: Tensor, eps: float) -> Tensor:
    return layer_norm(x, x.shape[-1:], (1 + scale).to(x.dtype), shift.to(x.dtype), eps)


def _halves(width: int, device: torch.device) -> Tensor:
    """Order of a layer's outputs in which each head's even entries come before its odd ones.

    Queries and keys in the same new order have the same products, and rotating halves touches whole rows of memory.
    """
    return torch.arange(width, device=device).view(-1, HEAD_WIDTH // 2, 2).transpose(1, 2).reshape(-1)


def _rotation(transformer: nn.Module, hidden: Tensor, dtype: torch.dtype) -> Tensor:  # [2, L, 1, 64]
    cosine, sine = transformer.rope(hidden)  # [1, L, 1, 128], every value twice
    return torch.stack([cosine[0, :, :, ::2], sine[0, :, :, ::2]]).to(dtype)


def _rotate(x: Tensor, rotary: Tensor) -> Tensor:  # [B, L, heads, 128]
    even, odd = x.chunk(2, dim=-1)
    cosine, sine = rotary
    return torch.cat([even * cosine - odd * sine, even * sine + odd * cosine], dim=-1)
