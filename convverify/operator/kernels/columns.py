"""Columns and a batched matrix product, with channels first; for groups and for few channels.

The windows are copied as the columns of a matrix, one for each image and group, in runs as long as a row
of the output. grad_input goes the other way: a product, whose columns are added to where they came from.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from convverify.geometry import ConvGeometry
from convverify.operator.kernels import frame as frames
from convverify.operator.kernels.frame import Frame, Piece


def forward(geometry: ConvGeometry, x: Tensor, k: Tensor, format: torch.memory_format, limit: int) -> Tensor:
    """The output; scratch of about `limit` bytes."""
    frame = frames.of_forward(geometry)
    return _correlate(frame, x, _kernel(k, geometry.groups), format, limit)


def grad_input(geometry: ConvGeometry, g: Tensor, k: Tensor, format: torch.memory_format,
               limit: int) -> Tensor:  # fmt: skip
    """The gradient with respect to the input: a correlation, or what has fewer columns to copy."""
    if max(geometry.stride) > 1 or geometry.out_channels > 2 * geometry.in_channels:
        return _scattered(geometry, g, k, format, limit)
    turned = k.flip(list(range(2, k.dim())))
    grouped = turned.view(geometry.groups, -1, *k.shape[1:]).transpose(1, 2)
    kernel = grouped.reshape(geometry.groups, k.shape[1], -1)
    return _correlate(frames.of_grad_input(geometry), g, kernel, format, limit)


def _correlate(frame: Frame, x: Tensor, kernel: Tensor, format: torch.memory_format,
               limit: int) -> Tensor:  # fmt: skip
    groups, channels, terms = kernel.shape
    output = x.new_empty((x.shape[0], groups * channels, *frame.output))
    for piece, columns in _pieces(frame, x, limit):
        target = output[piece.first : piece.last, :, piece.top : piece.bottom]
        operands = (
            kernel.expand(piece.images, *kernel.shape).reshape(-1, channels, terms),
            columns.view(piece.images * groups, terms, -1),
        )
        if target.is_contiguous():
            torch.bmm(*operands, out=target.view(piece.images * groups, channels, -1))
        else:
            target.copy_(torch.bmm(*operands).view(target.shape))
    return output.contiguous(memory_format=format)


def _scattered(geometry: ConvGeometry, g: Tensor, k: Tensor, format: torch.memory_format,
               limit: int) -> Tensor:  # fmt: skip
    frame = frames.of_forward(geometry)
    kernel = _kernel(k, geometry.groups).transpose(1, 2).contiguous()
    padded = g.new_zeros((geometry.batch, geometry.in_channels, *frame.padded))
    row_bytes = frame.row * frame.taps * geometry.in_channels * g.element_size()
    for piece in frames.pieces(geometry.batch, frame, row_bytes, limit):
        part = g[piece.first : piece.last, :, piece.top : piece.bottom]
        rows = part.reshape(piece.images, geometry.groups, geometry.out_channels // geometry.groups, -1)
        shape = (piece.images, geometry.in_channels, frame.taps, piece.bottom - piece.top)
        columns = torch.matmul(kernel, rows).view(*shape, *frame.output[1:])
        target = padded[piece.first : piece.last]
        for number, tap in enumerate(frames.tap_indices(frame)):
            target[(..., *frames.tap_slices(frame, tap, piece.rows))] += columns[:, :, number]
    return unpadded(padded, frame, geometry, format)


def grad_weight(geometry: ConvGeometry, x: Tensor, g: Tensor, format: torch.memory_format,
                limit: int) -> Tensor:  # fmt: skip
    """The gradient with respect to the weight, summed over the images and the pieces."""
    frame = frames.of_forward(geometry)
    total = x.new_zeros((geometry.groups, geometry.out_channels // geometry.groups,
                         geometry.in_channels // geometry.groups * frame.taps))  # fmt: skip
    for piece, columns in _pieces(frame, x, limit):
        part = g[piece.first : piece.last, :, piece.top : piece.bottom]
        rows = part.reshape(piece.images, geometry.groups, total.shape[1], -1)
        read = columns.view(piece.images, geometry.groups, total.shape[2], -1)
        total += torch.matmul(rows, read.transpose(2, 3)).sum(0)
    return total.view(geometry.weight_shape).contiguous(memory_format=format)


def unpadded(padded: Tensor, frame: Frame, geometry: ConvGeometry, format: torch.memory_format) -> Tensor:
    """Crop the padding away; elements that no window read are zero."""
    target, source = frames.inside(frame)
    if frame.padded == geometry.input_size and not any(map(any, frame.pads)):
        return padded.contiguous(memory_format=format)
    shape = geometry.input_shape
    whole = all(after >= 0 for _, after in frame.pads)
    result = (padded.new_empty if whole else padded.new_zeros)(shape).contiguous(memory_format=format)
    result[(..., *source)] = padded[(..., *target)]
    return result


def _pieces(frame: Frame, x: Tensor, limit: int) -> Iterator[tuple[Piece, Tensor]]:
    row_bytes = frame.row * frame.taps * x.shape[1] * x.element_size()
    buffer, padded, images = None, x, (-1, -1)
    for piece in frames.pieces(x.shape[0], frame, row_bytes, limit):
        if images != (piece.first, piece.last):
            images = (piece.first, piece.last)
            padded = frames.pad_first(x[piece.first : piece.last], frame)
        view = frames.windows_first(padded, frame, piece.rows)
        if buffer is None or buffer.shape != view.shape:
            buffer = x.new_empty(view.shape)
        yield piece, buffer.copy_(view)


def _kernel(k: Tensor, groups: int) -> Tensor:
    """`[groups, out/groups, in/groups * taps]`."""
    return k.reshape(groups, k.shape[0] // groups, -1)
