"""The matrix product that the formulations rest on: oneDNN's where it is the faster one, else torch.mm.

torch.mm calls the BLAS that torch was built with, and on processors that this library does not favour it
reaches half of what oneDNN's inner product does in the same float32 arithmetic (`benchmarks/README.md`).
Both follow the precision that the user set for matrix products.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

# Below this many products the call into oneDNN costs more than it saves.
SMALL = 1 << 17


def product(a: Tensor, b: Tensor) -> Tensor:
    """`a @ b.T` of `[m, k]` and `[n, k]`; a new tensor. Each is dense, plain or transposed."""
    if a.dtype == torch.float32 and a.device.type == "cpu" and _many(a, b):
        linear = _onednn()
        if linear is not None:
            return linear(a, b, None, "none", [], "")  # type: ignore[no-any-return]
    return torch.mm(a, b.t())


def _many(a: Tensor, b: Tensor) -> bool:
    return a.shape[0] * a.shape[1] * b.shape[0] >= SMALL and torch.backends.mkldnn.enabled


@lru_cache(maxsize=1)
def _onednn() -> Any:
    """The operator, if this build of torch has it."""
    if not torch.backends.mkldnn.is_available():
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)
