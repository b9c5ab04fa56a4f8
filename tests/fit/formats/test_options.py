"""What the user gives and the file does not say: it is used, whatever the format, or refused in a sentence."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from expportrait_core.assets import PERFORMANCE
from expportrait_core.fit import load_fit
from expportrait_core.types import Camera, HeadModel

from . import tracker_files as files
from .test_arkit import write as write_arkit
from .test_hostile import change_npz
from .test_smplx_trackers import pixels
from .tracker_files import FRAMES, POINTS


def own_files(folder: Path) -> list[Path]:
    """A fit in both forms that this package writes."""
    return [PERFORMANCE, load_fit(PERFORMANCE).save(folder / "own.safetensors")]


def lens(fit) -> tuple[list[float], list[float]]:
    """Focal length and principal point of the first frame, pixels."""
    k = fit.camera.intrinsics[0]
    return [float(k[0, 0]), float(k[1, 1])], k[:2, 2].tolist()


# ------------------------------------------------------------------------------------------------- this package's own


def test_own_fits_take_rate_lens_and_camera(tmp_path: Path) -> None:
    for path in own_files(tmp_path):
        plain, other = load_fit(path), load_fit(path, fps=12, focal=700, image_size=(512, 512))
        assert (plain.fps, other.fps) == (25, 12)
        assert lens(other) == ([700, 700], lens(plain)[1]) and lens(plain)[0] != [700, 700]
        camera = Camera(torch.diag(torch.tensor([900.0, 900, 1]))[None], torch.eye(4)[None], (720, 1280))
        given = load_fit(path, camera=camera)
        assert given.image_size == (720, 1280) and torch.equal(given.camera.intrinsics[-1], camera.intrinsics[0])


# ------------------------------------------------------------------------------------------------------------ the lens


def test_smplifyx_takes_the_focal_length_that_it_was_run_with(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written = files.write_smplifyx(tmp_path)
    load_fit(tmp_path)
    assert "Give `focal` where it was another" in caplog.text and "give `image_size`" in caplog.text
    caplog.clear()
    fit = load_fit(tmp_path, focal=1234, image_size=(1000, 1600))
    assert "`focal`" not in caplog.text and "`image_size`" not in caplog.text
    seen = POINTS @ written[0]["camera_rotation"][0].T.astype(np.float64) + written[0]["camera_translation"]
    assert np.allclose(pixels(fit, POINTS)[0], 1234 * seen[:, :2] / seen[:, 2:] + [800, 500], atol=2e-2)


@pytest.mark.parametrize(("tracker", "cameras"), [("smplerx", "meta"), ("exavatar", "cam_params")])
def test_a_lost_camera_is_made_of_focal_length_and_picture(tmp_path: Path, tracker: str, cameras: str) -> None:
    written = {"smplerx": files.write_smplerx, "exavatar": files.write_exavatar}[tracker](tmp_path)
    shutil.rmtree(tmp_path / cameras)
    for part in ({}, {"focal": 900.0}, {"image_size": (720, 1280)}):
        with pytest.raises(ValueError, match=rf"lacks {cameras}/.* `focal` and `image_size`\."):
            load_fit(tmp_path, **part)
    fit = load_fit(tmp_path, focal=900.0, image_size=(720, 1280))
    world = POINTS + (written[0] if tracker == "smplerx" else written)["trans"][:, None]
    assert np.allclose(pixels(fit, world), 900 * world[..., :2] / world[..., 2:] + [640, 360], atol=1e-2)


@pytest.mark.parametrize("tracker", ["emica", "delta"])
def test_with_a_lens_an_orthographic_head_keeps_its_size_in_the_picture(tmp_path: Path, tracker: str) -> None:
    folder = tmp_path / "clip"
    getattr(files, f"write_{tracker}")(folder)
    plain, other = load_fit(folder), load_fit(folder, focal=600)
    assert lens(other)[0] == [600, 600]
    flat = POINTS * [1, 1, 0]  # at the depth of the head's own origin the two see the same
    assert np.allclose(pixels(other, flat), pixels(plain, flat), atol=0.05)
    assert np.abs(pixels(other, POINTS) - pixels(plain, POINTS)).max() > 1, "nearer points are larger now"


def test_a_camera_that_the_file_has_keeps_its_middle_and_its_place(tmp_path: Path) -> None:
    files.write_frames(tmp_path, "metrical")
    plain, other = load_fit(tmp_path), load_fit(tmp_path, focal=321)
    assert lens(other) == ([321, 321], lens(plain)[1])
    assert torch.equal(other.camera.world_to_camera, plain.camera.world_to_camera)


def test_assumed_cameras_are_of_the_users_pictures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files.write_beat2(tmp_path / "a.npz")
    write_arkit(tmp_path / "a.csv", [{"JawOpen": 0.5}])
    for name in ("a.npz", "a.csv"):
        fit = load_fit(tmp_path / name, focal=800, image_size=(720, 1280))
        assert fit.image_size == (720, 1280) and lens(fit) == ([800, 800], [640, 360])
    assert "with the `focal` and `image_size` that you give" in caplog.text


# ------------------------------------------------------------------------------------------------------------ the rate


def test_a_rate_of_the_users_replaces_a_wrong_one(tmp_path: Path) -> None:
    files.write_beat2(tmp_path / "a.npz")
    change_npz(tmp_path / "a.npz", mocap_frame_rate=np.array(0))
    with pytest.raises(ValueError, match=r"mocap_frame_rate is 0, .* Give `fps`"):
        load_fit(tmp_path / "a.npz")
    assert load_fit(tmp_path / "a.npz", fps=24).fps == 24


# ---------------------------------------------------------------------------------------------- what is of no use here


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mirror": True}, "`mirror` is for ARKit recordings, and the format is VHAP. Leave it out."),
        ({"legacy10": True}, "`legacy10` is for the ten .*, and these are 100 in the space 'flame100'. Leave it out."),
        ({"person": 2}, "`person` is 2, and the format is VHAP, which holds one person. Leave it out."),
        ({"image_size": (720, 1280)}, "pictures of 550×800 pixels .*, and `image_size` says 1280×720. Leave it out,"),
        ({"fps": 0}, "has 0.0 frames per second, expected 0.001 to 100,000"),
    ],
)
def test_what_a_file_has_no_use_for_is_refused(tmp_path: Path, options: dict, sentence: str) -> None:
    path = tmp_path / "tracked_flame_params_9.npz"
    files.write_vhap(path)
    with pytest.raises(ValueError, match=rf"^{path.name}: .*{sentence}"):
        load_fit(path, **options)
    assert load_fit(path, person=0, image_size=(800, 550)).num_frames == FRAMES  # what is so anyway


def test_a_body_model_is_for_a_head(tmp_path: Path, coarse_head: HeadModel) -> None:
    """Without one there is nothing to convert for; with a head that needs no conversion it is left alone."""
    path = own_files(tmp_path)[0]
    with pytest.raises(ValueError, match="`body_model` is given and no head model"):
        load_fit(path, body_model=coarse_head)
    assert torch.equal(load_fit(path, coarse_head, body_model=coarse_head).expression, load_fit(path).expression)


def test_own_fits_are_not_mirrored_in_silence(tmp_path: Path) -> None:
    for path in own_files(tmp_path):
        with pytest.raises(ValueError, match="the format is this package's own. Leave it out"):
            load_fit(path, mirror=True)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"focal": 0.0}, "`focal` is 0, expected a focal length above 0"),
        ({"focal": float("nan")}, "`focal` is nan"),
        ({"focal": 1e38}, r"`focal` is 1e\+38, expected .* at most 10,000,000"),
        ({"image_size": (0, 5)}, r"`image_size` is \(0, 5\), expected height and width"),
        ({"image_size": (5,)}, r"`image_size` is \(5,\)"),
        ({"focal": 5.0, "camera": Camera(torch.eye(3)[None], torch.eye(4)[None], (4, 4))}, "A whole camera is given"),
    ],
)
def test_options_that_are_none_are_refused(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        load_fit(PERFORMANCE, **options)
