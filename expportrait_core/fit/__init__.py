"""Step 1: from pictures, clips and files to an `SMPLXFit`."""

from .crop import crop_portrait, fit_in_crop, paste_back, plan_crop
from .fit_file import save_fit
from .formats import load_fit
from .landmarks import FaceBox, detect_faces, face_landmarks, largest_face, segment_person
from .tracking import detect_landmarks, fit_landmarks, landmark_error_percent, track

__all__ = [
    "FaceBox", "crop_portrait", "detect_faces", "detect_landmarks", "face_landmarks", "fit_in_crop", "fit_landmarks",
    "landmark_error_percent", "largest_face", "load_fit", "paste_back", "plan_crop", "save_fit", "segment_person",
    "track",
]  # fmt: skip
