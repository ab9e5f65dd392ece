"""Depthwise as a sum over the kernel's taps with channels last: for strides, and for small planes.

One tap is a shifted slice whose rows are runs of width times channels, at stride 1, or of all channels,
at any other; its weights are laid out once for a whole row of positions.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from convverify.geometry import ConvGeometry
from convverify.operator.kernels import frame as frames
from convverify.operator.kernels.frame import Frame, Slices

# Elements of one operand of an addition; three of these stay in the second-level cache.
BLOCK = 1 << 16


def forward(geometry: ConvGeometry, x: Tensor, k: Tensor, format: torch.memory_format, limit: int) -> Tensor:
    """The output; scratch of a few images with channels last."""
    frame = frames.of_forward(geometry)
    output = x.new_empty(geometry.output_shape).contiguous(memory_format=format)
    weights = _row_weights(k, frame)
    for images in _blocks(geometry, frame):
        padded = frames.pad_last(x[images], frame)
        total = padded.new_zeros((padded.shape[0], *frame.output, geometry.out_channels))
        for place, weight in zip(_places(frame), weights, strict=True):
            total.addcmul_(padded[place], weight)
        output[images] = total.movedim(-1, 1)
    return output


def grad_input(geometry: ConvGeometry, g: Tensor, k: Tensor, format: torch.memory_format,
               limit: int) -> Tensor:  # fmt: skip
    """The gradient with respect to the input: every tap adds to the slice that it read."""
    frame = frames.of_forward(geometry)
    result = g.new_zeros(geometry.input_shape).contiguous(memory_format=format)
    target, source = frames.inside(frame)
    weights = _row_weights(k, frame)
    for images in _blocks(geometry, frame):
        last = g[images].movedim(1, -1).contiguous()
        padded = g.new_zeros((last.shape[0], *frame.padded, geometry.in_channels))
        for place, weight in zip(_places(frame), weights, strict=True):
            padded[place].addcmul_(last, weight)
        result[(images, slice(None), *source)] = padded[(slice(None), *target)].movedim(-1, 1)
    return result


def grad_weight(geometry: ConvGeometry, x: Tensor, g: Tensor, format: torch.memory_format,
                limit: int) -> Tensor:  # fmt: skip
    """The gradient with respect to the weight."""
    frame = frames.of_forward(geometry)
    result = x.new_zeros(frame.taps, geometry.out_channels)
    for images in _blocks(geometry, frame):
        padded = frames.pad_last(x[images], frame)
        last = g[images].movedim(1, -1).contiguous()
        terms = torch.empty_like(last)
        for number, place in enumerate(_places(frame)):
            torch.mul(padded[place], last, out=terms)
            result[number] += terms.flatten(0, -2).sum(0)
    return result.t().reshape(geometry.weight_shape).contiguous(memory_format=format)


def _row_weights(k: Tensor, frame: Frame) -> Tensor:
    """`[taps, width, channels]`, the same for every position of a row."""
    rows: Tensor = k.flatten(1).t()[:, None].expand(-1, frame.output[-1], -1).contiguous()
    return rows


def _places(frame: Frame) -> list[Slices]:
    rows = (0, frame.output[0])
    return [(slice(None), *frames.tap_slices(frame, tap, rows)) for tap in frames.tap_indices(frame)]


def _blocks(geometry: ConvGeometry, frame: Frame) -> Iterator[slice]:
    images = max(1, BLOCK // (frame.positions * geometry.out_channels))
    for first in range(0, geometry.batch, images):
        yield slice(first, first + images)
