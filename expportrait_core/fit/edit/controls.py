"""Named controls of a face: ARKit's 52 units, and sliders that move several of them, gaze and head among them.

A control is a mixture of expression units and turns of joints. Which expression coefficients make a unit is the head
model's business (`named_units`), so the same names move the default head and a SMPL-X head.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ...types import HEAD, JAW, LEFT_EYE, RIGHT_EYE, HeadModel
from ..formats.arkit import GAZE, JAW_OPEN, JAW_SIDE, UNITS
from .expression_names import default_names
from .named_units import unit_coefficients

BEYOND = 1.0  # how far a value may go over either end: exaggeration is a use, a slip of the decimal point is not
Turn = tuple[float, float, float]  # radians about x (down), y (to the person's left), z (clockwise for the person)


@dataclass(frozen=True)
class Control:
    """What one name does at 1 (or at one degree)."""

    text: str  # for people, what the positive side does
    units: Mapping[str, float] = field(default_factory=dict)  # expression units at +1
    # at -1; None: the same units with the other sign. Of both mixtures one unit a side of the face has the share 1
    opposite: Mapping[str, float] | None = None
    joints: Mapping[int, Turn] = field(default_factory=dict)  # HEAD stands for the skull
    low: float = 0.0
    high: float = 1.0
    degrees: bool = False

    @property
    def limits(self) -> tuple[float, float]:
        """The furthest values that are taken."""
        room = BEYOND * (self.high - self.low)
        return self.low - room, self.high + room


def _both(*names: str, share: float = 1.0) -> dict[str, float]:
    return {name + side: share for name in names for side in ("Left", "Right")}


_DEGREE = math.pi / 180
ACROSS, UP = 0.42, 0.3  # radians of the eyes at gaze_x and gaze_y 1: the iris stays in sight. Our choice
_LOOK_ACROSS = {"eyeLookOutLeft": 1.0, "eyeLookInRight": 1.0}, {"eyeLookInLeft": 1.0, "eyeLookOutRight": 1.0}

GROUPED: dict[str, Control] = {
    "jaw_open": Control("opens the mouth", joints={JAW: (JAW_OPEN, 0, 0)}),
    "jaw_side": Control("pushes the chin to the right of the picture", joints={JAW: (0, JAW_SIDE, 0)}, low=-1),
    "smile": Control(
        "smiles, below zero pulls the corners of the mouth down",
        _both("mouthSmile") | _both("cheekSquint", share=0.5) | _both("eyeSquint", share=0.2),
        _both("mouthFrown"), low=-1,
    ),
    "smile_left": Control("smiles on the right of the picture", {"mouthSmileLeft": 1.0, "cheekSquintLeft": 0.5}),
    "smile_right": Control("smiles on the left of the picture", {"mouthSmileRight": 1.0, "cheekSquintRight": 0.5}),
    "pucker": Control("pushes the lips out for a kiss", {"mouthPucker": 1.0}),
    "funnel": Control("rounds the lips as for O", {"mouthFunnel": 1.0}),
    "press": Control("presses the lips together", _both("mouthPress")),
    "stretch": Control("stretches the mouth sideways", _both("mouthStretch")),
    "show_teeth": Control("raises the upper and lowers the lower lip", _both("mouthUpperUp", "mouthLowerDown")),
    "puff": Control("puffs the cheeks", {"cheekPuff": 1.0}),
    "sneer": Control("wrinkles the nose", _both("noseSneer")),
    "blink": Control("closes both eyes", _both("eyeBlink")),
    "blink_left": Control("closes the eye on the right of the picture", {"eyeBlinkLeft": 1.0}),
    "blink_right": Control("closes the eye on the left of the picture", {"eyeBlinkRight": 1.0}),
    "squint": Control("narrows the eyes", _both("eyeSquint")),
    "eyes_wide": Control("widens the eyes", _both("eyeWide")),
    "brow_raise": Control("raises the brows", {"browInnerUp": 1.0} | _both("browOuterUp")),
    "brow_inner": Control("raises the inner ends of the brows, as in worry", {"browInnerUp": 1.0}),
    "brow_lower": Control("draws the brows down and together", _both("browDown")),
    "gaze_x": Control(
        "looks to the right of the picture", *_LOOK_ACROSS, low=-1,
        joints={LEFT_EYE: (0, ACROSS, 0), RIGHT_EYE: (0, ACROSS, 0)},
    ),
    "gaze_y": Control(
        "looks up", _both("eyeLookUp"), _both("eyeLookDown"), low=-1,
        joints={LEFT_EYE: (-UP, 0, 0), RIGHT_EYE: (-UP, 0, 0)},
    ),
    "head_turn": Control(
        "turns the head to the right of the picture", joints={HEAD: (0, _DEGREE, 0)}, low=-60, high=60, degrees=True,
    ),
    "head_nod": Control("lowers the head", joints={HEAD: (_DEGREE, 0, 0)}, low=-45, high=45, degrees=True),
    "head_tilt": Control(
        "leans the head to the right of the picture", joints={HEAD: (0, 0, -_DEGREE)}, low=-45, high=45, degrees=True,
    ),
}  # fmt: skip
"""The sliders. Left and right of ARKit's names are the person's own; the texts speak of the picture."""

_JOINTS_OF_UNITS: dict[str, dict[int, Turn]] = {
    "jawOpen": {JAW: (JAW_OPEN, 0, 0)},
    "jawLeft": {JAW: (0, JAW_SIDE, 0)},
    "jawRight": {JAW: (0, -JAW_SIDE, 0)},
    "eyeLookDownLeft": {LEFT_EYE: (GAZE, 0, 0)},
    "eyeLookDownRight": {RIGHT_EYE: (GAZE, 0, 0)},
    "eyeLookUpLeft": {LEFT_EYE: (-GAZE, 0, 0)},
    "eyeLookUpRight": {RIGHT_EYE: (-GAZE, 0, 0)},
    "eyeLookOutLeft": {LEFT_EYE: (0, GAZE, 0)},
    "eyeLookInLeft": {LEFT_EYE: (0, -GAZE, 0)},
    "eyeLookInRight": {RIGHT_EYE: (0, GAZE, 0)},
    "eyeLookOutRight": {RIGHT_EYE: (0, -GAZE, 0)},
}
_ONLY_JOINTS = ("jawOpen", "jawLeft", "jawRight")  # the default head has no such columns: its jaw is a joint


def controls() -> dict[str, Control]:
    """All controls by name: the sliders, ARKit's units, and the default head's further units."""
    named = {
        name: Control(name, {} if name in _ONLY_JOINTS else {name: 1.0}, joints=_JOINTS_OF_UNITS.get(name, {}))
        for name in (*UNITS, *(name for name in default_names() if name and name not in UNITS))
    }
    return GROUPED | named


def require_controls(values: Mapping[str, float], where: str = "") -> None:
    """Raise a sentence for a name that is no control, or a value far outside of its range."""
    known = controls()
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise ValueError(
                f"{where}There is no control '{name}'.{hint} The sliders are {', '.join(GROUPED)}; ARKit's names work "
                f"too."
            )
        control = known[name]
        lowest, highest = control.limits
        if not isinstance(value, int | float) or not lowest <= value <= highest:
            unit = " degrees" if control.degrees else ""
            raise ValueError(
                f"{where}'{name}' is {value!r}, expected {control.low:g} to {control.high:g}{unit} (or up to twice as "
                f"far, to exaggerate)."
            )


@dataclass(frozen=True)
class Deltas:
    """What controls add to a face, frame by frame."""

    expression: Tensor  # [F, E]
    turns: Tensor  # [F, 4, 3] of jaw, left eye, right eye and skull, axis-angle in their own frames
    columns: Tensor  # [E] bool: which expression columns the controls act on
    joints: tuple[int, ...]  # which joints they act on


TURNED = (JAW, LEFT_EYE, RIGHT_EYE, HEAD)


def control_deltas(
    model: HeadModel,
    values: Mapping[str, Tensor],  # [F] each, by control
    num_frames: int,
) -> Deltas:
    """The expression coefficients and joint turns of a head model that these values stand for.

    Raises:
        ValueError: a name that is no control, or one that this head model cannot express.
    """
    known = controls()
    require_controls(dict.fromkeys(values, 0.0))
    like = model.expression_basis
    expression = like.new_zeros(num_frames, like.shape[2])
    turns = like.new_zeros(num_frames, len(TURNED), 3)
    units: dict[str, Tensor] = {}
    needed: set[str] = set()  # what a control consists of; the smaller shares only go along with it
    joints: set[int] = set()
    for name, value in values.items():
        control = known[name]
        value = value.to(like)
        for sign, mixture in _sides(control):
            for unit, share in mixture.items():
                part = share * (value.clamp(min=0) if sign > 0 else -value.clamp(max=0))
                units[unit] = units.get(unit, 0) + part
                if abs(share) == 1:
                    needed.add(unit)
        for joint, turn in control.joints.items():
            turns[:, TURNED.index(joint)] += value[:, None] * like.new_tensor(turn)
            joints.add(joint)
    coefficients = unit_coefficients(model, units, needed)
    for unit, value in units.items():
        expression += value[:, None] * coefficients[unit].to(like)
    columns = torch.zeros(like.shape[2], dtype=torch.bool, device=like.device)
    for unit in units:
        columns |= coefficients[unit].to(like.device) != 0
    return Deltas(expression, turns, columns, tuple(joints))


def out_of_sight(
    turn: Tensor,  # [F, 3] of an eye, axis-angle
) -> Tensor:
    """How far an eye is turned [F, 1]: 1 is where its iris is as far out as gaze alone takes it. That is an ellipse,
    ACROSS by UP, and no rectangle: in its corners the lids cover the iris."""
    return (turn[:, :2] / turn.new_tensor([UP, ACROSS])).norm(dim=-1, keepdim=True)


def gaze_together(values: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Sideways and up together go no further out of that ellipse than either does alone."""
    if not {"gaze_x", "gaze_y"} <= values.keys():
        return values
    x, y = values["gaze_x"], values["gaze_y"]
    furthest = torch.maximum(x.abs(), y.abs()).clamp(min=1)
    share = furthest / torch.maximum(torch.hypot(x, y), furthest)
    return {**values, "gaze_x": x * share, "gaze_y": y * share}


def taken_back(
    names: tuple[str, ...],  # of the expression columns
    shown: Tensor,  # [F, E] expression of the face that controls are added to
    values: Mapping[str, Tensor],  # [F] each, by control
) -> Tensor:
    """What two-sided controls change beside their `control_deltas` when they are added to a face [F, E].

    A smile of 0.6 with 0.2 of the other side is one of 0.4 and no frown: as far as the other side shows more than its
    own, a value takes back of it instead of adding to its own, each side of the face for itself. What both show alike
    stays, so that the opposite value leads back to the same face. The smaller units that go along follow by their
    shares, down to zero. Nothing is taken back where units have no column of their own.
    """
    change, known = torch.zeros_like(shown), controls()
    for name, value in values.items():
        control = known[name]
        if control.opposite is None or not {*control.units, *control.opposite} <= {*names}:
            continue
        value = value.to(shown)
        above, below = control.units, control.opposite
        for own, other, amount in ((above, below, value.clamp(min=0)), (below, above, -value.clamp(max=0))):
            for side in ("Left", "Right"):
                adds, takes = _of_side(own, side), _of_side(other, side)
                added, opposed = (shown[:, names.index(max(units, key=units.get))] for units in (adds, takes))
                taken = torch.minimum(amount, (opposed - added.clamp(min=0)).clamp(min=0))
                for unit, share in adds.items():
                    change[:, names.index(unit)] -= share * taken
                for unit, share in takes.items():
                    column = names.index(unit)
                    change[:, column] -= torch.minimum(share * taken, shown[:, column].clamp(min=0))
    return change


def _of_side(units: Mapping[str, float], side: str) -> dict[str, float]:
    return {unit: share for unit, share in units.items() if unit.endswith(side)}


def _sides(control: Control) -> Iterable[tuple[int, Mapping[str, float]]]:
    """The mixtures of a control for values above and below zero."""
    if control.opposite is not None:
        return (1, control.units), (-1, control.opposite)
    return (1, control.units), (-1, {unit: -share for unit, share in control.units.items()})
