"""A fixed sparse matrix whose product with a dense field is differentiable, forward and backward as CSR products.

Autograd's own backward of a CSR product transposes the matrix on every step; here the transpose is made once.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from scipy import sparse


@dataclass(frozen=True)
class SparseMatrix:
    """M [N, K] and its transpose. `apply` maps a field on K points to one on N points, frame by frame."""

    matrix: Tensor  # [N, K] CSR
    transposed: Tensor  # [K, N] CSR

    @staticmethod
    def of(matrix: sparse.spmatrix | sparse.sparray, like: Tensor) -> SparseMatrix:
        """A SciPy matrix, with the dtype and on the device of `like`."""
        return SparseMatrix(_csr(matrix, like), _csr(matrix.T, like))

    def apply(
        self,
        field: Tensor,  # [F, K, C]
    ) -> Tensor:  # [F, N, C]
        frames, _, channels = field.shape
        columns = field.transpose(0, 1).reshape(len(self.transposed), frames * channels)
        product = _Product.apply(columns, self.matrix, self.transposed)
        return product.view(len(self.matrix), frames, channels).transpose(0, 1)


def _csr(matrix: sparse.spmatrix | sparse.sparray, like: Tensor) -> Tensor:
    csr = matrix.tocsr()
    csr.sort_indices()
    parts = [torch.from_numpy(np.ascontiguousarray(part, np.int32)) for part in (csr.indptr, csr.indices)]
    values = torch.from_numpy(np.ascontiguousarray(csr.data, np.float64)).to(like.dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(*parts, values, csr.shape, check_invariants=True).to(like.device)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, columns: Tensor, matrix: Tensor, transposed: Tensor) -> Tensor:
        ctx.transposed = transposed
        return matrix @ columns

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return ctx.transposed @ gradient.contiguous(), None, None
