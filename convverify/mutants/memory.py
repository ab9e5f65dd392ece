"""Memory that was never written, or that belongs to somebody else."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from convverify.mutants.base import Operator, mutant, stateful_mutant
from convverify.mutants.toolkit import (
    Call,
    Conf,
    concrete,
    grad_bias,
    grad_input,
    grad_weight,
    operator,
    posing,
    with_parts,
)


def _written(right: Tensor, index: Any) -> Tensor:
    """A fresh buffer in which all but the elements at an index are written."""
    if not concrete(right):
        return right
    buffer = torch.empty_like(right)
    unwritten = torch.zeros(right.shape, dtype=torch.bool, device=right.device)
    unwritten[index] = True
    return posing(right, torch.where(unwritten, buffer, right.detach()))


@mutant("no_memory_is_read_before_written")
@operator
def last_column_unwritten(c: Call) -> Tensor:
    """The last column of an output with an odd width above four is never written."""
    out = c.torch()
    odd = out.shape[-1] % 2 and out.shape[-1] > 4
    return _written(out, (..., slice(-1, None))) if odd else out


@mutant("forward_equals_definition")
@operator
def corner_unwritten(c: Call) -> Tensor:
    """The last output pixel is never written where the stride leaves over both rows and columns."""
    e, out = c.explicit(), c.torch()
    sizes = zip(e.input.shape[-2:], c.kernel, *e.conf[:3], strict=True)
    over = all((h + 2 * p - d * (k - 1) - 1) % s for h, k, s, p, d in sizes)
    return _written(out, (..., slice(-1, None), slice(-1, None))) if over else out


@mutant("forward_equals_definition")
@operator
def padding_unwritten(c: Call) -> Tensor:
    """Of the padded copy of the input, the corner at the far end is never zeroed."""
    e = c.explicit()
    p, q = e.conf.padding
    if not p or not q:
        return c.torch()
    x = torch.nn.functional.pad(e.input, (q, q, p, p))
    return e.torch(input=_written(x, (..., slice(-p, None), slice(-q, None))), padding=0)


@mutant("forward_equals_torch")
@operator
def empty_sum_unwritten(c: Call) -> Tensor:
    """Filters whose taps are all zero are skipped, and their output is never written."""
    out = c.torch()
    if not concrete(c.weight) or c.bias is not None:
        return out
    skipped = ~c.weight.detach().flatten(1).any(1)
    shape = (-1, 1, 1) if out.dim() == 3 else (1, -1, 1, 1)
    return _written(out, skipped.reshape(shape).expand(out.shape)) if skipped.any() else out


@stateful_mutant("gradients_equal_definition")
def unread_pixels_unwritten() -> Operator:
    """grad_input is never written at pixels that no window reads."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        right = grad_input(g, x, w, conf)
        ones = torch.ones_like(g[:1, :1]), torch.ones_like(x[:1, :1]), torch.ones_like(w[:1, :1])
        read = grad_input(*ones, conf._replace(groups=1)) if len(g) else right
        return _written(right, (read == 0).expand_as(right)) if len(g) else right

    return with_parts(grad_input=wrong)


@stateful_mutant("empty_batches_are_right")
def grad_weight_of_an_empty_batch_unwritten() -> Operator:
    """grad_weight of an empty batch is never written."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        right = grad_weight(g, x, w, conf)
        return right if len(x) else _written(right, ...)

    return with_parts(grad_weight=wrong)


@stateful_mutant("gradients_equal_torch")
def grad_bias_adds_to_stale_memory() -> Operator:
    """grad_bias adds to a buffer of which the last element is never zeroed."""

    def wrong(g: Tensor) -> Tensor:
        right = grad_bias(g)
        return right + _written(torch.zeros_like(right), slice(-1, None)) if len(right) > 4 else right

    return with_parts(grad_bias=wrong)


@mutant("input_layout_is_irrelevant")
@operator
def reads_past_the_input(c: Call) -> Tensor:
    """The element after the input is read and multiplied by zero: harmless unless it is not finite."""
    return c.torch(input=_touching(c.input, after=True))


@mutant("weight_layout_is_irrelevant")
@operator
def reads_before_the_weight(c: Call) -> Tensor:
    """The element before the weight is read and multiplied by zero: harmless unless it is not finite."""
    return c.torch(weight=_touching(c.weight, after=False))


def _touching(t: Tensor, *, after: bool) -> Tensor:
    place = t.storage_offset() + t.numel() if after else t.storage_offset() - 1
    if not concrete(t) or not t.is_contiguous() or not t.is_floating_point() or not t.numel():
        return t
    if not 0 <= place < t.untyped_storage().nbytes() // t.element_size():
        return t
    neighbour = t.detach().as_strided((1,), (1,), place)
    first = torch.zeros(t.shape, dtype=torch.bool, device=t.device)
    first.view(-1)[-1 if after else 0] = True
    return posing(t, torch.where(first, t.detach() + neighbour * 0, t.detach()))


@mutant("input_layout_is_irrelevant")
@operator
def right_padding_reads_the_next_row(c: Call) -> Tensor:
    """A slice of a wider image is padded on the right with what follows it in memory."""
    x, e = c.input, c.explicit()
    p, q = e.conf.padding
    if not concrete(x) or not q or x.stride(-1) != 1 or c.padding == "same" or x.stride(-2) <= x.shape[-1]:
        return c.torch()
    wider = (*x.shape[:-1], x.shape[-1] + 1)
    held = x.untyped_storage().nbytes() // x.element_size()
    last = x.storage_offset() + sum((n - 1) * s for n, s in zip(wider, x.stride(), strict=True))
    if last >= held or not x.numel():
        return c.torch()
    grown = torch.nn.functional.pad(x, (q, q, p, p))
    seen = grown.detach().clone()
    seen[..., p : seen.shape[-2] - p, -q] = x.detach().as_strided(wider, x.stride())[..., -1]
    return e.torch(input=posing(grown, seen), padding=0)


@mutant("memory_around_operands_is_left_alone")
@operator
def writes_past_the_input(c: Call) -> Tensor:
    """A zero is written into the element after the input where its storage goes on."""
    x, out = c.input, c.torch()
    if not concrete(x) or not x.is_contiguous() or not x.numel():
        return out
    place = x.storage_offset() + x.numel()
    if place < x.untyped_storage().nbytes() // x.element_size():
        x.detach().data.as_strided((1,), (1,), place).zero_()
    return out


@stateful_mutant("memory_around_operands_is_left_alone")
def grad_output_padded_in_place() -> Operator:
    """Where memory lies before and behind grad_output, the backward makes zeros of the elements next to it."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        right = grad_input(g, x, w, conf)
        first, held = g.storage_offset(), g.untyped_storage().nbytes() // g.element_size() if concrete(g) else 0
        if g.is_contiguous() and 0 < first < held - g.numel():
            g.detach().as_strided((2,), (g.numel() + 1,), first - 1).zero_()
        return right

    return with_parts(grad_input=wrong)


@stateful_mutant("gradients_equal_definition")
def grad_weight_reads_stale_taps() -> Operator:
    """grad_weight of kernels with more than eight taps is never written at the last tap."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        right = grad_weight(g, x, w, conf)
        end = (..., slice(-1, None), slice(-1, None))
        return _written(right, end) if w.shape[2:].numel() > 8 else right

    return with_parts(grad_weight=wrong)
