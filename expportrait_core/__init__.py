"""ExpPortrait: a portrait picture and a driving performance become a portrait video, by way of a personalised 3D head.

    model  = load_head_model()
    fit    = load_fit("actor.npz", model)
    head   = personalize(model, portrait_fit, images)
    motion = transfer(head, fit)
    maps   = render_normals(motion, size=512)
    video  = generate(picture, maps)

Importing the package imports nothing else: each name is fetched from its step when it is first used.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"

_STEP_OF = {
    "Camera": "types",
    "HeadCrop": "types",
    "HeadModel": "types",
    "HeadMotion": "types",
    "PersonalizedHead": "types",
    "RenderedHead": "types",
    "SMPLXFit": "types",
    "load_head_model": "body",
    "crop_portrait": "fit",
    "load_fit": "fit",
    "paste_back": "fit",
    "save_fit": "fit",
    "track": "fit",
    "load_head": "head",
    "personalize": "head",
    "transfer": "transfer",
    "render_normals": "render",
    "generate": "generator",
    "photo_preview": "generator",
}

__all__ = [*_STEP_OF, "__version__"]


def __getattr__(name: str) -> object:
    if name not in _STEP_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    step = import_module(f".{_STEP_OF[name]}", __name__)
    if name == _STEP_OF[name]:
        return step  # `transfer`: the import has bound it, see _Package
    value = getattr(step, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _CallableStep(ModuleType):
    """A step's folder that is called like its function of the same name."""

    def __call__(self, *args: object, **kwargs: object) -> object:
        return getattr(self, self.__name__.rpartition(".")[2])(*args, **kwargs)


class _Package(ModuleType):
    """`transfer` names a folder and a function. Python binds the folder here whenever something in it is imported,
    whichever comes first, so the folder itself answers the call: transfer(head, fit) and transfer.train both work."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "transfer" and isinstance(value, ModuleType):
            value.__class__ = _CallableStep
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
