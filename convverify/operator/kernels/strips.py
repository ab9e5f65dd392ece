"""The gradient of a depthwise weight: products of rows, of which the diagonals are the taps.

For one row of the kernel the rows of grad_output meet rows of the input. Their product, summed over the
rows, has every pair of columns; what a tap sums lies on one diagonal, and nothing is copied. It is taken
strip by strip, so that few of the pairs are of no use.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from convverify.geometry import ConvGeometry
from convverify.operator.kernels import depthwise
from convverify.operator.kernels.frame import reading

Pair = tuple[Tensor, Tensor]

# Columns of grad_output in one product.
STRIP = 28
# Planes of fewer elements are copied, all images side by side: their own products would be too small.
SMALL_PLANE = 1 << 7


def applies(geometry: ConvGeometry) -> bool:
    """Whether every channel has a plane and a kernel of its own."""
    return geometry.spatial == 2 and depthwise.applies(geometry)


def grad_weight(geometry: ConvGeometry, x: Tensor, g: Tensor, format: torch.memory_format,
                limit: int) -> Tensor:  # fmt: skip
    """The gradient with respect to the weight."""
    result = x.new_zeros(geometry.weight_shape)
    few = limit // (x.element_size() * _elements(geometry, _dense(x) and _dense(g)))
    for channels in depthwise.channel_blocks(geometry, few):
        read, met = _rows(x[:, channels]), _rows(g[:, channels])
        for row in range(geometry.kernel_size[0]):
            pairs = _pairs(geometry, read, met, row)
            for first in range(0, geometry.output_size[1], STRIP) if pairs else ():
                last = min(first + STRIP, geometry.output_size[1])
                _add_strip(result[channels, 0, row], geometry, pairs, first, last)
    return result.contiguous(memory_format=format)


def _pairs(geometry: ConvGeometry, x: Tensor, g: Tensor, row: int) -> list[Pair]:
    """`[channels, rows, columns]` of the input and of grad_output that meet in a row of the kernel."""
    axis = geometry.axes[0]
    first, last = reading(geometry, 0, row)
    if first >= last:
        return []
    start = axis.stride * first + axis.dilation * row - axis.before
    read, met = x[:, :, start : start + axis.stride * (last - first) : axis.stride], g[:, :, first:last]
    if _small(geometry):
        return [(read.transpose(0, 1).flatten(1, 2), met.transpose(0, 1).flatten(1, 2))]
    return list(zip(read.unbind(), met.unbind(), strict=True))


def _add_strip(total: Tensor, geometry: ConvGeometry, pairs: list[Pair], first: int, last: int) -> None:
    """Add to `[channels, taps of one row]` what the columns `first:last` of grad_output contribute."""
    axis = geometry.axes[1]
    left = max(0, axis.stride * first - axis.before)
    right = min(axis.input, axis.stride * (last - 1) - axis.before + axis.reach + 1)
    if left >= right:
        return
    products: Tensor | None = None  # [channels, columns of grad_output, columns of the input]
    for read, met in pairs:
        operands = met[:, :, first:last].transpose(1, 2), read[:, :, left:right]
        products = torch.bmm(*operands) if products is None else products.baddbmm_(*operands)
    assert products is not None
    for tap, start, size in _diagonals(geometry, first, last):
        begin = axis.stride * start + axis.dilation * tap - axis.before - left
        channel, down, across = products.stride()
        diagonal = products.as_strided(
            (products.shape[0], size), (channel, down + axis.stride * across), (start - first) * down + begin * across
        )
        total[:, tap] += diagonal.sum(1)


def _diagonals(geometry: ConvGeometry, first: int, last: int) -> Iterator[tuple[int, int, int]]:
    """The taps of a row of the kernel, each with the first of the columns that it meets and how many."""
    for tap in range(geometry.kernel_size[1]):
        start, end = reading(geometry, 1, tap)
        start, end = max(start, first), min(end, last)
        if start < end:
            yield tap, start, end - start


def _elements(geometry: ConvGeometry, dense: bool) -> int:
    """Elements of scratch a channel: one product, and the planes where they are copied."""
    axis = geometry.axes[1]
    product = STRIP * (axis.stride * STRIP + axis.reach)
    if dense and not _small(geometry):
        return product
    return product + geometry.batch * (math.prod(geometry.input_size) + math.prod(geometry.output_size))


def _small(geometry: ConvGeometry) -> bool:
    return math.prod(geometry.output_size) < SMALL_PLANE


def _dense(tensor: Tensor) -> bool:
    """Whether the rows of each plane lie one after the other, as the product needs them."""
    return tensor.stride()[2:] == (tensor.shape[3], 1)


def _rows(tensor: Tensor) -> Tensor:
    return tensor if _dense(tensor) else tensor.contiguous()
