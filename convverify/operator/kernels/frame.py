"""What a correlation reads: sizes and padding of one map, and the windows as a view.

The forward map is a correlation of the input, and for stride 1 grad_input is one of grad_output, with the
kernel turned around. A `Frame` is either, so that one formulation serves both.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from torch import Tensor

from convverify.geometry import ConvGeometry, Sizes

# Slices, one an axis; Any, since an index that adds an Ellipsis to slices would be of objects to mypy.
Slices = tuple[Any, ...]


@dataclass(frozen=True)
class Frame:
    """A correlation without its channels; a pad below zero crops."""

    input: Sizes
    pads: tuple[tuple[int, int], ...]
    kernel: Sizes
    stride: Sizes
    dilation: Sizes
    output: Sizes

    @cached_property
    def padded(self) -> Sizes:
        """The input's size with its padding."""
        return tuple(n + before + after for n, (before, after) in zip(self.input, self.pads, strict=True))

    @cached_property
    def taps(self) -> int:
        """Elements of the kernel's plane."""
        return math.prod(self.kernel)

    @cached_property
    def row(self) -> int:
        """Positions in one entry of the first axis."""
        return math.prod(self.output[1:])


@lru_cache(maxsize=1024)
def of_forward(geometry: ConvGeometry) -> Frame:
    """The correlation of the input; elements that no window reads are cropped."""
    pads = tuple((axis.before, axis.after - axis.remainder) for axis in geometry.axes)
    return Frame(
        geometry.input_size, pads, geometry.kernel_size, geometry.stride, geometry.dilation,
        geometry.output_size,
    )  # fmt: skip


@lru_cache(maxsize=1024)
def of_grad_input(geometry: ConvGeometry) -> Frame:
    """The correlation of grad_output that is grad_input, for stride 1 (formulas.grad_input)."""
    pads = tuple((axis.reach - axis.before, axis.reach - axis.after) for axis in geometry.axes)
    return Frame(
        geometry.output_size, pads, geometry.kernel_size, geometry.stride, geometry.dilation,
        geometry.input_size,
    )  # fmt: skip


@lru_cache(maxsize=1024)
def inside(frame: Frame) -> tuple[Slices, Slices]:
    """Where the input lies in the padded array, and which part of the input that is."""
    target, source = [], []
    for n, (before, after) in zip(frame.input, frame.pads, strict=True):
        kept = n + min(before, 0) + min(after, 0)
        target.append(slice(max(before, 0), max(before, 0) + kept))
        source.append(slice(max(-before, 0), max(-before, 0) + kept))
    return tuple(target), tuple(source)


def pad_first(x: Tensor, frame: Frame) -> Tensor:
    """`[batch, channels, *padded]`, contiguous; the input itself where it is that already."""
    if not any(map(any, frame.pads)):
        return x.contiguous()
    padded = x.new_zeros((*x.shape[:2], *frame.padded))
    target, source = inside(frame)
    padded[(..., *target)] = x[(..., *source)]
    return padded


def pad_last(x: Tensor, frame: Frame, again: Tensor | None = None) -> Tensor:
    """`[batch, *padded, channels]`, contiguous; `again` is an earlier result to overwrite if it fits."""
    last = x.movedim(1, -1)
    shape = (x.shape[0], *frame.padded, x.shape[1])
    if again is not None and again.shape == shape:
        padded = again
    else:
        padded = (x.new_zeros if any(map(any, frame.pads)) else x.new_empty)(shape)
    target, source = inside(frame)
    padded[(slice(None), *target)] = last[(slice(None), *source)]
    return padded


def windows_last(padded: Tensor, frame: Frame, rows: tuple[int, int]) -> Tensor:
    """The windows of some rows as a view `[batch, *positions, *kernel, channels]` of `pad_last`'s array."""
    batch, *spatial, channel = padded.stride()
    first, last = rows
    sizes = (padded.shape[0], last - first, *frame.output[1:], *frame.kernel, padded.shape[-1])
    strides = (batch, *times(spatial, frame.stride), *times(spatial, frame.dilation), channel)
    return padded.as_strided(sizes, strides, padded.storage_offset() + first * strides[1])


def windows_first(padded: Tensor, frame: Frame, rows: tuple[int, int]) -> Tensor:
    """Likewise `[batch, channels, *kernel, *positions]` of `pad_first`'s array."""
    batch, channel, *spatial = padded.stride()
    first, last = rows
    strides = (batch, channel, *times(spatial, frame.dilation), *times(spatial, frame.stride))
    offset = padded.storage_offset() + first * spatial[0] * frame.stride[0]
    sizes = (*padded.shape[:2], *frame.kernel, last - first, *frame.output[1:])
    return padded.as_strided(sizes, strides, offset)


@dataclass(frozen=True)
class Piece:
    """Images `first:last` of the batch and rows `top:bottom` of each."""

    first: int
    last: int
    top: int
    bottom: int

    @property
    def images(self) -> int:
        """How many images it takes."""
        return self.last - self.first

    @property
    def rows(self) -> tuple[int, int]:
        """The first row and the one after the last."""
        return self.top, self.bottom


def pieces(batch: int, frame: Frame, row_bytes: int, limit: int) -> Iterator[Piece]:
    """Cut the work so that a piece of rows of `row_bytes` each stays under `limit`, one row at least."""
    rows = max(1, min(limit // max(row_bytes, 1), batch * frame.output[0]))
    images = max(1, rows // frame.output[0])
    # Equal parts: a thin rest would be multiplied at a poor rate.
    images = math.ceil(batch / math.ceil(batch / images)) if batch else 1
    height = frame.output[0] if rows >= frame.output[0] else _even(frame.output[0], rows)
    for first in range(0, batch, images):
        for top in range(0, frame.output[0], height):
            yield Piece(first, min(first + images, batch), top, min(top + height, frame.output[0]))


def tap_slices(frame: Frame, tap: Sequence[int], rows: tuple[int, int]) -> Slices:
    """Where one tap of the kernel meets the padded array, for some rows of positions."""
    ends = [(0, n) for n in frame.output]
    ends[0] = rows
    return tuple(
        slice(s * first + d * a, s * (last - 1) + d * a + 1, s)
        for (first, last), s, d, a in zip(ends, frame.stride, frame.dilation, tap, strict=True)
    )


def tap_indices(frame: Frame) -> Iterator[tuple[int, ...]]:
    """The taps of the kernel in their order in memory."""
    return itertools.product(*map(range, frame.kernel))


def meeting(there: int, here: int, stride: int, shift: int) -> tuple[slice, slice]:
    """The positions `here` whose element `stride * position + shift` is `there`, and those elements."""
    first, last = max(0, -(shift // stride)), min(here, (there - 1 - shift) // stride + 1)
    if first >= last:
        return slice(0, 0), slice(0, 0)
    return slice(first, last), slice(stride * first + shift, stride * (last - 1) + shift + 1, stride)


def reading(geometry: ConvGeometry, dim: int, tap: int) -> tuple[int, int]:
    """The positions whose tap meets the input: the o with 0 <= S*o + D*a - P < H."""
    axis = geometry.axes[dim]
    shift = axis.before - axis.dilation * tap
    first = max(0, -(-shift // axis.stride))
    return first, min(axis.output, (axis.input - 1 + shift) // axis.stride + 1)


def times(first: Sequence[int], second: Sequence[int]) -> Sizes:
    """The products, one an axis."""
    return tuple(a * b for a, b in zip(first, second, strict=True))


def even_slices(total: int, most: int) -> list[slice]:
    """All of them, so many at a time at most, and evenly; the first is the largest."""
    each = _even(total, most)
    return [slice(first, min(first + each, total)) for first in range(0, total, each)]


def _even(total: int, most: int) -> int:
    return math.ceil(total / math.ceil(total / most))

