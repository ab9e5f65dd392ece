"""As many groups as input and output channels: a sum over the kernel's taps, each a scaled shift.

A tap is a range of rows and columns of the plane as it stands, times one number a channel; the first is
written, the others are added to it. `shifts` says which.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from convverify.geometry import ConvGeometry, Sizes
from convverify.operator.kernels import seconds, shifts
from convverify.operator.kernels.frame import Slices, even_slices
from convverify.operator.kernels.shifts import Sum, Term

# Bytes of one operand of an addition: small enough for the caches, and large enough to outweigh the call.
BLOCK = 1 << 19


def applies(geometry: ConvGeometry) -> bool:
    """Whether every channel has a kernel of its own."""
    return geometry.groups == geometry.in_channels == geometry.out_channels > 1


def forward(geometry: ConvGeometry, x: Tensor, k: Tensor, format: torch.memory_format, limit: int) -> Tensor:
    """The output; scratch of a few blocks."""
    output = x.new_empty(geometry.output_shape).contiguous(memory_format=format)
    total, scratch = shifts.of_forward(geometry, x.element_size()), _Scratch()
    for block in itertools.product(*_cuts(geometry, x.element_size(), limit // 4)):
        scratch.read(_phases(x[block], geometry, total.sources))
        _write(output[block], total, scratch, _weights(k, block))
    return output


def grad_input(geometry: ConvGeometry, g: Tensor, k: Tensor, format: torch.memory_format,
               limit: int) -> Tensor:  # fmt: skip
    """The gradient with respect to the input, a phase at a time."""
    result = g.new_empty(geometry.input_shape).contiguous(memory_format=format)
    totals, scratch = shifts.of_grad_input(geometry, g.element_size()), _Scratch()
    for block in itertools.product(*_cuts(geometry, g.element_size(), limit // 4)):
        scratch.read({(): g[block].contiguous()})
        weights = _weights(k, block)
        for rows, sums in itertools.groupby(totals, lambda total: total.phase[:-1]):
            _write_phases(result[block], geometry, rows, tuple(sums), scratch, weights)
    return result


class _Scratch:
    """What the terms of one block read: its phases, and copies of them whose memory serves the next block."""

    def __init__(self) -> None:
        self._phases: dict[Sizes, Tensor] = {}
        self._copies: dict[tuple[Any, ...], Tensor] = {}
        self._fresh: set[tuple[Any, ...]] = set()

    def read(self, phases: dict[Sizes, Tensor]) -> None:
        """Turn to another block."""
        self._phases = phases
        self._fresh.clear()

    def elements(self, term: Term, size: Sizes) -> Tensor:
        """What a term of a sum of this size adds, before it is multiplied."""
        plane = self._phases[term.phase]
        source = plane if term.shift is None else self._shifted(plane, term.phase, term.shift, size[1:])
        return source if term.elements is None else source[term.elements]

    def _shifted(self, plane: Tensor, phase: Sizes, shift: Sizes, size: Sizes) -> Tensor:
        key = (phase, shift, size, *plane.shape[:2])
        if key not in self._copies:
            self._copies[key] = plane.new_zeros((*plane.shape[:3], *size))
        if key not in self._fresh:
            met = shifts.meeting(tuple(plane.shape[3:]), size, shift)
            if met is not None:
                self._copies[key][met[0]] = plane[met[1]]
            self._fresh.add(key)
        return self._copies[key]


def _write(target: Tensor, total: Sum, scratch: _Scratch, weights: tuple[Tensor, ...]) -> None:
    """Write a sum to `[images, channels, *size]`."""
    into = target if _dense(target) else torch.empty_like(target, memory_format=torch.contiguous_format)
    terms = total.terms
    if terms and terms[0].positions is None:
        torch.mul(scratch.elements(terms[0], total.size), weights[terms[0].tap], out=into)
        terms = terms[1:]
    else:
        into.zero_()
    for term in terms:
        part = into if term.positions is None else into[term.positions]
        part.addcmul_(scratch.elements(term, total.size), weights[term.tap])
    if into is not target:
        target.copy_(into)


def _write_phases(target: Tensor, geometry: ConvGeometry, rows: Sizes, sums: tuple[Sum, ...], scratch: _Scratch,
                  weights: tuple[Tensor, ...]) -> None:  # fmt: skip
    """Write the sums of a phase of the rows to `[images, channels, *size]`, one for each phase of the last axis."""
    part = target[_steps(geometry.stride[:-1], rows)]
    if len(sums) != 2:
        for number, total in enumerate(sums):
            _write(part[..., number :: len(sums)], total, scratch, weights)
        return
    parts = [target.new_empty((*target.shape[:2], *total.size)) for total in sums]
    for into, total in zip(parts, sums, strict=True):
        _write(into, total, scratch, weights)
    seconds.put(part, *parts)


def _dense(target: Tensor) -> bool:
    """Whether its planes lie row by row, so that additions to them are of long runs."""
    return target[0, 0].is_contiguous() and (target.shape[1] == 1 or target.stride(1) >= target[0, 0].numel())


def _phases(x: Tensor, geometry: ConvGeometry, phases: Sequence[Sizes]) -> dict[Sizes, Tensor]:
    """Phases of some planes, contiguous."""
    if geometry.stride[-1] != 2:
        return {phase: x[_steps(geometry.stride, phase)].contiguous() for phase in phases}
    parts = seconds.seconds(x)
    return {
        phase: seconds.dense(parts[phase[-1]][_steps(geometry.stride[:-1], phase[:-1])], x.dtype) for phase in phases
    }


def _steps(stride: Sizes, phase: Sizes) -> Slices:
    """The index of a phase of the first spatial axes, as many as there are strides; the others are whole."""
    every: Slices = (slice(None), slice(None))
    return every if max(stride, default=1) == 1 else (*every, *map(slice, phase, itertools.repeat(None), stride))


def _weights(k: Tensor, block: tuple[slice, slice]) -> tuple[Tensor, ...]:
    """The weights of the taps, each `[channels, 1, ...]`."""
    own = k.flatten(1)[block[1]]
    return own.reshape(*own.shape, *(1,) * (k.dim() - 2)).unbind(1)


def _cuts(geometry: ConvGeometry, itemsize: int, limit: int) -> tuple[list[slice], list[slice]]:
    """The images and the channels, so many at a time that their planes together take about a block."""
    phase = math.prod(geometry.input_size) // math.prod(geometry.stride)
    planes = min(BLOCK, limit) // (itemsize * max(1, phase, math.prod(geometry.output_size)))
    channels = even_slices(geometry.in_channels, max(1, planes))
    images = 1 if len(channels) > 1 else max(1, planes // geometry.in_channels)
    return [slice(n, min(n + images, geometry.batch)) for n in range(0, geometry.batch, images)], channels
