"""Long clips: parts and wholes are the same, memory does not grow with the frames, and everything can be cancelled."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from expportrait_core.render import (
    DETAILS,
    SPACES,
    NormalPictures,
    depth_span,
    render,
    render_normals,
    render_pictures,
    stream_normals,
)
from expportrait_core.render.depth import FAR, NEAR
from expportrait_core.render.regions import COARSE, NAMES, REGIONS
from expportrait_core.types import HeadModel, HeadMotion

from .peak import STATUS, performed

ROOT = Path(__file__).parents[2]
FRAMES, SIZE = 5, 64
MAPS = ("normals", "mask", "depth", "regions")
counts_memory = pytest.mark.skipif(not STATUS.is_file(), reason="only Linux says how much memory a process took")


@pytest.fixture(scope="module")
def motion(coarse_head: HeadModel) -> HeadMotion:
    return performed(coarse_head, FRAMES).replace(fps=12.5)


@pytest.fixture(params=["torch", "numba"])
def backend(request: pytest.FixtureRequest) -> str:
    if request.param == "numba":
        pytest.importorskip("numba")
    return request.param


# ------------------------------------------------------------------------------------------------------- same pictures


@pytest.mark.parametrize("space", SPACES)
def test_parts_are_the_whole(motion: HeadMotion, backend: str, space: str) -> None:
    given = {"chunk": 2, "space": space, "regions": True, "backend": backend}
    whole, parts = render_normals(motion, SIZE, **given), list(stream_normals(motion, SIZE, **given))
    assert [len(part.normals) for part in parts] == [2, 2, 1]
    for name in MAPS:
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))
    for part in parts:
        assert torch.equal(part.reference_normals, whole.reference_normals)
        assert (part.convention, part.fps) == (whole.convention, whole.fps) == (SPACES[space], 12.5)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("detail", DETAILS)
def test_pictures_are_made_of_the_maps(motion: HeadMotion, backend: str, space: str, detail: str) -> None:
    """To the bit what one gets from the whole clip's depth and regions at once."""
    maps = render_normals(motion, SIZE, chunk=2, space=space, regions=True, backend=backend)
    made = render_pictures(motion, SIZE, chunk=2, space=space, detail=detail, backend=backend)
    for name in ("normals", "reference_normals", "mask"):
        assert torch.equal(getattr(made, name), getattr(maps, name))
    near, far = depth_span(maps.depth)
    bright = NEAR + (FAR - NEAR) * (maps.depth.clamp(near, far) - near) / max(far - near, 1e-6)
    assert torch.equal(made.depth, torch.where(maps.depth > 0, bright, 0.0)[..., None].expand(*bright.shape, 3))
    names = NAMES if detail == "fine" else [COARSE.get(name, name) for name in NAMES]
    assert torch.equal(made.regions, (torch.tensor([REGIONS[name] for name in names]) / 255)[maps.regions.long()])


def test_a_clip_without_a_head_in_it_is_black(motion: HeadMotion) -> None:
    aside = motion.replace(translation=motion.translation + torch.tensor([9.0, 0, 0]))
    made = render_pictures(aside, SIZE, chunk=2)
    assert not any(value.any() for value in (made.normals, made.mask, made.depth, made.regions))
    assert made.reference_normals.max() > 0.5


def test_bad_input_is_refused_at_once(motion: HeadMotion) -> None:
    with pytest.raises(ValueError, match="size is 0"):
        stream_normals(motion, 0)
    with pytest.raises(ValueError, match="another shape"):
        stream_normals(motion, (64, 32))
    with pytest.raises(ValueError, match="'world', expected one of camera, object"):
        render_pictures(motion, SIZE, space="world")
    with pytest.raises(ValueError, match="'rough', expected one of fine, coarse"):
        render_pictures(motion, SIZE, detail="rough")


def test_pictures_can_be_put_on_another_device(motion: HeadMotion, backend: str) -> None:
    """Here one that holds no numbers; with CUDA, the next test, from there to the CPU."""
    maps = render_normals(motion, SIZE, regions=True, backend=backend, device="meta")
    assert {getattr(maps, name).device.type for name in (*MAPS, "reference_normals")} == {"meta"}
    drawn, room = (NormalPictures(*(torch.full((1,), value) for _ in MAPS)) for value in (1.0, 0.0))
    room.fill(drawn)
    assert all(getattr(room, name) == 1 for name in MAPS)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_gpu_holds_no_more_of_a_long_clip(coarse_head: HeadModel) -> None:
    peaks = []
    for frames in (8, 40):
        motion = performed(coarse_head, frames).to("cuda")
        render_pictures(motion, SIZE, device="cpu")
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        made = render_pictures(motion, 256, device="cpu")
        assert {value.device.type for value in vars(made).values()} == {"cpu"}
        peaks.append(torch.cuda.max_memory_allocated() - before)
        assert peaks[-1] < render.working_bytes(motion, 256)
    assert peaks[1] < 1.1 * peaks[0]


# --------------------------------------------------------------------------------------------------------- progress


def test_progress_counts_frames_and_cancels_after_any_part(motion: HeadMotion, monkeypatch: pytest.MonkeyPatch) -> None:
    posed, pose = [], render.pose_motion
    monkeypatch.setattr(render, "pose_motion", lambda m, a, b: (posed.append((a, b)), pose(m, a, b))[1])
    calls = []
    made = render_pictures(motion, 32, chunk=2, progress=lambda *call: calls.append(call))
    total = FRAMES + 1
    assert [call[:2] for call in calls] == [(done, total) for done in range(1, total + 1)] + 3 * [(total, total)]
    assert torch.equal(calls[0][2], made.reference_normals[0]) and torch.equal(calls[5][2], made.normals[4])
    assert posed == [(0, 2), (2, 4), (4, 5)] and all(call[2] is None for call in calls[total:])

    for after, drawn in ((1, []), (3, [(0, 2)]), (5, [(0, 2), (2, 4)]), (8, [(0, 2), (2, 4), (4, 5)])):
        count = 0

        def cancel(*_: object, after: int = after) -> None:
            nonlocal count
            count += 1
            if count == after:
                raise InterruptedError

        for draw in (render_pictures, render_normals) if after <= total else (render_pictures,):
            posed.clear()
            count = 0
            with pytest.raises(InterruptedError):
                draw(motion, 32, chunk=2, progress=cancel)
            assert posed == drawn and count == after


# ----------------------------------------------------------------------------------------------------------- memory


def test_streaming_makes_room_for_one_chunk_at_a_time(motion: HeadMotion, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither pictures nor vertices of more frames are made at once."""
    pictures, posed, make, pose = [], [], NormalPictures.empty, render.pose_motion
    monkeypatch.setattr(NormalPictures, "empty", lambda n, *rest: (pictures.append(n), make(n, *rest))[1])
    monkeypatch.setattr(render, "pose_motion", lambda m, a, b: (posed.append(b - a), pose(m, a, b))[1])
    for part in stream_normals(motion, 32, chunk=2):
        assert len(part.normals) <= 2
    assert pictures == [1, 2, 2, 1] and posed == [2, 2, 1]  # the reference first


def peak(*arguments: object) -> list[int]:
    command = [sys.executable, "-m", "tests.render.peak", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return [int(number) for number in done.stdout.split()]


@counts_memory
def test_four_times_the_frames_take_no_more_memory(motion: HeadMotion) -> None:
    """All that the Render Normals node does. Four bytes kept of every pixel would add 79 MB to about 420."""
    pytest.importorskip("numba")
    render_pictures(motion, SIZE)  # compiles here, if nobody has yet, and not in one of the two
    short, long = (peak(frames, 256, "numba", 1)[0] for frames in (100, 400))
    assert long < 1.1 * short


@counts_memory
def test_what_a_frame_takes_is_as_said(motion: HeadMotion) -> None:
    """Of plain torch, as on a GPU, for a picture that the head fills."""
    most, before, said = peak(2, 1024, "torch", 5)
    assert said / 2 < most - before < said
