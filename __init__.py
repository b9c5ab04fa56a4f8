"""ComfyUI's door: the server imports this folder as a custom node pack and asks it for its nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comfy_api.latest import ComfyExtension

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> ComfyExtension:
    """The extension with our nodes. Imported here, because outside a server there is no comfy_api to import."""
    from .nodes import ExpPortraitExtension

    return ExpPortraitExtension()
