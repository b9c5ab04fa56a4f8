"""Pictures and clips: files in, tensors out, and back.

Everything is [F, H, W, 3] sRGB in 0..1, upright, a picture being a clip of one frame. Pictures go through OpenCV and
clips through PyAV, because OpenCV ignores a clip's rotation and writes no H.264 that browsers play. Files are read and
written as bytes under `pathlib` names, so every path that the system knows works. Clips of a variable frame rate are
read at an even one, see `frame_times.py`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice, repeat
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from av.video.reformatter import ColorRange, Colorspace
from torch import Tensor

from .frame_times import EvenGrid, about_grid, are_even, even_grid, even_rate
from .portable import atomic_path

log = logging.getLogger(__name__)

__all__ = [
    "Clip", "inspect_clip", "is_picture", "is_picture_or_clip", "read_clip", "read_images", "read_picture",
    "stream_clip", "write_clip", "write_picture",
]  # fmt: skip

PICTURE_SUFFIXES = {".avif", ".bmp", ".exr", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
CLIP_SUFFIXES = {".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"}
BACKGROUND = (1.0, 1.0, 1.0)  # what shows through transparent pixels; our choice
H264_CRF = "16"  # visually lossless; our choice
FRAMES_MISCOUNTED = 2  # by which headers of whole clips may be wrong
BT709 = 1  # the standards' number for its primaries and transfer curve


@dataclass(frozen=True)
class Clip:
    """What a clip's file says of itself, and what reading it gives."""

    height: int  # upright
    width: int
    fps: float  # of the frames that are read
    num_frames: int  # 0 where the file does not say
    rotation: int  # degrees counter-clockwise that reading turns the stored frames by: 0, 90, 180 or 270


def is_picture_or_clip(path: str | Path) -> bool:
    """Whether the file's ending is a picture's or a clip's."""
    return Path(path).suffix.lower() in PICTURE_SUFFIXES | CLIP_SUFFIXES


def is_picture(path: str | Path) -> bool:
    """Whether the file's ending is a picture's."""
    return Path(path).suffix.lower() in PICTURE_SUFFIXES


def read_images(path: str | Path) -> tuple[Tensor, float | None]:
    """A picture or a clip, told apart by the file's ending: [F, H, W, 3], and a clip's frames per second."""
    return (read_picture(path), None) if is_picture(path) else read_clip(path)


# ---------------------------------------------------------------------------------------------------------- pictures


def read_picture(
    path: str | Path,
    background: tuple[float, float, float] = BACKGROUND,
) -> Tensor:
    """[1, H, W, 3] of a PNG, JPEG, WebP, TIFF, ... of 8 or 16 bit, grey or colour.

    Turned upright by its EXIF entry; transparent pixels show `background`.

    Raises:
        ValueError: no such file, or not a picture.
    """
    data = np.frombuffer(_existing(path).read_bytes(), np.uint8)
    try:
        # Of OpenCV's two modes, one turns upright and drops alpha, the other keeps alpha and does not turn.
        upright = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH) if len(data) else None
        stored = None if upright is None else cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ValueError(f"{Path(path).name} cannot be read as a picture ({error.err}). Save it again.") from error
    if upright is None or stored is None:
        raise ValueError(f"{Path(path).name} is not a picture that can be read. Expected PNG, JPEG, WebP, TIFF or BMP.")
    picture = _unit_range(cv2.cvtColor(upright, cv2.COLOR_BGR2RGB))
    if stored.ndim == 3 and stored.shape[2] == 4:
        alpha = _unit_range(_turned_like(stored, upright)[..., 3:])
        picture = alpha * picture + (1 - alpha) * torch.tensor(background)
    return picture[None]


def write_picture(
    path: str | Path,
    picture: Tensor,  # [H, W, 3] or [1, H, W, 3] in 0..1
) -> Path:
    """Write a PNG, or the kind that the path's ending names. Returns the path."""
    path = Path(path)
    pixels = _to_bytes(picture.reshape(picture.shape[-3:]))
    done, data = cv2.imencode(path.suffix or ".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    if not done:
        raise ValueError(f"Pictures cannot be written as '{path.suffix}'. Choose a name that ends in .png or .jpg.")
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())
    return path


def _turned_like(stored: np.ndarray, upright: np.ndarray) -> np.ndarray:
    """`stored` in the one of the eight EXIF orientations in which its colours are `upright`'s."""
    for turns in range(4):
        for flip in (False, True):
            turned = np.rot90(np.flip(stored, 1) if flip else stored, turns)
            if np.array_equal(turned[..., :3], upright):
                return turned
    return stored


def _unit_range(pixels: np.ndarray) -> Tensor:
    """Pixels of any type as float32 in 0..1."""
    whole = np.iinfo(pixels.dtype).max if np.issubdtype(pixels.dtype, np.integer) else 1
    scaled = np.divide(pixels, whole, dtype=np.float32)
    return torch.from_numpy(np.clip(scaled, 0, 1, out=scaled))


def _to_bytes(pictures: Tensor) -> np.ndarray:
    if pictures.shape[-1] != 3:
        raise ValueError(f"Pictures have the shape {list(pictures.shape)}, expected [..., height, width, 3].")
    rounded = pictures.detach().clamp(0, 1).mul(255).round().to(torch.uint8)
    return np.ascontiguousarray(rounded.cpu().numpy())


# ------------------------------------------------------------------------------------------------------------- clips


def inspect_clip(path: str | Path) -> Clip:
    """Size, speed and length of a clip, from its header, its frames' time stamps and the first frame.

    Raises:
        ValueError: no such file, not a clip, or a clip without a frame.
    """
    with _opened(path) as (container, stream):
        first = next(container.decode(stream), None)
        if first is None:
            raise ValueError(f"{Path(path).name} has no frames. Choose another clip, or export it again.")
        rotation = round(first.rotation / 90) * 90 % 360
        size = (first.width, first.height) if rotation % 180 else (first.height, first.width)
        said, num_frames = float(stream.average_rate or stream.guessed_rate or 25), stream.frames
    stamps, time_base = _time_stamps(path)
    if grid := _even_grid(path, stamps, time_base):
        return Clip(*size, grid.fps, grid.num_frames, rotation)
    return Clip(*size, even_rate(stamps, time_base, said), num_frames, rotation)


def stream_clip(
    path: str | Path,
    chunk: int = 16,
    start: int = 0,
    stop: int | None = None,
    as_bytes: bool = False,  # a quarter of the memory, and no time spent on it
) -> Iterator[Tensor]:
    """The frames start..stop of a clip in chunks [≤ chunk, H, W, 3], so that a clip of any length fits into memory.

    Raises:
        ValueError: as `inspect_clip`, or no frame in that range.
    """
    frames = _frames(path, start, stop)
    while some := list(islice(frames, chunk)):
        yield torch.from_numpy(np.stack(some)) if as_bytes else _unit_range(np.stack(some))


def read_clip(
    path: str | Path,
    start: int = 0,
    stop: int | None = None,
) -> tuple[Tensor, float]:
    """The frames start..stop of a clip [F, H, W, 3], and its frames per second. Long clips: `stream_clip`."""
    fps, frames = inspect_clip(path).fps, list(_frames(path, start, stop))
    whole = torch.empty(len(frames), *frames[0].shape)  # filled frame by frame: never twice in float32
    for i, pixels in enumerate(frames):
        whole[i] = _unit_range(pixels)
    return whole, fps


def write_clip(
    path: str | Path,
    frames: Tensor | Iterable[Tensor],  # [F, H, W, 3] in 0..1, or chunks of that shape
    fps: float = 25.0,
) -> Path:
    """Write an H.264 MP4 that browsers and phones play while it still loads. Returns the path.

    Odd sizes get one more row or column, a copy of the last, as H.264's colour layout asks for even ones.
    """
    chunks = iter([frames] if isinstance(frames, Tensor) else frames)
    first = next((chunk for chunk in chunks if len(chunk)), None)
    if first is None:
        raise ValueError(f"There are no frames to write into {Path(path).name}.")
    height, width = (size + size % 2 for size in first.shape[1:3])
    rate, options = Fraction(fps).limit_denominator(1001), {"movflags": "+faststart"}
    with atomic_path(path) as temporary, av.open(str(temporary), "w", format="mp4", options=options) as container:
        stream = container.add_stream("libx264", rate, options={"crf": H264_CRF})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        _tag_bt709(stream.codec_context)
        for frame in chain.from_iterable(chain([first], chunks)):
            pixels = _to_bytes(frame)
            even = np.pad(pixels, ((0, height - len(pixels)), (0, width - pixels.shape[1]), (0, 0)), "edge")
            container.mux(stream.encode(_as_bt709(even)))
        container.mux(stream.encode(None))
    return Path(path)


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    path = _existing(path)
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError(f"{path.name} holds no video. Choose a clip with a picture in it.")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            yield container, stream
    except av.FFmpegError as error:
        raise ValueError(
            f"{path.name} is not a clip that can be read to its end ({error.strerror}). Expected MP4, MOV, WebM, MKV, "
            f"AVI or GIF; export it again."
        ) from error


def _frames(path: str | Path, start: int, stop: int | None) -> Iterator[np.ndarray]:
    """[H, W, 3] uint8 each."""
    read = 0
    grid = _even_grid(path, *_time_stamps(path), warn=True)
    with _opened(path) as (container, stream):

        def shown() -> Iterator[av.VideoFrame]:
            nonlocal read
            for frame in container.decode(stream):
                read += 1
                times = 0 if grid else 1
                while due and due[0][0] <= frame.pts:  # its own, and those of frames that cannot be decoded
                    times += due.popleft()[1]
                yield from repeat(frame, times)

        due = deque(grid.times_shown.items() if grid else ())
        last, pixels, given = None, None, 0
        for frame in islice(shown(), start, stop):
            if frame is not last:
                last, pixels = frame, _upright_rgb(frame)
            given += 1
            yield pixels
        # an AVI counts the empty frames that it fills its gaps with
        said = 0 if grid and container.format.name == "avi" else stream.frames
    if 0 < read < said - FRAMES_MISCOUNTED and stop is None:
        log.warning("%s says that it has %d frames, and %d could be read: it was cut short. Copy it again from its "
                    "source if the end is missing.", Path(path).name, said, read)  # fmt: skip
    if given == 0:
        raise ValueError(f"{Path(path).name} has no frames from {start} on. Choose another clip, or an earlier start.")


def _time_stamps(path: str | Path) -> tuple[list[int], Fraction]:
    """When the frames are shown, ascending, and the seconds of one stamp; no stamps where the file has none."""
    with _opened(path) as (container, stream):
        packets = container.demux(stream)  # nothing is decoded
        stamps = [packet.pts for packet in packets if packet.size and not packet.is_discard]
        time_base = stream.time_base
    known = time_base is not None and None not in stamps
    return (sorted(stamps), time_base) if known else ([], Fraction(1))


def _even_grid(path: str | Path, stamps: list[int], time_base: Fraction, warn: bool = False) -> EvenGrid | None:
    """How a clip of a variable frame rate is read; None for others."""
    if are_even(stamps):
        return None
    grid = even_grid(stamps, time_base)
    if warn:
        log.warning("%s %s", Path(path).name, about_grid(grid, len(stamps)))
    return grid


def _upright_rgb(frame: av.VideoFrame) -> np.ndarray:
    """[H, W, 3] uint8. The frame's own colour standard is used, and the rotation that a phone wrote into the file."""
    pixels = frame.to_ndarray(format="rgb24")
    return np.rot90(pixels, round(frame.rotation / 90)) if frame.rotation else pixels


def _as_bt709(pixels: np.ndarray) -> av.VideoFrame:
    """YUV of the standard that `_tag_bt709` declares: untagged clips change colour from player to player."""
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    return frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG)


def _tag_bt709(codec: av.VideoCodecContext) -> None:
    codec.color_primaries = codec.color_trc = codec.colorspace = BT709
    codec.color_range = int(ColorRange.MPEG)


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder, expected a picture or clip. Choose a file in it.")
    if not path.is_file():
        raise ValueError(f"There is no file {path}. Choose one that exists.")
    return path
