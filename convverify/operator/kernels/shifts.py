"""Which shifted planes a depthwise map adds up: one for each tap of the kernel, worked out once a geometry.

With a stride, planes are cut into phases: the elements whose indices leave the same remainders. What a tap
reads is then a range of one phase, and grad_input is a sum of its own for each phase.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from convverify.geometry import ConvGeometry, Sizes
from convverify.operator.kernels import frame as frames
from convverify.operator.kernels.frame import Slices

# Rows of fewer bytes are copied to be shifted: their ends would cost more than their elements.
SHORT_ROW = 1 << 7


@dataclass(frozen=True)
class Term:
    """What one tap adds: `elements` of a phase of the source, at `positions`; None stands for all of it.

    With `shift` the elements are those of a copy: shifted by so much along all axes but the first, with
    zeros where that leaves the plane.
    """

    tap: int
    phase: Sizes
    shift: Sizes | None
    positions: Slices | None
    elements: Slices | None


@dataclass(frozen=True)
class Sum:
    """The terms of one phase of the target, of this size; one that covers all of it comes first, if any does."""

    phase: Sizes
    size: Sizes
    terms: tuple[Term, ...]

    @cached_property
    def sources(self) -> tuple[Sizes, ...]:
        """The phases of the source that are read."""
        return tuple({term.phase: None for term in self.terms})


@lru_cache(maxsize=1024)
def of_forward(geometry: ConvGeometry, itemsize: int) -> Sum:
    """The output from phases of the input."""
    size = geometry.output_size
    terms = (
        _term(tap, phase, offset, _phase_size(geometry, phase), size, itemsize)
        for tap, phase, offset in _taps(geometry)
    )
    return Sum((), size, _ordered(terms))


@lru_cache(maxsize=1024)
def of_grad_input(geometry: ConvGeometry, itemsize: int) -> tuple[Sum, ...]:
    """Each phase of grad_input from grad_output: an element goes back to where it was read."""
    sums = []
    for target in itertools.product(*map(range, geometry.stride)):
        size = _phase_size(geometry, target)
        terms = (
            _term(tap, (), tuple(-entry for entry in offset), geometry.output_size, size, itemsize)
            for tap, phase, offset in _taps(geometry) if phase == target
        )  # fmt: skip
        sums.append(Sum(target, size, _ordered(terms)))
    return tuple(sums)


@lru_cache(maxsize=4096)
def meeting(there: Sizes, here: Sizes, offset: Sizes) -> tuple[Slices, Slices] | None:
    """The positions `here` whose element `position + offset` is `there`, and those elements; None if none is."""
    met = [frames.meeting(m, n, 1, shift) for m, n, shift in zip(there, here, offset, strict=True)]
    if any(positions.start == positions.stop for positions, _ in met):
        return None
    return (..., *(positions for positions, _ in met)), (..., *(slice(part.start, part.stop) for _, part in met))


def _taps(geometry: ConvGeometry) -> Iterator[tuple[int, Sizes, Sizes]]:
    """Each tap's number, and the phase and the offset of what it reads: stride * (position + offset) + phase."""
    for number, tap in enumerate(itertools.product(*map(range, geometry.kernel_size))):
        reaches = [axis.dilation * a - axis.before for axis, a in zip(geometry.axes, tap, strict=True)]
        yield (
            number,
            tuple(reach % s for reach, s in zip(reaches, geometry.stride, strict=True)),
            tuple(reach // s for reach, s in zip(reaches, geometry.stride, strict=True)),
        )


def _term(tap: int, phase: Sizes, offset: Sizes, there: Sizes, here: Sizes, itemsize: int) -> Term | None:
    met = meeting(there, here, offset)
    if met is None:
        return None
    shift = None
    if there[-1] * itemsize < SHORT_ROW and any(offset[1:]):
        shift, offset, there = offset[1:], (offset[0], *(0 for _ in offset[1:])), (there[0], *here[1:])
        met = meeting(there, here, offset)
        assert met is not None
    positions, elements = (
        None if part == (..., *map(slice, (0,) * len(size), size)) else part
        for part, size in zip(met, (here, there), strict=True)
    )
    return Term(tap, phase, shift, positions, elements)


def _ordered(terms: Iterator[Term | None]) -> tuple[Term, ...]:
    return tuple(sorted((term for term in terms if term is not None), key=lambda term: term.positions is not None))


def _phase_size(geometry: ConvGeometry, phase: Sizes) -> Sizes:
    return tuple(
        len(range(first, n, s)) for first, n, s in zip(phase, geometry.input_size, geometry.stride, strict=True)
    )
