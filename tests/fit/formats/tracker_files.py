"""Files laid out as the trackers write them, with known values, and their points projected in the trackers' own terms.

Nothing here uses the readers: every projection is written out in the convention of its tracker.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.transform import Rotation

FRAMES = 4  # the benchmark sets more
POINTS = np.array([[0.02, 0.03, 0.05], [-0.06, 0.08, 0.01], [0.0, -0.07, 0.06], [0.05, 0.0, -0.02]])


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def small(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(0, 0.1, shape).astype(np.float32)


def six(rotvec: np.ndarray) -> np.ndarray:
    """The first two rows of each rotation matrix, as PyTorch3D writes 6D rotations."""
    matrix = Rotation.from_rotvec(rotvec.reshape(-1, 3)).as_matrix()
    return matrix[:, :2].reshape(*rotvec.shape[:-1], 6).astype(np.float32)


def matrices(rotvec: np.ndarray) -> np.ndarray:
    return Rotation.from_rotvec(rotvec.reshape(-1, 3)).as_matrix().reshape(*rotvec.shape, 3).astype(np.float32)


def smplx_values(rng: np.random.Generator, frames: int | None = None) -> dict[str, np.ndarray]:
    """[F, 55, 3] poses and what goes with them."""
    frames = frames or FRAMES
    return {"poses": small(rng, frames, 55, 3), "trans": small(rng, frames, 3) + [0, 0, 2], "betas": small(rng, 10)}


def write_beat2(path: Path) -> dict:
    rng = random(1)
    values = {
        "betas": small(rng, 300), "poses": small(rng, FRAMES, 165), "expressions": small(rng, FRAMES, 100),
        "trans": small(rng, FRAMES, 3), "model": np.array("smplx2020"), "gender": np.array("neutral"),
        "mocap_frame_rate": np.array(30),
    }  # fmt: skip
    np.savez(path, **values)
    return values


def write_smplerx(root: Path, people: dict[int, list[int]] | None = None) -> dict:
    rng, people = random(2), people or {0: [0, 1, 2, 3]}
    (root / "smplx").mkdir(parents=True)
    (root / "meta").mkdir()
    written = {}
    for person, frames in people.items():
        values = smplx_values(rng, len(frames)) | {"expression": small(rng, len(frames), 10)}
        for row, frame in enumerate(frames):
            pose = values["poses"][row]
            np.savez(
                root / "smplx" / f"{frame:05}_{person}.npz",
                global_orient=pose[:1], body_pose=pose[1:22], left_hand_pose=pose[25:40], right_hand_pose=pose[40:],
                jaw_pose=pose[22:23], leye_pose=pose[23:24], reye_pose=pose[24:25],
                betas=values["betas"][None], expression=values["expression"][row][None],
                transl=values["trans"][row][None],
            )  # fmt: skip
            meta = {"focal": [1500.0 + frame, 1510.0], "princpt": [600.0 + frame, 350.0], "bbox_id": person,
                    "bbox": [300.0, 50.0, 450.0, 600.0], "bbox_mmdet": [310.0, 60.0, 400.0, 580.0],
                    "img_path": f"frames/{frame:06d}.jpg"}  # fmt: skip
            (root / "meta" / f"{frame:05}_{person}.json").write_text(json.dumps(meta, indent=4))
        written[person] = values
    return written


def write_exavatar(root: Path) -> dict:
    rng = random(3)
    values = smplx_values(rng) | {"expr": small(rng, FRAMES, 50), "betas": small(rng, 100)}
    values["R"] = matrices(small(rng, FRAMES, 3) * 5)
    optimised = root / "smplx_optimized"
    (optimised / "smplx_params").mkdir(parents=True)
    (root / "cam_params").mkdir()
    for frame in range(FRAMES):
        pose = values["poses"][frame].tolist()
        content = {"root_pose": pose[0], "body_pose": pose[1:22], "jaw_pose": pose[22], "leye_pose": pose[23],
                   "reye_pose": pose[24], "lhand_pose": pose[25:40], "rhand_pose": pose[40:],
                   "expr": values["expr"][frame].tolist(), "trans": values["trans"][frame].tolist()}  # fmt: skip
        (optimised / "smplx_params" / f"{frame}.json").write_text(json.dumps(content))
        camera = {"R": values["R"][frame].tolist(), "t": [0.1, -0.2, 3.0], "focal": [2000.0, 1990.0],
                  "princpt": [540.0, 960.0]}  # fmt: skip
        (root / "cam_params" / f"{frame}.json").write_text(json.dumps(camera))
    (optimised / "shape_param.json").write_text(json.dumps(values["betas"].tolist()))
    for name, rows in (("face_offset", 100), ("joint_offset", 55), ("locator_offset", 55)):
        (optimised / f"{name}.json").write_text(json.dumps(np.zeros((rows, 3)).tolist()))
    return values


def flame_values(rng: np.random.Generator, frames: int | None = None) -> dict[str, np.ndarray]:
    frames = frames or FRAMES
    return {"rotation": small(rng, frames, 3), "translation": small(rng, frames, 3), "neck_pose": small(rng, frames, 3),
            "jaw_pose": small(rng, frames, 3), "eyes_pose": small(rng, frames, 6), "shape": small(rng, 300),
            "expr": small(rng, frames, 100)}  # fmt: skip


def write_vhap(path: Path, size: tuple[int, int] = (800, 550), focal: float = 1.7) -> dict:
    rng = random(4)
    values = flame_values(rng)
    np.savez(
        path, **values, timestep_id=np.array([f"{i:05d}" for i in range(FRAMES)]), n_processed_frames=FRAMES,
        focal_length=np.array([focal], np.float32), tex=small(rng, 100), lights=small(rng, 9, 3),
        static_offset=small(rng, 1, 50, 3), image_size=np.array(size),
    )  # fmt: skip
    return values


def write_vhap_export(root: Path, frames: tuple[int, ...] = (0, 1, 2, 3)) -> tuple[dict, np.ndarray]:
    rng = random(5)
    values = flame_values(rng, len(frames))
    (root / "flame_param").mkdir(parents=True)
    turned = matrices(small(rng, len(frames), 3) * 3)
    poses = np.tile(np.eye(4), (len(frames), 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = turned, small(rng, len(frames), 3) + [0, 0, 1]
    entries = []
    for row, frame in enumerate(frames):
        clip = {key: values[key][[row]] for key in values if key != "shape"}
        np.savez(root / "flame_param" / f"{frame:05d}.npz", **clip, shape=values["shape"])
        entries.append({
            "timestep_index": frame, "timestep_index_original": frame, "timestep_id": f"{frame:05d}",
            "camera_index": 0, "camera_id": "0", "cx": 256.0, "cy": 300.0, "fl_x": 900.0, "fl_y": 910.0,
            "h": 600, "w": 512, "camera_angle_x": 0.5, "camera_angle_y": 0.6,
            "transform_matrix": poses[row].tolist(), "file_path": f"images/{frame:05d}_00.png",
            "flame_param_path": f"flame_param/{frame:05d}.npz",
        })  # fmt: skip
    np.savez(root / "canonical_flame_param.npz", shape=values["shape"], jaw_pose=np.array([[0.3, 0, 0]]))
    (root / "transforms.json").write_text(json.dumps({"frames": entries, "timestep_indices": list(frames)}))
    return values, poses


def frame_file(rng: np.random.Generator, number: int, kind: str) -> dict:
    """What Pixel3DMM and metrical-tracker put into one `.frame`."""
    jaw, neck, turn, eyes = small(rng, 1, 3), small(rng, 1, 3), small(rng, 1, 3) * 3, small(rng, 1, 2, 3)
    flame = {"exp": small(rng, 1, 100), "shape": small(random(9), 1, 300), "eyes": six(eyes).reshape(1, 12),
             "eyelids": small(rng, 1, 2), "jaw": six(jaw)}  # fmt: skip
    truth = {"jaw": jaw[0], "neck": neck[0], "eyes": eyes[0], "turn": turn[0], "exp": flame["exp"][0]}
    frame = {"img_size": np.array([512, 512]), "frame_id": number, "global_step": 10}
    shift = small(rng, 1, 3)
    if kind == "pixel3dmm":
        flame |= {"neck": six(neck), "R": six(turn), "R_rotation_matrix": matrices(turn), "t": shift}
        camera = {"R_base_0": matrices(small(rng, 1, 3)), "t_base_0": np.array([[0.01, -0.02, -1.0]], np.float32),
                  "fl": np.array([[3.9]], np.float32), "pp": np.array([[0.02, -0.03]], np.float32)}  # fmt: skip
        return {"flame": flame, **frame, "camera": camera, "joint_transforms": small(rng, 1, 5, 4, 4)}, truth
    # PyTorch3D: rows are points, x_view = x·R + T; R is near a half turn about y, which looks back along z
    rotation = (Rotation.from_rotvec(turn[0]) * Rotation.from_rotvec([0, np.pi, 0])).as_matrix()[None]
    position = np.array([[0.02, 0.01, 1.1]])
    flip = np.diag([-1.0, -1.0, 1.0])
    fl, pp = np.array([[9.5]]), np.array([[0.04, -0.03]])
    k = np.array([[[fl[0, 0] * 256, 0, 256 - pp[0, 0] * 256], [0, fl[0, 0] * 256, 256 - pp[0, 1] * 256], [0, 0, 1]]])
    flame |= {"tex": small(rng, 1, 140), "sh": small(rng, 1, 9, 3)}
    camera = {"R": six(turn), "t": position, "fl": fl, "pp": pp}
    opencv = {"R": flip @ rotation.transpose(0, 2, 1), "t": position @ flip, "K": k}
    truth |= {"R": rotation[0], "T": position[0]}
    return {"flame": flame, "camera": camera, "opencv": opencv, **frame}, truth


def write_frames(root: Path, kind: str, numbers: tuple[int, ...] = (0, 1, 2, 3)) -> tuple[list[dict], list[dict]]:
    rng = random(6)
    (root / "checkpoint").mkdir(parents=True)
    made = [frame_file(rng, number, kind) for number in numbers]
    for number, (content, _) in zip(numbers, made, strict=True):
        torch.save(content, root / "checkpoint" / f"{number:05d}.frame")
    return [content for content, _ in made], [truth for _, truth in made]


def write_ehm(root: Path, scale: float = 0.6, corner: tuple[float, float] = (120.0, 40.0), protocol: int = 4) -> dict:
    rng = random(7)
    root.mkdir(parents=True, exist_ok=True)
    to_full = np.array([[scale, 0, corner[0]], [0, scale, corner[1]], [0, 0, 1]])
    content = {}
    for frame in range(FRAMES):
        view = np.concatenate([matrices(small(rng, 1, 3) * 3)[0] @ np.diag([-1, 1, -1]), [[0.01], [0.02], [25.0]]], 1)
        content[f"frame_{frame:06d}"] = {
            "smplx_coeffs": {
                "exp": small(rng, 50), "global_pose": small(rng, 3), "body_pose": small(rng, 21, 3),
                "body_cam": small(rng, 3), "camera_RT_params": view.astype(np.float32),
                "left_hand_pose": small(rng, 15, 3), "right_hand_pose": small(rng, 15, 3)},
            "flame_coeffs": {
                "expression_params": small(rng, 50), "jaw_params": small(rng, 3), "pose_params": small(rng, 3),
                "neck_pose_params": np.zeros(3, np.float32), "eye_pose_params": small(rng, 6),
                "eyelid_params": small(rng, 2), "camera_RT_params": view.astype(np.float32), "cam": small(rng, 3)},
            "left_mano_coeffs": {"camera_RT_params": view}, "right_mano_coeffs": {},
            "body_crop": {"M_o2c": np.eye(3), "M_c2o": np.eye(3), "M_o2c-hd": np.linalg.inv(to_full),
                          "M_c2o-hd": to_full},
            "dwpose_rlt": {"keypoints": small(rng, 134, 2), "scores": small(rng, 134)},
        }  # fmt: skip
    shared = {"smplx_shape": small(rng, 1, 200), "flame_shape": small(rng, 1, 300),
              "joints_offset": small(rng, 1, 55, 3), "head_scale": np.ones((1, 3), np.float32),
              "hand_scale": np.ones((1, 3), np.float32),
              "left_mano_shape": small(rng, 1, 10), "right_mano_shape": small(rng, 1, 10)}  # fmt: skip
    (root / "optim_tracking_ehm.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    (root / "id_share_params.pkl").write_bytes(pickle.dumps(shared, protocol=protocol))
    return content | {"shared": shared}


def write_emica(root: Path, emoca: bool = False) -> list[dict]:
    rng, written = random(8), []
    for frame in range(FRAMES):
        folder = root / f"{frame:05d}_000"
        folder.mkdir(parents=True)
        values = {"shape": small(rng, 100 if emoca else 300), "exp": small(rng, 50 if emoca else 100),
                  "tex": small(rng, 50), "cam": np.array([9.0 + frame % 10, 0.01, -0.02], np.float32),
                  "lightcode": small(rng, 9, 3)}  # fmt: skip
        values |= {"pose": small(rng, 6)} if emoca else {"jawpose": small(rng, 3), "globalpose": small(rng, 3)}
        for key, value in values.items():
            np.save(folder / f"{key}.npy", value)
        written.append(values)
    return written


def write_smplifyx(root: Path, people: int = 1, vposer: bool = False, pca: bool = True) -> list[dict]:
    rng, written = random(10), []
    for frame in range(FRAMES):
        folder = root / "results" / f"img_{frame:04d}"
        folder.mkdir(parents=True)
        for person in range(people):
            hand = 12 if pca else 45
            content = {
                "camera_rotation": matrices(small(rng, 1, 3)), "camera_translation": small(rng, 1, 3) + [[0, 0, 15.0]],
                "betas": small(rng, 1, 10), "global_orient": small(rng, 1, 3), "left_hand_pose": small(rng, 1, hand),
                "right_hand_pose": small(rng, 1, hand), "jaw_pose": small(rng, 1, 3), "leye_pose": small(rng, 1, 3),
                "reye_pose": small(rng, 1, 3), "expression": small(rng, 1, 10),
                "body_pose": small(rng, 1, 32 if vposer else 63)}  # fmt: skip
            (folder / f"{person:03d}.pkl").write_bytes(pickle.dumps(content, protocol=2))
            written.append(content)
    return written


def write_delta(root: Path) -> list[dict]:
    rng, written = random(11), []
    root.mkdir(parents=True)
    for frame in range(FRAMES):
        content = {"shape": small(rng, 200), "full_pose": matrices(small(rng, 55, 3)), "light": small(rng, 9, 3),
                   "cam": np.array([1.6 + frame % 10 / 10, 0.02, 0.3], np.float32), "exp": small(rng, 100),
                   "tex": small(rng, 100)}  # fmt: skip
        (root / f"person_f{frame:06}_param.pkl").write_bytes(pickle.dumps(content, protocol=2))
        written.append(content)
    return written


def write_lhm(root: Path, size: tuple[int, int] = (1280, 720), ratio: float = 0.2) -> dict:
    rng = random(12)
    values = smplx_values(rng)
    (root / "smplx_params").mkdir(parents=True)
    padded = [round((1 + ratio) * side) for side in size]
    for frame in range(FRAMES):
        pose = values["poses"][frame].tolist()
        content = {"betas": values["betas"].tolist(), "root_pose": pose[0], "body_pose": pose[1:22],
                   "jaw_pose": pose[22], "leye_pose": pose[23], "reye_pose": pose[24],
                   "lhand_pose": pose[25:40], "rhand_pose": pose[40:], "trans": values["trans"][frame].tolist(),
                   "focal": [1400.0, 1400.0], "princpt": [padded[0] / 2, padded[1] / 2], "img_size_wh": padded,
                   "pad_ratio": ratio}  # fmt: skip
        (root / "smplx_params" / f"{frame + 1:05}.json").write_text(json.dumps(content))
    return values


def write_gvhmr(path: Path) -> dict:
    rng = random(13)
    k = np.tile(np.array([[1100.0, 0, 640], [0, 1100, 360], [0, 0, 1]], np.float32), (FRAMES, 1, 1))

    def body() -> dict[str, torch.Tensor]:
        return {"body_pose": torch.from_numpy(small(rng, FRAMES, 63)),
                "betas": torch.from_numpy(small(rng, FRAMES, 10)),
                "global_orient": torch.from_numpy(small(rng, FRAMES, 3)),
                "transl": torch.from_numpy(small(rng, FRAMES, 3)) + torch.tensor([0, 0, 3.0])}  # fmt: skip

    content = {"smpl_params_global": body(), "smpl_params_incam": body(), "K_fullimg": torch.from_numpy(k),
               "net_outputs": {"pred_cam": torch.zeros(FRAMES, 3)}}  # fmt: skip
    torch.save(content, path)
    return content
