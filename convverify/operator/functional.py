"""Convolutions with the signatures and the semantics of `torch.nn.functional`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from convverify.geometry import Sizes
from convverify.operator import function
from convverify.operator.arguments import (
    Ints,
    PaddingArgument,
    check_dims,
    check_tensors,
    conv_geometry,
    integer,
    ints,
    paddings,
    transpose_shape,
)
from convverify.operator.maps import PLAIN
from convverify.operator.precision import autocast_on, autocast_operand


def conv1d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1,
           padding: PaddingArgument = 0, dilation: Ints = 1, groups: int = 1) -> Tensor:  # fmt: skip
    """Convolve `[batch, in_channels, length]` with `[out_channels, in_channels / groups, kernel_length]`.

    The batch may be absent. `padding` is ints, 'same' or 'valid'.

    Raises:
        RuntimeError: what torch refuses: sizes that do not fit, other dtypes or devices.
        TypeError: arguments of another kind.
    """
    return _convolution("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1,
           padding: PaddingArgument = 0, dilation: Ints = 1, groups: int = 1) -> Tensor:  # fmt: skip
    """Convolve `[batch, in_channels, height, width]` with `[out_channels, in_channels / groups, kh, kw]`.

    The batch may be absent. `padding` is ints, 'same' or 'valid'.

    Raises:
        RuntimeError: what torch refuses: sizes that do not fit, other dtypes or devices.
        TypeError: arguments of another kind.
    """
    return _convolution("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1,
           padding: PaddingArgument = 0, dilation: Ints = 1, groups: int = 1) -> Tensor:  # fmt: skip
    """Convolve `[batch, in_channels, depth, height, width]` with a kernel of three dimensions.

    The batch may be absent. `padding` is ints, 'same' or 'valid'.

    Raises:
        RuntimeError: what torch refuses: sizes that do not fit, other dtypes or devices.
        TypeError: arguments of another kind.
    """
    return _convolution("conv3d", 3, input, weight, bias, stride, padding, dilation, groups)


def conv_transpose2d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Ints = 1,
                     padding: Ints = 0, output_padding: Ints = 0, groups: int = 1,
                     dilation: Ints = 1) -> Tensor:  # fmt: skip
    """The adjoint of `conv2d` in its input; `weight` is `[in_channels, out_channels / groups, kh, kw]`.

    Raises:
        RuntimeError: what torch refuses: sizes that do not fit, other dtypes or devices.
        TypeError: arguments of another kind.
    """
    name, spatial = "conv_transpose2d", 2
    input, weight, bias = _operands(name, spatial, input, weight, bias)
    if input.dim() == spatial + 1:
        output = conv_transpose2d(input.unsqueeze(0), weight, bias, stride, padding, output_padding, groups, dilation)
        return output.squeeze(0)
    output = _transposed(
        name, input, weight, ints(name, "stride", stride, spatial), ints(name, "padding", padding, spatial),
        ints(name, "output_padding", output_padding, spatial), ints(name, "dilation", dilation, spatial),
        integer(name, "groups", groups),
    )  # fmt: skip
    if bias is None:
        return output
    if bias.shape != output.shape[1:2]:
        raise RuntimeError(f"{name}: bias {list(bias.shape)} must be [{output.shape[1]}]")
    return output + bias.reshape(-1, *(1,) * spatial)


def _convolution(name: str, spatial: int, input: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints,
                 padding: PaddingArgument, dilation: Ints, groups: int) -> Tensor:  # fmt: skip
    input, weight, bias = _operands(name, spatial, input, weight, bias)
    if input.dim() == spatial + 1:
        output = _convolution(name, spatial, input.unsqueeze(0), weight, bias, stride, padding, dilation, groups)
        return output.squeeze(0)
    rest = (
        ints(name, "stride", stride, spatial), paddings(name, padding, spatial),
        ints(name, "dilation", dilation, spatial), integer(name, "groups", groups),
    )  # fmt: skip
    if _by_operator(input, weight):
        recorded: Tensor = torch.ops.convverify.convolution(input, weight, bias, *rest)
        return recorded
    shapes = (tuple(input.shape), tuple(weight.shape), None if bias is None else tuple(bias.shape))
    return function.convolve(input, weight, bias, conv_geometry(name, *shapes, *rest))


def _transposed(name: str, input: Tensor, weight: Tensor, stride: Sizes, padding: Sizes, extra: Sizes,
                dilation: Sizes, groups: int) -> Tensor:  # fmt: skip
    shapes = (input.shape, weight.shape)
    if any(e >= s for e, s in zip(extra, stride, strict=True)):
        # From the stride on it is no remainder (theorem TC-1): compute all of it, then crop and pad.
        transpose_shape(name, *shapes, stride, padding, extra, dilation, groups)
        none = (0,) * len(stride)
        whole = _transposed(name, input, weight, stride, none, none, dilation, groups)
        return F.pad(whole, [end for p, e in zip(padding, extra, strict=True) for end in (e - p, -p)][::-1])
    shape = transpose_shape(name, *shapes, stride, padding, extra, dilation, groups)
    if _by_operator(input, weight):
        output: Tensor = torch.ops.convverify.convolution_grad_input(
            input, weight, shape[2:], stride, padding, dilation, groups
        )
        return output
    geometry = conv_geometry(name, shape, tuple(weight.shape), None, stride, padding, dilation, groups)
    return function.transpose(input, weight, geometry)


def _operands(name: str, spatial: int, input: Tensor, weight: Tensor,
              bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:  # fmt: skip
    """The tensors as autocast wants them, checked."""
    if isinstance(input, Tensor) and autocast_on(input.device):
        device = input.device.type
        input, weight = autocast_operand(input, device), autocast_operand(weight, device)
        bias = None if bias is None else autocast_operand(bias, device)
    check_tensors(name, input, weight, bias)
    check_dims(name, input.shape, weight.shape, spatial)
    return input, weight, bias


def _by_operator(input: Tensor, weight: Tensor) -> bool:
    """Whether a compiler or a subclass of Tensor wants to see the registered operator itself."""
    return torch.compiler.is_compiling() or type(input) not in PLAIN or type(weight) not in PLAIN
