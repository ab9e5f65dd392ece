"""The article's way to write a convolution: unfold, one einsum, and both gradients by hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ArticleConv2d(torch.autograd.Function):
    """Convolution of square images with square kernels: stride 1, no padding, no bias.

    `input` is [batch, in_channels, N, N], `weight` [out_channels, in_channels, K, K]. Both gradients are
    convolutions again: of the padded grad_output with the rotated kernel, and of the input with
    grad_output once batch and channels have changed places. The price is that each of the three unfolds
    its whole operand.
    """

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(input, weight)
        return _correlate(input, weight)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, Tensor | None]:
        input, weight = ctx.saved_tensors
        grad_input = grad_weight = None
        if ctx.needs_input_grad[0]:
            reach = weight.shape[-1] - 1
            surrounded = F.pad(grad_output, (reach, reach, reach, reach))
            grad_input = _correlate(surrounded, weight.rot90(2, (2, 3)).transpose(0, 1))
        if ctx.needs_input_grad[1]:
            grad_weight = _correlate(input.transpose(0, 1), grad_output.transpose(0, 1)).transpose(0, 1)
        return grad_input, grad_weight


class ArticleLayer(nn.Conv2d):
    """`nn.Conv2d`'s parameters through the article's operator, the bias added afterwards.

    The einsum leaves its output channels last in memory, and there torch's BatchNorm on CPU sums far less
    precisely. That would be held against the convolution: hence one copy.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        convolve: Any = ArticleConv2d.apply
        output: Tensor = convolve(input, weight).contiguous()
        return output if bias is None else output + bias[:, None, None]


def _correlate(images: Tensor, kernels: Tensor) -> Tensor:
    batch, channels, size, _ = images.shape
    taps = kernels.shape[2]
    out = size - taps + 1
    # The article leaves the taps to be inferred, so that some rectangles slip through and come out wrong.
    windows = F.unfold(images, taps).reshape(batch, channels, -1, out, out)
    flat = kernels.reshape(kernels.shape[0], channels, taps * taps)
    return torch.einsum("bctyx,oct->boyx", windows, flat)
