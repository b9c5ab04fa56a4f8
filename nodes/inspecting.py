"""What a fit shows: Inspect Fit."""

from __future__ import annotations

from comfy_api.latest import io

from .running import NodeProgress, frames_of
from .sockets import ModelFit, SmplxFit, clip_input, declare

MOST_PICTURES = 240  # of a fit without pictures: enough to play, and they fit into memory


class InspectFit(io.ComfyNode):
    """Does it lie on the face, and does it move as it should?"""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return declare(
            node_id="ExpPortraitInspectFit",
            display_name="Inspect Fit",
            category="ExpPortrait/fit",
            description="Shows a fit over its pictures, and what head and face do over time as curves.",
            search_aliases=["curves", "graph", "overlay", "debug"],
            inputs=[
                SmplxFit.Input("fit", tooltip="The fit to look at."),
                clip_input(
                    "images", "The pictures that it belongs to; without them the head is drawn alone.", optional=True
                ),
            ],
            outputs=[
                io.Image.Output("overlay", display_name="overlay"),
                io.Image.Output("curves", display_name="curves"),
            ],
        )

    @classmethod
    def execute(cls, fit: ModelFit, images=None) -> io.NodeOutput:
        from ..expportrait_core.curves import fit_curves
        from ..expportrait_core.reports import fit_overlay
        from ..expportrait_core.shaded import shaded_heads

        if images is None:
            seen = fit.fit.frames(slice(None, None, -(-fit.fit.num_frames // MOST_PICTURES)))
            overlay = shaded_heads(seen, fit.model, 512, progress=NodeProgress())
        else:
            overlay = fit_overlay(frames_of(images)[0], fit.fit, fit.model, progress=NodeProgress())
        return io.NodeOutput(overlay, fit_curves(fit.fit, fit.model)[None])
