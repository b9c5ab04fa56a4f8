"""Personalisation: the paper's objective, its optimiser, and the head that comes out.

head = personalize(model, fit, images, normals=normals)
head.save("actor.safetensors")
head = load_head("actor.safetensors")
"""

from .io import load_head
from .personalize import personalize
from .settings import DRAFT, FINE, QUALITIES, STANDARD, PersonalizeSettings
from .variants import with_portrait, with_strength

__all__ = [
    "DRAFT", "FINE", "QUALITIES", "STANDARD", "PersonalizeSettings", "load_head", "personalize", "with_portrait",
    "with_strength",
]  # fmt: skip
