"""Every second element of a row, taken out or put back: what a stride of two asks for.

A copy that steps over elements takes several times what its elements would in a row. Two neighbours in
float32 are one word of 64 bits, of which a conversion between integers keeps the first, and two rows are put
together as the parts of complex numbers: both are done in vectors, and neither touches a bit.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor

# What the parts of a complex number can be.
PARTS = (torch.float32, torch.float64)


def seconds(x: Tensor) -> tuple[Tensor, Tensor]:
    """The elements 0, 2, ... and 1, 3, ... of the last axis, for `dense` and `copy` alone to read."""
    if not _in_words(x):
        return x[..., ::2], x[..., 1::2]
    later = torch.empty_like(x)
    later.view(-1)[:-1] = x.view(-1)[1:]
    return x.view(torch.int64), later.view(torch.int64)


def dense(part: Tensor, dtype: torch.dtype) -> Tensor:
    """What `seconds` gave of an array of this dtype, or a part of it, contiguous."""
    if part.dtype is dtype:
        return part.contiguous()
    return part.to(torch.int32, memory_format=torch.contiguous_format).view(dtype)


def copy(target: Tensor, part: Tensor) -> None:
    """Write what `seconds` gave of an array of the target's dtype, or a part of it, to `target`."""
    (target if part.dtype is target.dtype else target.view(torch.int32)).copy_(part)


def put(target: Tensor, even: Tensor, odd: Tensor) -> None:
    """Write the elements of both in turns into the last axis of `target`."""
    if even.shape == odd.shape and target.dtype in PARTS and _in_pairs(target):
        torch.complex(even, odd, out=torch.view_as_complex(target.unflatten(-1, (-1, 2))))
    else:
        target[..., ::2] = even
        target[..., 1::2] = odd


def _in_words(x: Tensor) -> bool:
    return x.dtype is torch.float32 and sys.byteorder == "little" and x.is_contiguous() and _in_pairs(x)


def _in_pairs(x: Tensor) -> bool:
    """Whether elements 0 and 1, 2 and 3, ... of the last axis are neighbours, each pair at an even place."""
    even = (x.shape[-1], x.storage_offset(), *x.stride()[:-1])
    return x.device.type == "cpu" and x.stride(-1) == 1 and not any(n % 2 for n in even)
