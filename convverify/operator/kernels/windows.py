"""Windows and one matrix product, with channels last; for ungrouped convolutions of many channels.

A channels-last image has the channels of a whole kernel row side by side, so that the windows are copied
in long runs. A piece of the batch or of an image at a time, so that they stay in the cache; the kernel is
the first operand, so that the product comes out with channels first.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from convverify.geometry import ConvGeometry
from convverify.operator.kernels import frame as frames
from convverify.operator.kernels.frame import Frame, Piece
from convverify.operator.kernels.product import added_product, product


def applies(geometry: ConvGeometry) -> bool:
    """Whether all input channels meet all output channels."""
    return geometry.groups == 1


def forward(geometry: ConvGeometry, x: Tensor, k: Tensor, format: torch.memory_format, limit: int) -> Tensor:
    """The output; scratch of about `limit` bytes."""
    frame = frames.of_forward(geometry)
    return _correlate(frame, x, _taps_between(k), geometry.out_channels, format, limit)


def grad_input(geometry: ConvGeometry, g: Tensor, k: Tensor, format: torch.memory_format,
               limit: int) -> Tensor:  # fmt: skip
    """The gradient with respect to the input, for stride 1: grad_output takes the input's place."""
    frame = frames.of_grad_input(geometry)
    turned = k.transpose(0, 1).flip(list(range(2, k.dim())))
    return _correlate(frame, g, _taps_between(turned), geometry.in_channels, format, limit)


def grad_weight(geometry: ConvGeometry, x: Tensor, g: Tensor, format: torch.memory_format,
                limit: int) -> Tensor:  # fmt: skip
    """The gradient with respect to the weight, summed over the pieces."""
    frame = frames.of_forward(geometry)
    total: Tensor | None = None
    for piece, windows in _pieces(frame, x, limit):
        part = g[piece.first : piece.last, :, piece.top : piece.bottom]
        rows = part.transpose(0, 1).reshape(geometry.out_channels, -1)  # [out, positions]
        total = added_product(total, rows, windows.t())
    assert total is not None
    result = total.view(geometry.out_channels, *geometry.kernel_size, geometry.in_channels)
    return result.movedim(-1, 1).contiguous(memory_format=format)


def _correlate(frame: Frame, x: Tensor, kernel: Tensor, channels: int, format: torch.memory_format,
               limit: int) -> Tensor:  # fmt: skip
    output = x.new_empty((x.shape[0], channels, *frame.output)).contiguous(memory_format=format)
    last = format is not torch.contiguous_format
    for piece, windows in _pieces(frame, x, limit):
        target = output[piece.first : piece.last, :, piece.top : piece.bottom]
        shape = (piece.images, piece.bottom - piece.top, *frame.output[1:])
        if last:
            target.movedim(1, -1).copy_(product(windows, kernel).view(*shape, channels))
        else:
            target.transpose(0, 1).copy_(product(kernel, windows).view(channels, *shape))
    return output


def _pieces(frame: Frame, x: Tensor, limit: int) -> Iterator[tuple[Piece, Tensor]]:
    """Each piece with its windows, `[positions, taps * channels]`; the memory is used again for the next."""
    row_bytes = frame.row * frame.taps * x.shape[1] * x.element_size()
    buffer: Tensor | None = None
    padded: Tensor | None = None
    images = (-1, -1)
    for piece in frames.pieces(x.shape[0], frame, row_bytes, limit):
        if images != (piece.first, piece.last):
            images = (piece.first, piece.last)
            padded = frames.pad_last(x[piece.first : piece.last], frame, padded)
        assert padded is not None
        view = frames.windows_last(padded, frame, piece.rows)
        if buffer is None or buffer.shape != view.shape:
            buffer = x.new_empty(view.shape)
        yield piece, buffer.copy_(view).view(-1, frame.taps * x.shape[1])


def _taps_between(k: Tensor) -> Tensor:
    """`[out, in, *kernel]` to `[out, taps * in]`; tap by tap, which is the fastest order for a copy."""
    taps = k.flatten(2)
    last = k.new_empty((k.shape[0], taps.shape[2], k.shape[1]))
    for tap in range(taps.shape[2]):
        last[:, tap] = taps[:, :, tap]
    return last.flatten(1)
