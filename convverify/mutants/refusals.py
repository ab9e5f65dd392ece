"""Calls that torch refuses and these operators answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from convverify.mutants.base import Operator, stateful_mutant
from convverify.mutants.toolkit import Call, Size, pair


def _lenient(mend: Callable[[Call], Call]) -> Operator:
    """Torch's answer to a call that has been made acceptable."""

    def conv2d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Size = 1,
               padding: Size | str = 0, dilation: Size = 1, groups: int = 1) -> Tensor:  # fmt: skip
        return mend(Call(input, weight, bias, stride, padding, dilation, groups)).torch()

    return conv2d


@stateful_mutant("mismatched_channels_are_refused")
def surplus_channels_accepted() -> Operator:
    """Input channels that the weight has no taps for are ignored."""

    def mend(c: Call) -> Call:
        channels = c.weight.shape[1] * max(c.groups, 1)
        return replace(c, input=c.input.narrow(-3, 0, min(channels, c.input.shape[-3])))

    return _lenient(mend)


@stateful_mutant("mismatched_channels_are_refused")
def surplus_taps_accepted() -> Operator:
    """Kernel channels for which there is no input are ignored."""

    def mend(c: Call) -> Call:
        return replace(c, weight=c.weight[:, : c.input.shape[-3]]) if c.groups == 1 else c

    return _lenient(mend)


@stateful_mutant("mismatched_channels_are_refused")
def groups_that_do_not_divide_accepted() -> Operator:
    """Output channels left over by the division into groups are dropped."""

    def mend(c: Call) -> Call:
        kept = len(c.weight) // c.groups * c.groups if c.groups > 1 else len(c.weight)
        bias = None if c.bias is None else c.bias[:kept]
        return replace(c, weight=c.weight[:kept], bias=bias) if kept else c

    return _lenient(mend)


@stateful_mutant("mismatched_channels_are_refused")
def groups_inferred_from_the_channels() -> Operator:
    """Without groups, an input of several times the weight's channels is taken for one in groups."""

    def mend(c: Call) -> Call:
        return replace(c, groups=max(1, c.input.shape[-3] // max(1, c.weight.shape[1]))) if c.groups == 1 else c

    return _lenient(mend)


@stateful_mutant("kernels_larger_than_the_input_are_refused")
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


@stateful_mutant("wrong_biases_are_refused")
def long_bias_cut() -> Operator:
    """A bias with more elements than channels is cut."""
    return _lenient(lambda c: c if c.bias is None else replace(c, bias=c.bias[: len(c.weight)]))


@stateful_mutant("zero_steps_are_refused")
def stride_zero_accepted() -> Operator:
    """Stride zero is taken for one."""
    return _lenient(lambda c: replace(c, stride=tuple(s or 1 for s in pair(c.stride))))


@stateful_mutant("zero_steps_are_refused")
def groups_zero_accepted() -> Operator:
    """No groups are taken for one."""
    return _lenient(lambda c: replace(c, groups=c.groups or 1))


@stateful_mutant("wrong_ranks_are_refused")
def plain_matrix_accepted() -> Operator:
    """A two-dimensional input counts as an image with one channel."""
    return _lenient(lambda c: replace(c, input=c.input[None]) if c.input.dim() == 2 else c)
