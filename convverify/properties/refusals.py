"""What no convolution can mean is refused, not computed.

An extension that has a meaning of its own is not blamed: negative padding that crops, operands of two dtypes that
are promoted, a bias of one entry that is broadcast, 'same' with a stride.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from convverify.answers import OperatorError, Unsupported
from convverify.case import ConvCase, Operands
from convverify.comparison import Equation
from convverify.demand import Demand
from convverify.properties.base import declare
from convverify.properties.calls import geometry_arguments
from convverify.target import Target

REFUSED = "refused, as torch does"
_WHOLE = Demand(products=1500, weight=0.4, where=lambda case: case.geometry.padding != "same")


def _refused(op: Target, what: str, *arguments: Any) -> Equation:
    try:
        value = op(*arguments)
    except (OperatorError, Unsupported):
        value = REFUSED
    got = f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else REFUSED
    return Equation(what, got, REFUSED)


def _whole(op: Target) -> None:
    if op.domain.declared:
        raise Unsupported("what it refuses is outside the domain it declares")


@declare("refusals", ("GR-1", "GR-2"), "surplus_channels_accepted", _WHOLE)
def mismatched_channels_are_refused(op: Target, case: ConvCase) -> Iterator[Equation]:
    """An input whose channels are not the weight's times groups, and groups that do not divide, are refused."""
    g, dtype = case.geometry, case.torch_dtype
    _whole(op)
    stride, padding, dilation, groups = geometry_arguments(op, case)
    for number in dict.fromkeys((1, groups)):
        for out, each in ((3, 4), (3, 6), (3, 16), (4, 10)):  # the last as for two groups
            weight = torch.ones((out * number, 5, *g.kernel_size), dtype=dtype, device=case.device)
            x = torch.ones((max(g.batch, 1), each * number, *g.input_size), dtype=dtype, device=case.device)
            yield _refused(op, f"an input of {x.shape[1]} channels with a weight for {5 * number} in {number} groups",
                           x, weight, None, stride, padding, dilation, number)  # fmt: skip
    if "groups" in op.accepts:
        x = torch.ones((1, 4, *g.input_size), dtype=dtype, device=case.device)
        odd = torch.ones((3, 2, *g.kernel_size), dtype=dtype, device=case.device)
        yield _refused(op, "groups=2 with 3 out_channels", x, odd, None, stride, padding, dilation, 2)
        x = torch.ones((1, 5, *g.input_size), dtype=dtype, device=case.device)
        odd = torch.ones((2, 3, *g.kernel_size), dtype=dtype, device=case.device)
        yield _refused(op, "groups=2 with 5 in_channels", x, odd, None, stride, padding, dilation, 2)


@declare("refusals", ("FW-1",), "large_kernel_accepted", _WHOLE, direct=True)
def kernels_larger_than_the_input_are_refused(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A kernel that reaches beyond the padded input is refused."""
    g = case.geometry
    _whole(op)
    stride, padding, dilation, groups = geometry_arguments(op, case)
    unpadded = (0,) * g.spatial if isinstance(padding, tuple) else 0
    for pads in dict.fromkeys((padding, unpadded)):
        each = [axis.before for axis in g.axes] if pads == padding else [0] * g.spatial
        sizes = [axis.input + 2 * pad + 2 * axis.stride + 1 for axis, pad in zip(g.axes, each, strict=True)]
        for kernel in (sizes, [sizes[0], *g.kernel_size[1:]], [*g.kernel_size[:-1], sizes[-1]]):
            weight = torch.ones((*g.weight_shape[:2], *kernel), dtype=case.torch_dtype, device=case.device)
            yield _refused(op, f"a kernel of {kernel} on an input of {list(g.input_size)} padded by {each}",
                           Operands(case).input, weight, None, stride, pads, dilation, groups)  # fmt: skip


@declare("refusals", ("GB-1",), "long_bias_cut", _WHOLE)
def wrong_biases_are_refused(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A bias that has not one entry for each output channel is refused."""
    if "bias" not in op.accepts:
        raise Unsupported("it takes no bias")
    _whole(op)
    operands, channels = Operands(case), case.geometry.out_channels
    if channels == 1:
        return  # any bias broadcasts, and then the output has its channels
    bias = torch.ones((channels + 1,), dtype=case.torch_dtype, device=case.device)
    yield _refused(op, f"a bias of {channels + 1} entries for {channels} output channels",
             operands.input, operands.weight, bias, *geometry_arguments(op, case))  # fmt: skip


def _several_of_everything(case: ConvCase) -> bool:
    """Whether no axis has a single entry, which would broadcast or pass for a missing axis."""
    g = case.geometry
    return min(g.batch, g.in_channels // g.groups, g.out_channels, *g.kernel_size) > 1


@declare("refusals", ("FW-1",), "plain_matrix_accepted", _WHOLE)
def wrong_ranks_are_refused(op: Target, case: ConvCase) -> Iterator[Equation]:
    """An input or a weight with too few or too many axes is refused."""
    _whole(op)
    operands, arguments = Operands(case), geometry_arguments(op, case)
    yield _refused(op, "an input with 2 axes", operands.input[0, 0], operands.weight, None, *arguments)
    if _several_of_everything(case):
        yield _refused(op, "an input with 5 axes", operands.input[None], operands.weight, None, *arguments)
        yield _refused(op, "a weight with 3 axes", operands.input, operands.weight[0], None, *arguments)


@declare("refusals", ("FW-1", "GR-1"), "stride_zero_accepted", _WHOLE)
def zero_steps_are_refused(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A stride of 0, or 0 groups, mean nothing and are refused."""
    _whole(op)
    operands = Operands(case)
    _, padding, dilation, groups = geometry_arguments(op, case)
    for name, stride, groups_ in (("stride", 0, groups), ("groups", 1, 0)):
        if name in op.accepts:
            what = f"{name}=0"
            yield _refused(op, what, operands.input, operands.weight, None, stride, padding, dilation, groups_)
