"""The matrix product that the formulations rest on: oneDNN's where it is the faster one, else torch.mm.

torch.mm calls the BLAS that torch was built with, as a rule MKL. On processors with AVX-512 that are not Intel's,
oneDNN's inner product reaches twice its rate in the same float32 arithmetic; on the others measured torch.mm is as
fast, and can add to what is there (`benchmarks/README.md`). Both follow the precision that the user set for matrix
products.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
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
    on_cpu = like.device.type == "cpu" and bool(torch.backends.mkldnn.enabled)
    return on_cpu and not adds_in_place(like.dtype, "cpu")


def adds_in_place(dtype: torch.dtype, device: str) -> bool:
    """Whether products of this kind are torch.mm's, which can add to what is there, on a processor."""
    return device == "cpu" and (dtype != torch.float32 or _onednn() is None or not _has_idle_avx512())


def _many(a: Tensor, b: Tensor) -> bool:
    return a.shape[0] * a.shape[1] * b.shape[0] >= SMALL


@lru_cache(maxsize=1)
def _onednn() -> Any:
    """The operator, if this build of torch has it."""
    if not torch.backends.mkldnn.is_available():
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


@lru_cache(maxsize=1)
def _has_idle_avx512() -> bool:
    """Whether the processor has AVX-512 and is not Intel's, as Linux says of the first one: torch names no vendor.

    Where it cannot be asked it counts as another's. A wrong answer costs time and changes no result.
    """
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    try:
        with Path("/proc/cpuinfo").open("rb") as processors:
            return b"GenuineIntel" not in processors.read(256)  # all of them may be hundreds
    except OSError:
        return True
