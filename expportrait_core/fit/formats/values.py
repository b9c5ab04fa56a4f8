"""One value of a file each, checked: what is not as it must be is refused in a sentence that names file and key."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...printable import listed
from ...types import HIGHEST_FPS, LAST_NUMBER, LOWEST_FPS
from ..refusal import Refusal, looking_at

MAX_SIDE = 1 << 20  # pixels of a picture; no format of pictures is that large
SHAPE_JUMP = 0.25  # of a shape's length, by which another person's differs from it. Our choice
SMALLEST_JUMP = 0.1  # the same in standard deviations of people. Our choice
HUGE = 1e15  # of any number; no tracker writes one, and squares of it still fit


def value_of(content: Any, key: str, name: str) -> Any:
    for part in key.split("."):
        if not isinstance(content, dict) or part not in content:
            found = listed(list(content)) if isinstance(content, dict) else kind_of(content)
            raise Refusal(
                f"{name} lacks {key} and holds {found}. The file is damaged, or the folder is mixed from two trackers."
            )
        content = content[part]
    return content


def numbers(value: Any, what: str) -> np.ndarray:
    """Any numeric value as an array of doubles; `what` is "file: key". They may be NaN or infinite."""
    looking_at(what)
    try:
        array = np.asarray(value)
        if array.dtype.kind in "biuf":
            with np.errstate(over="ignore"):  # becomes infinite
                return array.astype(np.float64)
    except Exception as error:  # lists of unequal lengths, and what else can be put into a pickle
        raise Refusal(f"{what} holds something else than numbers. The file is damaged.") from error
    raise Refusal(f"{what} holds something else than numbers. The file is damaged.")


def exactly(value: Any, what: str, *shape: int | None) -> np.ndarray:
    """The value as an array of finite doubles, after checking its shape; None stands for any size."""
    array = numbers(value, what)
    if array.ndim != len(shape) or any(s is not None and s != n for s, n in zip(shape, array.shape, strict=False)):
        expected = ", ".join("any" if s is None else str(s) for s in shape)
        raise Refusal(
            f"{what} has shape {list(array.shape)}, expected [{expected}]. The file is damaged or mixed from two clips."
        )
    require_finite(array, what)
    return array


def require_finite(array: np.ndarray, what: str) -> None:
    """Refuse NaN, infinity and numbers that nobody writes."""
    if not np.isfinite(array).all():
        raise Refusal(f"{what} holds NaN or infinite values. Track the clip again.")
    if array.size and not np.abs(array).max() < HUGE:
        raise Refusal(f"{what} holds {np.abs(array).max():g}, which no tracker writes. The file is damaged.")


def shape_values(value: Any, what: str) -> np.ndarray:
    """[B] of the person's shape, which is written as [B], or as one row a frame of which the first is taken."""
    array = numbers(value, what)
    if not array.size or not array.ndim:
        raise Refusal(f"{what} is {shown(value)}, expected the values of the person's shape. Track the clip again.")
    require_finite(array, what)
    rows = array.reshape(-1, array.shape[-1])
    odd = another_shape(rows)
    if odd is not None:
        raise Refusal(
            f"{what} has {len(rows)} rows, and row {odd + 1} is another person's shape than the others, expected one "
            f"person in all. The file is mixed from two clips; give each its own."
        )
    return rows[0]


def another_shape(
    shapes: np.ndarray,  # [F, B] of a tracker that writes one shape
) -> int | None:
    """The row that is of another person: shapes that are refined drift, those of two people differ at once."""
    if len(shapes) < 2 or (shapes == shapes[0]).all():
        return None
    size = np.linalg.norm(shapes, axis=1)
    jump = np.linalg.norm(np.diff(shapes, axis=0), axis=1)
    if not (jump > np.maximum(SHAPE_JUMP * np.maximum(size[1:], size[:-1]), SMALLEST_JUMP)).any():
        return None
    if len(shapes) == 2:
        return 1
    return int(np.linalg.norm(shapes - np.median(shapes, axis=0), axis=1).argmax())


def picture_size(value: Any, what: str) -> tuple[int, int]:
    """Two sides of a picture in pixels, in the order in which they are given."""
    array = numbers(value, what).ravel()
    if array.size != 2 or not (np.isfinite(array) & (array >= 1) & (array <= MAX_SIDE)).all():
        raise Refusal(
            f"{what} is {shown(value)}, expected height and width of the pictures, 1 to {MAX_SIDE:,} pixels each. The "
            f"file is damaged; track the clip again."
        )
    return int(array[0]), int(array[1])


def box(value: Any, what: str) -> np.ndarray:
    """[4] left, top, width and height in pixels."""
    array = numbers(value, what).ravel()
    if array.size < 4 or not np.isfinite(array[:4]).all():
        raise Refusal(
            f"{what} is {shown(value)}, expected the person's box: left, top, width and height in pixels. The file is "
            f"damaged; track the clip again."
        )
    return array[:4]


def frame_rate(value: Any, what: str) -> float:
    """Frames per second."""
    array = numbers(value, what)
    if array.size != 1 or not LOWEST_FPS <= array.item() <= HIGHEST_FPS:
        raise Refusal(
            f"{what} is {shown(value)}, expected frames per second, {LOWEST_FPS:g} to {HIGHEST_FPS:,.0f}. Give `fps` "
            f"if you know it."
        )
    return array.item()


def whole_number(value: Any, what: str) -> int:
    """A frame's or camera's number, which some write as text."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 20:
        value = int(value)
    array = numbers(value, what)
    if array.size != 1 or array.item() != np.round(array.item()) or not abs(array.item()) <= LAST_NUMBER:
        raise Refusal(f"{what} is {shown(value)}, expected one whole number. The file is damaged.")
    return int(array.item())


def kind_of(value: Any) -> str:
    """What a value is, in a sentence."""
    kinds = {type(None): "nothing", dict: "named values", list: "a list", str: "text", bool: "true or false"}
    kinds |= {int: "a number", float: "a number", np.ndarray: "an array"}
    return kinds.get(type(value), f"a {type(value).__name__}")


def shown(value: Any) -> str:
    """A value in a sentence, on one line and not too long."""
    value = value.tolist() if isinstance(value, np.ndarray) and value.size <= 16 else value
    if isinstance(value, np.ndarray):
        return f"an array of shape {list(value.shape)}"
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
