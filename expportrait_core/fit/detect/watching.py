"""A clip of any length seen piece by piece: several threads look while the next piece is read, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from ...types import Progress, no_progress
from .faces import faces_in
from .likeness import face_colours
from .sources import LandmarkSource, SeenFace
from .threads import in_threads, num_threads

BRIGHTEST = 2.0  # floats above 1 by filters that sharpen are pictures still; those up to 255 are not
PIECE = 24  # frames; our choice: small enough that three of them in 4K fit into a gigabyte as bytes


def watch(
    pieces: Iterable[Tensor],  # of the clip, [n, H, W, 3] 0..1 or bytes, in order
    source: LandmarkSource,
    mask: Tensor | None = None,  # [F, H, W] or [1, H, W] 0..1: only faces whose middle it covers count
    looks: bool = False,  # whether to keep every face's looks, and not only those of frames with several
    total: int = 0,  # frames, where that is known
    progress: Progress = no_progress,
) -> tuple[list[list[SeenFace]], tuple[int, int], int]:
    """The faces of every frame, the pictures' height and width, and in how many frames the mask hides every face.

    Raises:
        ValueError: no frames, pictures of several sizes or with values above 1, or a mask of another size.
    """
    seen: list[list[SeenFace]] = []
    size: tuple[int, int] | None = None
    hidden = 0

    def look(piece: Tensor) -> list[list[SeenFace]]:
        with torch.no_grad():
            return [_with_looks(faces, piece[i], looks) for i, faces in enumerate(source(piece))]

    some = (as_pictures(piece) for piece in pieces if len(piece))
    for piece, found in in_threads(look, some, num_threads() if source.threads else 1):
        here = tuple(piece.shape[1:3])
        if size is not None and here != size:
            sizes = f"{size[1]}x{size[0]} and {here[1]}x{here[0]}"
            raise ValueError(f"The frames are of {sizes} pixels, expected one size.")
        size = here
        if mask is not None:
            if mask.ndim != 3 or tuple(mask.shape[1:]) != size or len(mask) not in (1, total or len(mask)):
                count = "1" if total == 1 else f"{total or 'frames'} or 1"
                raise ValueError(
                    f"The mask has the shape {list(mask.shape)}, expected [{count}, {size[0]}, {size[1]}] like the "
                    f"pictures."
                )
            covered = [faces_in(f, mask[min(len(seen) + i, len(mask) - 1)]) for i, f in enumerate(found)]
            hidden += sum(bool(all_faces) and not kept for all_faces, kept in zip(found, covered, strict=True))
            found = covered
        seen += found
        last = piece[-1]
        progress(len(seen), total or len(seen), last if last.is_floating_point() else last / 255)
    if size is None:
        raise ValueError("There are no frames. Choose another clip.")
    return seen, size, hidden


def as_pictures(images: Tensor) -> Tensor:
    """Pictures as the networks take them: half floats become floats; values far above 1 get a sentence."""
    if not images.is_floating_point():
        return images
    if images.numel() and (brightest := float(images.amax())) > BRIGHTEST:
        raise ValueError(
            f"The pictures have values up to {brightest:g}, expected 0 to 1. Divide them by 255, or give bytes."
        )
    return images.float() if images.dtype in (torch.float16, torch.bfloat16) else images


def in_pieces(images: Tensor, count: int = PIECE) -> Iterator[Tensor]:
    """Views of pictures [F, H, W, 3], some frames each."""
    if images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"The pictures have shape {list(images.shape)}, expected [frames, height, width, 3].")
    if 0 in images.shape:
        raise ValueError("There are no pictures to track a face in. Give a picture or a clip.")
    yield from images.split(count)


def _with_looks(faces: list[SeenFace], picture: Tensor, looks: bool) -> list[SeenFace]:
    if len(faces) < 2 and not (looks and faces):
        return faces
    return [replace(face, colours=face_colours(picture, face.landmarks)) for face in faces]
