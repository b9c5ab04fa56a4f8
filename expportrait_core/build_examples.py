"""Makes what the workflows open with from the built-in photo alone, so that anyone may use it: the driving clip
assets/demo_clip.mp4 (the photo, moved by the photo preview) and the workflows' thumbnails.

    python -m expportrait_core.build_examples
"""

from __future__ import annotations

from pathlib import Path

import torch

from .animate import animate
from .body import load_head_model
from .demo import ASSETS, PERFORMANCE, PHOTO, telling_moments
from .fit import load_fit
from .generator.demo import resize_pictures
from .media import read_picture, write_clip, write_picture
from .render import depth_picture, region_picture, render_normals

CLIP = ASSETS / "demo_clip.mp4"
WORKFLOWS = Path(__file__).parent.parent / "workflows"
FRAMES, SIZE = 48, 384  # of the performance; pixels
TILE = 256  # pixels, of the thumbnails


def build() -> None:
    """Write the clip and the thumbnails."""
    model = load_head_model()
    driver = load_fit(PERFORMANCE, model).frames(slice(FRAMES))
    made = animate(read_picture(PHOTO), driver, model, SIZE)
    write_clip(CLIP, made.preview, driver.fps)
    moment = telling_moments(driver, 4)[-1]
    photo, moved, normals = made.portrait.pictures[0], made.preview[moment], made.maps.normals[moment]
    write_picture(WORKFLOWS / "portrait_from_photo.jpg", side_by_side(photo, normals, moved))
    write_picture(WORKFLOWS / "portrait_from_clip.jpg", side_by_side(photo, moved, normals))
    maps = render_normals(made.motion.frames(moment, moment + 1), SIZE, regions=True)
    others = depth_picture(maps.depth)[0], region_picture(maps.regions)[0]
    write_picture(WORKFLOWS / "normals_only.jpg", side_by_side(maps.normals[0], *others))


def side_by_side(*pictures: torch.Tensor) -> torch.Tensor:
    """[TILE, n·TILE, 3]"""
    return torch.cat(list(resize_pictures(torch.stack(pictures), TILE, TILE)), dim=1)


if __name__ == "__main__":
    build()
