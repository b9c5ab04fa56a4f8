"""What a fit holds, in figures: for `expportrait fit inspect` and whoever reads its JSON."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..body.joints import JOINT_NAMES
from ..printable import printable
from ..types import SMPLXFit
from .edit.expression_names import names_of

STRONGEST = 6  # expressions that are named
MOVING = 0.002  # radians between any two frames, from which on a joint moves

KEYS = {
    "file": "name of the file or folder",
    "format": "whose format it is",
    "frames": "number of frames",
    "fps": "frames per second",
    "seconds": "length",
    "image_size": "height and width of the pictures, pixels",
    "focal": "focal length of the first frame's camera, pixels",
    "model_id": "head model that the shape belongs to",
    "shape_values": "number of shape values",
    "expression_space": "which expressions the values are of",
    "expression_values": "number of expression values",
    "strongest_expressions": "largest value of those that go furthest, by name or column",
    "moving_joints": "joints that turn, by smplx's names",
    "landmarks": "scheme of the 2D landmarks, or null",
    "frames_without_face": "number of frames that are marked as not valid",
    "first_frame": "number of the first frame in the source",
    "last_frame": "number of the last frame",
    "missing_frames": "how many numbers between them have no frame",
}
"""The keys of the JSON, and what they mean."""


def summarise(fit: SMPLXFit, file: str, format_name: str) -> dict[str, Any]:
    """A dictionary with the keys of KEYS, JSON values only."""
    ids = fit.frame_ids.tolist()
    spread = (fit.poses.amax(0) - fit.poses.amin(0)).amax(-1)
    return {
        "file": file,
        "format": format_name,
        "frames": fit.num_frames,
        "fps": round(fit.fps, 4),
        "seconds": round(fit.num_frames / fit.fps, 3),
        "image_size": list(fit.image_size),
        "focal": round(float(fit.camera.intrinsics[0, 0, 0]), 2),
        "model_id": fit.model_id,
        "shape_values": len(fit.betas),
        "expression_space": fit.expression_space,
        "expression_values": fit.expression.shape[1],
        "strongest_expressions": _strongest(fit),
        "moving_joints": [JOINT_NAMES[joint] for joint in (spread > MOVING).nonzero()[:, 0].tolist()],
        "landmarks": fit.landmark_scheme if fit.landmarks is not None else None,
        "frames_without_face": int((~fit.valid).sum()),
        "first_frame": ids[0],
        "last_frame": ids[-1],
        "missing_frames": sum(max(b - a - 1, 0) for a, b in zip(ids, ids[1:])),
    }


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """The same for people. Names are the file's own."""
    names = ("file", "format", "model_id", "expression_space", "landmarks")
    summary = summary | {name: printable(summary[name]) for name in names if summary[name] is not None}
    height, width = summary["image_size"]
    strongest = ", ".join(f"{name} {value:g}" for name, value in summary["strongest_expressions"].items())
    missing = f", {summary['missing_frames']} missing" if summary["missing_frames"] else ""
    return [
        f"{summary['file']}: {summary['format']}",
        f"{summary['frames']} frames at {summary['fps']:g} per second, {summary['seconds']:g} s, numbered "
        f"{summary['first_frame']} to {summary['last_frame']}{missing}",
        f"pictures: {width}×{height}, focal length {summary['focal']:g} pixels",
        f"head model: {summary['model_id']}, {summary['shape_values']} shape values",
        f"expressions: {summary['expression_values']} values in the space '{summary['expression_space']}'",
        f"strongest: {strongest or 'none, the face is neutral'}",
        f"joints that move: {', '.join(summary['moving_joints']) or 'none'}",
        f"landmarks: {summary['landmarks'] or 'none'}",
        f"frames without a face: {summary['frames_without_face']}",
    ]


def _strongest(fit: SMPLXFit) -> dict[str, float]:
    count = fit.expression.shape[1]
    names = names_of(fit.expression_space, count)
    if not count:
        return {}
    reach = fit.expression.abs().amax(0)
    columns = [c for c in reach.argsort(descending=True).tolist()[:STRONGEST] if reach[c] > 0]
    return {
        (names[c] if names and names[c] else f"column {c + 1}"): round(float(_farthest(fit.expression[:, c])), 4)
        for c in columns
    }


def _farthest(values: Tensor) -> Tensor:
    return values[values.abs().argmax()]
