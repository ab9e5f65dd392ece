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

import torch
from torch import Tensor

from convverify.geometry import Axis, ConvGeometry, Sizes
from convverify.operator.kernels.frame import Slices

# Elements of one operand of an addition: what a block touches stays in the second-level cache, and the
# addition outweighs the call.
BLOCK = 1 << 16
# The same for the gradient of the weight, which keeps as many sums as there are taps.
SUMS = 1 << 15


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
    for block in _blocks(geometry, BLOCK, limit):
        part = x[block].contiguous()
        reads = {key: _shifted(_phase(part, geometry, key[0]), key[1], size) for key in {tap.key for tap in taps}}
        total = _block(output, block)
        _add_up(total, [(reads[tap.key], tap.offset[0], _weight(k, block, tap)) for tap in taps])
        if not output.is_contiguous():
            output[block] = total
    return output


def grad_input(geometry: ConvGeometry, g: Tensor, k: Tensor, format: torch.memory_format,
               limit: int) -> Tensor:  # fmt: skip
    """The gradient with respect to the input: each phase of it is a sum over the taps that read it."""
    result = g.new_empty(geometry.input_shape).contiguous(memory_format=format)
    whole = max(geometry.stride) == 1 and result.is_contiguous()
    for block in _blocks(geometry, BLOCK, limit):
        part = g[block].contiguous()
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
                terms.append((reads[back[1:], size], back[0], _weight(k, block, tap)))
            _add_up(total, terms)
            if not whole:
                target.copy_(total)
    return result


def grad_weight(geometry: ConvGeometry, x: Tensor, g: Tensor, format: torch.memory_format,
                limit: int) -> Tensor:  # fmt: skip
    """The gradient with respect to the weight: every tap's products are added over the images, then up."""
    taps, size = _taps(geometry), geometry.output_size
    result = x.new_empty(geometry.weight_shape[:1] + (len(taps),))
    keys = {tap.key for tap in taps}
    for block in _blocks(geometry, SUMS, limit, images=1):
        if block[0].start == 0:
            sums = g.new_zeros((len(taps), block[1].stop - block[1].start, *size))
        part, met = x[block].contiguous(), g[block].contiguous()
        reads = {key: _shifted(_phase(part, geometry, key[0]), key[1], size)[0] for key in keys}
        for tap in taps:
            read, offset = reads[tap.key], tap.offset[0]
            first, last = _overlap(read.shape[1], size[0], offset)
            if first < last:
                sums[tap.number, :, first:last].addcmul_(read[:, first + offset : last + offset], met[0, :, first:last])
        if block[0].stop == geometry.batch:
            result[block[1]] = sums.flatten(2).sum(2).t()
    return result.view(geometry.weight_shape).contiguous(memory_format=format)


def _add_up(total: Tensor, terms: list[tuple[Tensor, int, Tensor]]) -> None:
    """Write the sum of `[images, channels, rows, ...]`, each from its row on and times a number a channel."""
    rows = total.shape[2]
    begun = False
    spans = [(_overlap(read.shape[2], rows, offset), read, offset, weight) for read, offset, weight in terms]
    for (first, last), read, offset, weight in sorted(spans, key=lambda span: span[0] != (0, rows)):
        if not begun and (first, last) == (0, rows):
            torch.mul(read[:, :, offset : rows + offset], weight, out=total)
        else:
            if not begun:
                total.zero_()
            if first < last:
                total[:, :, first:last].addcmul_(read[:, :, first + offset : last + offset], weight)
        begun = True
    if not begun:
        total.zero_()


def _shifted(plane: Tensor, offset: Sizes, size: Sizes) -> Tensor:
    """Element `position + offset` of all axes but the first, at the positions of `size`; zero outside."""
    shape = (*plane.shape[:3], *size[1:])
    if not any(offset) and plane.shape == shape and plane.is_contiguous():
        return plane
    if plane.shape == shape and len(offset) == 1 and plane.is_contiguous() and abs(offset[0]) < shape[3]:
        return _moved(plane, offset[0])
    target, source = [], []
    for there, here, shift in zip(plane.shape[3:], size[1:], offset, strict=True):
        first, last = _overlap(there, here, shift)
        target.append(slice(first, max(first, last)))
        source.append(slice(first + shift, max(first, last) + shift))
    whole = all(part == slice(0, n) for part, n in zip(target, size[1:], strict=True))
    shifted = (plane.new_empty if whole else plane.new_zeros)(shape)
    shifted[(..., *target)] = plane[(..., *source)]
    return shifted


def _moved(plane: Tensor, offset: int) -> Tensor:
    """The same where no size changes: all rows at once, and zeros over what came around their ends."""
    moved = torch.empty_like(plane)
    line, source = moved.flatten(2), plane.flatten(2)
    if offset > 0:
        line[..., :-offset] = source[..., offset:]
        moved[..., -offset:] = 0
    else:
        line[..., -offset:] = source[..., :offset]
        moved[..., :-offset] = 0
    return moved


@lru_cache(maxsize=1024)
def _taps(geometry: ConvGeometry) -> tuple[Tap, ...]:
    """The taps that read anything."""
    found = []
    for number, tap in enumerate(itertools.product(*map(range, geometry.kernel_size))):
        reaches = [axis.dilation * a - axis.before for axis, a in zip(geometry.axes, tap, strict=True)]
        phase = tuple(reach % s for reach, s in zip(reaches, geometry.stride, strict=True))
        offset = tuple(reach // s for reach, s in zip(reaches, geometry.stride, strict=True))
        found.append(Tap(number, phase, offset))
    return tuple(found)


def _phase(x: Tensor, geometry: ConvGeometry, phase: Sizes) -> Tensor:
    steps = [slice(p, None, s) for p, s in zip(phase, geometry.stride, strict=True)]
    return x if max(geometry.stride) == 1 else x[(..., *steps)]  # type: ignore[index]


def _overlap(there: int, here: int, offset: int) -> tuple[int, int]:
    """The positions among `here` whose element `position + offset` is among `there`."""
    return max(0, -offset), min(here, there - offset)


def _weight(k: Tensor, block: tuple[slice, slice], tap: Tap) -> Tensor:
    own = k.flatten(1)[block[1], tap.number]
    return own.reshape(-1, *(1,) * (k.dim() - 2))


def _block(output: Tensor, block: tuple[slice, slice]) -> Tensor:
    part = output[block]
    return part if output.is_contiguous() else torch.empty_like(part, memory_format=torch.contiguous_format)


def _blocks(geometry: ConvGeometry, elements: int, limit: int,
            images: int | None = None) -> Iterator[tuple[slice, slice]]:  # fmt: skip
    """Images and channels whose planes together have about so many elements; all images of a channel first."""
    plane = max(math.prod(geometry.input_size) // math.prod(geometry.stride), math.prod(geometry.output_size))
    planes = max(1, min(elements, limit // 16) // plane)
    channels = min(planes, geometry.in_channels)
    images = images or min(max(1, planes // channels), geometry.batch)
    for channel in range(0, geometry.in_channels, channels):
        for first in range(0, geometry.batch, images):
            last = min(first + images, geometry.batch)
            yield slice(first, last), slice(channel, min(channel + channels, geometry.in_channels))
