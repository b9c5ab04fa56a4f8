"""Step 1: from pictures, clips and files to an `SMPLXFit`."""

from .colour import match_colours
from .crop import crop_portrait, fit_in_crop, paste_back, plan_crop
from .faces import FACES, choose_face, faces_in
from .fit_file import save_fit
from .formats import load_fit
from .gaps import insert_missing_frames, interpolate_gaps
from .joining import LOOPS, join_fits, loop_fit
from .landmarks import FaceBox, detect_faces, face_landmarks, largest_face, segment_person
from .retime import resample_fit, trim_fit
from .smoothing import GAPS, METHODS, fill_gaps, smooth_fit
from .tracking import detect_landmarks, fit_landmarks, landmark_error_percent, track

__all__ = [
    "FACES", "GAPS", "LOOPS", "METHODS", "FaceBox", "choose_face", "crop_portrait", "detect_faces", "detect_landmarks",
    "face_landmarks", "faces_in", "fill_gaps", "fit_in_crop", "fit_landmarks", "insert_missing_frames",
    "interpolate_gaps", "join_fits", "landmark_error_percent", "largest_face", "load_fit", "loop_fit", "match_colours",
    "paste_back", "plan_crop", "resample_fit", "save_fit", "segment_person", "smooth_fit", "track", "trim_fit",
]  # fmt: skip
