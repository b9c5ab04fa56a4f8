"""From pictures, clips and files to fits: Load Head Model, Load SMPL-X Fit, Track Head, Save SMPL-X Fit."""

from __future__ import annotations

import folder_paths
from comfy_api.latest import io

from .. import expportrait_core as core
from . import files, fit_files
from .running import NodeProgress, frames_of
from .sockets import HeadModel, ModelFit, SmplxFit, clip_input, declare

FaceLandmarks = io.Custom("FACE_LANDMARKS")  # what ComfyUI's own nodes give

DEFAULT_HEAD = "default head (CC0)"
DEMO_PERFORMANCE = "demo performance (built-in)"
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


class LoadHeadModel(io.ComfyNode):
    """The built-in head, or a SMPL-X file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            node_id="ExpPortraitLoadHeadModel",
            display_name="Load Head Model",
            category="ExpPortrait/model",
            description="The 3D head that is fitted to people: the built-in one, or your own SMPL-X or FLAME file.",
            search_aliases=["SMPL-X", "FLAME", "body model"],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=[DEFAULT_HEAD, *files.head_models()],
                    default=DEFAULT_HEAD,
                    tooltip="The built-in head, or a SMPL-X or FLAME file that you put into the folder models/smplx.",
                ),
                io.Int.Input(
                    "upsampling_level",
                    default=1,
                    min=0,
                    max=2,
                    tooltip="How fine the surface is: 0 is coarse, 1 quick, 2 shows wrinkles best and takes longest.",
                ),
            ],
            outputs=[HeadModel.Output("head_model", display_name="head model")],
        )

    @classmethod
    def validate_inputs(cls, model: str | None = None) -> bool | str:
        if model in (None, DEFAULT_HEAD) or (isinstance(model, str) and folder_paths.get_full_path("smplx", model)):
            return True
        return f"There is no head model {model} in models/smplx. Put the file there, or choose the default head."

    @classmethod
    def execute(cls, model: str, upsampling_level: int) -> io.NodeOutput:
        source = "default" if model == DEFAULT_HEAD else folder_paths.get_full_path_or_raise("smplx", model)
        return io.NodeOutput(core.load_head_model(source, upsampling_level))


class LoadSMPLXFit(io.ComfyNode):
    """A performance from a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            node_id="ExpPortraitLoadSMPLXFit",
            display_name="Load SMPL-X Fit",
            category="ExpPortrait/fit",
            description="Reads a tracked performance, or the built-in one, to drive a head with.",
            search_aliases=["driving", "motion", "performance"],
            inputs=[
                HeadModel.Input("head_model", tooltip="The head model that the fit is going to move."),
                io.Combo.Input(
                    "file",
                    options=[DEMO_PERFORMANCE, *fit_files.fit_choices()],
                    default=DEMO_PERFORMANCE,
                    tooltip="A file or folder that a tracker or Save SMPL-X Fit wrote, or the built-in performance.",
                ),
                io.Int.Input(
                    "person",
                    default=-1,
                    min=-1,
                    max=9999,
                    optional=True,
                    tooltip="Which person, where a tracker followed several; -1 is the one in most frames.",
                ),
                HeadModel.Input(
                    "body_model",
                    optional=True,
                    tooltip="Your SMPL-X or FLAME file, where the fit has its expressions and another head is driven.",
                ),
            ],
            outputs=[
                SmplxFit.Output("fit", display_name="fit"),
                io.Int.Output("frame_count", display_name="frame count"),
                io.Float.Output("fps", display_name="fps"),
            ],
        )

    @classmethod
    def validate_inputs(cls, file: str | None = None) -> bool | str:
        if file in (None, DEMO_PERFORMANCE):  # None is a wire, which is not known yet
            return True
        return files.why_no_name(file) or fit_files.why_no_fit(file) or True

    @classmethod
    def fingerprint_inputs(cls, file: str | None = None, **_: object) -> str:
        return "" if file == DEMO_PERFORMANCE or files.why_no_name(file) else fit_files.fit_fingerprint(file)

    @classmethod
    def execute(cls, head_model, file: str, person: int = -1, body_model=None) -> io.NodeOutput:
        from ..expportrait_core.assets import PERFORMANCE

        if wrong := files.why_no_name(file):
            raise ValueError(wrong)
        built_in = file == DEMO_PERFORMANCE
        path, allowed = (PERFORMANCE, None) if built_in else (fit_files.fit_path(file), fit_files.may_read())
        who = person if person >= 0 else None
        fit = core.load_fit(path, head_model, who, body_model=body_model, allowed=allowed)
        return io.NodeOutput(ModelFit(fit, head_model), fit.num_frames, fit.fps)


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
                    tooltip="How much the motion is smoothed: 0 keeps every blink, 1 leaves only slow movement.",
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
        from ..expportrait_core.fit.smoothing import require_strength
        from ..expportrait_core.reports import fit_overlay

        require_strength(smoothing)  # before the clip is tracked
        pictures, fps = frames_of(images, fps)
        source = BuiltInNetworks() if landmarks is None else CoreLandmarks(landmarks)
        person = None if person_picture is None else person_picture[..., :3]
        fit = core.track(
            pictures, head_model, fps, focal or None, face, mask, NodeProgress(), missing_frames, face_number, person,
            source,
        )  # fmt: skip
        fit = fill_missing(smooth_fit(fit, smoothing), missing_frames)
        overlay = fit_overlay(pictures, fit, head_model, progress=NodeProgress())
        return io.NodeOutput(ModelFit(fit, head_model), overlay)


class SaveSMPLXFit(io.ComfyNode):
    """A fit to a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            node_id="ExpPortraitSaveSMPLXFit",
            display_name="Save SMPL-X Fit",
            category="ExpPortrait/fit",
            description="Writes a fit into the output folder, where Load SMPL-X Fit finds it.",
            inputs=[
                SmplxFit.Input("fit", tooltip="The fit to keep."),
                io.String.Input(
                    "filename_prefix",
                    default="expportrait/fit",
                    tooltip="Folder and beginning of the file's name inside the output folder.",
                ),
            ],
            outputs=[],
            is_output_node=True,
        )

    @classmethod
    def validate_inputs(cls, filename_prefix: str | None = None) -> bool | str:
        return files.why_no_prefix(filename_prefix) or True

    @classmethod
    def execute(cls, fit: ModelFit, filename_prefix: str) -> io.NodeOutput:
        from ..expportrait_core.fit import save_fit

        path, entry = files.next_file(filename_prefix, ".npz")
        save_fit(fit.fit, path)
        return io.NodeOutput(ui={"files": [entry]})
