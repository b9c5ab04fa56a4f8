"""Into the square around the head and back into the whole picture: Crop Portrait, Paste Back."""

from __future__ import annotations

from comfy_api.latest import io
from comfy_execution.graph_utils import ExecutionBlocker

from .. import expportrait_core as core
from .running import NodeProgress, frames_of, given_mask
from .sockets import HeadCrop, ModelFit, SmplxFit, clip_input, declare

NO_MASK_GIVEN = "Crop Portrait has no mask to crop. Connect one to it, or disconnect its mask here."


class CropPortrait(io.ComfyNode):
    """A stable square around the head."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            node_id="ExpPortraitCropPortrait",
            display_name="Crop Portrait",
            category="ExpPortrait/finish",
            description="Cuts a square around the head out of every picture, and moves the fit along.",
            inputs=[
                clip_input("images", "The pictures that were tracked."),
                SmplxFit.Input("fit", tooltip="The fit of these pictures."),
                io.Float.Input(
                    "face_share",
                    default=0.55,
                    min=0.1,
                    max=0.95,
                    step=0.01,
                    tooltip="How much of the square's side the face takes.",
                ),
                io.Float.Input(
                    "stability",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="1 keeps one square for the whole clip, 0 follows the face.",
                ),
                io.Int.Input("size", default=512, min=64, max=4096, step=8, tooltip="Side of the square in pixels."),
                io.Mask.Input("mask", optional=True, tooltip="Where the person is, to be cropped like the pictures."),
            ],
            outputs=[
                io.Image.Output("image", display_name="image"),
                SmplxFit.Output("fit_in_crop", display_name="fit"),
                HeadCrop.Output("crop", display_name="crop"),
                io.Mask.Output("mask_in_crop", display_name="mask"),
            ],
        )

    @classmethod
    def execute(cls, images, fit: ModelFit, face_share: float, stability: float, size: int, mask=None) -> io.NodeOutput:
        from ..expportrait_core.fit import crop_mask

        pictures, _ = frames_of(images)
        mask = given_mask(mask)
        square, moved, crop = core.crop_portrait(
            pictures, fit.fit, fit.model, size, face_share, stability, progress=NodeProgress()
        )
        cropped = ExecutionBlocker(NO_MASK_GIVEN) if mask is None else crop_mask(mask, crop)
        return io.NodeOutput(square, ModelFit(moved, fit.model), crop, cropped)


class PasteBack(io.ComfyNode):
    """New pictures of the square, put back where it was cut out."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            node_id="ExpPortraitPasteBack",
            display_name="Paste Back",
            category="ExpPortrait/finish",
            description="Puts the animated square back into the whole picture.",
            inputs=[
                io.Image.Input("images", tooltip="The animated square, in any size."),
                HeadCrop.Input("crop", tooltip="Where the square was cut out, from Crop Portrait."),
                clip_input("source", "The whole picture or clip that was cropped."),
                io.Float.Input(
                    "feather",
                    default=0.06,
                    min=0.0,
                    max=0.5,
                    step=0.01,
                    tooltip="How much of the square's side blends into the picture.",
                ),
                io.Float.Input(
                    "colour_match",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="How much the square's colours are drawn to the picture's around its edge.",
                ),
            ],
            outputs=[io.Image.Output("image", display_name="image")],
        )

    @classmethod
    def execute(cls, images, crop, source, feather: float, colour_match: float) -> io.NodeOutput:
        from ..expportrait_core.fit import match_colours

        whole, _ = frames_of(source)
        square = match_colours(images[..., :3], crop, whole, colour_match, progress=NodeProgress())
        return io.NodeOutput(core.paste_back(square, crop, whole, feather, progress=NodeProgress()))
