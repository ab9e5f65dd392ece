"""Drop-ins for `torch.nn.Conv1d`, `Conv2d` and `Conv3d`: their parameters, our arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from convverify.operator import functional


class Conv1d(nn.Conv1d):
    """`torch.nn.Conv1d` through `convverify.conv1d`; state dicts move both ways."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _padded(self, functional.conv1d, input, weight, bias)


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d` through `convverify.conv2d`; state dicts move both ways."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _padded(self, functional.conv2d, input, weight, bias)


class Conv3d(nn.Conv3d):
    """`torch.nn.Conv3d` through `convverify.conv3d`; state dicts move both ways."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _padded(self, functional.conv3d, input, weight, bias)


def _padded(module: Any, convolve: Callable[..., Tensor], input: Tensor, weight: Tensor,
            bias: Tensor | None) -> Tensor:  # fmt: skip
    """Pad first where the padding is not of zeros, then convolve."""
    padding = module.padding
    if module.padding_mode != "zeros":
        input = F.pad(input, module._reversed_padding_repeated_twice, mode=module.padding_mode)
        padding = 0
    return convolve(input, weight, bias, module.stride, padding, module.dilation, module.groups)
