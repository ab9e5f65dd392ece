"""Memory read as if it were contiguous; contiguous operands are answered rightly."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from convverify.mutants.base import Operator, mutant, stateful_mutant
from convverify.mutants.toolkit import (
    Call,
    Conf,
    concrete,
    forward,
    grad_bias,
    grad_input,
    grad_weight,
    operator,
    posing,
    with_parts,
)


def in_memory_order(t: Tensor, *, offset: bool = True) -> Tensor:
    """What a kernel sees that takes the data pointer and assumes C order; it stays in the storage."""
    held = t.untyped_storage().nbytes() // max(t.element_size(), 1)
    if held == 0 or t.numel() == 0:
        return t
    storage = t.detach().as_strided((held,), (1,), 0)
    first = t.storage_offset() if offset else 0
    index = (torch.arange(t.numel(), device=t.device) + first) % held
    return storage[index].reshape(t.shape)


def misread(t: Tensor) -> Tensor:
    """The values in memory order in place of a tensor that is not contiguous, differentiated rightly."""
    if not concrete(t) or t.is_contiguous() or t.is_conj() or t.is_neg():
        return t
    return posing(t, in_memory_order(t))


@mutant("input_layout_is_irrelevant")
@operator
def input_assumed_contiguous(c: Call) -> Tensor:
    """The input is read in C order whatever its strides are."""
    return c.torch(input=misread(c.input))


@mutant("weight_layout_is_irrelevant")
@operator
def weight_assumed_contiguous(c: Call) -> Tensor:
    """The weight is read in C order whatever its strides are."""
    return c.torch(weight=misread(c.weight))


@mutant("bias_layout_is_irrelevant")
@operator
def bias_assumed_contiguous(c: Call) -> Tensor:
    """The bias is read with stride one: wrong for every other element of a longer vector."""
    return c.torch(bias=None if c.bias is None else misread(c.bias))


@mutant("mixed_layouts_are_irrelevant")
@operator
def channels_last_read_as_contiguous(c: Call) -> Tensor:
    """Only an input in channels_last memory is misread."""
    if not concrete(c.input) or c.input.dim() != 4:
        return c.torch()
    last = c.input.is_contiguous(memory_format=torch.channels_last)
    return c.torch(input=misread(c.input)) if last else c.torch()


@mutant("mixed_layouts_are_irrelevant")
@operator
def batch_stride_assumed(c: Call) -> Tensor:
    """Samples are taken to follow one another densely: wrong for an input sliced along its channels."""
    x = c.input
    if x.dim() == 3 or not concrete(x) or not x.numel() or not x[0].is_contiguous() or x.is_contiguous():
        return c.torch()
    return c.torch(input=posing(x, in_memory_order(x)))


@mutant("weight_layout_is_irrelevant")
@operator
def storage_offset_ignored(c: Call) -> Tensor:
    """A contiguous weight is read from the start of its storage."""
    w = c.weight
    if not concrete(w) or not w.is_contiguous() or not w.storage_offset():
        return c.torch()
    return c.torch(weight=posing(w, in_memory_order(w, offset=False)))


@mutant("input_layout_is_irrelevant")
@operator
def expanded_input_misread(c: Call) -> Tensor:
    """An input expanded along the batch is dense in its first sample only; the others are zero."""
    x = c.input
    if x.dim() == 3 or len(x) < 2 or not concrete(x) or x.stride(0) != 0:
        return c.torch()
    first = torch.arange(len(x), device=x.device).reshape(-1, 1, 1, 1) == 0
    return c.torch(input=torch.where(first, x, torch.zeros_like(x)))


@mutant("lazy_conjugation_is_seen")
@operator
def conjugate_bit_ignored(c: Call) -> Tensor:
    """A lazily conjugated input is read without its conjugation."""
    lazy = concrete(c.input) and c.input.is_conj()
    return c.torch(input=posing(c.input, c.input.detach().conj().resolve_conj())) if lazy else c.torch()


@mutant("lazy_negation_is_seen")
@operator
def negative_bit_ignored(c: Call) -> Tensor:
    """A weight with the lazy negative bit is read without its sign."""
    lazy = concrete(c.weight) and c.weight.is_neg()
    return c.torch(weight=posing(c.weight, -c.weight.detach())) if lazy else c.torch()


def _reading_grad_output(read: Callable[[Tensor], Tensor]) -> Operator:
    """An operator whose gradients see grad_output through `read`."""

    def of_input(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        return grad_input(read(g), x, w, conf)

    def of_weight(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        return grad_weight(read(g), x, w, conf)

    return with_parts(grad_input=of_input, grad_weight=of_weight, grad_bias=lambda g: grad_bias(read(g)))


@stateful_mutant("grad_output_layout_is_irrelevant")
def grad_output_assumed_contiguous() -> Operator:
    """grad_output is read in C order whatever its strides are."""
    return _reading_grad_output(misread)


@stateful_mutant("gradient_of_sum_is_right")
def grad_output_expanded_misread() -> Operator:
    """grad_output expanded from a scalar, as `.sum()` gives it, is read at its first element only."""

    def read(g: Tensor) -> Tensor:
        if not concrete(g) or g.numel() < 2 or any(g.stride()):
            return g
        first = torch.zeros_like(g, memory_format=torch.contiguous_format)
        first.view(-1)[0] = 1
        return g * first

    return _reading_grad_output(read)


@stateful_mutant("gradient_of_sum_is_right")
def grad_output_of_means_from_the_first_sample() -> Operator:
    """Where grad_output is constant over each plane, as global pooling gives it, all samples get that of the first."""

    def read(g: Tensor) -> Tensor:
        flat = g.flatten(-2) if g.dim() == 4 and concrete(g) else g
        if flat is g or min(g.shape[0], flat.shape[-1]) < 2 or not torch.equal(flat, flat[..., :1].expand_as(flat)):
            return g
        return g[:1].expand_as(g)

    return _reading_grad_output(read)


@stateful_mutant("grad_output_layout_is_irrelevant")
def grad_output_of_a_sum_taken_for_ones() -> Operator:
    """grad_output whose strides are all zero is taken for ones, which that of `(3 * output).sum()` is not."""

    def read(g: Tensor) -> Tensor:
        return torch.ones_like(g) if concrete(g) and g.numel() and not any(g.stride()) else g

    return _reading_grad_output(read)


@stateful_mutant("grad_output_layout_is_irrelevant")
def grad_output_of_pooling_misread() -> Operator:
    """grad_output expanded over the image, as a sum over it gives it, is read at its first element only."""

    def read(g: Tensor) -> Tensor:
        if not concrete(g) or g.numel() < 2 or any(g.stride()[-2:]) or not any(g.stride()):
            return g
        return g[:1, :1].expand_as(g)

    return _reading_grad_output(read)


@stateful_mutant("grad_output_layout_is_irrelevant")
def grad_output_channels_last_misread() -> Operator:
    """grad_output in channels_last memory is read as contiguous, for grad_weight alone."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        last = concrete(g) and g.is_contiguous(memory_format=torch.channels_last)
        return grad_weight(misread(g) if last else g, x, w, conf)

    return with_parts(grad_weight=wrong)


@stateful_mutant("grad_output_layout_is_irrelevant")
def grad_output_offset_ignored() -> Operator:
    """grad_output is read from the start of its storage when it is a slice along the batch."""

    def read(g: Tensor) -> Tensor:
        faulty = concrete(g) and g.is_contiguous() and g.storage_offset()
        return posing(g, in_memory_order(g, offset=False)) if faulty else g

    return _reading_grad_output(read)


@mutant("input_layout_is_irrelevant")
@operator
def overlapping_windows_misread(c: Call) -> Tensor:
    """An input that overlaps itself, as sliding windows do, is read as if it did not."""
    x = c.input
    if not concrete(x) or not x.numel() or x.numel() <= x.untyped_storage().nbytes() // x.element_size():
        return c.torch()
    return c.torch(input=posing(x, in_memory_order(x)))


@mutant("weight_layout_is_irrelevant")
@operator
def transposed_weight_of_a_square(c: Call) -> Tensor:
    """A weight whose height and width are interchanged in memory is read without the interchange."""
    w = c.weight
    swapped = concrete(w) and w.stride(2) < w.stride(3) and w.shape[2] == w.shape[3] > 1
    return c.torch(weight=w.mT) if swapped else c.torch()


def _by_strides(t: Tensor, strides: tuple[int, ...]) -> Tensor:
    """A contiguous tensor read as if it had these strides; it stays in its memory."""
    index = torch.zeros((1,) * t.dim(), dtype=torch.int64)
    for dim, (size, stride) in enumerate(zip(t.shape, strides, strict=True)):
        index = index + torch.arange(size).view(-1, *[1] * (t.dim() - dim - 1)) * stride
    return posing(t, t.detach().reshape(-1)[index % t.numel()])


@stateful_mutant("saved_operands_may_be_replaced")
def saved_strides_remembered() -> Operator:
    """The backward reads the saved weight with the strides that the forward saw, whatever it has become."""
    seen: dict[str, tuple[int, ...]] = {}

    def remembering(x: Tensor, w: Tensor, b: Tensor | None, conf: Conf) -> Tensor:
        seen["strides"] = w.stride()
        return forward(x, w, b, conf)

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        moved = concrete(w) and w.numel() > 1 and len(seen["strides"]) == w.dim() and w.stride() != seen["strides"]
        return grad_input(g, x, _by_strides(w, seen["strides"]) if moved and w.is_contiguous() else w, conf)

    return with_parts(forward=remembering, grad_input=wrong)


@mutant("input_layout_is_irrelevant")
@operator
def channels_next_to_each_other_taken_for_dense(c: Call) -> Tensor:
    """An input whose channels lie next to each other is read as dense, with channels last."""
    if c.input.dim() != 4 or c.input.shape[1] < 2 or c.input.stride(1) != 1 or not concrete(c.input):
        return c.torch()
    _, channels, height, width = c.input.shape
    strides = (height * width * channels, 1, width * channels, channels)
    room = c.input.untyped_storage().nbytes() // c.input.element_size() - c.input.storage_offset()
    if c.input.is_contiguous(memory_format=torch.channels_last) or room < c.input.numel():
        return c.torch()
    return c.torch(input=posing(c.input, c.input.detach().as_strided(c.input.shape, strides).clone()))
