"""Other spaces and conventions of normals, and depth as a picture."""

from __future__ import annotations

import pytest
import torch

from expportrait_core import load_fit
from expportrait_core.assets import PERFORMANCE
from expportrait_core.body import axis_angle_to_matrix
from expportrait_core.render import (
    CONVENTIONS,
    OBJECT_CONVENTION,
    depth_from_picture,
    depth_picture,
    depth_span,
    from_convention,
    render_normals,
)  # fmt: skip
from expportrait_core.types import HEAD, HeadMotion, PersonalizedHead


@pytest.fixture(scope="module")
def motion(coarse_head):
    fit = load_fit(PERFORMANCE, coarse_head).frames([0, 0])
    zeros = torch.zeros(2, coarse_head.num_vertices, 3)
    head = PersonalizedHead(coarse_head, fit.betas, zeros[0], zeros, fit, 0, coarse_head.model_id)
    return HeadMotion(head, fit.expression, fit.poses, fit.translation, fit.camera)


@pytest.mark.parametrize("backend", ["numba", "torch"])
def test_normals_of_the_head_turn_with_it(motion, backend: str) -> None:
    """A turn by 0.4 radians turns camera space against the head's own by as much."""
    if backend == "numba":
        pytest.importorskip("numba")
    turned = motion.poses.clone()
    turned[1, HEAD] = torch.tensor([0.0, 0.4, 0.0]) + turned[0, HEAD]
    moving = motion.replace(poses=turned)
    camera = render_normals(moving, size=96, supersampling=1)
    own = render_normals(moving, size=96, supersampling=1, space="object", backend=backend)
    assert own.convention == OBJECT_CONVENTION != camera.convention
    assert torch.equal(own.mask, camera.mask)
    azimuth = {}
    for name, maps in (("camera", camera), ("own", own)):
        means = [n[m > 0.99].mean(0) * 2 - 1 for n, m in zip(maps.normals, maps.mask)]
        azimuth[name] = [torch.atan2(mean[0], mean[2]) for mean in means]
    lag = [camera - own for camera, own in zip(azimuth["camera"], azimuth["own"])]
    assert abs(float(lag[1] - lag[0]) - 0.4) < 0.03  # how far the two spaces have turned against each other


def test_an_unturned_head_has_the_same_normals_in_both(motion) -> None:
    """With no rotation anywhere, canonical and camera axes differ by the camera's own rotation alone."""
    still = motion.replace(poses=torch.zeros_like(motion.poses))
    to_world = axis_angle_to_matrix(torch.tensor([torch.pi, 0.0, 0.0])).expand(2, 3, 3)
    pose = still.camera.world_to_camera.clone()
    pose[:, :3, :3] = to_world
    straight = still.replace(camera=still.camera.replace(world_to_camera=pose))
    pictures = [
        render_normals(straight, size=64, supersampling=1, space=space).normals for space in ("camera", "object")
    ]
    assert torch.allclose(*pictures, atol=1e-4)


def test_depth_picture_is_bright_where_it_is_near_and_has_a_way_back() -> None:
    depth = torch.tensor([[[0.0, 0.5], [0.75, 1.0]]])
    picture = depth_picture(depth)
    assert picture.shape == (1, 2, 2, 3)
    values = picture[0, ..., 0].flatten()
    assert values[0] == 0 and values[1] == 1 and values[1] > values[2] > values[3] > 0
    back = depth_from_picture(picture)[0].flatten()
    assert back[0] == 0 and back[1] < back[2] < back[3]
    assert torch.isclose((back[2] - back[1]) / (back[3] - back[1]), torch.tensor(0.5))
    assert depth_picture(torch.zeros(1, 2, 2)).max() == 0


def test_parts_of_a_clip_share_one_span_of_depth() -> None:
    depth = torch.tensor([[[0.0, 0.5], [0.75, 1.0]], [[0.6, 0.0], [0.7, 0.8]]])
    span = depth_span(depth)
    assert span == (0.5, 1.0) and depth_span(torch.zeros(1, 2, 2)) is None
    parts = torch.cat([depth_picture(part[None], span) for part in depth])
    assert torch.equal(parts, depth_picture(depth))
    beyond = depth_picture(torch.tensor([[[0.1, 2.0]]]), span)[0, 0, :, 0]
    assert torch.allclose(beyond, torch.tensor([1.0, 0.05])) and depth_picture(torch.zeros(1, 2, 2), span).max() == 0


def test_directx_normals_are_turned_into_ours() -> None:
    picture = torch.tensor([[0.5, 0.8, 0.9], [0.0, 0.0, 0.0]])
    assert from_convention(picture, CONVENTIONS[0]) is picture
    assert torch.allclose(from_convention(picture, CONVENTIONS[1]), torch.tensor([[0.5, 0.2, 0.9], [0, 0, 0]]))
    with pytest.raises(ValueError, match="sideways"):
        from_convention(picture, "sideways")
