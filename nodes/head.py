"""From a fit to one person's head: Personalize Head, Load Head, Save Head."""

from __future__ import annotations

from dataclasses import replace

from comfy_api.latest import io

from .. import expportrait_core as core
from . import files
from .running import NodeProgress, frames_of, given_mask, rest_device, work_device
from .sockets import (
    HeadModel,
    ModelFit,
    PersonalizedHead,
    SmplxFit,
    clip_input,
    declare,
    require_choice,
    unknown_choice,
)

QUALITIES = ["draft", "standard", "fine"]  # the core's, as what follows; a test compares them
CONVENTIONS = ["y up (OpenGL)", "y down (DirectX)"]
HEAD_ENDING = "head.safetensors"
NO_HEAD = "no head file yet"  # what the choice shows where there is none


class PersonalizeHead(io.ComfyNode):
    """The paper's optimisation."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            node_id="ExpPortraitPersonalizeHead",
            display_name="Personalize Head",
            category="ExpPortrait/head",
            description="Makes the head of the person in the pictures: the fitted head, bent to their own shape.",
            search_aliases=["personalise", "identity", "avatar"],
            inputs=[
                SmplxFit.Input("fit", tooltip="The fit of the pictures, from Track Head or Crop Portrait."),
                clip_input("images", "The pictures that the fit belongs to."),
                io.Image.Input("normals", optional=True, tooltip="Normal maps of the pictures, for finer shape."),
                io.Image.Input("depth", optional=True, tooltip="Depth maps of the pictures, bright where it is near."),
                io.Mask.Input("mask", optional=True, tooltip="Where the person is, with hair and shoulders."),
                io.Combo.Input(
                    "quality",
                    options=QUALITIES,
                    default="standard",
                    tooltip="How long to search: a draft takes a third of the time, fine twice as long.",
                ),
                io.Combo.Input(
                    "normals_convention",
                    options=CONVENTIONS,
                    default=CONVENTIONS[0],
                    tooltip="How the normal maps are coloured: whether green means up or down.",
                ),
                io.Float.Input(
                    "identity_strength",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="How much of the person's own shape is kept: 0 none, 1 as found, more exaggerates.",
                ),
                io.Float.Input(
                    "wrinkle_strength",
                    default=1.0,
                    min=0.0,
                    max=2.0,
                    step=0.05,
                    tooltip="How much of the wrinkles found in the pictures is kept.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFF,
                    control_after_generate=False,  # a new seed each run would search for the same head again
                    tooltip="The order in which a clip's frames are looked at.",
                ),
            ],
            outputs=[
                PersonalizedHead.Output("head", display_name="head"),
                SmplxFit.Output("refined_fit", display_name="refined fit"),
                io.Image.Output("report_image", display_name="report image"),
                io.String.Output("report", display_name="report"),
            ],
        )

    @classmethod
    def validate_inputs(cls, quality: str | None = None, normals_convention: str | None = None) -> bool | str:
        wrong = unknown_choice("quality", quality, QUALITIES)
        return wrong or unknown_choice("normals convention", normals_convention, CONVENTIONS) or True

    @classmethod
    def execute(
        cls, fit: ModelFit, images, quality: str, normals_convention: str, identity_strength: float,
        wrinkle_strength: float, seed: int, normals=None, depth=None, mask=None,
    ) -> io.NodeOutput:  # fmt: skip
        from ..expportrait_core.head import QUALITIES as SETTINGS
        from ..expportrait_core.head import with_strength
        from ..expportrait_core.render import depth_from_picture, from_convention
        from ..expportrait_core.reports import head_report, head_summary

        require_choice("quality", quality, QUALITIES)
        pictures, _ = frames_of(images)
        mask = given_mask(mask)
        settings = replace(SETTINGS[quality], seed=seed)
        if normals is not None:
            normals = from_convention(normals[..., :3], normals_convention)
        if depth is not None:
            depth = depth_from_picture(depth[..., :3])
            settings = replace(settings, depth_alignment="scale_shift")
        device = work_device()
        head = core.personalize(
            fit.model.to(device), fit.fit, pictures, normals, depth, mask, settings, progress=NodeProgress()
        )
        head = with_strength(head.to(rest_device()), identity_strength, wrinkle_strength)
        refined = ModelFit(head.fit, head.model)
        return io.NodeOutput(head, refined, head_report(pictures, fit.fit, head)[None], head_summary(head))


class LoadHead(io.ComfyNode):
    """A head from a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            node_id="ExpPortraitLoadHead",
            display_name="Load Head",
            category="ExpPortrait/head",
            description="Reads a head that Save Head or the command line wrote.",
            inputs=[
                HeadModel.Input(
                    "head_model", optional=True, tooltip="The head model it was made with, if not the default head."
                ),
                io.Combo.Input(
                    "file",
                    options=files.saved_files(HEAD_ENDING) or [NO_HEAD],
                    tooltip="A file of the input or output folder whose name ends in head.safetensors.",
                ),
            ],
            outputs=[PersonalizedHead.Output("head", display_name="head")],
        )

    @classmethod
    def validate_inputs(cls, file: str | None = None) -> bool | str:
        if file == NO_HEAD:
            return "There is no head file yet: make one with Save Head, then press R to refresh the lists."
        return files.why_missing(file, "head file") or True

    @classmethod
    def fingerprint_inputs(cls, file: str | None = None, **_: object) -> float:
        return files.fingerprint(file)

    @classmethod
    def execute(cls, file: str, head_model=None) -> io.NodeOutput:
        return io.NodeOutput(core.load_head(files.saved_path(file), head_model))


class SaveHead(io.ComfyNode):
    """A head to a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            node_id="ExpPortraitSaveHead",
            display_name="Save Head",
            category="ExpPortrait/head",
            description="Writes a head into the output folder, where Load Head finds it.",
            inputs=[
                PersonalizedHead.Input("head", tooltip="The head to keep."),
                io.String.Input(
                    "filename_prefix",
                    default="expportrait/person",
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
    def execute(cls, head, filename_prefix: str) -> io.NodeOutput:
        path, entry = files.next_file(filename_prefix, HEAD_ENDING)
        head.save(path)
        return io.NodeOutput(ui={"files": [entry]})
