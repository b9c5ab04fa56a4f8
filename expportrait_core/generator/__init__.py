"""The last step: a portrait video from a picture and rendered normals.

`photo_preview` moves the photo itself, without a network. `generate` runs the demo generator, a tiny Wan transformer
with the ExpPortrait adapter; `attach` puts the same adapter into any of diffusers' Wan transformers.
"""

from .adapter import AdapterConfig, AdapterFeatures, ExpPortraitAdapter, load_adapter
from .demo_model import DemoConfig, DemoGenerator, load_demo
from .diffusers_host import attach, inject
from .evaluate import evaluate_demo
from .generate import generate, require_pictures
from .preview import photo_preview
from .train import TrainConfig, train_demo

__all__ = [
    "AdapterConfig", "AdapterFeatures", "DemoConfig", "DemoGenerator", "ExpPortraitAdapter", "TrainConfig", "attach",
    "evaluate_demo", "generate", "inject", "load_adapter", "load_demo", "photo_preview", "require_pictures",
    "train_demo",
]  # fmt: skip

