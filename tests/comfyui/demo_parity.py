"""The demo generator headless, through stock KSampler and through the DiT Sampler: how far apart are the videos?

A program for ComfyUI's own Python, run by test_generator.py with ComfyUI's folder and an empty one, where the pack's
example pictures go, as its arguments. Its last line is a JSON object of largest differences.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMFYUI, BASE = sys.argv[1:]
sys.argv = ["main.py", "--cpu", "--base-directory", BASE]
sys.path.insert(0, COMFYUI)

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import torch  # noqa: E402
from comfy_extras.nodes_edit_model import ReferenceLatent  # noqa: E402
from comfy_extras.nodes_model_advanced import ModelSamplingAuraFlow, ModelSamplingSD3  # noqa: E402

import nodes  # noqa: E402

FRAMES, SIZE, SEED = 6, 128, 3


def load_pack():
    spec = importlib.util.spec_from_file_location("pack", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    pack = importlib.util.module_from_spec(spec)
    sys.modules["pack"] = pack
    spec.loader.exec_module(pack)
    extension = asyncio.run(pack.comfy_entrypoint())
    return {node.GET_SCHEMA().node_id: node for node in asyncio.run(extension.get_node_list())}


def blobs(frames: int, size: int, seed: int) -> torch.Tensor:
    """Smooth pictures [F, size, size, 3]."""
    coarse = torch.rand(1, 3, max(2, frames), 7, 7, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(coarse, (max(2, frames), size, size), mode="trilinear")
    return smooth[0, :, :frames].permute(1, 2, 3, 0).contiguous()


def stock(given: dict, pictures: torch.Tensor, maps, steps: int, cfg: float) -> torch.Tensor:
    """ImageScale, VAEEncode, ReferenceLatent, Apply ExpPortrait, KSampler and VAEDecode, as a user would wire them."""
    model, vae, positive, negative, patch = given["loaded"]
    apply = given["ExpPortraitApply"]
    small = nodes.ImageScale().upscale(pictures, "area", 64, 64, "disabled")[0]
    picture = nodes.VAEEncode().encode(vae, small)[0]
    positive, negative = (ReferenceLatent.execute(c, picture)[0] for c in (positive, negative))
    patched = apply.execute(model, patch, maps.normals, maps.reference_normals, 1.0, 0.0, 1.0, False)[0]
    frames = {"samples": picture["samples"].expand(-1, -1, FRAMES, -1, -1)}
    latent = nodes.KSampler().sample(patched, SEED, steps, cfg, "euler", "simple", positive, negative, frames, 1.0)[0]
    return nodes.VAEDecode().decode(vae, latent)[0]


def boxed(given: dict, pictures: torch.Tensor, maps, steps: int, window: int = 4) -> torch.Tensor:
    model, vae, positive, negative, patch = given["loaded"]
    sampler = given["ExpPortraitDiTSampler"]
    return sampler.execute(
        model, vae, positive, negative, pictures, maps.normals, maps.reference_normals, SEED, steps, 1.0, "euler",
        "simple", 1.0, 1.0, window, 1, patch,
    )[0]  # fmt: skip


def shifted(given: dict, core, photo: torch.Tensor, maps) -> dict[str, float]:
    """Core's nodes that replace a flow model's sampling: the same path, other moments on it."""
    model, *others = given["loaded"]
    found = {}
    for name, node, shift, steps in (
        ("SD3", ModelSamplingSD3().patch, 3.0, 1), ("SD3", ModelSamplingSD3().patch, 8.0, 4),
        ("AuraFlow", ModelSamplingAuraFlow().patch_aura, 8.0, 2),
    ):  # fmt: skip
        moved = {**given, "loaded": (node(model, shift)[0], *others)}
        wanted = core.generate(photo, maps, steps=steps, seed=SEED, shift=shift)
        videos = {"stock": stock(moved, photo, maps, steps, 1.0), "box": boxed(moved, photo, maps, steps)}
        for road, video in videos.items():
            found[f"{road}, {name} shift {shift}, {steps} steps"] = float((video - wanted).abs().max())
    return found


@torch.inference_mode()
def main() -> None:
    given = load_pack()
    core = sys.modules["pack.expportrait_core"]
    convention = importlib.import_module("pack.expportrait_core.render").NORMALS_CONVENTION
    normals = blobs(FRAMES, SIZE, 1)
    maps = core.RenderedHead(normals, blobs(1, SIZE, 2), normals[..., 0], normals[..., 0], convention)
    given["loaded"] = given["ExpPortraitLoadDemoGenerator"].execute().args
    photo, preview = blobs(1, SIZE, 4), blobs(FRAMES, SIZE, 5)
    found = {}
    for name, pictures in (("photo", photo), ("preview", preview)):
        for steps in (1, 4) if name == "photo" else (1,):
            wanted = core.generate(pictures, maps, steps=steps, seed=SEED)
            for road, video in (
                ("stock", stock(given, pictures, maps, steps, 1.0)), ("box", boxed(given, pictures, maps, steps))
            ):  # fmt: skip
                found[f"{road}, {name}, {steps} steps"] = float((video - wanted).abs().max())
    found |= shifted(given, core, photo, maps)
    whole = core.generate(photo, maps, steps=2, seed=SEED, window=FRAMES)
    found["box, one window"] = float((boxed(given, photo, maps, 2, FRAMES) - whole).abs().max())
    unguided, guided = (stock(given, photo, maps, 1, cfg) for cfg in (1.0, 3.0))
    effects = {"guidance": float((unguided - guided).abs().max())}
    model, _, _, _, patch = given["loaded"]
    half = given["ExpPortraitApply"].execute(model, patch, normals, maps.reference_normals, 0.5, 0.0, 1.0, False)[0]
    both = given["ExpPortraitApply"].execute(half, patch, normals, maps.reference_normals, 0.5, 0.0, 1.0, False)[0]
    effects["additional models"] = len(both.get_additional_models())
    hooks = len(model.model.diffusion_model.patch_embedding._forward_hooks)
    print(json.dumps({"differences": found, "effects": effects, "hooks": hooks}))  # noqa: T201


if __name__ == "__main__":
    main()
