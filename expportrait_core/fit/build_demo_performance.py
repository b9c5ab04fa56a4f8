"""The built-in driving performance: three seconds of a synthetic actor, keyframed by hand.

    python -m expportrait_core.fit.build_demo_performance

Head turn, talk, blinks, smile, brow raise and gaze of the default head with another identity than its mean. It is
synthetic and is called so; it shows every control once, it is nobody's recording.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor

from ..assets import PERFORMANCE
from ..body import load_head_model
from ..types import HEAD, JAW, LEFT_EYE, NECK, NUM_JOINTS, RIGHT_EYE, Camera, SMPLXFit
from .fit_file import save_fit
from .tracker.landmark_fit import pinhole
from .tracker.landmark_rig import NECK_SHARE

FRAMES, FPS = 72, 25.0
SIZE = 512

# frame: value; between two keys the value eases in and out
Keys = dict[int, float]

HEAD_DEGREES: dict[str, Keys] = {  # pitch down, yaw to the actor's left, roll
    "pitch": {0: 0, 10: 3, 20: -2, 30: 2, 36: -3, 48: 2, 71: 0},
    "yaw": {0: 0, 3: 0, 14: -13, 26: 4, 44: 0, 58: 13, 71: 0},
    "roll": {0: 0, 14: 3, 30: -2, 46: 4, 58: -3, 71: 0},
}
JAW_RADIANS: Keys = {
    0: 0.0, 16: 0.0, 18: 0.16, 20: 0.05, 22: 0.22, 25: 0.04, 27: 0.14, 29: 0.02, 32: 0.2, 35: 0.06, 37: 0.0, 42: 0.0,
    48: 0.07, 54: 0.05, 60: 0.0, 71: 0.0,
}  # fmt: skip
GAZE_RADIANS: dict[str, Keys] = {
    "side": {0: 0, 48: 0, 50: -0.32, 55: -0.32, 58: 0.3, 63: 0.3, 66: 0, 71: 0},
    "down": {0: 0, 26: 0, 28: -0.16, 34: -0.12, 36: 0, 71: 0},
}
EXPRESSION: dict[str, Keys] = {
    "eyeBlink": {0: 0, 5: 0, 7: 1, 8: 1, 11: 0, 39: 0, 41: 1, 42: 1, 45: 0, 66: 0, 68: 0.9, 71: 0},
    "browInnerUp": {0: 0, 24: 0, 28: 0.9, 34: 0.8, 38: 0, 60: 0, 64: 0.4, 69: 0, 71: 0},
    "browOuterUp": {0: 0, 24: 0, 28: 0.9, 34: 0.8, 38: 0, 71: 0},
    "browDown": {0: 0, 10: 0, 14: 0.7, 18: 0.2, 21: 0, 71: 0},
    "eyeWide": {0: 0, 25: 0, 28: 0.4, 33: 0.3, 37: 0, 71: 0},
    "eyeSquint": {0: 0, 12: 0, 15: 0.4, 20: 0, 42: 0, 48: 0.5, 56: 0.4, 62: 0, 71: 0},
    "cheekSquint": {0: 0, 42: 0, 48: 0.7, 56: 0.6, 62: 0, 71: 0},
    "mouthSmile": {0: 0.05, 20: 0.0, 38: 0.1, 47: 0.85, 56: 0.8, 64: 0.15, 71: 0.05},
    "mouthUpperUp": {0: 0, 42: 0, 48: 0.3, 56: 0.25, 61: 0, 71: 0},
    "mouthLowerDown": {0: 0, 17: 0, 19: 0.3, 22: 0.2, 24: 0, 27: 0.35, 29: 0, 48: 0.2, 56: 0.15, 60: 0, 71: 0},
    "mouthFunnel": {0: 0, 22: 0, 24: 0.5, 26: 0, 32: 0, 34: 0.6, 36: 0.2, 38: 0, 71: 0},
    "mouthPucker": {0: 0, 23: 0, 25: 0.6, 27: 0, 33: 0, 35: 0.7, 38: 0, 71: 0},
    "mouthPress": {0: 0, 28: 0, 29: 0.5, 31: 0, 37: 0, 38: 0.4, 40: 0, 71: 0},
    "mouthStretch": {0: 0, 18: 0.2, 20: 0, 26: 0, 28: 0.3, 30: 0, 71: 0},
    "noseSneer": {0: 0, 12: 0, 15: 0.4, 19: 0, 71: 0},
}  # a name without a side moves both sides


def eased(keys: Keys) -> Tensor:
    """[FRAMES] values of a keyed curve; every key is reached with zero speed (smoothstep)."""
    frames = sorted(keys)
    values = torch.zeros(FRAMES)
    for start, stop in zip(frames, frames[1:]):
        t = torch.linspace(0, 1, stop - start + 1)
        values[start : stop + 1] = keys[start] + (keys[stop] - keys[start]) * (t * t * (3 - 2 * t))
    return values


def perform() -> SMPLXFit:
    """The whole performance as a fit of the default head, seen by a camera in front of the face."""
    model = load_head_model("default", 0)
    names = model.expression_names
    expression = torch.zeros(FRAMES, len(names))
    for name, keys in EXPRESSION.items():
        columns = [i for i, n in enumerate(names) if n in (name, name + "Left", name + "Right")]
        if not columns:
            raise ValueError(f"The default head has no expression '{name}'.")
        expression[:, columns] = eased(keys)[:, None]

    poses = torch.zeros(FRAMES, NUM_JOINTS, 3)
    turn = torch.stack([eased(HEAD_DEGREES[axis]) for axis in ("pitch", "yaw", "roll")], 1) * math.pi / 180
    poses[:, NECK], poses[:, HEAD] = NECK_SHARE * turn, (1 - NECK_SHARE) * turn
    poses[:, JAW, 0] = eased(JAW_RADIANS)
    gaze = torch.stack([eased(GAZE_RADIANS["down"]), eased(GAZE_RADIANS["side"]), torch.zeros(FRAMES)], 1)
    poses[:, LEFT_EYE], poses[:, RIGHT_EYE] = gaze, gaze

    generator = torch.Generator().manual_seed(3)
    betas = 0.6 * torch.randn(60, generator=generator)
    eyes = model.joint_template[LEFT_EYE, 1]
    intrinsics = pinhole(2.2 * SIZE, SIZE, SIZE).repeat(FRAMES, 1, 1)
    world_to_camera = torch.diag(torch.tensor([1.0, -1, -1, 1])).repeat(FRAMES, 1, 1)
    return SMPLXFit(
        betas=betas,
        expression=expression,
        poses=poses,
        translation=torch.tensor([[0.0, -float(eyes) + 0.02, -0.95]]).repeat(FRAMES, 1),
        camera=Camera(intrinsics, world_to_camera, (SIZE, SIZE)),
        expression_space=model.expression_space,
        model_id=model.model_id,
        fps=FPS,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=PERFORMANCE)
    save_fit(perform(), parser.parse_args().output)


if __name__ == "__main__":
    main()
