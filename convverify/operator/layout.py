"""Which memory format a result has: channels-last as soon as one operand is, as torch's convolutions do."""

from __future__ import annotations

import torch
from torch import Tensor

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
# The dtypes for which torch keeps channels-last in three dimensions on the CPU: those that oneDNN does.
_IN_THREE_DIMENSIONS = (torch.float32, torch.bfloat16, torch.complex64)


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
    if first.dim() == 5 and first.device.type != "cuda" and first.dtype not in _IN_THREE_DIMENSIONS:
        return torch.contiguous_format
    return _CHANNELS_LAST[first.dim()]
