"""A look at pictures before long work begins: is there a face, is all of it seen, and is it where it has to be."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from ..types import SMPLXFit
from .detect.face_boxes import largest_face
from .detect.face_detector import detect_faces, seems_cut

WANTED_FACE = (
    "Give a picture in which a face is seen from the front or half from the side, at least a twentieth of the picture "
    "wide."
)
CUT = 0.05  # of a face's points beyond the picture from which it counts as cut off; our choice
ELSEWHERE, OTHER_SIZE = 0.5, 1.7  # of the face's own width; a head that turns moves less

log = logging.getLogger(__name__)


def require_face(
    images: Tensor,  # [F, H, W, 3] 0..1
    name: str,  # of their file
) -> None:
    """Look for a face before long work begins: as many pictures as it takes to find one.

    Raises:
        ValueError: there is none.
    """
    if not any(detect_faces(image[None].float())[0] for image in images):
        raise no_face(name, images)


def no_face(
    name: str,  # of the pictures
    images: Tensor | None = None,  # [F, H, W, 3] 0..1 or bytes, those of them that are known
) -> ValueError:
    """The sentence for pictures in which no face was found; it says so if their edge cuts one."""
    if images is not None and seems_cut(images):
        return ValueError(
            f"The picture's edge seems to cut the face in {name}, and too little of it is left. Give a picture that "
            f"shows the whole face."
        )
    return ValueError(f"No face was found in {name}. {WANTED_FACE}")


def require_framing(
    images: Tensor,  # [F, H, W, 3] 0..1
    fit: SMPLXFit,  # of the head's own picture
    name: str,  # of the pictures' file
) -> None:
    """Look whether the face is where a head's own picture has it: a head moves the picture that it was made from.

    A fit without landmarks cannot tell. Another person in the same place is not noticed.

    Raises:
        ValueError: no face, or the face lies elsewhere in the picture or is of another size.
    """
    require_face(images, name)
    if fit.landmarks is None or (seen := fit.landmarks[fit.first_valid])[:, 2].amax() <= 0:
        return
    height, width = fit.image_size
    points = seen[seen[:, 2] > 0, :2].cpu() / torch.tensor([width, height])
    expected = torch.cat([points.amin(0), points.amax(0)])
    found = next(face for image in images if (face := largest_face(detect_faces(image[None].float())[0])))
    box = found.box.cpu() / torch.tensor([images.shape[2], images.shape[1]] * 2)
    size, own_size = box[2:] - box[:2], expected[2:] - expected[:2]
    away = ((box[:2] + box[2:] - expected[:2] - expected[2:]) / 2 / own_size).abs().max()
    larger = (size / own_size).mean()
    if away > ELSEWHERE or not 1 / OTHER_SIZE < larger < OTHER_SIZE:
        raise ValueError(
            f"The face in {name} is not where the head's own picture has it ({100 * float(own_size[0]):.0f} % of the "
            f"picture wide, here {100 * float(size[0]):.0f} %). Give the cropped picture that the head was made from, "
            f"or its preview."
        )


def beyond_picture(
    landmarks: Tensor,  # [F, L, 3] x, y in pixels and confidence
    image_size: tuple[int, int],  # height, width
) -> Tensor:  # [F, L]
    """Which landmarks lie outside: a network that sees a part of a face guesses the rest."""
    pixels = landmarks[..., :2]
    outside = (pixels < 0) | (pixels > pixels.new_tensor([image_size[1], image_size[0]]))
    return outside.any(-1) & (landmarks[..., 2] > 0)


def warn_of_cut_faces(landmarks: Tensor, image_size: tuple[int, int]) -> None:
    """Say in a sentence in how many frames the picture's edge cuts the face."""
    seen = landmarks[..., 2] > 0
    share = beyond_picture(landmarks, image_size).sum(1) / seen.sum(1).clamp(min=1)  # [F]
    if (cut := int((share > CUT).sum())) == 0:
        return
    where = "" if len(landmarks) == 1 else f" in {cut} of {int(seen.any(1).sum())} frames"
    most = "" if len(landmarks) == 1 else "up to "
    log.warning(
        "The picture's edge cuts the face%s: %s%.0f %% of it lies outside and is a guess. Give pictures that show the "
        "whole face where that matters.", where, most, 100 * float(share.max()),
    )  # fmt: skip
