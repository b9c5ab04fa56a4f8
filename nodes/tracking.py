"""From pictures and clips to fits: Track Head."""

from __future__ import annotations

from comfy_api.latest import io

from .. import expportrait_core as core
from .running import NodeProgress, frames_of
from .sockets import HeadModel, ModelFit, SmplxFit, clip_input, declare

FaceLandmarks = io.Custom("FACE_LANDMARKS")  # what ComfyUI's own nodes give

# The core's own lists: naming them here keeps the core's imports out of the server's start. A test compares them.
FACES = [
    "largest",
    "leftmost",
    "second from left",
    "third from left",
    "fourth from left",
    "rightmost",
    "centre",
    "like the picture",
    "by number",
]
MISSING = ["interpolate", "previous", "empty"]


class TrackHead(io.ComfyNode):
    """A fit from a picture or a clip."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            node_id="ExpPortraitTrackHead",
            display_name="Track Head",
            category="ExpPortrait/fit",
            description="Finds a face in a picture or clip, and the head model's shape, pose and expression in it.",
            search_aliases=["face tracking", "landmarks", "motion capture"],
            inputs=[
                HeadModel.Input("head_model", tooltip="The 3D head that is fitted to the face."),
                clip_input("images", "The picture or clip with the face."),
                io.Mask.Input("mask", optional=True, tooltip="Only a face whose middle is white here counts."),
                io.Float.Input(
                    "fps",
                    default=25.0,
                    min=1.0,
                    max=240.0,
                    step=0.01,
                    tooltip="Frames per second of the pictures; a video brings its own.",
                ),
                io.Combo.Input(
                    "face", options=FACES, default="largest", tooltip="Which face to take if there are several."
                ),
                io.Combo.Input(
                    "missing_frames",
                    options=MISSING,
                    default="interpolate",
                    tooltip="What frames without a face show: the way between their neighbours, the frame before, or a "
                    "resting face.",
                ),
                io.Float.Input(
                    "smoothing",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How much all but blinks is smoothed: 0 not at all, 1 leaves only slow movement.",
                ),
                io.Float.Input(
                    "focal",
                    default=0.0,
                    min=0.0,
                    max=100000.0,
                    step=1.0,
                    tooltip="The camera's focal length in pixels; 0 estimates it.",
                ),
                io.Int.Input(
                    "face_number",
                    default=1,
                    min=1,
                    max=64,
                    optional=True,
                    tooltip="Which face to take where the face is chosen by number: 1 is the largest, 2 the next.",
                ),
                io.Image.Input(
                    "person_picture",
                    optional=True,
                    tooltip="A picture of the person to follow, for the choice 'like the picture'.",
                ),
                FaceLandmarks.Input(
                    "landmarks",
                    optional=True,
                    tooltip="Landmarks that ComfyUI's MediaPipe Face Landmarker found in the same pictures.",
                ),
            ],
            outputs=[
                SmplxFit.Output("fit", display_name="fit"),
                io.Image.Output("overlay", display_name="overlay"),
            ],
        )

    @classmethod
    def execute(
        cls, head_model, images, fps: float, face: str, missing_frames: str, smoothing: float, focal: float, mask=None,
        face_number: int = 1, person_picture=None, landmarks=None,
    ) -> io.NodeOutput:  # fmt: skip
        from ..expportrait_core.fit import BuiltInNetworks, CoreLandmarks, fill_missing, smooth_fit
        from ..expportrait_core.fit.edit.smoothing import require_strength
        from ..expportrait_core.reports import fit_overlay

        require_strength(smoothing)  # before the clip is tracked
        pictures, fps = frames_of(images, fps)
        source = BuiltInNetworks() if landmarks is None else CoreLandmarks(landmarks)
        person = None if person_picture is None else person_picture[..., :3]
        fit = core.track(
            pictures, head_model, fps, focal or None, face, mask, NodeProgress(), missing_frames, face_number, person,
            source,
        )  # fmt: skip
        fit = fill_missing(smooth_fit(fit, smoothing, keep_blinks=True), missing_frames)
        overlay = fit_overlay(pictures, fit, head_model, progress=NodeProgress())
        return io.NodeOutput(ModelFit(fit, head_model), overlay)
