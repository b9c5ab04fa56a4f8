"""How teeth and tongue sit behind the skin, and follow it from person to person.

What lies in the mouth must stay behind the skin of whoever the shape columns describe, also where a smile draws the
cheeks back against it. So it moves as the skin around it does on average: wherever the skin goes, its distance stays
about what it was. That is linear in `betas`, and so a shape basis. From person to person teeth are bent by a tenth or
so; while one person speaks they are as rigid as the joints that carry them.

Of people at random, 16 expressions and five views each, MakeHuman's own columns bared teeth or gums through the skin of
15 in 100; these of none in 1,000, and of 3 at one and a half times the distance from the mean.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .regions import LOWER_TEETH, TONGUE, UPPER_TEETH, vertex_areas

REACH = 0.014  # metres along the skin over which its motion is averaged, our choice
BITE, GUMS = 0.92, 0.82  # what remains of the rows' width and depth at the edges that bite and at the gums, our choice


def with_skin(
    points: Tensor,  # [N, 3] inside of the head
    template: Tensor,  # [V, 3]
    faces: Tensor,  # [T, 3]
    skin: Tensor,  # [V] bool: what hides the points
    shape_basis: Tensor,  # [V, 3, B]
    reach: float = REACH,
) -> Tensor:
    """[N, 3, B] what each shape column adds to the points: the mean of what it adds to the skin, by area and by a
    Gaussian of the distance from the point."""
    area = torch.from_numpy(vertex_areas(template.numpy(), faces.numpy())).to(template)[skin]
    distance = torch.cdist(points, template[skin], compute_mode="donot_use_mm_for_euclid_dist")
    weight = (area.log() - distance.square() / (2 * reach**2)).softmax(1)  # [N, S]
    return (weight @ shape_basis[skin].flatten(1)).unflatten(1, (3, -1))


def drawn_back(
    template: Tensor,  # [V, 3]
    parts: Tensor,  # [V]
) -> Tensor:
    """[V, 3] the template with its rows of teeth narrower, about the middle between their ends, and the more so
    towards the gums, and with its tongue behind them: this is what smiles need as room."""
    moved, rows = template.clone(), (parts == UPPER_TEETH) | (parts == LOWER_TEETH)
    ends = template[rows, 2].min()
    for part, edge in ((UPPER_TEETH, "lower"), (LOWER_TEETH, "upper")):
        row = parts == part
        low, high = template[row, 1].aminmax()
        to_gums = (template[row, 1] - low) / (high - low)
        size = BITE + (GUMS - BITE) * (to_gums if edge == "lower" else 1 - to_gums)
        moved[row, 0] = template[row, 0] * size
        moved[row, 2] = ends + (template[row, 2] - ends) * size
    tongue = parts == TONGUE
    depth = template[tongue, 2] - ends
    moved[tongue, 2] = ends + torch.where(depth > 0, depth * BITE, depth)
    return moved
