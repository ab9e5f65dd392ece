"""As many groups as input and output channels: rows of shifted copies, weighted and added up in one pass.

A block of planes is copied once for each entry of the kernel's last axis, shifted to what that entry reads. In such a
table every tap reads a row: rows of the output are weighted sums of rows, which is what an embedding adds up in its
bags (in vectors for float32 alone), and the weight's gradient is a product of rows with grad_output.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

from convverify.geometry import ConvGeometry, Sizes
from convverify.operator.kernels import depthwise, seconds
from convverify.operator.kernels import frame as frames
from convverify.operator.kernels.frame import Frame, Slices

# torch.embedding_bag's number for sums
SUM = 0
Block = tuple[slice, slice]

applies = depthwise.applies


def forward(geometry: ConvGeometry, x: Tensor, k: Tensor, format: torch.memory_format, limit: int) -> Tensor:
    """The output; scratch of about `limit` bytes."""
    output = x.new_empty(geometry.output_shape).contiguous(memory_format=format)
    return _correlated(frames.of_forward(geometry), geometry, x, k, output, limit)


def grad_input(geometry: ConvGeometry, g: Tensor, k: Tensor, format: torch.memory_format,
               limit: int) -> Tensor:  # fmt: skip
    """The gradient with respect to the input, for stride 1: a correlation with the kernel turned around."""
    result = g.new_empty(geometry.input_shape).contiguous(memory_format=format)
    turned = k.flip(list(range(2, k.dim())))
    return _correlated(frames.of_grad_input(geometry), geometry, g, turned, result, limit)


def grad_weight(geometry: ConvGeometry, x: Tensor, g: Tensor, format: torch.memory_format,
                limit: int) -> Tensor:  # fmt: skip
    """The gradient with respect to the weight, added up over the images."""
    frame = frames.of_forward(geometry)
    result = x.new_zeros((geometry.out_channels, frame.taps))
    for block, table in _tables(frame, geometry, x, limit):
        result[block[1]] += table.products(g[block])
    return result.view(geometry.weight_shape).contiguous(memory_format=format)


def _correlated(frame: Frame, geometry: ConvGeometry, x: Tensor, kernel: Tensor, output: Tensor,
                limit: int) -> Tensor:  # fmt: skip
    for block, table in _tables(frame, geometry, x, limit):
        output[block] = table.sums(kernel[block[1]])
    return output


class _Table:
    """`[images * channels, kernel's last axis, *phases, *rows, positions]`, in memory that serves block after block.

    The last axis is by positions; of the others, rows that leave the same remainder by the stride lie side by side, so
    that what a tap reads for all positions is one run.
    """

    def __init__(self, frame: Frame, block: Tensor) -> None:
        self._frame = frame
        self._shape = _shape(frame)
        self._memory = block.new_zeros((block.shape[0] * block.shape[1], *self._shape))

    def read(self, x: Tensor) -> None:
        """Fill it with a block `[images, channels, *input]`, no larger than the one that it was made for."""
        planes = x.reshape(-1, *x.shape[2:])
        self._images = x.shape[0]
        self._table = self._memory[: planes.shape[0]]
        step = self._frame.stride[-1]
        phases = seconds.seconds(planes) if step == 2 else [planes[..., first::step] for first in range(step)]
        for target, phase, source in _copies(self._frame):
            seconds.copy(self._table[target], phases[phase][source])

    def sums(self, kernel: Tensor) -> Tensor:
        """What the taps read, times `[channels, 1, *kernel]`, summed: `[images, channels, *output]`."""
        taps = kernel.reshape(-1, 1, self._frame.taps)
        weights = taps.expand(-1, math.prod(self._frame.output[:-1]), -1).reshape(-1).repeat(self._images)
        bags = self._bags[: self._table.shape[0]].view(-1)
        starts = torch.arange(0, bags.numel() + 1, self._frame.taps, dtype=bags.dtype, device=bags.device)
        rows = self._table.view(-1, self._shape[-1])
        sums = torch.embedding_bag(rows, bags, starts, False, SUM, False, weights, True)[0]
        return sums.view(self._images, -1, *self._frame.output)

    def products(self, g: Tensor) -> Tensor:
        """What each tap reads, times `[images, channels, *output]`, summed: `[channels, taps]`."""
        planes = g.reshape(self._table.shape[0], 1, -1)
        sums = []
        for read in _reads(self._frame):
            rows = self._table[(slice(None), slice(None), *read)].flatten(2)  # [planes, kernel's last axis, positions]
            sums.append(torch.bmm(planes, rows.transpose(1, 2)))  # an order of axes that is ten times faster
        return torch.cat(sums, 2).view(self._images, -1, self._frame.taps).sum(0)

    @cached_property
    def _bags(self) -> Tensor:
        """For each plane the numbers of the rows that each row of its output adds up."""
        count, device = self._memory[..., 0].numel(), self._memory.device
        numbers = torch.arange(count, dtype=torch.int32, device=device).view(-1, *self._shape[:-1])
        of_taps = [numbers[(0, slice(None), *read)].reshape(self._shape[0], -1) for read in _reads(self._frame)]
        return numbers.flatten(1)[:, :1] + torch.cat(of_taps).t().flatten()


@lru_cache(maxsize=1024)
def _shape(frame: Frame) -> Sizes:
    """The shape of a table of one plane."""
    axes = zip(frame.output[:-1], frame.kernel, frame.dilation, frame.stride, strict=False)
    rows = (n + d * (taps - 1) // s for n, taps, d, s in axes)
    return (frame.kernel[-1], *frame.stride[:-1], *rows, frame.output[-1])


@lru_cache(maxsize=1024)
def _reads(frame: Frame) -> list[tuple[Any, ...]]:
    """The phases and the rows that the taps read, for each entry of the kernel's axes but the last."""
    found = []
    for tap in itertools.product(*map(range, frame.kernel[:-1])):
        reach = frames.times(frame.dilation[:-1], tap)
        phases = (n % s for n, s in zip(reach, frame.stride, strict=False))
        rows = (slice(n // s, n // s + m) for n, s, m in zip(reach, frame.stride, frame.output, strict=False))
        found.append((*phases, *rows))
    return found


@lru_cache(maxsize=1024)
def _copies(frame: Frame) -> list[tuple[Slices, int, Slices]]:
    """Which part of the table is copied from which phase of the input's last axis, and which part of that."""
    found = []
    sizes, last = _shape(frame)[-len(frame.input) :], frame.stride[-1]
    for tap, phases in itertools.product(range(frame.kernel[-1]), itertools.product(*map(range, frame.stride[:-1]))):
        firsts = (*phases, frame.dilation[-1] * tap)
        shifts = [first - before for first, (before, _) in zip(firsts, frame.pads, strict=True)]
        met = itertools.starmap(frames.meeting, zip(frame.input, sizes, frame.stride, shifts, strict=True))
        positions, elements = zip(*met, strict=True)
        first = elements[-1].start // last
        part = slice(first, first + positions[-1].stop - positions[-1].start)
        source = (..., *elements[:-1], part)
        found.append(((slice(None), tap, *phases, *positions), elements[-1].start % last, source))
    return found


def _tables(frame: Frame, geometry: ConvGeometry, x: Tensor, limit: int) -> Iterator[tuple[Block, _Table]]:
    """Images and channels, so many at a time that their table stays under `limit`, or one plane; and the table."""
    planes = max(1, limit // (x.element_size() * math.prod(_shape(frame))))
    images = frames.even_slices(geometry.batch, max(1, planes // geometry.in_channels))
    channels = frames.even_slices(geometry.in_channels, planes)
    table = _Table(frame, x[images[0], channels[0]])
    for block in itertools.product(images, channels):
        table.read(x[block])
        yield block, table
