"""From a picture and the moving head to a video: Photo Preview."""

from __future__ import annotations

from comfy_api.latest import io

from .. import expportrait_core as core
from .running import NodeProgress
from .sockets import HeadMotion, declare

BACKGROUNDS = ["fill", "keep", "transparent"]  # the core's; a test compares them


class PhotoPreview(io.ComfyNode):
    """The photo itself, moved by the head."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            node_id="ExpPortraitPhotoPreview",
            display_name="Photo Preview",
            category="ExpPortrait/generate",
            description="Moves the photo itself as the head moves: no generator, seconds instead of minutes.",
            search_aliases=["warp", "animate photo"],
            inputs=[
                io.Image.Input("picture", tooltip="The portrait that the head was made from."),
                HeadMotion.Input("motion", tooltip="The head and what moves it."),
                io.Mask.Input("mask", optional=True, tooltip="Where the person is; found in the picture if not given."),
                io.Int.Input("width", default=512, min=64, max=4096, step=8, tooltip="Width of the video in pixels."),
                io.Int.Input("height", default=512, min=64, max=4096, step=8, tooltip="Height of the video in pixels."),
                io.Combo.Input(
                    "background",
                    options=BACKGROUNDS,
                    default="fill",
                    tooltip="Whether the background is filled in behind the person, bends along, or is left out.",
                ),
            ],
            outputs=[
                io.Image.Output("images", display_name="images"),
                io.Mask.Output("person", display_name="mask"),
            ],
        )

    @classmethod
    def execute(cls, picture, motion, width: int, height: int, background: str, mask=None) -> io.NodeOutput:
        photo = picture[motion.portrait_frame :][:1] if len(picture) > 1 else picture
        frames, alpha = core.photo_preview(
            photo[..., :3], motion, mask, (height, width), background, progress=NodeProgress()
        )
        return io.NodeOutput(frames, alpha)
