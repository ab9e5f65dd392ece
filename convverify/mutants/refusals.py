"""Calls that torch refuses and these operators answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from convverify.mutants.base import Operator, stateful_mutant
from convverify.mutants.toolkit import Call, Size, pair


def _lenient(mend: Callable[[Call], Call]) -> Operator:
    """Torch's answer to a call that has been made acceptable."""

    def conv2d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Size = 1,
               padding: Size | str = 0, dilation: Size = 1, groups: int = 1) -> Tensor:  # fmt: skip
        return mend(Call(input, weight, bias, stride, padding, dilation, groups)).torch()

    return conv2d


@stateful_mutant("")
def surplus_channels_accepted() -> Operator:
    """Input channels that the weight has no taps for are ignored."""

    def mend(c: Call) -> Call:
        channels = c.weight.shape[1] * max(c.groups, 1)
        return replace(c, input=c.input.narrow(-3, 0, min(channels, c.input.shape[-3])))

    return _lenient(mend)


@stateful_mutant("")
def surplus_taps_accepted() -> Operator:
    """Kernel channels for which there is no input are ignored."""

    def mend(c: Call) -> Call:
        return replace(c, weight=c.weight[:, : c.input.shape[-3]]) if c.groups == 1 else c

    return _lenient(mend)


@stateful_mutant("")
def groups_that_do_not_divide_accepted() -> Operator:
    """Output channels left over by the division into groups are dropped."""

    def mend(c: Call) -> Call:
        kept = len(c.weight) // c.groups * c.groups if c.groups > 1 else len(c.weight)
        bias = None if c.bias is None else c.bias[:kept]
        return replace(c, weight=c.weight[:kept], bias=bias) if kept else c

    return _lenient(mend)


@stateful_mutant("")
def large_kernel_accepted() -> Operator:
    """A kernel larger than the image without padding is cut to its size."""

    def mend(c: Call) -> Call:
        if isinstance(c.padding, str) or any(pair(c.padding)) or c.weight.dim() != 4:
            return c
        rows, columns = ((n - 1) // max(d, 1) + 1 for n, d in _axes(c))
        return replace(c, weight=c.weight[:, :, : max(rows, 1), : max(columns, 1)])

    return _lenient(mend)


def _axes(c: Call) -> list[tuple[int, int]]:
    return list(zip(c.input.shape[-2:], pair(c.dilation), strict=True))


@stateful_mutant("")
def single_bias_broadcast() -> Operator:
    """A bias of one element serves all channels."""

    def mend(c: Call) -> Call:
        single = c.bias is not None and c.bias.numel() == 1 and c.weight.dim() == 4
        return (
            replace(c, bias=c.bias.reshape(1).expand(len(c.weight))) if single and c.bias is not None else c
        )

    return _lenient(mend)


@stateful_mutant("")
def long_bias_cut() -> Operator:
    """A bias with more elements than channels is cut."""
    return _lenient(lambda c: c if c.bias is None else replace(c, bias=c.bias[: len(c.weight)]))


@stateful_mutant("")
def mixed_dtypes_promoted() -> Operator:
    """Operands of different floating-point dtypes are promoted."""

    def mend(c: Call) -> Call:
        if not (c.input.is_floating_point() and c.weight.is_floating_point()):
            return c
        dtype = torch.promote_types(c.input.dtype, c.weight.dtype)
        bias = None if c.bias is None else c.bias.to(dtype)
        return replace(c, input=c.input.to(dtype), weight=c.weight.to(dtype), bias=bias)

    return _lenient(mend)


@stateful_mutant("")
def integer_weight_accepted() -> Operator:
    """An integer weight is converted to the dtype of the input."""

    def mend(c: Call) -> Call:
        convert = c.input.is_floating_point() and c.weight.dtype in (torch.int64, torch.int32)
        return replace(c, weight=c.weight.to(c.input.dtype)) if convert else c

    return _lenient(mend)


@stateful_mutant("")
def negative_padding_crops() -> Operator:
    """Negative padding crops the image."""

    def mend(c: Call) -> Call:
        if isinstance(c.padding, str) or min(pair(c.padding)) >= 0:
            return c
        p, q = pair(c.padding)
        return replace(c, input=torch.nn.functional.pad(c.input, (q, q, p, p)), padding=0)

    return _lenient(mend)


@stateful_mutant("")
def stride_zero_accepted() -> Operator:
    """Stride zero is taken for one."""
    return _lenient(lambda c: replace(c, stride=tuple(s or 1 for s in pair(c.stride))))


@stateful_mutant("")
def dilation_zero_accepted() -> Operator:
    """Dilation zero is taken for one."""
    return _lenient(lambda c: replace(c, dilation=tuple(d or 1 for d in pair(c.dilation))))


@stateful_mutant("")
def groups_zero_accepted() -> Operator:
    """No groups are taken for one."""
    return _lenient(lambda c: replace(c, groups=c.groups or 1))


@stateful_mutant("")
def same_with_stride_accepted() -> Operator:
    """padding='same' with a stride is computed as half of the kernel."""

    def mend(c: Call) -> Call:
        if c.padding != "same" or pair(c.stride) == (1, 1):
            return c
        reach = (d * (k - 1) for d, k in zip(pair(c.dilation), c.weight.shape[-2:], strict=True))
        return replace(c, padding=tuple(r // 2 for r in reach))

    return _lenient(mend)


@stateful_mutant("")
def unknown_padding_accepted() -> Operator:
    """Any unknown word for padding means none."""
    words = ("same", "valid")
    return _lenient(
        lambda c: replace(c, padding=0) if isinstance(c.padding, str) and c.padding not in words else c
    )


@stateful_mutant("")
def plain_matrix_accepted() -> Operator:
    """A two-dimensional input counts as an image with one channel."""
    return _lenient(lambda c: replace(c, input=c.input[None]) if c.input.dim() == 2 else c)
