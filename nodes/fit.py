"""Head models and fits from files, and fits to them: Load Head Model, Load SMPL-X Fit, Save SMPL-X Fit."""

from __future__ import annotations

import folder_paths
from comfy_api.latest import io

from .. import expportrait_core as core
from . import files, fit_files
from .sockets import HeadModel, ModelFit, SmplxFit, declare

DEFAULT_HEAD = "default head (CC0)"
DEMO_PERFORMANCE = "demo performance (built-in)"


class LoadHeadModel(io.ComfyNode):
    """The built-in head, or a SMPL-X or FLAME file."""

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
                HeadModel.Input(
                    "second_body_model",
                    optional=True,
                    tooltip="The other one of your SMPL-X and FLAME files; ExAvatar and EHM-Tracker need both.",
                ),
                io.Boolean.Input(
                    "mirror",
                    default=False,
                    optional=True,
                    tooltip="Whether left and right of an ARKit recording are swapped.",
                ),
                io.Float.Input(
                    "source_fps",
                    default=0.0,
                    min=0.0,
                    max=100000.0,
                    step=0.001,
                    optional=True,
                    tooltip="Frames per second of the file, which messages call fps; 0 is what the file says.",
                ),
                io.Boolean.Input(
                    "legacy10",
                    default=False,
                    optional=True,
                    tooltip="Whether ten expression values are those of the old SMPL-X file that has only ten.",
                ),
                io.Int.Input(
                    "image_width",
                    default=0,
                    min=0,
                    max=1048576,
                    optional=True,
                    tooltip="Width of the tracked pictures in pixels, where a message asks for image_size; 0 is what "
                    "the file says.",
                ),
                io.Int.Input(
                    "image_height",
                    default=0,
                    min=0,
                    max=1048576,
                    optional=True,
                    tooltip="Height of the tracked pictures in pixels, where a message asks for image_size; 0 is what "
                    "the file says.",
                ),
                io.Float.Input(
                    "focal",
                    default=0.0,
                    min=0.0,
                    max=1000000.0,
                    step=1.0,
                    optional=True,
                    tooltip="The camera's focal length in pixels; 0 is what the file says.",
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
    def execute(
        cls, head_model, file: str, person: int = -1, body_model=None, second_body_model=None, mirror: bool = False,
        source_fps: float = 0.0, legacy10: bool = False, image_width: int = 0, image_height: int = 0,
        focal: float = 0.0,
    ) -> io.NodeOutput:  # fmt: skip
        from ..expportrait_core.assets import PERFORMANCE

        if wrong := files.why_no_name(file):
            raise ValueError(wrong)
        if bool(image_width) != bool(image_height):
            raise ValueError(
                f"image_width is {image_width} and image_height {image_height}, expected both, or 0 twice for what the "
                f"file says."
            )
        built_in = file == DEMO_PERFORMANCE
        path, allowed = (PERFORMANCE, None) if built_in else (fit_files.fit_path(file), fit_files.may_read())
        fit = core.load_fit(
            path, head_model, person if person >= 0 else None,
            image_size=(image_height, image_width) if image_width else None, focal=focal or None,
            fps=source_fps or None, mirror=mirror, legacy10=legacy10,
            body_model=[model for model in (body_model, second_body_model) if model is not None], allowed=allowed,
        )  # fmt: skip
        return io.NodeOutput(ModelFit(fit, head_model), fit.num_frames, fit.fps)


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
