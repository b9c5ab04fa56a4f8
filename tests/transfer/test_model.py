"""G and the checkpoint: where offsets may be, how they are evaluated, and what a file holds."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from expportrait_core.body import load_head_model, pose_motion, upsample
from expportrait_core.transfer import Gains, TransferConfig, load_transfer_model, model, transfer
from expportrait_core.transfer.neutral import face_layout, features_of_head

from .people import make_fit, make_head, untrained, untrained_raw


@pytest.fixture(scope="module")
def head():
    head_model = load_head_model("default", 1)
    return make_head(head_model, make_fit(head_model, 1, seed=1))


@pytest.fixture(scope="module")
def driver(head):
    return make_fit(head.model, 7, seed=2)


@pytest.fixture(scope="module")
def motion(head, driver):
    return transfer(head, driver, untrained())


def test_offsets_are_exactly_zero_off_the_face_and_not_on_it(head, motion) -> None:
    facial = upsample(head.model.facial_weight[:, None], head.model.faces, head.model.upsampling)[:, 0]
    offsets = motion.offsets(0, 3)
    assert offsets.shape == (3, head.model.num_vertices, 3)
    assert not offsets[:, facial == 0].any()
    assert (offsets[:, facial > 0.5].norm(dim=-1) > 0).float().mean() > 0.99
    # and they fade out with the weight, so that no field ends in a step
    assert (offsets.abs().amax((0, 2)) <= 2 * untrained().config.decoder.largest * facial + 1e-9).all()


def test_frames_and_vertices_in_pieces_are_the_whole(motion, monkeypatch) -> None:
    whole = motion.offsets(0, 7)
    torch.testing.assert_close(torch.cat([motion.offsets(0, 2), motion.offsets(2, 7)]), whole, atol=1e-8, rtol=1e-4)
    monkeypatch.setattr(model, "VALUES_AT_ONCE", 64 * 1000)
    torch.testing.assert_close(motion.offsets(0, 7), whole, atol=1e-8, rtol=1e-4)
    part = motion.frames(3, 6)
    torch.testing.assert_close(part.offsets(1, 3), whole[4:6], atol=1e-8, rtol=1e-4)


def test_offsets_move_the_posed_head_by_as_much(head, driver, motion) -> None:
    still = transfer(head, driver, gains=Gains(wrinkles=0))
    moved = (pose_motion(motion, 0, 2) - pose_motion(still, 0, 2)).norm(dim=-1)
    # skinning is rigid where one joint rules, and shortens offsets a little where several do
    torch.testing.assert_close(moved, motion.offsets(0, 2).norm(dim=-1), atol=1e-4, rtol=0.1)
    assert moved.max() > 1e-5


def test_wrinkle_gain_scales_the_offsets(head, driver, motion) -> None:
    doubled = transfer(head, driver, untrained(), gains=Gains(wrinkles=2))
    torch.testing.assert_close(doubled.offsets(0, 2), 2 * motion.offsets(0, 2))
    assert transfer(head, driver, gains=Gains(wrinkles=0)).offsets is None


def test_frames_differ_and_people_differ(head, driver, motion) -> None:
    offsets = motion.offsets(0, 2)
    assert (offsets[0] - offsets[1]).abs().max() > 1e-6
    other = head.replace(betas=-2 * head.betas)
    assert (transfer(other, driver, untrained()).offsets(0, 1) - offsets[:1]).abs().max() > 1e-6


def test_static_offsets_are_part_of_the_neutral_that_g_sees(head) -> None:
    layout = face_layout(head.model, untrained().networks.decoder.head_points)
    before = features_of_head(head, layout)
    shift = head.replace(static_offsets=head.static_offsets + torch.tensor([0.0, 0.0, 0.004]))
    after = features_of_head(shift, layout)
    torch.testing.assert_close(
        after.position[..., 2] - before.position[..., 2], torch.full_like(before.position[..., 2], 0.04)
    )
    torch.testing.assert_close(after.normal, before.normal, atol=1e-4, rtol=0)


def test_a_head_looks_the_same_to_g_at_every_level(head) -> None:
    points = untrained().networks.decoder.head_points
    coarse_model = load_head_model("default", 0)
    coarse = make_head(coarse_model, head.fit)
    fine_layout, coarse_layout = face_layout(head.model, points), face_layout(coarse_model, points)
    fine_features, coarse_features = features_of_head(head, fine_layout), features_of_head(coarse, coarse_layout)
    shared = torch.isin(fine_layout.vertices, coarse_layout.vertices)
    for name in ("position", "normal", "own"):
        fine_values, coarse_values = getattr(fine_features, name)[:, shared], getattr(coarse_features, name)
        torch.testing.assert_close(fine_values, coarse_values, atol=1e-4, rtol=0)
    torch.testing.assert_close(fine_features.whole, coarse_features.whole, atol=1e-4, rtol=0)


def test_offsets_travel_between_devices(motion) -> None:
    moved = motion.offsets.to("meta")
    assert moved.codes.device.type == moved.prepared.basis.device.type == moved.vertices.device.type == "meta"
    assert next(moved.decoder.parameters()).device.type == "meta"
    # the module that the motion came from has stayed
    assert next(motion.offsets.decoder.parameters()).device.type == "cpu"


def test_writing_and_reading_gives_the_same_offsets(head, driver, motion, tmp_path) -> None:
    path = untrained().save(tmp_path / "model.safetensors")
    loaded = load_transfer_model(path)
    assert (loaded.config, loaded.training) == (untrained().config, "nothing")
    expected, found = motion.offsets(0, 2), transfer(head, driver, loaded).offsets(0, 2)
    # numbers are stored in half precision
    assert (found - expected).abs().max() < 0.02 * expected.abs().max()
    again = load_transfer_model(loaded.save(tmp_path / "again.safetensors"))
    for key, value in loaded.networks.state_dict().items():
        assert torch.equal(again.networks.state_dict()[key], value), key


def test_the_file_names_mode_space_and_training(tmp_path) -> None:
    path = untrained_raw("smplx100", 100).save(tmp_path / "model.safetensors")
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    values = json.loads(header["values"])
    assert (header["format"], header["version"]) == ("expportrait.transfer", "1")
    assert values["config"]["mode"] == "raw"
    assert values["config"]["expression_space"] == "smplx100"
    assert values["training"] == "nothing"


def test_a_raw_model_of_another_space_is_refused_before_any_work(head, driver) -> None:
    with pytest.raises(ValueError, match="Choose a transfer model of that space"):
        transfer(head, driver, untrained_raw("smplx100", 100))


def test_files_that_are_no_transfer_model_are_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match="There is no file"):
        load_transfer_model(tmp_path / "missing.safetensors")
    other = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, other, metadata={"format": "expportrait.fit", "version": "1"})
    with pytest.raises(ValueError, match="expected 'expportrait.transfer'"):
        load_transfer_model(other)
    path = untrained().save(tmp_path / "model.safetensors")
    with safe_open(path, framework="pt") as file:
        tensors, header = {k: file.get_tensor(k) for k in file.keys()}, file.metadata()  # noqa: SIM118
    tensors.pop("points")
    save_file(tensors, path, metadata=header)
    with pytest.raises(ValueError, match="another version of this package"):
        load_transfer_model(path)


def test_configurations_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="mode is 'vertices'"):
        TransferConfig(mode="vertices")
    with pytest.raises(ValueError, match="must name its expression space"):
        TransferConfig(mode="raw")
