"""Step 1: from pictures, clips and files to an `SMPLXFit`."""

from .colour import match_colours
from .controls import GROUPED, controls
from .crop import crop_mask, crop_portrait, fit_in_crop, paste_back, plan_crop
from .editing import MODES, edit_fit, most_changed, neutral_fit, scale_motion
from .faces import FACES, choose_face, faces_in, require_face, require_framing
from .fit_file import save_fit
from .formats import load_fit
from .gaps import insert_missing_frames, interpolate_gaps
from .joining import LOOPS, join_fits, loop_fit
from .keyframes import EASINGS, keyframe_fit, parse_keyframes
from .landmarks import FaceBox, detect_faces, face_landmarks, largest_face, segment_person
from .presets import Preset, load_preset, preset_names, preset_with, save_preset
from .retime import resample_fit, trim_fit
from .smoothing import GAPS, METHODS, fill_gaps, smooth_fit
from .tracking import detect_landmarks, fit_landmarks, landmark_error_percent, track

__all__ = [
    "EASINGS", "FACES", "GAPS", "GROUPED", "LOOPS", "METHODS", "MODES", "FaceBox", "Preset", "choose_face",
    "controls", "crop_mask", "crop_portrait", "detect_faces", "detect_landmarks", "edit_fit", "face_landmarks",
    "faces_in", "fill_gaps", "fit_in_crop", "fit_landmarks", "insert_missing_frames", "interpolate_gaps", "join_fits",
    "keyframe_fit", "landmark_error_percent", "largest_face", "load_fit", "load_preset", "loop_fit", "match_colours",
    "most_changed", "neutral_fit", "parse_keyframes", "paste_back", "plan_crop", "preset_names", "preset_with",
    "require_face", "require_framing", "resample_fit", "save_fit", "save_preset", "scale_motion", "segment_person",
    "smooth_fit", "track", "trim_fit",
]  # fmt: skip
