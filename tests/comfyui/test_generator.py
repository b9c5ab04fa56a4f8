"""The demo generator on core's sockets: the same video by every road, and sentences where things do not fit."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from . import graphs

HERE = Path(__file__).parent




def test_every_road_gives_the_headless_video(install, tmp_path: Path) -> None:
    """Stock KSampler and VAE Decode through Apply ExpPortrait, and the DiT Sampler, for the same noise and sigmas,
    also when core's nodes have shifted them."""
    command = [str(install.python), str(HERE / "demo_parity.py"), str(install.root), str(tmp_path)]
    done = subprocess.run(command, cwd=install.root, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert max(found["differences"].values()) < 1e-4, found
    assert found["effects"]["guidance"] > 0.01  # the negative branch does not see the normals
    assert found["effects"]["additional models"] == 2  # both adapters are core's to load and free
    assert found["hooks"] == 0


def stock() -> dict:
    """One frame by stock nodes, the photo's own colours standing in for normals."""
    n = graphs.node
    return {
        "photo": n("LoadImage", image=graphs.PHOTO),
        "small": n("ImageScale", image=["photo", 0], upscale_method="area", width=64, height=64, crop="disabled"),
        "demo": n("ExpPortraitLoadDemoGenerator"),
        "latent": n("VAEEncode", pixels=["small", 0], vae=["demo", 1]),
        "positive": n("ReferenceLatent", conditioning=["demo", 2], latent=["latent", 0]),
        "negative": n("ReferenceLatent", conditioning=["demo", 3], latent=["latent", 0]),
        "model": n(
            "ExpPortraitApply", model=["demo", 0], model_patch=["demo", 4], normals=["small", 0],
            reference_normals=["small", 0], strength=1.0, start=0.0, end=1.0, pose_on_negative=False,
        ),
        "sample": n(
            "KSampler", model=["model", 0], positive=["positive", 0], negative=["negative", 0],
            latent_image=["latent", 0], seed=0, steps=1, cfg=1.0, sampler_name="euler", scheduler="simple", denoise=1.0,
        ),
        "decode": n("VAEDecode", samples=["sample", 0], vae=["demo", 1]),
        "see": n("PreviewImage", images=["decode", 0]),
    }  # fmt: skip


def error_of(answer: dict) -> str:
    return next(v for kind, v in answer["status"]["messages"] if kind == "execution_error")["exception_message"]


def test_stock_nodes_run_it(comfyui) -> None:
    answer = comfyui.run(stock())
    assert answer["status"]["status_str"] == "success", answer["status"]
    assert len(answer["outputs"]["see"]["images"]) == 1


def test_a_video_without_a_picture_is_told_where_it_comes_from(comfyui) -> None:
    graph = stock()
    graph["sample"]["inputs"]["positive"] = ["demo", 2]
    assert "needs the picture" in error_of(comfyui.run(graph))


def test_a_picture_of_full_size_is_refused_at_once(comfyui) -> None:
    graph = stock()
    graph["latent"]["inputs"]["pixels"] = ["photo", 0]
    assert "The video is 512x512 pixels" in (said := error_of(comfyui.run(graph, timeout=60))) and "to 64x64" in said


def test_normals_of_another_length_are_refused(comfyui) -> None:
    graph = stock()
    graph["three"] = graphs.node("RepeatImageBatch", image=["small", 0], amount=3)
    graph["model"]["inputs"]["normals"] = ["three", 0]
    assert "1 latent frames, the normals 3" in error_of(comfyui.run(graph))
