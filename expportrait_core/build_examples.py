"""Makes what the workflows open with from the built-in photo alone, so that anyone may use it: the driving clip
assets/demo_clip.mp4 (the photo, moved by the photo preview), the workflows' thumbnails, and the sheet of presets.

    python -m expportrait_core.build_examples
"""

from __future__ import annotations

from pathlib import Path

import torch

from .assets import CLIP, PERFORMANCE, PHOTO
from .body import load_head_model
from .contact_sheet import contact_sheet
from .demo import telling_moments
from .fit import edit_fit, keyframe_fit, load_fit, load_preset, neutral_fit, parse_keyframes, preset_names
from .generator import photo_preview
from .generator.demo_model import resize_pictures
from .media import read_picture, write_clip, write_picture
from .render import depth_picture, region_picture, render_normals
from .shaded import shaded_heads
from .transfer import Gains, transfer
from .types import HeadModel, PersonalizedHead
from .walk import animate

WORKFLOWS = Path(__file__).parent.parent / "workflows"
FRAMES, SIZE = 48, 384  # of the performance; pixels
TILE = 256  # pixels, of the thumbnails
SHEET = Path(__file__).parent.parent / "docs" / "presets.jpg"
COLUMNS = 6  # of the sheet


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
    write_picture(WORKFLOWS / "portrait_from_keyframes.jpg", acting(made.portrait.head, photo, model))
    write_picture(SHEET, preset_sheet(model))
    maps = render_normals(made.motion.frames(moment, moment + 1), SIZE, regions=True)
    others = depth_picture(maps.depth)[0], region_picture(maps.regions)[0]
    write_picture(WORKFLOWS / "normals_only.jpg", side_by_side(maps.normals[0], *others))


def acting(head: PersonalizedHead, photo: torch.Tensor, model: HeadModel) -> torch.Tensor:
    """The photo, and what a text makes of it [TILE, 3·TILE, 3]."""
    keys = parse_keyframes("0: neutral\n1: @thinking\n2: @surprise, gaze_y 0.3")
    motion = transfer(head, keyframe_fit(model, keys, fps=1.0), head_pose="relative", expression="relative",
                      gains=Gains(wrinkles=0))  # fmt: skip
    preview, _ = photo_preview(photo, motion, size=SIZE)
    return side_by_side(photo, preview[1], preview[2])


def preset_sheet(model: HeadModel) -> torch.Tensor:
    """Every preset that ships, on the model's average head."""
    rest, names = neutral_fit(model), preset_names()
    faces = [shaded_heads(edit_fit(rest, model, load_preset(name).values), model, 512)[0] for name in names]
    close = [face[96:416, 96:416] for face in faces]
    blank = torch.full_like(close[0], 0.09)
    rows = {}
    for start in range(0, len(names), COLUMNS):
        row = close[start : start + COLUMNS]
        rows[", ".join(names[start : start + COLUMNS])] = torch.stack(row + [blank] * (COLUMNS - len(row)))
    moments = [""] * COLUMNS
    return contact_sheet("Presets", "Expressions that ship with Edit Expression and Keyframes, on the built-in head",
                         {"at rest": shaded_heads(rest, model, 512)[0, 96:416, 96:416]}, moments, rows)  # fmt: skip


def side_by_side(*pictures: torch.Tensor) -> torch.Tensor:
    """[TILE, n·TILE, 3]"""
    return torch.cat(list(resize_pictures(torch.stack(pictures), TILE, TILE)), dim=1)


if __name__ == "__main__":
    build()
