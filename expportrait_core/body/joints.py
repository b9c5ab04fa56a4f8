"""The 55 joints of SMPL-X in the order of `smplx`, and the MakeHuman bones that stand for them in the default head."""

from __future__ import annotations

_BODY = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "jaw", "left_eye", "right_eye",
)  # fmt: skip
_BODY_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 15, 15, 15)
_FINGERS = {"index": 2, "middle": 3, "pinky": 5, "ring": 4, "thumb": 1}  # MakeHuman counts fingers from the thumb

JOINT_NAMES: tuple[str, ...] = _BODY + tuple(
    f"{side}_{finger}{k}" for side in ("left", "right") for finger in _FINGERS for k in (1, 2, 3)
)
JOINT_PARENTS: tuple[int, ...] = _BODY_PARENTS + tuple(
    _BODY.index(f"{side}_wrist") if k == 0 else len(_BODY) + 15 * s + 3 * f + k - 1
    for s, side in enumerate(("left", "right"))
    for f in range(len(_FINGERS))
    for k in range(3)
)


def _sided(left: str, right: str, bone: str) -> dict[str, str]:
    return {left: bone + ".L", right: bone + ".R"}


MAKEHUMAN_BONES: dict[str, str] = {
    "pelvis": "root", "spine1": "spine04", "spine2": "spine03", "spine3": "spine02", "neck": "neck01",
    "head": "head", "jaw": "jaw",
    **_sided("left_hip", "right_hip", "upperleg01"),
    **_sided("left_knee", "right_knee", "lowerleg01"),
    **_sided("left_ankle", "right_ankle", "foot"),
    **_sided("left_foot", "right_foot", "toe2-1"),
    **_sided("left_collar", "right_collar", "clavicle"),
    **_sided("left_shoulder", "right_shoulder", "upperarm01"),
    **_sided("left_elbow", "right_elbow", "lowerarm01"),
    **_sided("left_wrist", "right_wrist", "wrist"),
    **_sided("left_eye", "right_eye", "eye"),
    **{
        f"{side}_{finger}{k}": f"finger{number}-{k}.{letter}"
        for side, letter in (("left", "L"), ("right", "R"))
        for finger, number in _FINGERS.items()
        for k in (1, 2, 3)
    },
}  # fmt: skip
