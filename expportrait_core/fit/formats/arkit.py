"""Live Link Face and other recordings of ARKit's 52 blendshapes: a table with one row a frame.

Columns: a time, `BlendShapeCount`, the units by name, and where the app gives them `HeadYaw`, `HeadPitch`, `HeadRoll`
and the same of both eyes. The units are the default head's own, so nothing is converted; jawOpen, jawLeft and jawRight
become the jaw joint, as they do on that head. A row with a count of 0 is a frame without a face.
"""

from __future__ import annotations

import functools
import logging

import numpy as np

from ...body.model import DEFAULT_HEAD
from ...types import SMPLXFit
from ..refusal import Refusal
from . import cameras
from .build import Options, build, given_camera, poses
from .frames import warn_gaps
from .rotations import from_euler
from .source import Source

NAME = "Live Link Face / ARKit CSV"
LOOKS_LIKE = "a table with columns like EyeBlinkLeft, JawOpen, MouthSmileLeft"
FEWEST_UNITS = 20  # of the 52 that make a table a recording of a face. Our choice
JAW_OPEN, JAW_SIDE = 0.4, 0.13  # radians of the jaw joint at 1: 36 and 12 mm at the incisors. Our choice
GAZE = 0.5  # radians of an eye at eyeLook… = 1, where the app gives no eye angles. Our choice
NECK_SHARE = 0.4  # of the head's rotation; the tracker's choice too
RATES = (24.0, 25.0, 30.0, 48.0, 50.0, 60.0)
SIZE = (512, 512)
UNITS = tuple(
    name + side
    for name, sided in (
        ("browDown", 1), ("browInnerUp", 0), ("browOuterUp", 1), ("cheekPuff", 0), ("cheekSquint", 1), ("eyeBlink", 1),
        ("eyeLookDown", 1), ("eyeLookIn", 1), ("eyeLookOut", 1), ("eyeLookUp", 1), ("eyeSquint", 1), ("eyeWide", 1),
        ("jawForward", 0), ("jaw", 1), ("jawOpen", 0), ("mouthClose", 0), ("mouthDimple", 1), ("mouthFrown", 1),
        ("mouthFunnel", 0), ("mouth", 1), ("mouthLowerDown", 1), ("mouthPress", 1), ("mouthPucker", 0),
        ("mouthRollLower", 0), ("mouthRollUpper", 0), ("mouthShrugLower", 0), ("mouthShrugUpper", 0),
        ("mouthSmile", 1), ("mouthStretch", 1), ("mouthUpperUp", 1), ("noseSneer", 1), ("tongueOut", 0),
    )
    for side in (("Left", "Right") if sided else ("",))
)  # fmt: skip

log = logging.getLogger(__name__)


def recognise(source: Source) -> bool:
    return source.kind == "csv" and len(_columns(source.keys).keys() & set(UNITS)) >= FEWEST_UNITS


def read(source: Source, options: Options) -> SMPLXFit:
    columns, name = _columns(source.keys), source.path.name
    missing = [unit for unit in UNITS if unit not in columns]
    if missing:
        log.warning("%s lacks the units %s; they stay at zero.", name, ", ".join(missing))
    rows = len(source.content[source.keys[0]])
    if rows == 0:
        raise Refusal(f"{name} has no frames, only its header. Record again.")
    seen = _seen(source, columns, rows)

    def values(key: str) -> np.ndarray:
        if key not in columns:
            return np.zeros(rows)
        return _numbers(source.content[columns[key]], seen, f"{name}: {columns[key]}")

    units = {unit: values(unit) for unit in UNITS}
    head = np.stack([values("headYaw"), values("headPitch"), values("headRoll")], 1)
    eyes = {side: np.stack([values(f"{side}EyeYaw"), values(f"{side}EyePitch")], 1) for side in ("left", "right")}
    if options.mirror:
        units = {_other_side(unit): value for unit, value in units.items()}
        head[:, [0, 2]] *= -1
        eyes = {"left": eyes["right"] * [-1, 1], "right": eyes["left"] * [-1, 1]}
    fps, frame_ids = _timing(source, columns, rows, options.fps)

    # ARKit's axes are the body's: y up, z out of the face, x to its left; yaw, then pitch, then roll
    turned = from_euler("YXZ", _radians(head))
    jaw = np.stack([JAW_OPEN * units["jawOpen"], JAW_SIDE * (units["jawLeft"] - units["jawRight"]), 0 * seen], 1)
    full_pose = poses(
        rows, neck=NECK_SHARE * turned, head=(1 - NECK_SHARE) * turned, jaw=jaw,
        left_eye=_gaze(eyes["left"], units, "Left"), right_eye=_gaze(eyes["right"], units, "Right"),
    )  # fmt: skip
    names, eye_height = _default_head()
    expression = np.zeros((rows, len(names)))
    for column, unit in enumerate(names):
        expression[:, column] = units.get(unit, 0)
    camera = given_camera(options, rows) or cameras.frontal(rows, np.array([0, eye_height, 0]), SIZE)
    return build(np.zeros(10), expression, "arkit", full_pose, np.zeros((rows, 3)), camera, "default-head", fps,
                 frame_ids, seen)  # fmt: skip


@functools.cache
def _default_head() -> tuple[tuple[str, ...], float]:
    """Names of the expression columns, and the height of the eyes in metres."""
    with np.load(DEFAULT_HEAD, allow_pickle=False) as file:
        eye = file["J_regressor"][23].astype(np.float64) @ file["v_template"].astype(np.float64)
        return tuple(str(name) for name in file["expression_names"]), float(eye[1])


def _columns(keys: tuple[str, ...]) -> dict[str, str]:
    """Columns of the table by ARKit's spelling: apps write EyeBlinkLeft, eyeBlinkLeft or eyeBlink_L."""
    spelled = {}
    for key in keys:
        plain = key.replace(" ", "")
        for short, side in (("_L", "Left"), ("_R", "Right")):
            plain = plain[:-2] + side if plain.endswith(short) else plain
        spelled.setdefault(plain[:1].lower() + plain[1:], key)
    return spelled


def _other_side(unit: str) -> str:
    if unit.endswith("Left"):
        return unit[:-4] + "Right"
    return unit[:-5] + "Left" if unit.endswith("Right") else unit


def _seen(source: Source, columns: dict[str, str], rows: int) -> np.ndarray:
    """[F] False where the app saw no face: its count is 0, or the row ends after it."""
    if "blendShapeCount" in columns or "blendshapeCount" in columns:
        counts = source.content[columns.get("blendShapeCount") or columns["blendshapeCount"]]
        seen = np.array([count not in ("", "0") for count in counts])
    else:
        seen = np.ones(rows, bool)
    if not seen.any():
        raise Refusal(f"{source.path.name} has {rows} frames, and a face in none of them. Record again.")
    return seen


def _numbers(cells: list[str], seen: np.ndarray, what: str) -> np.ndarray:
    """[F] numbers; frames without a face repeat the last one with."""
    numbers = np.zeros(len(cells))
    last = None
    for row, cell in enumerate(cells):
        if seen[row]:
            try:
                last = float(cell)
            except ValueError:
                found = f"'{cell}'" if cell else "nothing"
                raise Refusal(f"{what}, row {row + 2} holds {found}, expected a number. Export it again.") from None
            if not np.isfinite(last):
                raise Refusal(f"{what}, row {row + 2} holds NaN or infinity. Record or export it again.")
        numbers[row] = last or 0.0
    return numbers


def _radians(angles: np.ndarray) -> np.ndarray:
    """Radians; apps that write degrees are told by values that no head reaches in radians."""
    return np.deg2rad(angles) if np.abs(angles).max(initial=0) > np.pi else angles


def _gaze(angles: np.ndarray, units: dict[str, np.ndarray], side: str) -> np.ndarray:
    """[F, 3] of one eye joint. The named units say where the eye looks, the angles how far.

    Apps differ in the sign of their angles; eyeLookOut of the left eye is to the left in all of them.
    """
    out = units[f"eyeLookOut{side}"] - units[f"eyeLookIn{side}"]
    leftwards = out if side == "Left" else -out
    downwards = units[f"eyeLookDown{side}"] - units[f"eyeLookUp{side}"]
    yaw, pitch = _signed(_radians(angles)[:, 0], leftwards), _signed(_radians(angles)[:, 1], downwards)
    return np.stack([pitch, yaw, np.zeros(len(out))], 1)


def _signed(angle: np.ndarray, unit: np.ndarray) -> np.ndarray:
    if not angle.any():
        return GAZE * unit
    return -angle if (angle * unit).sum() < 0 else angle


def _timing(source: Source, columns: dict[str, str], rows: int, fps: float | None) -> tuple[float, np.ndarray]:
    """Frames per second, and the number of every frame, counted by its time."""
    cells = source.content[columns["timecode"]] if "timecode" in columns else []
    parts = [cell.replace(";", ":").split(":") for cell in cells]
    if not parts or not all(len(part) == 4 and _is_number("".join(part)) for part in parts):
        return fps or RATES[-1], np.arange(rows)
    table = np.array(parts, dtype=np.float64)  # hours, minutes, seconds, frames with a fraction
    rate = next((rate for rate in RATES if rate > np.floor(table[:, 3]).max()), float(np.ceil(table[:, 3].max() + 1)))
    if len(np.unique(table[:, 2])) == 1:
        rate = max(rate, RATES[-1])  # less than a second was recorded: the app's usual rate
    times = table[:, :3] @ [3600, 60, 1] + table[:, 3] / rate
    if (np.diff(times) < -1e-6).any():
        raise Refusal(f"{source.path.name} goes back in time: its rows are out of order. Export it again.")
    step = np.median(np.diff(times)) if rows > 1 else 1 / rate
    if step <= 0:
        return fps or rate, np.arange(rows)
    near = min(RATES, key=lambda known: abs(known - 1 / step))
    found = near if abs(near * step - 1) < 0.04 else 1 / step
    numbers = np.round((times - times[0]) * found).astype(np.int64)
    if (np.diff(numbers) < 1).any():
        return fps or found, np.arange(rows)
    warn_gaps(source.path.name, numbers.tolist())
    return fps or found, numbers


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()
