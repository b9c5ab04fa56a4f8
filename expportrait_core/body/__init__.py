"""The body model in SMPL-X layout: loading, posing, cropping, upsampling, regions, landmarks, the default head."""

from .landmarks import landmark_model, landmark_points
from .model import load_head_model, with_level
from .posing import axis_angle_to_matrix, matrix_to_axis_angle, neutral_vertices, pose_head, pose_motion, pose_vertices
from .teeth import has_teeth, with_teeth
from .upsampling import upsample

__all__ = [
    "axis_angle_to_matrix", "has_teeth", "landmark_model", "landmark_points", "load_head_model", "matrix_to_axis_angle",
    "neutral_vertices", "pose_head", "pose_motion", "pose_vertices", "upsample", "with_level", "with_teeth",
]  # fmt: skip
