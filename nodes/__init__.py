"""The V3 nodes: one file per step, no maths. They may import ComfyUI and the core; the core imports neither."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

__all__ = ["ExpPortraitExtension"]


class ExpPortraitExtension(ComfyExtension):
    """What the server asks for the pack's nodes."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return []  # none yet: the walk runs headless first (`expportrait demo`), its nodes come next
