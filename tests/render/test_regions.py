"""Region maps: the palette, what is where on a head, irises that turn with the eyes, the same from every back end."""

from __future__ import annotations

import pytest
import torch

from expportrait_core.body import landmark_points, load_head_model, pose_motion, with_level
from expportrait_core.body import regions as parts
from expportrait_core.render import (
    DETAILS,
    REGIONS,
    RegionLayout,
    interpolate,
    pictures_numba,
    region_picture,
    render_normals,
    stream_normals,
    visible_triangles,
)
from expportrait_core.render.regions import COARSE, EYES, IRISES, NAMES, PUPILS, most_seen
from expportrait_core.types import (
    HEAD,
    JAW,
    LEFT_EYE,
    NUM_JOINTS,
    RIGHT_EYE,
    HeadModel,
    HeadMotion,
    PersonalizedHead,
    SMPLXFit,
)

from ..body.smplx_file import write_bare_head
from .meshes import look

ANCHORS = {  # MediaPipe's points
    "face": (1, 10, 50, 280, 152, 205, 425, 9),
    "lips": (12, 15, 16, 11),
}


def motion_of(
    model: HeadModel,
    size: int = 128,
    gaze: tuple[tuple[float, float], ...] = ((0.0, 0.0),),  # radians down and to the person's left, of each frame
    jaw: float = 0.0,
    focal: float = 2.2,
) -> HeadMotion:
    frames = len(gaze)
    poses = torch.zeros(frames, NUM_JOINTS, 3)
    poses[:, JAW, 0] = jaw
    poses[:, [LEFT_EYE, RIGHT_EYE], :2] = torch.tensor(gaze)[:, None]
    camera = look((size, size), 0.7, focal, frames)
    middle = model.joint_template[[JAW, LEFT_EYE, RIGHT_EYE]].mean(0)
    camera.world_to_camera[:, :3, 3] -= camera.world_to_camera[0, :3, :3] @ middle
    expression, betas = torch.zeros(frames, model.expression_basis.shape[2]), torch.zeros(1)
    fit = SMPLXFit(betas, expression, poses, torch.zeros(frames, 3), camera, model.expression_space, model.model_id)
    zeros = torch.zeros(model.num_vertices, 3)
    head = PersonalizedHead(
        model, betas, zeros, zeros.expand(frames, -1, -1), fit, model.upsampling.level, model.model_id
    )
    return HeadMotion(head, expression, poses, torch.zeros(frames, 3), camera)


def test_the_palette_is_settled_and_its_colours_far_apart() -> None:
    """Numbers and colours are in people's graphs and data sets: new regions may come, at the end."""
    assert list(REGIONS)[:13] == [
        "background", "face", "scalp", "neck", "shoulders", "eyes", "irises", "pupils", "lips", "ears",
        "mouth interior", "teeth", "tongue",
    ]  # fmt: skip
    colours = torch.tensor(list(REGIONS.values()), dtype=torch.float32)
    apart = torch.cdist(colours, colours) + 1e3 * torch.eye(len(colours))
    assert apart.min() > 60 and REGIONS["background"] == (0, 0, 0)
    fine = region_picture(torch.arange(13, dtype=torch.uint8).view(1, 1, 13))
    assert torch.equal((fine * 255).round()[0, 0], colours)
    coarse = region_picture(torch.arange(13, dtype=torch.uint8).view(1, 1, 13), "coarse")[0, 0]
    assert len(coarse.unique(dim=0)) == 7  # the six of a bust, and the background
    for finer, coarser in COARSE.items():
        assert torch.equal(coarse[NAMES.index(finer)], fine[0, 0, NAMES.index(coarser)])
    assert DETAILS == ("fine", "coarse")
    with pytest.raises(ValueError, match="'rough', expected one of fine, coarse"):
        region_picture(torch.zeros(1, 1, 1, dtype=torch.uint8), "rough")


def test_regions_lie_where_a_head_has_them(head_model: HeadModel) -> None:
    motion = motion_of(head_model, size=256, jaw=0.3, focal=1.3)
    maps = render_normals(motion, 256, 1, regions=True)
    regions, vertices = maps.regions[0], pose_motion(motion, 0, 1)
    assert torch.equal(regions > 0, maps.mask[0] > 0)
    points = landmark_points(vertices, head_model.faces, head_model.landmarks["mediapipe478"])
    corners = motion.camera.project(points)[0]
    column, row = (corners[:, :2] / corners[:, 2:]).long().t()
    for name, numbers in ANCHORS.items():
        found = {NAMES[regions[row[n], column[n]]] for n in numbers}
        assert found == {name}
    rows = {name: (regions == number).nonzero()[:, 0].float().mean() for number, name in enumerate(NAMES)}
    assert rows["scalp"] < rows["irises"] < rows["lips"] < rows["neck"] < rows["shoulders"]
    assert rows["eyes"] < rows["mouth interior"] and rows["irises"] < rows["tongue"]
    assert regions.unique().tolist() == list(range(13))
    assert (regions == NAMES.index("teeth")).sum() > 10
    columns = (regions == NAMES.index("ears")).nonzero()[:, 1]
    assert (columns < 128).any() and (columns > 128).any()  # one on each side


@pytest.mark.parametrize(("part", "nod"), [(parts.UPPER_TEETH, -0.4), (parts.LOWER_TEETH, 0.2)])
def test_both_rows_of_teeth_are_teeth(coarse_head: HeadModel, part: int, nod: float) -> None:
    """With the upper lip raised, the upper row is seen from below, and the lower one from above."""
    motion = motion_of(coarse_head, size=256, jaw=0.3, focal=4)
    expression = torch.zeros_like(motion.expression)
    for unit in ("mouthUpperUpLeft", "mouthUpperUpRight"):
        expression[:, coarse_head.expression_names.index(unit)] = 1
    poses = motion.poses.clone()
    poses[:, HEAD, 0] = nod
    motion = motion.replace(expression=expression, poses=poses)
    regions = render_normals(motion, 256, 1, regions=True).regions[0]
    ids = visible_triangles(motion.camera.project(pose_motion(motion, 0, 1)), coarse_head.fine_faces, 256, 256)[0]
    seen = torch.where(ids >= 0, coarse_head.parts[coarse_head.fine_faces[ids.clamp(min=0).long(), 0]], -1)
    assert (seen == part).sum() > 20
    assert (regions[seen == part] == NAMES.index("teeth")).all()


def test_the_hairline_lies_above_the_forehead(head_model: HeadModel) -> None:
    """The face mesh ends at the hairline (landmark 10), whose forehead is face and behind which is scalp."""
    motion = motion_of(head_model, size=256, focal=1.3)
    regions = render_normals(motion, 256, 1, regions=True).regions[0]
    points = landmark_points(pose_motion(motion, 0, 1), head_model.faces, head_model.landmarks["mediapipe478"])
    corners = motion.camera.project(points)[0]
    column, row = (corners[:, :2] / corners[:, 2:]).long().t()
    height = int(row[152] - row[10])  # of the face
    above = regions[: int(row[10]), column[10]]
    scalp = (above == NAMES.index("scalp")).nonzero()[:, 0]
    assert NAMES[regions[row[151], column[151]]] == "face" and len(scalp) > 0.1 * height
    assert 0.08 * height < int(row[10]) - int(scalp.max()) < 0.2 * height


@pytest.mark.parametrize("level", [0, 1])
def test_neck_and_shoulders_meet_in_a_smooth_line(level: int, head_model: HeadModel) -> None:
    """Seen from the front it falls, rises to the middle and the same on the other side, and does nothing else."""
    motion = motion_of(with_level(head_model, level), size=512, focal=1.3)
    regions = render_normals(motion, 512, 1, regions=True).regions[0]
    neck = regions == NAMES.index("neck")
    columns = neck.any(0).nonzero()[:, 0]
    lowest = torch.stack([neck[:, column].nonzero()[-1, 0] for column in columns])
    border = lowest[regions[(lowest + 1), columns] == NAMES.index("shoulders")]
    turns = border.diff()[border.diff() != 0].sign().diff() != 0
    assert len(border) > 100 and turns.sum() <= 3


def test_a_sample_has_the_region_with_the_largest_share(coarse_head: HeadModel) -> None:
    """The short cut by triangles that show one region alone, against shares interpolated everywhere."""
    motion = motion_of(coarse_head, size=160)
    layout, corners = RegionLayout.of(coarse_head), motion.camera.project(pose_motion(motion, 0, 1))
    ids = visible_triangles(corners, coarse_head.fine_faces, 160, 160)
    found = layout.seen(ids, corners)
    share = interpolate(corners, layout.share[None], coarse_head.fine_faces, ids)
    first, second = share.topk(2, dim=-1).values.unbind(-1)
    clear = (ids >= 0) & (first - second > 1e-3) & ~torch.isin(found, torch.tensor([IRISES, PUPILS], dtype=torch.uint8))
    assert clear.float().mean() > 0.3
    assert torch.equal(found[clear].long(), share.argmax(-1)[clear])
    assert (found[ids < 0] == 0).all()
    assert torch.allclose(layout.share.sum(1), torch.ones(len(layout.share)), atol=1e-4)
    assert (layout.alone == 255).float().mean() < 0.3  # or the short cut were none


@pytest.mark.parametrize("level", [0, 1])
def test_irises_turn_with_the_eyes(level: int, head_model: HeadModel) -> None:
    """Their centre is where the turned optical axis leaves the ball, and they are as wide as people's, 11.8 mm."""
    model = with_level(head_model, level)
    gazes = ((0.0, 0.0), (0.0, 0.25), (0.0, -0.25))
    motion = motion_of(model, size=512, gaze=gazes, focal=6.0)
    regions = render_normals(motion, 512, 1, regions=True).regions
    ball = model.parts == 4
    low, high = model.template[ball].aminmax(dim=0)
    centre, radius = (low + high) / 2, float((high - low).mean() / 2)
    for frame, (_, yaw) in enumerate(gazes):
        axis = torch.tensor([torch.tensor(yaw).sin(), 0.0, torch.tensor(yaw).cos()])
        tip = motion.camera[frame : frame + 1].project((centre + radius * axis)[None, None])[0, 0]
        iris = (regions[frame] == IRISES) | (regions[frame] == PUPILS)
        iris[:, : iris.shape[1] // 2] = False  # the person's left eye is on the right
        across = iris.nonzero()[:, 1].float()
        middle = (across.min() + across.max() + 1) / 2
        width = float(across.max() - across.min() + 1)
        expected = 0.0118 * 6.0 * 512 / float(tip[2]) * abs(float(axis[2]))
        assert abs(float(middle - tip[0] / tip[2])) < 0.06 * expected + 1.5
        assert abs(width / expected - 1) < 0.15
        pupil = (regions[frame] == PUPILS).nonzero()[:, 1].float()
        pupil = pupil[pupil > 256]
        assert abs(float(pupil.mean() - middle)) < 0.1 * expected + 1
    assert (regions == EYES).any()


def test_a_model_keeps_its_layout_and_another_does_not(coarse_head: HeadModel) -> None:
    layout = RegionLayout.of(coarse_head)
    assert RegionLayout.of(coarse_head) is layout and coarse_head.to("cpu") is coarse_head
    other = coarse_head.replace(parts=torch.zeros_like(coarse_head.parts))
    assert not torch.equal(RegionLayout.of(other).share, layout.share)
    with torch.inference_mode():
        assert not RegionLayout.of(other.replace(model_id="again")).share.is_inference()


def test_back_ends_threads_chunks_parts_and_bands_give_the_same_regions(
    coarse_head: HeadModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numba")
    motion = motion_of(coarse_head, 96, gaze=((0, 0), (0, 0.3), (0.2, 0)), jaw=0.2)
    before = torch.get_num_threads()
    fast = render_normals(motion, 96, 2, regions=True).regions
    try:
        torch.set_num_threads(2)
        again = render_normals(motion, 96, 2, chunk=2, regions=True).regions
    finally:
        torch.set_num_threads(before)
    plain = render_normals(motion, 96, 2, regions=True, backend="torch").regions
    parts = torch.cat([part.regions for part in stream_normals(motion, 96, 2, chunk=2, regions=True)])
    monkeypatch.setattr(pictures_numba, "CANVAS_BYTES", before * 8 * 2**2 * 96 * 10)  # ten rows of pixels
    banded = render_normals(motion, 96, 2, regions=True).regions
    assert fast.dtype == torch.uint8
    assert torch.equal(fast, again) and torch.equal(fast, parts) and torch.equal(fast, banded)
    head = (fast > 0) | (plain > 0)
    assert torch.equal(fast > 0, plain > 0) and head.float().mean() > 0.2
    assert (fast == plain)[head].float().mean() > 0.9995  # sums of three products may round to a border's other side
    assert render_normals(motion, 96, 1).regions is None


def test_a_pixel_has_the_region_that_most_of_its_samples_show() -> None:
    samples = torch.tensor([[[3, 3, 1, 2], [3, 3, 2, 2], [5, 4, 0, 7], [4, 5, 7, 0]]], dtype=torch.uint8)
    assert most_seen(samples, 2).tolist() == [[[3, 2], [4, 0]]]  # of equally many, the lowest
    assert torch.equal(most_seen(samples, 1), samples)
    noise = torch.randint(0, 4, (2, 9, 12), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    blocks = noise.unflatten(1, (3, 3)).unflatten(3, (4, 3)).permute(0, 1, 3, 2, 4).flatten(3)
    counts = torch.stack([(blocks == n).sum(3) for n in range(4)], -1)
    assert torch.equal(most_seen(noise, 3).long(), counts.argmax(-1))


def test_a_model_that_names_no_parts_has_regions_all_the_same(tmp_path, coarse_head: HeadModel) -> None:
    """The default head as a SMPL-X file would hold it, against the default head itself."""
    path, _ = write_bare_head(tmp_path / "SMPLX_NEUTRAL.npz")
    bare, full = (render_normals(motion_of(model, 320, jaw=0.2, focal=1.3), 320, 1, regions=True).regions
                  for model in (load_head_model(path, level=0), coarse_head))  # fmt: skip
    named = {NAMES[n] for n in bare.unique().tolist()}
    assert named == set(NAMES) - {"tongue"}  # which is called the inside of the mouth
    full[full == NAMES.index("tongue")] = NAMES.index("mouth interior")
    for name in set(NAMES) - {"tongue", "lips", "mouth interior"}:
        one, other = (regions == NAMES.index(name) for regions in (bare, full))
        assert (one & other).sum() > 0.85 * (one | other).sum() > 0, name
    # the lips' borders are drawn elsewhere by a millimetre or two
    for names, least in ((("lips",), 0.7), (("mouth interior",), 0.75), (("lips", "mouth interior", "teeth"), 0.85)):
        one, other = (torch.isin(regions, torch.tensor([NAMES.index(n) for n in names])) for regions in (bare, full))
        assert (one & other).sum() > least * (one | other).sum() > 0, names
