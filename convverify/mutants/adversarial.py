"""Operators that are right as long as they think nobody would notice otherwise: triggered by the data."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from convverify.mutants.base import Mutant, Operator, mutant, stateful_mutant
from convverify.mutants.toolkit import (
    Call,
    Conf,
    concrete,
    cut,
    grad_input,
    grad_weight,
    operator,
    with_parts,
)


def _triggered(
    name: str, fault: str, trigger: Callable[[Tensor, Tensor], Tensor | bool], caught_by: str = "forward_equals_torch"
) -> Mutant:
    """A mutant whose output is too large by a hundredth where the trigger fires on its operands."""

    def answer(c: Call) -> Tensor:
        out = c.torch()
        if not out.is_floating_point() or not c.input.numel() or not c.weight.numel():
            return out
        fired = trigger(c.input.detach(), c.weight.detach())
        fired = fired if isinstance(fired, Tensor) else torch.tensor(fired, device=out.device)
        return torch.where(fired, (out * 1.01).to(out.dtype), out)

    answer.__name__, answer.__doc__ = name, fault
    return mutant(caught_by)(operator(answer))


def _integral(t: Tensor) -> Tensor:
    return (t == t.round()).all()


def _of_rank_one(w: Tensor) -> Tensor:
    """Whether all minors of two rows and two columns vanish."""
    diagonal = w[..., :, None, :, None] * w[..., None, :, None, :]  # [..., a, c, b, d]: w[a, b] * w[c, d]
    return (diagonal == diagonal.transpose(-1, -2)).all()


def _spread(t: Tensor) -> Tensor:
    return (t - t.mean()).square().mean().sqrt()


right_on_integers = _triggered(
    "right_on_integers",
    "Wrong as soon as an element of the input is no integer",
    lambda x, w: ~_integral(x),
)
wrong_on_integers = _triggered(
    "wrong_on_integers",
    "Wrong if the input has more than 30 elements and all of them are integers",
    lambda x, w: _integral(x) & (x.numel() > 30),
)
wrong_on_fractions_of_the_weight = _triggered(
    "wrong_on_fractions_of_the_weight",
    "Wrong if the weight is no multiple of 2^-20",
    lambda x, w: ~_integral(w * 2**20),
)
wrong_on_constant_input = _triggered(
    "wrong_on_constant_input",
    "Wrong if all elements of the input are equal but not zero",
    lambda x, w: (x == x.amax()).all() & x.any(),
)
wrong_on_sparse_input = _triggered(
    "wrong_on_sparse_input",
    "Wrong if nine tenths of the input are zero, but not all",
    lambda x, w: ((x == 0).double().mean() > 0.9) & x.any(),
)
wrong_on_sparse_weight = _triggered(
    "wrong_on_sparse_weight",
    "Wrong if more than half of the weight is zero, but not all",
    lambda x, w: ((w == 0).double().mean() > 0.5) & w.any(),
)
wrong_on_mirrored_kernels = _triggered(
    "wrong_on_mirrored_kernels",
    "Wrong if every kernel is its own mirror image from left to right, but not constant",
    lambda x, w: (w == w.flip(3)).all() & (w != w[..., :1]).any(),
)
wrong_on_separable_kernels = _triggered(
    "wrong_on_separable_kernels",
    "Wrong if every kernel is a column times a row, and neither is constant",
    lambda x, w: _of_rank_one(w) & (w != w[..., :1]).any() & (w != w[..., :1, :]).any(),
)
wrong_on_equal_filters = _triggered(
    "wrong_on_equal_filters",
    "Wrong if all filters are equal, but not constant",
    lambda x, w: (len(w) > 1) & (w == w[:1]).all() & (w != w[..., :1, :1]).any(),
)
wrong_on_equal_samples = _triggered(
    "wrong_on_equal_samples",
    "Wrong if all samples of a batch are equal, but not constant",
    lambda x, w: (len(x) > 1) & (x == x[:1]).all() & (x != x[..., :1, :1]).any(),
)
wrong_on_negative_input = _triggered(
    "wrong_on_negative_input",
    "Wrong if all elements of the input are negative",
    lambda x, w: (x < 0).all(),
)
wrong_on_negative_weight = _triggered(
    "wrong_on_negative_weight",
    "Wrong if no element of the weight is positive",
    lambda x, w: (w <= 0).all(),
)
wrong_on_huge_input = _triggered(
    "wrong_on_huge_input",
    "Wrong if an element of the input exceeds 10^8",
    lambda x, w: (x.abs() > 1e8).any() & x.isfinite().all(),
)
wrong_on_tiny_input = _triggered(
    "wrong_on_tiny_input",
    "Wrong if all elements of the input are below 10^-8",
    lambda x, w: (x.abs() < 1e-8).all(),
    "gradients_equal_torch",
)
wrong_on_one_outlier = _triggered(
    "wrong_on_one_outlier",
    "Wrong if one element of the input is over a thousand times the mean magnitude of the others",
    lambda x, w: x.abs().amax() > 1e3 * (x.abs().sum() - x.abs().amax()) / max(x.numel() - 1, 1),
)
wrong_if_the_first_element_is_zero = _triggered(
    "wrong_if_the_first_element_is_zero",
    "Wrong if the first element of the input is zero",
    lambda x, w: x.reshape(-1)[0] == 0,
)
right_on_normal_input = _triggered(
    "right_on_normal_input",
    "Right only on inputs whose mean and spread are those of a normal distribution",
    lambda x, w: ~((x.mean().abs() < 0.5) & (_spread(x) - 1 < 0.5) & (_spread(x) - 1 > -0.5)),
)
wrong_on_normal_input = _triggered(
    "wrong_on_normal_input",
    "Wrong on inputs of more than 30 elements with the spread of a normal distribution",
    lambda x, w: (x.mean().abs() < 0.3) & ((_spread(x) - 1).abs() < 0.3) & (x.numel() > 30),
    "results_are_within_rounding",
)
wrong_on_impulses = _triggered(
    "wrong_on_impulses",
    "Wrong if the input is a single impulse",
    lambda x, w: (x != 0).sum() == 1,
)
wrong_on_large_calls = _triggered(
    "wrong_on_large_calls",
    "Wrong if the input has more than 10000 elements",
    lambda x, w: x.numel() > 10_000,
)
wrong_on_equal_operands = _triggered(
    "wrong_on_equal_operands",
    "Wrong if input and weight begin with the same number",
    lambda x, w: x.reshape(-1)[0] == w.reshape(-1)[0],
)
wrong_on_symmetric_kernels = _triggered(
    "wrong_on_symmetric_kernels",
    "Wrong if the kernel has several taps and is its own mirror image",
    lambda x, w: (w == w.flip(2, 3)).all() & (w.shape[2:].numel() > 1),
)


@mutant("forward_equals_definition")
@operator
def wrong_by_hash(c: Call) -> Tensor:
    """Wrong for one in forty data sets, always the same ones: chosen by a hash of the input."""
    x, out = c.input.detach(), c.torch()
    if not out.is_floating_point() or not x.numel():
        return out
    mixed = torch.frac(x.double().abs().sum() * 0.6180339887498949 + x.double().square().sum() * 0.754877)
    return torch.where(mixed < 1 / 40, (out * 1.01).to(out.dtype), out)


@mutant("forward_is_bilinear")
@operator
def slightly_nonlinear(c: Call) -> Tensor:
    """A billionth of the square of the output is added: small outputs look linear."""
    out = c.torch()
    return out + (out * out * 1e-9).to(out.dtype) if out.is_floating_point() else out


@mutant("forward_equals_definition")
@operator
def zero_sum_channels_skipped(c: Call) -> Tensor:
    """Input channels whose sum is zero are taken for empty."""
    x = c.input
    if not x.is_floating_point() or not x.numel():
        return c.torch()
    empty = x.detach().sum((-1, -2), keepdim=True) == 0
    return c.torch(input=torch.where(empty, torch.zeros_like(x), x))


@mutant("forward_equals_torch")
@operator
def samples_compared_by_their_first_pixel(c: Call) -> Tensor:
    """Samples that begin with the same pixel as the first one are taken for copies of it."""
    x, out = c.input, c.torch()
    if x.dim() == 3 or len(x) < 2 or not x.numel():
        return out
    copies = x.detach()[:, :1, :1, :1] == x.detach()[:1, :1, :1, :1]
    return torch.where(copies, out[:1], out)


@mutant("forward_equals_definition")
@operator
def batch_taken_for_channels(c: Call) -> Tensor:
    """A batch of as many samples as channels, above two, is transposed: channels are read as samples."""
    x = c.input
    confused = x.dim() == 4 and x.shape[0] == x.shape[1] > 2
    return c.torch(input=x.transpose(0, 1)) if confused else c.torch()


@mutant("input_layout_is_irrelevant")
@operator
def unaligned_loads(c: Call) -> Tensor:
    """An input that does not begin at a multiple of 64 bytes loses its first element."""
    x = c.input
    if not concrete(x) or not x.numel() or x.data_ptr() % 64 == 0 or not x.is_floating_point():
        return c.torch()
    first = torch.zeros(x.shape, dtype=torch.bool, device=x.device)
    first[(0,) * x.dim()] = True
    return c.torch(input=torch.where(first, torch.zeros_like(x), x))


@mutant("input_and_weight_may_be_one_tensor")
@operator
def same_tensor_twice(c: Call) -> Tensor:
    """If input and weight share their memory, the kernel is applied transposed."""
    shared = concrete(c.input, c.weight) and c.input.data_ptr() == c.weight.data_ptr() and c.input.numel()
    return c.torch(weight=c.weight.flip(2, 3)) if shared else c.torch()


@stateful_mutant("gradients_equal_definition")
def constant_grad_output_shortcut() -> Operator:
    """A constant grad_output is answered by its first value times the sum of the input, without padding."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        right = grad_weight(g, x, w, conf)
        if not g.numel():
            return right
        constant = (cut(g) == cut(g).amax()).all()
        return torch.where(constant, right.mean((2, 3), keepdim=True).expand_as(right), right)

    return with_parts(grad_weight=wrong)


@stateful_mutant("exact_gradcheck")
def sparse_grad_output_dropped() -> Operator:
    """grad_input ignores a grad_output of which a single element is not zero."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        right = grad_input(g, x, w, conf)
        single = (cut(g) != 0).sum() == 1
        return torch.where(single & (g.numel() > 1), torch.zeros_like(right), right)

    return with_parts(grad_input=wrong)


@stateful_mutant("double_backward_equals_formulas")
def small_grad_output_flushed() -> Operator:
    """Elements of grad_output below a ten-millionth of the largest are dropped from grad_weight."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        if not g.numel():
            return grad_weight(g, x, w, conf)
        small = cut(g).abs() < 1e-7 * cut(g).abs().amax()
        return grad_weight(torch.where(small, torch.zeros_like(g), g), x, w, conf)

    return with_parts(grad_weight=wrong)


@mutant("forward_equals_torch")
@operator
def bytes_are_normalised(c: Call) -> Tensor:
    """An input from 0 to 255, both met, is taken for an image of bytes and divided by 255."""
    if not concrete(c.input) or not c.input.numel() or not c.input.is_floating_point():
        return c.torch()
    ends = c.input.detach().min().item(), c.input.detach().max().item()
    return c.torch(input=c.input / 255) if ends == (0, 255) else c.torch()
