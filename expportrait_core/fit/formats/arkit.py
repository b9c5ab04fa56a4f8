"""Live Link Face and other recordings of ARKit's 52 blendshapes: a table with one row a frame.

Columns: a time, `BlendShapeCount`, the units by name, and where the app gives them `HeadYaw`, `HeadPitch`, `HeadRoll`
and the same of both eyes. The app's take is a folder: the table lies beside `take.json`, `frame_log.csv` and the film,
and a calibrated take has it twice, as `…_raw.csv` and `…_cal.csv`, of which the calibrated one is read.

The units are the default head's own, so nothing is converted; jawOpen, jawLeft and jawRight become the jaw joint, as
they do on that head. A row with a count of 0 is a frame without a face.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ...body.model import DEFAULT_HEAD
from ...printable import listed, log_of
from ...types import SMPLXFit
from ..refusal import Refusal
from . import cameras
from .into_fit import Options, build, given_camera, poses
from .rotations import from_euler
from .source import Source, header_of, open_source
from .timing import timing

NAME = "Live Link Face / ARKit CSV"
LOOKS_LIKE = "a table with columns like EyeBlinkLeft, JawOpen, MouthSmileLeft"
FEWEST_UNITS = 20  # of the 52 that make a table a recording of a face. Our choice
JAW_OPEN, JAW_SIDE = 0.4, 0.13  # radians of the jaw joint at 1: 36 and 12 mm at the incisors. Our choice
GAZE = 0.5  # radians of an eye at eyeLook… = 1, where the app gives no eye angles. Our choice
NECK_SHARE = 0.4  # of the head's rotation; the tracker's choice too
LOWEST_UNIT, HIGHEST_UNIT = -1.0, 2.0  # ARKit's are 0 to 1; what artists exaggerate afterwards goes beyond. Our choice
FARTHEST = 360.0  # degrees of a head or an eye
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

log = log_of(__name__)


def recognise(source: Source) -> bool:
    if source.kind == "folder":
        return bool(_recordings(source))
    return source.kind == "csv" and _is_recording(source.keys)


def read(source: Source, options: Options) -> SMPLXFit:
    if source.kind == "folder":
        source = open_source(source.path / _recording(source))
    columns, name = _columns(source.keys), source.path.name
    missing = [unit for unit in UNITS if unit not in columns]
    if missing:
        log.warning("%s lacks the units %s; they stay at zero.", name, ", ".join(missing))
    rows = len(source.content[source.keys[0]])
    if rows == 0:
        raise Refusal(f"{name} has no frames, only its header. Record again.")
    seen = _seen(source, columns, rows)
    _require_whole_rows(source, seen)

    def values(key: str) -> np.ndarray:
        if key not in columns:
            return np.zeros(rows)
        return _numbers(source.content[columns[key]], seen, f"{name}: {columns[key]}")

    units = {unit: values(unit) for unit in UNITS}
    for unit in UNITS:
        if unit in columns:
            _require_range(units[unit], f"{name}: {columns[unit]}")
    head = np.stack([values("headYaw"), values("headPitch"), values("headRoll")], 1)
    eyes = {side: np.stack([values(f"{side}EyeYaw"), values(f"{side}EyePitch")], 1) for side in ("left", "right")}
    if options.mirror:
        units = {_other_side(unit): value for unit, value in units.items()}
        head[:, [0, 2]] *= -1
        eyes = {"left": eyes["right"] * [-1, 1], "right": eyes["left"] * [-1, 1]}
    degrees = _in_degrees(head, *eyes.values())  # one app writes all of them alike
    everything = np.column_stack([*units.values(), head, *eyes.values(), seen])
    repeated = np.append(False, (np.diff(everything, axis=0) == 0).all(axis=1))
    fps, frame_ids, kept = timing(source.content, repeated, name, options.fps)
    units, seen, rows = {unit: value[kept] for unit, value in units.items()}, seen[kept], int(kept.sum())
    head, eyes = head[kept], {side: angles[kept] for side, angles in eyes.items()}

    # ARKit's axes are the body's: x to its left, y up, z out of the face (Apple, ARFaceAnchor). What Live Link Face
    # writes is positive for a turn to the person's left, for a head that goes *up* (so against ARKit's x, and as
    # Unreal's FRotator counts pitch) and for a left side that goes up. Epic does not document it. It was read off two
    # published captures of the app (think-biq/LLV 63cc41e examples/dao.gesichter, aelzeiny/Animoji 89b6470
    # experimentation/livelink.udp): eyes that rest on the phone turn against the head. By the named units eyeLook…
    # they do so in both with these signs of yaw and pitch alone, and with this roll in the first, where the head rolls.
    # MeFaMo (38787a5), which drives MetaHumans by the app's protocol, writes the same three signs.
    turned = from_euler("YXZ", _radians(head, degrees, f"{name}: HeadYaw, HeadPitch and HeadRoll") * [1, -1, 1])
    jaw = np.stack([JAW_OPEN * units["jawOpen"], JAW_SIDE * (units["jawLeft"] - units["jawRight"]), 0 * seen], 1)
    full_pose = poses(
        rows, neck=NECK_SHARE * turned, head=(1 - NECK_SHARE) * turned, jaw=jaw,
        left_eye=_gaze(_radians(eyes["left"], degrees, f"{name}: LeftEyeYaw and LeftEyePitch"), units, "Left"),
        right_eye=_gaze(_radians(eyes["right"], degrees, f"{name}: RightEyeYaw and RightEyePitch"), units, "Right"),
    )  # fmt: skip
    names, eye_height = _default_head()
    expression = np.zeros((rows, len(names)))
    for column, unit in enumerate(names):
        expression[:, column] = units.get(unit, 0)
    camera = given_camera(options, rows)
    camera = camera or cameras.frontal(rows, np.array([0, eye_height, 0]), options.image_size or SIZE)
    return build(np.zeros(10), expression, "arkit", full_pose, np.zeros((rows, 3)), camera, "default-head",
                 options.fps or fps, frame_ids, seen)  # fmt: skip


@functools.cache
def _default_head() -> tuple[tuple[str, ...], float]:
    """Names of the expression columns, and the height of the eyes in metres."""
    with np.load(DEFAULT_HEAD, allow_pickle=False) as file:
        eye = file["J_regressor"][23].astype(np.float64) @ file["v_template"].astype(np.float64)
        return tuple(str(name) for name in file["expression_names"]), float(eye[1])


def _columns(keys: Iterable[str]) -> dict[str, str]:
    """Columns of the table by ARKit's spelling: apps write EyeBlinkLeft, eyeBlinkLeft or eyeBlink_L."""
    spelled = {}
    for key in keys:
        plain = key.replace(" ", "")
        for short, side in (("_L", "Left"), ("_R", "Right")):
            plain = plain[:-2] + side if plain.endswith(short) else plain
        spelled.setdefault(plain[:1].lower() + plain[1:], key)
    return spelled


def _is_recording(keys: Iterable[str]) -> bool:
    return len(_columns(keys).keys() & set(UNITS)) >= FEWEST_UNITS


def _recordings(source: Source) -> list[str]:
    """Names of the tables in a folder whose first line is that of a recording."""
    tables = (name for name in source.files if name.lower().endswith(".csv"))
    return [name for name in tables if _is_recording(header_of(source.path / name))]


def _recording(source: Source) -> str:
    """The one recording in the app's folder of a take: as it was calibrated, where it was."""
    found = _recordings(source)
    takes = {re.sub(r"_(cal|raw|neutral)$", "", Path(name).stem): name for name in found}
    if len(takes) > 1:
        raise Refusal(
            f"{source.path.name} holds several recordings: {listed(found, 6)}, expected those of one take. Give "
            f"one of the files."
        )
    stem = next(iter(takes))
    return next(
        (name for ending in ("_cal", "", "_raw") for name in found if Path(name).stem == stem + ending), found[0]
    )


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


def _require_whole_rows(source: Source, seen: np.ndarray) -> None:
    """Refuse rows with a face that lack a cell: which one cannot be known, and all behind it would be another's."""
    last = next(key for key in reversed(source.keys) if key)
    ends = np.array([cell != "" for cell in source.content[last]])
    wrong = seen & ~ends
    if wrong.any() and ends.any():
        raise Refusal(
            f"{source.path.name}, row {int(wrong.argmax()) + 2} ends before the last column, '{last}'. Export it "
            f"again, or correct the row."
        )


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


def _require_range(values: np.ndarray, what: str) -> None:
    """Refuse what neither ARKit nor who edits its units can have written, such as percent."""
    wrong = (values < LOWEST_UNIT) | (values > HIGHEST_UNIT)
    if wrong.any():
        row = int(wrong.argmax())
        raise Refusal(
            f"{what}, row {row + 2} is {values[row]:g}, expected 0 to 1 as ARKit writes its units. Export it again, "
            f"not as percent, or correct the row."
        )


def _in_degrees(*angles: np.ndarray) -> bool:
    """Apps that write degrees are told by values that no head or eye that is seen reaches in radians. Whoever turned
    less than two degrees all the time is taken for one who turned far."""
    return max(np.abs(values).max(initial=0) for values in angles) > np.pi / 2


def _radians(angles: np.ndarray, in_degrees: bool, what: str) -> np.ndarray:
    wrong = (np.abs(angles) > FARTHEST).any(axis=1)
    if wrong.any():
        row = int(wrong.argmax())
        raise Refusal(
            f"{what}, row {row + 2} are {', '.join(f'{angle:g}' for angle in angles[row])}, expected radians, or "
            f"degrees of at most {FARTHEST:g}. Export it again, or correct the row."
        )
    return np.deg2rad(angles) if in_degrees else angles


def _gaze(angles: np.ndarray, units: dict[str, np.ndarray], side: str) -> np.ndarray:
    """[F, 3] of one eye joint. The named units say where the eye looks, the angles how far.

    Apps differ in the sign of their angles; eyeLookOut of the left eye is to the left in all of them.
    """
    out = units[f"eyeLookOut{side}"] - units[f"eyeLookIn{side}"]
    leftwards = out if side == "Left" else -out
    downwards = units[f"eyeLookDown{side}"] - units[f"eyeLookUp{side}"]
    yaw, pitch = _signed(angles[:, 0], leftwards), _signed(angles[:, 1], downwards)
    return np.stack([pitch, yaw, np.zeros(len(out))], 1)


def _signed(angle: np.ndarray, unit: np.ndarray) -> np.ndarray:
    if not angle.any():
        return GAZE * unit
    return -angle if (angle * unit).sum() < 0 else angle
