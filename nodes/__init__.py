"""The V3 nodes: one file per step, no maths. They may import ComfyUI and the core; the core imports neither."""

from __future__ import annotations

from .requirements import explained, say_what_is_missing

say_what_is_missing()  # before an older server's lack of what follows is logged as a traceback

from comfy_api.latest import ComfyExtension, io  # noqa: E402

from .examples import offer_examples  # noqa: E402
from .files import register_model_folders  # noqa: E402

register_model_folders()  # before the nodes' schemas list what is in them
offer_examples()

from . import composite, editing, fit, generator, head, inspecting, render, tracking, transfer  # noqa: E402

__all__ = ["ExpPortraitExtension"]


class ExpPortraitExtension(ComfyExtension):
    """What the server asks for the pack's nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        nodes = [
            fit.LoadHeadModel,
            fit.LoadSMPLXFit,
            tracking.TrackHead,
            fit.SaveSMPLXFit,
            editing.SmoothFit,
            editing.RetimeFit,
            editing.EditExpression,
            editing.Keyframes,
            inspecting.InspectFit,
            head.PersonalizeHead,
            head.LoadHead,
            head.SaveHead,
            transfer.TransferExpression,
            render.RenderNormals,
            generator.PhotoPreview,
            generator.LoadDemoGenerator,
            generator.ApplyExpPortrait,
            generator.DiTSampler,
            composite.CropPortrait,
            composite.PasteBack,
        ]
        return [explained(node) for node in nodes]
