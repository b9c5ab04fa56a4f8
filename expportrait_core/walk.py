"""The walk from a picture and a performance to the photo preview, as the command line and the demo take it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .fit import crop_portrait, detect_faces, largest_face, segment_person, track
from .generator import photo_preview
from .head import personalize
from .render import render_normals
from .steps import Steps
from .transfer import transfer
from .types import HeadCrop, HeadModel, HeadMotion, PersonalizedHead, RenderedHead, SMPLXFit

__all__ = ["HEAD_POSE", "Animation", "Portrait", "animate", "drive", "make_portrait", "preview_of", "set_in_motion"]

HEAD_POSE = "relative"  # two cameras rarely see their faces from the same height


@dataclass(frozen=True)
class Portrait:
    """A person's pictures and the head made from them."""

    pictures: Tensor  # [F, S, S, 3] the square around the head
    silhouette: Tensor  # [F, S, S] 0..1, how much of each pixel is the person
    crop: HeadCrop  # the way back into the whole pictures
    head: PersonalizedHead

    @property
    def picture(self) -> Tensor:  # [S, S, 3]
        """The portrait itself: the first picture in which the face was seen."""
        return self.pictures[self.head.fit.first_valid]


@dataclass(frozen=True)
class Animation:
    """What every step made, in the order of the walk."""

    portrait: Portrait
    motion: HeadMotion
    maps: RenderedHead
    preview: Tensor  # [F', S, S, 3] the photo, moved
    preview_mask: Tensor  # [F', S, S]


def make_portrait(
    images: Tensor,  # [F, H, W, 3] in 0..1, a picture or a clip of the person
    model: HeadModel,
    size: int = 512,
    steps: Steps | None = None,
) -> Portrait:
    """Find the face, cut the square around it, and make its head.

    Raises:
        ValueError: no face found.
    """
    steps = steps or Steps()
    with steps("track") as progress:
        fit = track(images, model, progress=progress)
    with steps("crop"):
        pictures, fit, crop = crop_portrait(images, fit, size=size)
        silhouette = segment_person(pictures, [largest_face(found) for found in detect_faces(pictures)])
    with steps("personalize") as progress:
        head = personalize(model, fit, pictures, mask=silhouette, progress=progress)
    return Portrait(pictures, silhouette, crop, head)


def drive(
    head: PersonalizedHead,
    driver: SMPLXFit,
    steps: Steps | None = None,
    head_pose: str = HEAD_POSE,
) -> HeadMotion:
    """The head moved by the driver. Whatever is shown of one performance is driven by this.

    Args:
        head_pose: as in `transfer`. By default the head turns from the portrait's own pose as the driver turns from
            its first frame.

    Raises:
        ValueError: the driver's expressions are not the head's, or an unknown choice.
    """
    steps = steps or Steps()
    with steps("transfer"):
        return transfer(head, driver, head_pose=head_pose)


def set_in_motion(
    images: Tensor,  # [F, H, W, 3] in 0..1, a picture or a clip of the person
    driver: SMPLXFit,
    model: HeadModel,
    size: int = 512,
    steps: Steps | None = None,
    head_pose: str = HEAD_POSE,
) -> tuple[Portrait, HeadMotion]:
    """Everything up to the head that moves.

    Args:
        head_pose: as in `drive`.

    Raises:
        ValueError: no face found, or the driver's expressions are not this model's.
    """
    driver.require_space(model)  # before the long work, as that it shows a face at all
    _ = driver.first_valid
    portrait = make_portrait(images, model, size, steps)
    return portrait, drive(portrait.head, driver, steps, head_pose)


def preview_of(
    portrait: Portrait,
    motion: HeadMotion,
    size: int = 512,
    steps: Steps | None = None,
) -> tuple[Tensor, Tensor]:
    """The portrait's photo moved [F, S, S, 3], and where the person is in it [F, S, S]."""
    with (steps or Steps())("preview") as progress:
        # without the silhouette, which is good enough to keep the head in: the preview cuts along the photo's own edges
        return photo_preview(portrait.picture, motion, size=size, progress=progress)


def animate(
    images: Tensor,  # [F, H, W, 3] in 0..1, a picture or a clip of the person
    driver: SMPLXFit,
    model: HeadModel,
    size: int = 512,
    steps: Steps | None = None,
    head_pose: str = HEAD_POSE,
) -> Animation:
    """Everything up to the photo preview: no diffusion, no download.

    Args:
        head_pose: as in `drive`.

    Raises:
        ValueError: as `set_in_motion`.
    """
    steps = steps or Steps()
    portrait, motion = set_in_motion(images, driver, model, size, steps, head_pose)
    with steps("render") as progress:
        maps = render_normals(motion, size=size, progress=progress)
    return Animation(portrait, motion, maps, *preview_of(portrait, motion, size, steps))
