"""Step 1: from pictures, clips and files to an `SMPLXFit`."""

from .colour import match_colours
from .crop import crop_mask, crop_portrait, fit_in_crop, paste_back, plan_crop
from .detect.core_landmarks import CoreLandmarks
from .detect.face_boxes import FaceBox, largest_face
from .detect.face_detector import detect_faces
from .detect.face_mesh import face_landmarks
from .detect.faces import FACES, choose_person, faces_in, follow_people
from .detect.mediapipe_source import MediaPipeMesh, MediaPipeTask
from .detect.silhouette import segment_person
from .detect.sources import BuiltInNetworks, LandmarkSource, SeenFace
from .edit.controls import GROUPED, controls
from .edit.editing import MODES, edit_fit, most_changed, neutral_fit
from .edit.gains import scale_motion
from .edit.gaps import insert_missing_frames, interpolate_gaps
from .edit.joining import LOOPS, join_fits, loop_fit
from .edit.keyframes import EASINGS, keyframe_fit, parse_keyframes
from .edit.missing import MISSING, fill_missing
from .edit.presets import Preset, load_preset, preset_names, preset_with, require_preset_name, save_preset
from .edit.retime import resample_fit, trim_fit
from .edit.smoothing import METHODS, smooth_fit
from .fit_file import save_fit
from .formats import load_fit
from .framing import require_face, require_framing
from .tracker.landmark_fit import fit_landmarks
from .tracker.tracking import detect_landmarks, landmark_error_percent, track

__all__ = [
    "EASINGS", "FACES", "GROUPED", "LOOPS", "METHODS", "MISSING", "MODES", "BuiltInNetworks", "CoreLandmarks",
    "FaceBox", "LandmarkSource", "MediaPipeMesh", "MediaPipeTask", "Preset", "SeenFace", "choose_person", "controls",
    "crop_mask", "crop_portrait", "detect_faces", "detect_landmarks", "edit_fit", "face_landmarks", "faces_in",
    "fill_missing", "fit_in_crop", "fit_landmarks", "follow_people", "insert_missing_frames", "interpolate_gaps",
    "join_fits", "keyframe_fit", "landmark_error_percent", "largest_face", "load_fit", "load_preset", "loop_fit",
    "match_colours", "most_changed", "neutral_fit", "parse_keyframes", "paste_back", "plan_crop", "preset_names",
    "preset_with", "require_face", "require_framing", "require_preset_name", "resample_fit", "save_fit", "save_preset",
    "scale_motion", "segment_person", "smooth_fit", "track", "trim_fit",
]  # fmt: skip
