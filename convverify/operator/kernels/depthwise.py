"""As many groups as input and output channels: a sum over the kernel's taps, each a scaled shift.

Along the first axis a tap is a range of rows of the plane as it stands. Along the others the plane is
copied once for each shift, zeros where it leaves the plane, so that the rows of a tap lie in memory one
after the other and every addition is one long run a plane. With a stride the same holds of the phases: the
elements whose indices leave the same remainder.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from convverify.geometry import ConvGeometry, Sizes

# Bytes of one operand of an addition: small enough for the caches, and large enough to outweigh the call.
BLOCK = 1 << 20
# The same for the gradient of the weight, which keeps as many sums as there are taps.
SUMS = 1 << 20


@dataclass(frozen=True)
class Tap:
    """One element of the kernel: it reads the element stride * (position + offset) + phase of each axis."""

    number: int
    phase: Sizes
    offset: Sizes

    @property
    def key(self) -> tuple[Sizes, Sizes]:
        """What the copy that it reads depends on."""
        return self.phase, self.offset[1:]


def applies(geometry: ConvGeometry) -> bool:
    """Whether every channel has a kernel of its own."""
    return geometry.groups == geometry.in_channels == geometry.out_channels > 1


def forward(geometry: ConvGeometry, x: Tensor, k: Tensor, format: torch.memory_format, limit: int) -> Tensor:
    """The output; scratch of a few blocks."""
    output = x.new_empty(geometry.output_shape).contiguous(memory_format=format)
    taps, size = _taps(geometry), geometry.output_size
    for block in _blocks(geometry, BLOCK, k.element_size(), limit):
        part = x[block].contiguous()
        reads = {key: _shifted(_phase(part, geometry, key[0]), key[1], size) for key in {tap.key for tap in taps}}
        total, weights = _block(output, block), _weights(k, block)
        _add_up(total, [(reads[tap.key], tap.offset[0], weights[tap.number]) for tap in taps])
        if not output.is_contiguous():
            output[block] = total
    return output


def grad_input(geometry: ConvGeometry, g: Tensor, k: Tensor, format: torch.memory_format,
               limit: int) -> Tensor:  # fmt: skip
    """The gradient with respect to the input: each phase of it is a sum over the taps that read it."""
    result = g.new_empty(geometry.input_shape).contiguous(memory_format=format)
    whole = max(geometry.stride) == 1 and result.is_contiguous()
    for block in _blocks(geometry, BLOCK, k.element_size(), limit):
        part = g[block].contiguous()
        weights = _weights(k, block)
        reads: dict[tuple[Sizes, Sizes], Tensor] = {}
        for phase in itertools.product(*map(range, geometry.stride)):
            target = _phase(result[block], geometry, phase)
            size = tuple(target.shape[2:])
            total = target if whole else torch.empty_like(target, memory_format=torch.contiguous_format)
            terms = []
            for tap in (tap for tap in _taps(geometry) if tap.phase == phase):
                back = tuple(-offset for offset in tap.offset)
                if (back[1:], size) not in reads:
                    reads[back[1:], size] = _shifted(part, back[1:], size)
                terms.append((reads[back[1:], size], back[0], weights[tap.number]))
            _add_up(total, terms)
            if not whole:
                target.copy_(total)
    return result


def grad_weight(geometry: ConvGeometry, x: Tensor, g: Tensor, format: torch.memory_format,
                limit: int) -> Tensor:  # fmt: skip
    """The gradient with respect to the weight: every tap's products are added over the images, then up."""
    taps, size = _taps(geometry), geometry.output_size
    result = x.new_empty(geometry.out_channels, len(taps))
    keys = {tap.key for tap in taps}
    for channels in _channels(geometry, SUMS, x.element_size(), limit):
        sums = g.new_zeros((len(taps), channels.stop - channels.start, *size))
        for image in range(geometry.batch):
            part, met = x[image : image + 1, channels].contiguous(), g[image, channels].contiguous()
            reads = {key: _shifted(_phase(part, geometry, key[0]), key[1], size)[0] for key in keys}
            for tap, own in zip(taps, sums.unbind(), strict=True):
                _add_products(own, reads[tap.key], met, tap.offset[0])
        heights = [reads[tap.key].shape[1] for tap in taps]
        result[channels] = _totals(sums, [tap.offset[0] for tap in taps], heights).t()
    return result.view(geometry.weight_shape).contiguous(memory_format=format)


def _add_products(sums: Tensor, read: Tensor, met: Tensor, offset: int) -> None:
    """Add the products of `[channels, rows, ...]`, one of them `offset` rows on.

    Planes of one size are taken as one line; what meets across the ends of two planes is no part of the
    totals.
    """
    if read.shape == met.shape:
        shift = offset * math.prod(met.shape[2:])
        first, last = _overlap(met.numel(), met.numel(), shift)
        dim, sums, read, met = 0, sums.view(-1), read.view(-1), met.view(-1)
    else:
        dim, shift = 1, offset
        first, last = _overlap(read.shape[1], met.shape[1], offset)
    if first < last:
        size = last - first
        sums.narrow(dim, first, size).addcmul_(read.narrow(dim, first + shift, size), met.narrow(dim, first, size))


def _totals(sums: Tensor, offsets: list[int], heights: list[int]) -> Tensor:
    """`[taps, channels]`: of every tap the sum over the rows that meet one of the plane's."""
    rows = sums.shape[2]
    for own, offset, height in zip(sums, offsets, heights, strict=True):
        first, last = _overlap(height, rows, offset)
        if first > 0:
            own[:, :first] = 0
        if last < rows:
            own[:, max(last, 0) :] = 0
    return sums.flatten(2).sum(2)


def _add_up(total: Tensor, terms: list[tuple[Tensor, int, Tensor]]) -> None:
    """Write the sum of `[images, channels, rows, ...]`, each from its row on and times a number a channel."""
    rows = total.shape[2]
    spans = [(*_overlap(read.shape[2], rows, offset), read, offset, weight) for read, offset, weight in terms]
    whole = [span for span in spans if span[:2] == (0, rows)]
    if whole:
        _, _, read, offset, weight = whole[0]
        torch.mul(read.narrow(2, offset, rows), weight, out=total)
        spans = [span for span in spans if span is not whole[0]]
    else:
        total.zero_()
    for first, last, read, offset, weight in spans:
        if last > first:
            size = last - first
            total.narrow(2, first, size).addcmul_(read.narrow(2, first + offset, size), weight)


def _shifted(plane: Tensor, offset: Sizes, size: Sizes) -> Tensor:
    """Element `position + offset` of all axes but the first, at the positions of `size`; zero outside."""
    shape = (*plane.shape[:3], *size[1:])
    same = plane.shape == shape and plane.is_contiguous()
    if same and not any(offset):
        return plane
    if same and len(offset) == 1 and abs(offset[0]) < shape[3]:
        return _moved(plane, offset[0])
    target: list[Any] = []
    source: list[Any] = []
    for there, here, shift in zip(plane.shape[3:], size[1:], offset, strict=True):
        first, last = _overlap(there, here, shift)
        target.append(slice(first, max(first, last)))
        source.append(slice(first + shift, max(first, last) + shift))
    whole = all(part == slice(0, n) for part, n in zip(target, size[1:], strict=True))
    shifted = (plane.new_empty if whole else plane.new_zeros)(shape)
    shifted[(..., *target)] = plane[(..., *source)]
    return shifted


def _moved(plane: Tensor, offset: int) -> Tensor:
    """The same where no size changes: all rows as one line, and zeros over what came around their ends."""
    moved = torch.empty_like(plane)
    line, source = moved.view(-1), plane.view(-1)
    if offset > 0:
        line[:-offset] = source[offset:]
        moved[..., -offset:].zero_()
    else:
        line[-offset:] = source[:offset]
        moved[..., :-offset].zero_()
    return moved


@lru_cache(maxsize=1024)
def _taps(geometry: ConvGeometry) -> tuple[Tap, ...]:
    """The taps of the kernel in their order in memory."""
    found = []
    for number, tap in enumerate(itertools.product(*map(range, geometry.kernel_size))):
        reaches = [axis.dilation * a - axis.before for axis, a in zip(geometry.axes, tap, strict=True)]
        phase = tuple(reach % s for reach, s in zip(reaches, geometry.stride, strict=True))
        offset = tuple(reach // s for reach, s in zip(reaches, geometry.stride, strict=True))
        found.append(Tap(number, phase, offset))
    return tuple(found)


def _phase(x: Tensor, geometry: ConvGeometry, phase: Sizes) -> Tensor:
    steps: list[Any] = [slice(p, None, s) for p, s in zip(phase, geometry.stride, strict=True)]
    return x if max(geometry.stride) == 1 else x[(..., *steps)]


def _overlap(there: int, here: int, offset: int) -> tuple[int, int]:
    """The positions among `here` whose element `position + offset` is among `there`."""
    return max(0, -offset), min(here, there - offset)


def _weights(k: Tensor, block: tuple[slice, slice]) -> tuple[Tensor, ...]:
    """The weights of the taps, each `[channels, 1, ...]`."""
    own = k.flatten(1)[block[1]]
    return own.reshape(*own.shape, *(1,) * (k.dim() - 2)).unbind(1)


def _block(output: Tensor, block: tuple[slice, slice]) -> Tensor:
    part = output[block]
    return part if output.is_contiguous() else torch.empty_like(part, memory_format=torch.contiguous_format)


def _blocks(geometry: ConvGeometry, bytes: int, itemsize: int, limit: int) -> Iterator[tuple[slice, slice]]:
    """Images and channels whose planes together take about so many bytes."""
    own = _channels(geometry, bytes, itemsize, limit)
    images = 1 if len(own) > 1 else max(1, _planes(geometry, bytes, itemsize, limit) // geometry.in_channels)
    for first in range(0, geometry.batch, images):
        for channels in own:
            yield slice(first, min(first + images, geometry.batch)), channels


def _channels(geometry: ConvGeometry, bytes: int, itemsize: int, limit: int) -> list[slice]:
    """The channels, as many at a time as have planes of about so many bytes."""
    few, all = _planes(geometry, bytes, itemsize, limit), geometry.in_channels
    return [slice(first, min(first + few, all)) for first in range(0, all, few)]


def _planes(geometry: ConvGeometry, bytes: int, itemsize: int, limit: int) -> int:
    phase = math.prod(geometry.input_size) // math.prod(geometry.stride)
    return max(1, min(bytes, limit // 4) // (itemsize * max(phase, math.prod(geometry.output_size))))
