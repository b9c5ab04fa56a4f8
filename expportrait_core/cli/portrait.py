"""`demo`, `personalize`, `animate`, `render` and `generate`: the way from picture and driver to the video."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..steps import Steps
from .arguments import add_command, add_driver, add_head, add_output
from .common import driver_fit, head_model, say

if TYPE_CHECKING:
    from torch import Tensor

    from ..types import HeadMotion


def add_demo(commands) -> None:
    demo = add_command(commands, "demo", _demo, "the whole walk on the built-in photo and performance")
    demo.add_argument("-o", "--output", type=Path, default=Path("output/demo"), help="folder (default: %(default)s)")
    demo.set_defaults(writes=("normals.mp4", "preview.mp4", "portrait.mp4", "head.safetensors", "contact_sheet.png"))


def add_commands(commands) -> None:
    text = "make the 3D head of a portrait"
    personalize = add_command(commands, "personalize", _personalize, text, model=True, size=True)
    personalize.add_argument("images", type=Path, help="picture, or clip of the person")
    add_output(personalize, "head file to write; the cropped picture goes beside it", ".safetensors")
    personalize.set_defaults(beside=(".png",))

    text = "picture and driver to normals and preview"
    animate = add_command(commands, "animate", _animate, text, model=True, size=True)
    animate.add_argument("images", type=Path, help="the portrait: a picture, or clip of the person")
    add_driver(animate)
    add_output(animate, "folder to write into")
    animate.set_defaults(writes=("picture.png", "head.safetensors", "normals.mp4", "preview.mp4"))

    render = add_command(commands, "render", _render, "head and driver to a clip of normals", size=True)
    add_head(render)
    add_driver(render)
    add_output(render, "clip to write", ".mp4")

    generate = add_command(commands, "generate", _generate, "picture, head and driver to a video", size=True)
    generate.add_argument("picture", type=Path, help="the picture beside the head file, or its preview clip")
    add_head(generate)
    add_driver(generate)
    generate.add_argument("--seed", type=int, default=0, help="of the noise (default: %(default)s)")
    add_output(generate, "clip to write", ".mp4")


def _demo(options: argparse.Namespace, steps: Steps) -> None:
    from ..demo import run_demo

    report = run_demo(options.output, steps)
    say(f"{report['frames']} frames in {report['seconds']['total']:.0f} s. Look at {options.output}/contact_sheet.png")


def _personalize(options: argparse.Namespace, steps: Steps) -> None:
    from ..media import read_images, write_picture
    from ..walk import make_portrait

    images, _ = read_images(options.images)
    portrait = make_portrait(images, head_model(options), options.size, steps)
    say(portrait.head.save(options.output))
    say(write_picture(options.output.with_suffix(".png"), portrait.picture))


def _animate(options: argparse.Namespace, steps: Steps) -> None:
    from ..fit import require_face
    from ..media import read_images, write_clip, write_picture
    from ..walk import preview_of, set_in_motion

    model, folder = head_model(options), options.output
    images, _ = read_images(options.images)
    require_face(images, options.images.name)  # before a driving clip is tracked
    driver = driver_fit(options, model, steps)
    portrait, motion = set_in_motion(images, driver, model, options.size, steps, options.head_pose)
    say(write_picture(folder / "picture.png", portrait.picture))
    say(portrait.head.save(folder / "head.safetensors"))
    say(_write_normals(folder / "normals.mp4", motion, options.size, steps))
    say(write_clip(folder / "preview.mp4", preview_of(portrait, motion, options.size, steps)[0], motion.fps))


def _render(options: argparse.Namespace, steps: Steps) -> None:
    say(_write_normals(options.output, _motion(options, steps), options.size, steps))


def _generate(options: argparse.Namespace, steps: Steps) -> None:
    from ..generator import generate
    from ..media import read_images, write_clip
    from ..render import render_normals

    pictures, _ = read_images(options.picture)
    motion = _motion(options, steps, pictures)
    with steps("render") as progress:
        maps = render_normals(motion, motion.camera.scaled_to(options.size).image_size, progress=progress)
    with steps("generate") as progress:
        video = generate(pictures[0] if len(pictures) == 1 else pictures, maps, seed=options.seed, progress=progress)
    say(write_clip(options.output, video, maps.fps))


def _write_normals(path: Path, motion: HeadMotion, size: int, steps: Steps) -> Path:
    """Drawn and written part by part, so that a clip of any length fits."""
    from ..media import write_clip
    from ..render import stream_normals

    with steps("render") as progress:
        parts = stream_normals(motion, motion.camera.scaled_to(size).image_size, progress=progress)
        return write_clip(path, (part.normals for part in parts), motion.fps)


def _motion(options: argparse.Namespace, steps: Steps, pictures: Tensor | None = None) -> HeadMotion:
    """A saved head that a driver moves, after a look whether `pictures` [F, H, W, 3] go with it."""
    from ..body import load_head_model
    from ..fit import require_framing
    from ..generator import require_pictures
    from ..head import load_head
    from ..walk import drive

    own = None if options.head_model == "default" else load_head_model(options.head_model, level=0)
    head = load_head(options.head, own)  # brings its own level
    driver = driver_fit(options, head.model, steps)
    if pictures is not None:
        require_framing(pictures[:1], head.fit, options.picture.name)
        require_pictures(len(pictures), driver.num_frames)
    return drive(head, driver, steps, options.head_pose)
