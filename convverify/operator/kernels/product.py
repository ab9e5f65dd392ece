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
    if _many(a, b) and prefers_onednn(a):
        return _onednn()(a, b, None, "none", [], "")  # type: ignore[no-any-return]
    return torch.mm(a, b.t())


def added_product(total: Tensor | None, a: Tensor, b: Tensor) -> Tensor:
    """`total + a @ b.T`, in place; the product itself where there is no total yet."""
    if total is None:
        return product(a, b)
    if _many(a, b) and prefers_onednn(a):
        return total.add_(product(a, b))
    return total.addmm_(a, b.t())


def prefers_onednn(like: Tensor) -> bool:
    """Whether large products of such tensors go to oneDNN."""
    return (
        like.dtype == torch.float32
        and like.device.type == "cpu"
        and bool(torch.backends.mkldnn.enabled)
        and _onednn() is not None
    )


def _many(a: Tensor, b: Tensor) -> bool:
    return a.shape[0] * a.shape[1] * b.shape[0] >= SMALL


@lru_cache(maxsize=1)
def _onednn() -> Any:
    """The operator, if this build of torch has it."""
    if not torch.backends.mkldnn.is_available():
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)
