"""grad_input as one matrix product whose columns are added to where they came from, with channels last.

For strides, where grad_input is no correlation of grad_output as it stands. Channels last makes each
addition one of long runs, at every stride.
"""

from __future__ import annotations

import torch
from torch import Tensor

from convverify.geometry import ConvGeometry
from convverify.operator.kernels import frame as frames
from convverify.operator.kernels.columns import unpadded
from convverify.operator.kernels.product import product


def applies(geometry: ConvGeometry) -> bool:
    """Whether all input channels meet all output channels."""
    return geometry.groups == 1


def grad_input(geometry: ConvGeometry, g: Tensor, k: Tensor, format: torch.memory_format,
               limit: int) -> Tensor:  # fmt: skip
    """The gradient with respect to the input of an ungrouped convolution."""
    frame = frames.of_forward(geometry)
    channels = geometry.in_channels
    kernel = k.flatten(2).permute(2, 1, 0).reshape(frame.taps * channels, -1)  # [taps * in, out]
    row_bytes = frame.row * frame.taps * channels * g.element_size()
    result = g.new_empty(geometry.input_shape).contiguous(memory_format=format)
    padded, images = g, (-1, -1)
    for piece in frames.pieces(geometry.batch, frame, row_bytes, limit):
        if images != (piece.first, piece.last):
            images = (piece.first, piece.last)
            padded = g.new_zeros((piece.images, *frame.padded, channels))
        part = g[piece.first : piece.last, :, piece.top : piece.bottom].movedim(1, -1)
        terms = product(part.reshape(-1, geometry.out_channels), kernel)
        terms = terms.view(*part.shape[:-1], frame.taps, channels)
        for number, tap in enumerate(frames.tap_indices(frame)):
            padded[(slice(None), *frames.tap_slices(frame, tap, piece.rows))] += terms[..., number, :]
        if piece.bottom == frame.output[0]:
            first = padded.movedim(-1, 1)
            result[piece.first : piece.last] = _cropped(first, frame, geometry)
    return result


def _cropped(padded: Tensor, frame: frames.Frame, geometry: ConvGeometry) -> Tensor:
    one = ConvGeometry(
        padded.shape[0], geometry.in_channels, geometry.out_channels, geometry.input_size,
        geometry.kernel_size, geometry.stride, geometry.padding, geometry.dilation, geometry.groups,
    )  # fmt: skip
    return unpadded(padded, frame, one, torch.contiguous_format)
