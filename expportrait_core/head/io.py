"""Reading a personalised head back; `PersonalizedHead.save` writes it, without the model, which may be licensed."""

from __future__ import annotations

from pathlib import Path

from ..body import load_head_model, with_level
from ..portable import read_safetensors
from ..printable import printable
from ..types import HeadModel, PersonalizedHead

DEFAULT_MODEL_ID = "default-head"


def load_head(path: str | Path, model: HeadModel | None = None) -> PersonalizedHead:
    """Read a head that `PersonalizedHead.save` wrote.

    Args:
        path: the safetensors file.
        model: the head model that the head was made with, at any upsampling level; None for the default head.

    Raises:
        ValueError: not such a file, or the head was made with another model.
    """
    _, values = read_safetensors(path, PersonalizedHead.format)
    model_id, level = values.get("model_id"), values.get("level")
    if model is None:
        if model_id != DEFAULT_MODEL_ID:
            raise ValueError(
                f"{Path(path).name} was made with the head model '{printable(model_id)}', which is not the default "
                f"head. Load that model's file first, and give it beside the head."
            )
        model = load_head_model("default", level=level)
    if model.model_id != model_id:
        raise ValueError(
            f"{Path(path).name} was made with the head model '{printable(model_id)}', the given one is "
            f"'{model.model_id}'. Load the head model that the head was made with."
        )
    return PersonalizedHead.load(path, model=with_level(model, level))
