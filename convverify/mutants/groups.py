"""Grouped convolutions that are wrong; without groups all of them are right."""

from __future__ import annotations

import torch
from torch import Tensor

from convverify.mutants.base import Operator, mutant, stateful_mutant
from convverify.mutants.toolkit import (
    Call,
    Conf,
    concrete,
    grad_input,
    grad_weight,
    operator,
    posing,
    scaled,
    with_parts,
)


def _interleaved(x: Tensor, groups: int, axis: int) -> Tensor:
    """The channels in the order of a grid that is read by columns, as by a channel shuffle."""
    shape = x.shape
    grid = x.reshape(*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])
    return grid.transpose(axis, axis + 1).reshape(shape)


@mutant("forward_equals_definition")
@operator
def groups_interleaved(c: Call) -> Tensor:
    """Input channels are dealt out to the groups in turn, not in blocks."""
    axis = c.input.dim() - 3
    return c.torch(input=_interleaved(c.input, c.groups, axis)) if c.input.numel() else c.torch()


@mutant("forward_equals_definition")
@operator
def group_outputs_interleaved(c: Call) -> Tensor:
    """Output channels come out ordered by their place in the group, then by group."""
    out = c.torch()
    return _interleaved(out, c.groups, out.dim() - 3) if out.numel() else out


@mutant("groups_are_block_diagonal")
@operator
def groups_in_reverse(c: Call) -> Tensor:
    """The first group reads the channels of the last."""
    channels = c.weight.shape[1]
    order = [g * channels + k for g in reversed(range(c.groups)) for k in range(channels)]
    return c.torch(input=c.input[..., order, :, :])


@mutant("forward_equals_definition")
@operator
def last_group_skipped(c: Call) -> Tensor:
    """The last of three or more groups is not computed."""
    first = c.weight.shape[0] // c.groups * (c.groups - 1)
    kept = scaled(c.weight, slice(first, None), 0)
    return c.torch(weight=kept) if c.groups > 2 else c.torch()


@mutant("forward_equals_definition")
@operator
def depthwise_multiplier_order(c: Call) -> Tensor:
    """A depthwise convolution with a multiplier orders its outputs by multiplier first."""
    depthwise = c.weight.shape[1] == 1 and c.groups > 1
    out = c.torch()
    return _interleaved(out, c.groups, out.dim() - 3) if depthwise and out.numel() else out


@mutant("forward_equals_definition")
@operator
def groups_with_dilation(c: Call) -> Tensor:
    """With groups, the dilation of the height is used for the width too, where the size allows."""
    dilation = c.conf.dilation
    if c.groups == 1 or dilation[1] <= dilation[0] or c.padding == "same":
        return c.torch()
    return c.torch(dilation=dilation[0])[..., : c.torch().shape[-1]]


@stateful_mutant("gradients_equal_definition")
def groups_share_grad_weight() -> Operator:
    """grad_weight of every group is that of the first."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        right = grad_weight(g, x, w, conf)
        return right[: len(w) // conf.groups].repeat(conf.groups, 1, 1, 1)

    return with_parts(grad_weight=wrong)


@stateful_mutant("gradients_equal_definition")
def groups_averaged_in_grad_weight() -> Operator:
    """grad_weight is divided by the number of groups."""
    return with_parts(grad_weight=lambda g, x, w, conf: grad_weight(g, x, w, conf) / conf.groups)


@stateful_mutant("gradients_equal_definition")
def groups_reversed_in_grad_input() -> Operator:
    """grad_input uses the kernels of the groups in reverse order."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        return grad_input(g, x, torch.cat(w.chunk(conf.groups)[::-1]), conf)

    return with_parts(grad_input=wrong)


@stateful_mutant("gradients_equal_definition")
def groups_with_stride_in_grad_input() -> Operator:
    """With groups and a stride, grad_input of the last channel is zero."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        right = grad_input(g, x, w, conf)
        faulty = conf.groups > 1 and max(conf.stride) > 1
        return scaled(right, (slice(None), slice(-1, None)), 0) if faulty else right

    return with_parts(grad_input=wrong)


@stateful_mutant("gradients_equal_definition")
def one_output_per_group_in_grad_weight() -> Operator:
    """With several inputs but one output a group, grad_weight reverses the inputs of the group."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        right = grad_weight(g, x, w, conf)
        return right.flip(1) if conf.groups > 1 and len(w) == conf.groups else right

    return with_parts(grad_weight=wrong)


@mutant("usual_layers_are_right")
@operator
def separable_depthwise_transposed(c: Call) -> Tensor:
    """Square depthwise kernels that are each an outer product are applied with rows and columns exchanged."""
    w = c.weight
    depthwise = c.groups > 1 and c.groups == w.shape[0] and w.shape[1] == 1 and w.shape[2] == w.shape[3] > 1
    if not depthwise or not concrete(w) or not _all_outer_products(w.detach()):
        return c.torch()
    return c.torch(weight=posing(w, w.detach().mT.contiguous()))


def _all_outer_products(w: Tensor) -> bool:
    corner = w[..., :1, :1]
    return bool((corner != 0).all() and torch.equal(w * corner, w[..., :1] * w[..., :1, :]))
