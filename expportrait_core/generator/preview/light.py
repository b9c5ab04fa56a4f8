"""A simple light from the photo, so that expression wrinkles become visible as shading."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LUMINANCE = (0.299, 0.587, 0.114)
DARKEST = 0.35  # of the mean: shading never falls below, our choice
RATIO = (0.75, 1.08)  # bounds of what a wrinkle may do, our choice
TOP_LIGHT = 0.3  # of the ambient light, our choice
SKIN_TOLERANCE = 0.12  # brightness off the model by which brows, lips and beard are left out


@dataclass(frozen=True)
class Light:
    """Brightness = ambient + direction · normal: spherical harmonics of the first order."""

    ambient: float
    direction: Tensor  # [3] world

    @staticmethod
    def of(
        colours: Tensor,  # [Vs, 3] of the photo
        normals: Tensor,  # [Vs, 3] world
        trust: Tensor,  # [Vs] 0..1, seen facial skin
    ) -> Light:
        """Least squares on the skin, three times, each time leaving more of what is no skin out."""
        brightness = colours @ colours.new_tensor(LUMINANCE)
        basis = torch.cat([torch.ones_like(normals[:, :1]), normals], 1).double()
        weight = trust.double()
        # a little pull towards a light from the front keeps a half covered face solvable
        prior = torch.diag(torch.tensor([1e-3, 1.0, 1.0, 1.0], dtype=torch.float64)) * (0.004 * weight.sum() + 1e-6)
        for _ in range(3):
            normal_matrix = (basis * weight[:, None]).T @ basis + prior
            solution = torch.linalg.solve(normal_matrix, (basis * weight[:, None]).T @ brightness.double())
            error = (basis @ solution - brightness).abs() / SKIN_TOLERANCE
            weight = trust / (1 + error**2)
        solution = solution.float()
        return Light(float(solution[0]), solution[1:])

    def from_above(
        self,
        up: Tensor,  # [3] world, the head's
    ) -> Light:
        """The same light with at least TOP_LIGHT from above: where a photo's light is flat, wrinkles are still seen by
        the shade that lies in them."""
        missing = max(TOP_LIGHT * self.ambient - float(self.direction @ up), 0.0)
        return Light(self.ambient, self.direction + missing * up)

    def shade(self, normals: Tensor) -> Tensor:
        """[...] brightness of a surface of mean albedo."""
        return (self.ambient + normals @ self.direction).clamp(min=DARKEST * max(self.ambient, 0.05))

    def ratio(
        self,
        before: Tensor,  # [Vs, 3] world
        after: Tensor,  # [Vs, 3] world, without the head's own turn
    ) -> Tensor:
        """[Vs] by how much a surface gets brighter as its normal changes."""
        return (self.shade(after) / self.shade(before)).clamp(*RATIO)
