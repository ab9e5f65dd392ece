"""In which dtype the maps are computed: half types in float32, and never in what autocast would choose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_WIDER = {torch.float16: torch.float32, torch.bfloat16: torch.float32}


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """The dtype that sums are kept in."""
    return _WIDER.get(dtype, dtype)


def autocast_on(device: torch.device) -> bool:
    """Whether autocast is enabled there; a device that knows none, such as meta, counts as off."""
    return (
        torch._C._is_any_autocast_enabled()
        and torch.amp.is_autocast_available(device.type)
        and torch.is_autocast_enabled(device.type)
    )


@contextmanager
def no_autocast(device: torch.device) -> Iterator[None]:
    """Without this the matrix products inside a kernel would be done in half precision."""
    if autocast_on(device):
        with torch.autocast(device.type, enabled=False):
            yield
    else:
        yield


def autocast_operand(tensor: Tensor, device: str) -> Tensor:
    """The operand as torch's autocast hands it to a convolution: float64 and integers stay as they are."""
    if tensor.is_floating_point() and tensor.dtype != torch.float64:
        return tensor.to(torch.get_autocast_dtype(device))
    return tensor
