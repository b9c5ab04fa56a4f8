"""A fit over time as a picture: the head's turns, eyes, mouth and brows as curves with their names beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from .body import axis_angle_to_matrix
from .fit import quaternions
from .fit.edit.controls import ACROSS, JAW_OPEN, UP
from .fit.edit.expression_names import names_of
from .fit.edit.gaps import has_clips_numbering, insert_missing_frames
from .fit.head_pose import skull_rotation
from .printable import printable
from .types import JAW, LEFT_EYE, RIGHT_EYE, HeadModel, SMPLXFit

__all__ = ["fit_curves"]

PAPER, PANEL, GRID, ZERO = (22, 24, 29), (29, 32, 38), (44, 48, 56), (74, 80, 90)  # RGB bytes, as the contact sheet's
INK, FAINT, UNSEEN = (236, 236, 232), (150, 154, 162), (74, 40, 44)
COLOURS = ((108, 182, 255), (255, 180, 84), (126, 231, 135), (247, 120, 186), (210, 168, 255), (227, 227, 106))
WIDTH, PANEL_HEIGHT, HEADER, FOOTER, GAP = 1400, 200, 84, 46, 18  # pixels
LEFT, RIGHT = 84, 210  # pixels beside the panels, for numbers and names
LINE_HEIGHT = 21  # pixels between two names
SHARPNESS = 2  # drawn so many times larger, and made smaller
MOST_CURVES = 6  # of one panel
SHARE = "1 = fully on"


@dataclass(frozen=True)
class Panel:
    """Curves that share an axis."""

    title: str
    unit: str
    curves: Mapping[str, Tensor]  # [F] by name
    least: float  # the axis reaches at least from -least (or 0) to least


@torch.no_grad()
def fit_curves(fit: SMPLXFit, model: HeadModel) -> Tensor:
    """[H, 1400, 3] in 0..1. Frames in which no face was seen are shaded.

    Raises:
        ValueError: the fit's expressions are not the model's.
    """
    fit.require_space(model)
    frames, missing = fit.num_frames, 0
    if has_clips_numbering(fit):
        fit = insert_missing_frames(fit)
        missing = fit.num_frames - frames
    panels = [panel for panel in _panels(fit.to("cpu"), model.to("cpu")) if panel.curves]
    height = HEADER + len(panels) * (PANEL_HEIGHT + GAP) - GAP + FOOTER
    canvas = _Canvas(height)
    height_of, width_of = fit.image_size
    canvas.write("Fit over time", LEFT, 38, 0.95, INK)
    unseen = int((~fit.valid).sum()) - missing
    words = [f"{frames} frames" + f" and {missing} missing" * (missing > 0),
             f"{fit.num_frames / fit.fps:.2f} s at {fit.fps:g} per second",
             f"pictures of {width_of} x {height_of}",
             f"expressions '{printable(fit.expression_space, 40)}'"]  # fmt: skip
    words += [f"no face in {unseen} frames (shaded)"] if unseen else []
    canvas.write(",  ".join(words), LEFT, 64, 0.52, FAINT)
    for number, panel in enumerate(panels):
        _draw_panel(canvas, panel, fit, HEADER + number * (PANEL_HEIGHT + GAP), last=number == len(panels) - 1)
    return torch.from_numpy(canvas.picture()).float() / 255


# ---------------------------------------------------------------------------------------------------- what is drawn


def _panels(fit: SMPLXFit, model: HeadModel) -> list[Panel]:
    head = Panel("Head", "degrees", _head_turns(fit, model), 10)
    gaze = _gaze(fit)
    jaw = {"jaw open": fit.poses[:, JAW, 0] / JAW_OPEN}
    names = names_of(fit.expression_space, fit.expression.shape[1])
    if not names:
        columns = {f"expression {c + 1}": fit.expression[:, c] for c in range(fit.expression.shape[1])}
        strongest = Panel("Expression", "coefficients", _most_moving(columns), 0.5)
        return [head, Panel("Jaw and gaze", SHARE, jaw | gaze, 0.5), strongest]
    named = {name: fit.expression[:, c] for c, name in enumerate(names) if name}
    lids = _paired({name: named[name] for name in ("eyeBlinkLeft", "eyeBlinkRight") if name in named})
    brows = {name: curve for name, curve in named.items() if "brow" in name}
    mouth = {name: curve for name, curve in named.items() if name.startswith(("mouth", "cheek", "nose", "mh:mouth"))}
    return [
        head,
        Panel("Eyes", SHARE, lids | gaze, 1),
        Panel("Mouth", SHARE, jaw | _most_moving(_paired(mouth), MOST_CURVES - 1), 1),
        Panel("Brows", SHARE, _most_moving(_paired(brows), 4), 1),
    ]


def _head_turns(fit: SMPLXFit, model: HeadModel) -> dict[str, Tensor]:
    """Degrees away from facing the camera, with the signs of the controls."""
    facing = torch.diag(torch.tensor([1.0, -1, -1]))  # OpenCV's axes to the head's
    turned = quaternions.from_matrix(facing @ skull_rotation(model, fit))
    nod, turn, tilt = torch.rad2deg(quaternions.to_axis_angle(turned)).unbind(1)
    return {"turn": turn, "nod": nod, "tilt": -tilt}


def _gaze(fit: SMPLXFit) -> dict[str, Tensor]:
    forward = axis_angle_to_matrix(fit.poses[:, [LEFT_EYE, RIGHT_EYE]])[..., 2].mean(1)  # [F, 3]
    across = torch.atan2(forward[:, 0], forward[:, 2]) / ACROSS
    return {"gaze x": across, "gaze y": torch.asin(forward[:, 1].clamp(-1, 1)) / UP}


def _paired(curves: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Left and right as one curve where they are the same."""
    result = dict(curves)
    for name in curves:
        other = name.removesuffix("Left") + "Right"
        if name.endswith("Left") and other in result and torch.allclose(curves[name], curves[other], atol=0.02):
            result[name.removesuffix("Left")] = (result.pop(name) + result.pop(other)) / 2
    return result


def _most_moving(curves: Mapping[str, Tensor], count: int = MOST_CURVES) -> dict[str, Tensor]:
    """Those that go furthest; what hardly moves is left out."""
    reach = {name: float(curve.abs().max()) for name, curve in curves.items()}
    kept = sorted((name for name in reach if reach[name] > 0.02), key=lambda name: -reach[name])[:count]
    return {name: curves[name] for name in kept}


# ------------------------------------------------------------------------------------------------------ how it is drawn


class _Canvas:
    """Drawn large and made smaller, which is what makes thin lines and small letters clean."""

    def __init__(self, height: int) -> None:
        self.pixels = np.full((height * SHARPNESS, WIDTH * SHARPNESS, 3), PAPER, np.uint8)

    def picture(self) -> np.ndarray:
        height, width = (side // SHARPNESS for side in self.pixels.shape[:2])
        return cv2.resize(self.pixels, (width, height), interpolation=cv2.INTER_AREA)

    def box(self, left: float, top: float, right: float, bottom: float, colour: tuple[int, int, int]) -> None:
        corners = [(round(x * SHARPNESS), round(y * SHARPNESS)) for x, y in ((left, top), (right, bottom))]
        cv2.rectangle(self.pixels, *corners, colour, cv2.FILLED)

    def line(self, points: np.ndarray, colour: tuple[int, int, int], width: float = 1.0) -> None:
        fixed = np.round(points * SHARPNESS * 16).astype(np.int32)  # 4 bits behind the point
        thickness = max(1, round(width * SHARPNESS))
        cv2.polylines(self.pixels, [fixed.reshape(-1, 1, 2)], False, colour, thickness, cv2.LINE_AA, 4)

    def write(
        self, text: str, left: float, baseline: float, scale: float, colour: tuple[int, int, int], right: bool = False
    ) -> float:
        """Write a text that begins, or ends, at this x. Returns where it ends."""
        font = cv2.FONT_HERSHEY_SIMPLEX
        scale, thickness = scale * SHARPNESS, SHARPNESS
        width = cv2.getTextSize(text, font, scale, thickness)[0][0] / SHARPNESS
        left -= width if right else 0
        place = round(left * SHARPNESS), round(baseline * SHARPNESS)
        cv2.putText(self.pixels, text, place, font, scale, colour, thickness, cv2.LINE_AA)
        return left + width


def _draw_panel(canvas: _Canvas, panel: Panel, fit: SMPLXFit, top: int, last: bool) -> None:
    right, bottom = WIDTH - RIGHT, top + PANEL_HEIGHT
    values = torch.stack(list(panel.curves.values())).double().numpy()  # [C, F]
    low, high, step = _axis(float(values.min()), float(values.max()), panel.least)
    frames = fit.num_frames

    def x_of(frame: np.ndarray | float) -> np.ndarray | float:
        return LEFT + (frame + 0.5) / frames * (right - LEFT)

    def y_of(value: np.ndarray | float) -> np.ndarray | float:
        return bottom - 12 - (value - low) / (high - low) * (PANEL_HEIGHT - 46)

    canvas.box(LEFT, top, right, bottom, PANEL)
    for start, stop in _runs((~fit.valid).cpu().numpy()):
        canvas.box(x_of(start - 0.5), top, x_of(stop - 0.5), bottom, UNSEEN)
    for value in np.arange(math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6) + 1) * step:
        y = y_of(value)
        canvas.line(np.array([[LEFT, y], [right, y]]), ZERO if abs(value) < 1e-9 else GRID)
        canvas.write(f"{value:g}", LEFT - 10, y + 5, 0.42, FAINT, right=True)
    for second, label in _seconds(frames / fit.fps):
        x = x_of(second * fit.fps)
        canvas.line(np.array([[x, top], [x, bottom]]), GRID)
        if last:
            canvas.write(label, x - 4, bottom + 20, 0.42, FAINT)
    if last:
        canvas.write("seconds", right + 10, bottom + 20, 0.42, FAINT)
    end = canvas.write(panel.title, LEFT + 12, top + 22, 0.6, INK)
    canvas.write(panel.unit, end + 16, top + 22, 0.42, FAINT)
    x = x_of(np.arange(frames))
    if frames == 1:  # a picture: a level line is seen, a point is not
        x, values = np.array([LEFT, right]), values.repeat(2, axis=1)
    for colour, curve in zip(COLOURS, values):
        canvas.line(np.stack([x, y_of(curve)], 1), colour, 1.6)
    baselines = _spread([float(y_of(curve[-1])) for curve in values], top + 14, bottom - 6)
    for colour, name, curve, y in zip(COLOURS, panel.curves, values, baselines):
        canvas.line(np.array([[right + 3, float(y_of(curve[-1]))], [right + 13, y], [right + 22, y]]), colour, 1.2)
        canvas.write(_short(name), right + 28, y + 5, 0.47, colour)


def _axis(low: float, high: float, least: float) -> tuple[float, float, float]:
    """Ends of the axis and the step of its lines: 1, 2 or 5 times a power of ten, three to six of them."""
    low, high = min(low, 0.0), max(high, 0.0)
    if low < -0.02 * least and high <= least:
        high = max(high, 0.3 * least)
    high = max(high, least) if high > 0 else high
    low = min(low, -least) if low < -0.3 * least else low
    if high - low < 1e-3 * least:
        high = least
    span = high - low
    rough = span / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    return low - 0.03 * span, high + 0.03 * span, step


def _seconds(length: float) -> list[tuple[float, str]]:
    """At most a dozen moments."""
    steps = (0.04, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
    step = next((s for s in steps if length / s <= 12), length / 10)
    return [(i * step, f"{i * step:g}") for i in range(int(length / step) + 1) if i * step < length]


def _runs(marked: np.ndarray) -> list[tuple[int, int]]:
    """First and one past the last of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(np.int8), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist()))


def _spread(wanted: list[float], low: float, high: float) -> list[float]:
    """Heights as near to the wanted ones as leaves a line's height between them, inside of the panel."""
    order = np.argsort(wanted)
    gap = min(LINE_HEIGHT, (high - low) / max(len(wanted) - 1, 1))
    placed = np.array(wanted, float)[order]
    for i in range(len(placed)):
        placed[i] = max(placed[i], low + i * gap, placed[i - 1] + gap if i else low)
    for i in reversed(range(len(placed))):
        ceiling = high - (len(placed) - 1 - i) * gap
        placed[i] = min(placed[i], ceiling, placed[i + 1] - gap if i + 1 < len(placed) else high)
    result = np.empty_like(placed)
    result[order] = placed
    return result.tolist()


def _short(name: str) -> str:
    return name if len(name) <= 20 else name[:19] + "."
