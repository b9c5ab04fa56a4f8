"""A moving head as pictures: Render Normals."""

from __future__ import annotations

from comfy_api.latest import io

from .running import NodeProgress, rest_device, work_device
from .sockets import HeadMotion, declare

SPACES = ["camera", "object"]  # the core's; a test compares them, and the conventions that the description states
DETAILS = ["fine", "coarse"]


class RenderNormals(io.ComfyNode):
    """Driving normals of every frame, and the reference normals of the portrait."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            node_id="ExpPortraitRenderNormals",
            display_name="Render Normals",
            category="ExpPortrait/render",
            description="Draws the moving head as normal maps, and the portrait's own pose as the reference. Normals "
            "are in camera space, +x right, +y up, +z towards the viewer; n*0.5+0.5; background 0,0,0 (the object "
            "space is head space, +x to the head's left, +y up, +z out of the face). Depth is bright where it is "
            "near, on one scale for the whole clip. Regions have one colour each and are never blended.",
            search_aliases=["normal map", "depth", "pose video", "segmentation", "region map"],
            inputs=[
                HeadMotion.Input("motion", tooltip="The head and what moves it."),
                io.Int.Input(
                    "width", default=512, min=64, max=4096, step=2, tooltip="Width of the pictures in pixels."
                ),
                io.Int.Input(
                    "height", default=512, min=64, max=4096, step=2, tooltip="Height of the pictures in pixels."
                ),
                io.Combo.Input(
                    "space",
                    options=SPACES,
                    default="camera",
                    tooltip="Whether colours show directions as the camera sees them, which the generators read, or "
                    "turn with the head.",
                ),
                io.Int.Input(
                    "supersampling",
                    default=2,
                    min=1,
                    max=4,
                    tooltip="Samples along each side of a pixel: more make smoother edges and take longer.",
                ),
                io.Combo.Input(
                    "region_map",
                    options=DETAILS,
                    default="fine",
                    optional=True,
                    tooltip="Whether irises, pupils, lips, ears, teeth and tongue have colours of their own, or count "
                    "to face, eyes and the inside of the mouth.",
                ),
            ],
            outputs=[
                io.Image.Output("normals", display_name="normals"),
                io.Mask.Output("mask", display_name="mask"),
                io.Image.Output("depth", display_name="depth"),
                io.Image.Output("reference_normals", display_name="reference normals"),
                io.Image.Output("regions", display_name="regions"),
            ],
        )

    @classmethod
    def execute(
        cls, motion, width: int, height: int, space: str, supersampling: int, region_map: str = DETAILS[0]
    ) -> io.NodeOutput:
        from ..expportrait_core.render import render_pictures, working_bytes

        size = height, width
        device = work_device(working_bytes(motion, size, supersampling))
        maps = render_pictures(
            motion.to(device), size, supersampling, space=space, detail=region_map, progress=NodeProgress(),
            device=rest_device(),
        )  # fmt: skip
        return io.NodeOutput(maps.normals, maps.mask, maps.depth, maps.reference_normals, maps.regions)
