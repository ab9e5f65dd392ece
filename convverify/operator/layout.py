"""Which memory format a result has: channels-last as soon as one operand is, as torch's convolutions do."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def is_channels_last(tensor: Tensor) -> bool:
    """Whether the strides say channels-last; a tensor that is both counts as plainly contiguous."""
    format = _CHANNELS_LAST.get(tensor.dim())
    if format is None or tensor.is_contiguous():
        return False
    return tensor.is_contiguous(memory_format=format)


def result_format(first: Tensor, second: Tensor) -> torch.memory_format:
    """The memory format of the map's result for these two operands."""
    if not (is_channels_last(first) or is_channels_last(second)):
        return torch.contiguous_format
    if first.dim() == 5 and first.device.type != "cuda" and not _keeps_three_dimensions(first.dtype):
        return torch.contiguous_format
    return _CHANNELS_LAST[first.dim()]


@lru_cache(maxsize=16)
def _keeps_three_dimensions(dtype: torch.dtype) -> bool:
    """Whether torch keeps channels-last in three dimensions on this processor: where oneDNN does the convolution."""
    if dtype is torch.bfloat16:
        return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype in (torch.float32, torch.complex64)
