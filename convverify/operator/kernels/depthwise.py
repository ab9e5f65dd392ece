"""As many groups as input and output channels: a sum over the kernel's taps, each a scaled shift.

A padded plane is taken as one long line, so that a tap shifts all its rows at once and each addition is
one run of memory. What a shift carries around the ends of the rows lands between the positions and is cut
off. With a stride the plane is first dealt out into its phases, in which every tap is a shift again.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from convverify.geometry import ConvGeometry, Sizes
from convverify.operator.kernels import frame as frames
from convverify.operator.kernels import taps
from convverify.operator.kernels.frame import Frame, Slices

# Elements of one operand of an addition: three of these stay in the second-level cache, and the addition
# outweighs the call.
LINE = 1 << 17


def applies(geometry: ConvGeometry) -> bool:
    """Whether every channel has a kernel of its own."""
    return geometry.groups == geometry.in_channels == geometry.out_channels > 1


def forward(geometry: ConvGeometry, x: Tensor, k: Tensor, format: torch.memory_format, limit: int) -> Tensor:
    """The output; scratch of a few lines."""
    grid = Grid(frames.of_forward(geometry))
    output = x.new_empty(geometry.output_shape).contiguous(memory_format=format)
    weights = k.flatten(1)[:, :, None]  # [channels, taps, 1]
    for block in _blocks(geometry, grid, limit):
        lines = grid.deal(x[block])
        reads = [lines[phase][..., shift : shift + grid.length] for phase, shift in grid.taps]
        output[block] = grid.positions(_weighted(reads, list(weights[block[1]].unbind(1))))
    return output


def grad_input(geometry: ConvGeometry, g: Tensor, k: Tensor, format: torch.memory_format,
               limit: int) -> Tensor:  # fmt: skip
    """The gradient with respect to the input: each phase of it is a sum over its own taps."""
    frame = frames.of_forward(geometry)
    grid = Grid(frame)
    result = g.new_zeros(geometry.input_shape).contiguous(memory_format=format)
    weights = k.flatten(1)[:, :, None]
    target, source = frames.inside(frame)
    for block in _blocks(geometry, grid, limit):
        line = grid.spread(g[block])
        own = weights[block[1]].unbind(1)
        padded = g.new_zeros((*line.shape[:2], *grid.whole))
        for phase in grid.phases:
            met = [
                (line[..., grid.margin - shift :][..., : grid.size], weight)
                for (of, shift), weight in zip(grid.taps, own, strict=True)
                if of == phase
            ]
            if met:
                total = _weighted([m for m, _ in met], [w for _, w in met])
                padded[grid.of_phase(phase)] = total.view(*line.shape[:2], *grid.sizes)
        result[(*block, *source)] = padded[(..., *target)]
    return result


def grad_weight(geometry: ConvGeometry, x: Tensor, g: Tensor, format: torch.memory_format,
                limit: int) -> Tensor:  # fmt: skip
    """The gradient with respect to the weight.

    Between the positions grad_output's line is zero, and zero times what is not finite would not be: a
    result that is not finite is therefore computed again from the positions alone.
    """
    grid = Grid(frames.of_forward(geometry))
    result = x.new_zeros(geometry.out_channels, len(grid.taps))
    for block in _blocks(geometry, grid, limit):
        lines, line = grid.deal(x[block]), grid.spread(g[block])
        met = line[..., grid.margin :][..., : grid.length]
        terms = torch.empty_like(met, memory_format=torch.contiguous_format)
        for number, (phase, shift) in enumerate(grid.taps):
            torch.mul(lines[phase][..., shift : shift + grid.length], met, out=terms)
            result[block[1], number] += terms.sum((0, 2))
    if not bool(torch.isfinite(result).all()):
        return taps.grad_weight(geometry, x, g, format, limit)
    return result.view(geometry.weight_shape).contiguous(memory_format=format)


class Grid:
    """The phases of a padded plane: per axis `sizes` elements each, as lines of `size`."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.sizes = tuple(-(-n // s) for n, s in zip(frame.padded, frame.stride, strict=True))
        self.whole = tuple(n * s for n, s in zip(self.sizes, frame.stride, strict=True))
        self.size = math.prod(self.sizes)
        self.pitches = tuple(math.prod(self.sizes[dim + 1 :]) for dim in range(len(self.sizes)))
        self.length = 1 + self._place([n - 1 for n in frame.output])
        self.phases = list(itertools.product(*map(range, frame.stride)))
        self.taps = [self._tap(tap) for tap in frames.tap_indices(frame)]
        self.margin = max(shift for _, shift in self.taps)

    def deal(self, x: Tensor) -> dict[Sizes, Tensor]:
        """Each phase of the padded planes as lines, `[images, channels, size]`."""
        padded = x.new_zeros((*x.shape[:2], *self.whole))
        target, source = frames.inside(self.frame)
        padded[(..., *target)] = x[(..., *source)]
        if len(self.phases) == 1:
            return {self.phases[0]: padded.flatten(2)}
        return {
            phase: padded[self.of_phase(phase)].contiguous().flatten(2) for phase in {phase for phase, _ in self.taps}
        }

    def of_phase(self, phase: Sizes) -> Slices:
        """The index of one phase's elements in the padded planes."""
        steps: list[Any] = [slice(p, None, s) for p, s in zip(phase, self.frame.stride, strict=True)]
        return (..., *steps)

    def spread(self, g: Tensor) -> Tensor:
        """The positions on a line of zeros that begins `margin` elements before the first."""
        line = g.new_zeros((*g.shape[:2], self.margin + self.size))
        self.positions(line[..., self.margin :]).copy_(g)
        return line

    def positions(self, line: Tensor) -> Tensor:
        """The elements of a line that are positions, `[images, channels, *output]`, as a view."""
        return line.as_strided(
            (*line.shape[:2], *self.frame.output), (*line.stride()[:2], *self.pitches), line.storage_offset()
        )

    def _tap(self, tap: Sizes) -> tuple[Sizes, int]:
        """The phase that a tap reads, and by how much it shifts it."""
        reaches = [d * a for d, a in zip(self.frame.dilation, tap, strict=True)]
        ends = list(zip(reaches, self.frame.stride, strict=True))
        return tuple(reach % s for reach, s in ends), self._place([reach // s for reach, s in ends])

    def _place(self, index: list[int]) -> int:
        return sum(entry * pitch for entry, pitch in zip(index, self.pitches, strict=True))


def _weighted(lines: list[Tensor], weights: list[Tensor]) -> Tensor:
    """The sum of `[images, channels, length]` lines, each times a number per channel."""
    total = lines[0] * weights[0]
    for line, weight in zip(lines[1:], weights[1:], strict=True):
        total.addcmul_(line, weight)
    return total


def _blocks(geometry: ConvGeometry, grid: Grid, limit: int) -> Iterator[tuple[slice, slice]]:
    """Images and channels whose lines together have about `LINE` elements."""
    planes = max(1, min(LINE, limit // 16) // (grid.size * len(grid.phases)))
    images = min(planes, geometry.batch)
    channels = min(max(1, planes // images), geometry.in_channels)
    for first in range(0, geometry.batch, images):
        for channel in range(0, geometry.in_channels, channels):
            yield slice(first, first + images), slice(channel, channel + channels)
