"""The pack's own sockets, and how its nodes declare themselves. Everything else travels on core's sockets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

if TYPE_CHECKING:
    from ..expportrait_core import HeadModel as CoreHeadModel
    from ..expportrait_core import SMPLXFit

__all__ = [
    "HeadCrop", "HeadModel", "HeadMotion", "ModelFit", "ModelPatch", "PersonalizedHead", "SmplxFit", "TransferModel",
    "clip_input", "declare", "require_choice", "unknown_choice",
]  # fmt: skip

HeadModel = io.Custom("HEAD_MODEL")
SmplxFit = io.Custom("SMPLX_FIT")  # carries a ModelFit
PersonalizedHead = io.Custom("PERSONALIZED_HEAD")
HeadMotion = io.Custom("HEAD_MOTION")
TransferModel = io.Custom("TRANSFER_MODEL")
HeadCrop = io.Custom("HEAD_CROP")
ModelPatch = io.Custom("MODEL_PATCH")  # core's own, a ModelPatcher around the adapter


@dataclass(frozen=True)
class ModelFit:
    """What travels on SMPLX_FIT: a fit and the head model whose numbers it holds, so that later nodes need one wire."""

    fit: SMPLXFit
    model: CoreHeadModel


def clip_input(id: str, tooltip: str, **more: Any) -> io.MultiType.Input:
    """An input for pictures that takes an IMAGE or a VIDEO."""
    return io.MultiType.Input(id, [io.Image, io.Video], tooltip=tooltip, **more)


def declare(**schema: Any) -> io.Schema:
    """A node's schema; what this server does not know yet (`search_aliases` on older ones) is left out."""
    known = {field.name for field in fields(io.Schema)}
    return io.Schema(**{name: value for name, value in schema.items() if name in known})


def unknown_choice(what: str, value: object, options: Sequence[str]) -> str | None:
    """A sentence if a choice is none of its options, which servers do not look at in nodes like ours. None is a wire,
    whose value is not known yet."""
    if value is None or value in options:
        return None
    return f"The {what} is {value!r}, expected one of {', '.join(options)}."


def require_choice(what: str, value: object, options: Sequence[str]) -> None:
    """Raise that sentence, when the node runs."""
    if wrong := unknown_choice(what, value, options):
        raise ValueError(wrong)
