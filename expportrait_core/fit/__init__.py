"""Step 1: from pictures, clips and files to an `SMPLXFit`."""

from .colour import match_colours
from .core_landmarks import CoreLandmarks
from .crop import crop_portrait, fit_in_crop, paste_back, plan_crop
from .faces import FACES, choose_person, faces_in, follow_people
from .fit_file import save_fit
from .formats import load_fit
from .landmark_fit import fit_landmarks
from .landmarks import FaceBox, detect_faces, face_landmarks, largest_face, segment_person
from .mediapipe_source import MediaPipeMesh, MediaPipeTask
from .missing import MISSING, fill_missing
from .smoothing import GAPS, fill_gaps, smooth_fit
from .sources import BuiltInNetworks, LandmarkSource, SeenFace
from .tracking import detect_landmarks, landmark_error_percent, track

__all__ = [
    "FACES", "GAPS", "MISSING", "BuiltInNetworks", "CoreLandmarks", "FaceBox", "LandmarkSource", "MediaPipeMesh",
    "MediaPipeTask", "SeenFace", "choose_person", "crop_portrait", "detect_faces", "detect_landmarks",
    "face_landmarks", "faces_in", "fill_gaps", "fill_missing", "fit_in_crop", "fit_landmarks", "follow_people",
    "landmark_error_percent", "largest_face", "load_fit", "match_colours", "paste_back", "plan_crop", "save_fit",
    "segment_person", "smooth_fit", "track",
]  # fmt: skip
