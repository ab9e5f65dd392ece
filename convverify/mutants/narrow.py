"""Operators with fewer arguments than torch's: functions of tutorials, autograd Functions, torch ops."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from convverify.mutants import toolkit
from convverify.mutants.base import Operator, mutant, stateful_mutant
from convverify.mutants.prepared import refuse_tangents
from convverify.mutants.toolkit import Call, Conf, conv, operator

DENSE = "stride=1, padding=0, dilation=1, groups=1"


def _windows(x: Tensor, height: int, width: int) -> Tensor:
    """`[batch, channels, rows, columns, height, width]`."""
    return x.unfold(2, height, 1).unfold(3, width, 1)


@mutant("forward_equals_torch", domain=DENSE)
class SquareKernelAssumed(torch.autograd.Function):
    """The height of the kernel serves for its width: a kernel one column wide is summed over columns."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor) -> Tensor:
        size = weight.shape[2] if weight.shape[3] in (1, weight.shape[2]) else weight.shape[3]
        ctx.save_for_backward(input, weight)
        windows = _windows(input, weight.shape[2], size)
        return torch.einsum("ncyxab,ocab->noyx", windows, weight)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, Tensor]:
        create_graph = torch.is_grad_enabled()
        with torch.enable_grad():
            saved = ctx.saved_tensors
            input, weight = (t if t.requires_grad else t.detach().requires_grad_() for t in saved)
            size = weight.shape[2] if weight.shape[3] in (1, weight.shape[2]) else weight.shape[3]
            out = torch.einsum("ncyxab,ocab->noyx", _windows(input, weight.shape[2], size), weight)
        grads = torch.autograd.grad(out, (input, weight), grad_output, create_graph=create_graph)
        return grads[0], grads[1]


@mutant("gradients_equal_definition", domain="square, " + DENSE)
class FunctionWithoutRotation(torch.autograd.Function):
    """An autograd.Function of input and weight that pads grad_output and forgets to rotate the kernel."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(input, weight)
        size = weight.shape[-1]
        return torch.einsum("ncyxab,ocab->noyx", _windows(input, size, size), weight)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, Tensor]:
        input, weight = ctx.saved_tensors
        size = weight.shape[-1]
        grad_weight = torch.einsum("ncyxab,noyx->ocab", _windows(input, size, size), grad_output)
        padded = torch.nn.functional.pad(grad_output, (size - 1,) * 4)
        return torch.einsum("noyxab,ocab->ncyx", _windows(padded, size, size), weight), grad_weight


@mutant("gradients_equal_definition", domain="square, " + DENSE)
class FunctionWithoutInputGradient(torch.autograd.Function):
    """An autograd.Function that returns no gradient for the input, as if it were always data."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(input)
        ctx.size = weight.shape[-1]
        return torch.einsum("ncyxab,ocab->noyx", _windows(input, ctx.size, ctx.size), weight)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[None, Tensor]:
        (input,) = ctx.saved_tensors
        return None, torch.einsum("ncyxab,noyx->ocab", _windows(input, ctx.size, ctx.size), grad_output)


@mutant("forward_equals_definition", domain="padding=0, dilation=1, groups=1")
def stride_rounded_down(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1) -> Tensor:
    """A function without padding that takes an odd stride above one for the even one below, cut to size."""
    right = conv(input, weight, bias, stride)
    even = stride - stride % 2 if isinstance(stride, int) and stride > 1 else stride
    return conv(input, weight, bias, even)[..., : right.shape[-2], : right.shape[-1]]


@mutant("defaults_are_torchs")
def padding_by_default(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 1, dilation: Any = 1,
    groups: int = 1,
) -> Tensor:  # fmt: skip
    """Where no padding is given it is 1."""
    return conv(input, weight, bias, stride, padding, dilation, groups)


def _register(name: str, seven: float, more: int) -> Any:
    """A torch op whose grad_weight is multiplied and whose fake output has more columns."""

    @torch.library.custom_op(f"convverify_corpus::{name}", mutates_args=())
    def op(x: Tensor, w: Tensor, s: list[int], p: list[int], d: list[int], groups: int) -> Tensor:
        return conv(x, w, None, s, p, d, groups)

    @op.register_fake
    def _(x: Tensor, w: Tensor, s: list[int], p: list[int], d: list[int], groups: int) -> Tensor:
        right = conv(x, w, None, s, p, d, groups)
        return right.new_empty(*right.shape[:-1], right.shape[-1] + more)

    def setup(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.options = inputs[2:]

    def backward(ctx: Any, g: Tensor) -> Any:
        x, w = ctx.saved_tensors
        s, p, d, groups = ctx.options
        conf = Conf(toolkit.pair(s), toolkit.pair(p), toolkit.pair(d), groups)
        grad_weight = toolkit.grad_weight(g, x, w, conf) * seven
        return toolkit.grad_input(g, x, w, conf), grad_weight, None, None, None, None

    op.register_autograd(backward, setup_context=setup)
    return op


_GRADIENT, _FAKE = _register("gradient_of_an_op", 7, 0), _register("fake_of_an_op", 1, 1)


def _calling(op: Any) -> Operator:
    @operator
    def run(c: Call) -> Tensor:
        if not c.input.is_floating_point():
            return c.torch()
        e = toolkit.autocast(c).explicit()
        x = e.input if e.input.dim() == 4 else e.input[None]
        refuse_tangents(x, e.weight)
        out: Tensor = op(x, e.weight, *(list(pair) for pair in e.conf[:3]), e.groups)
        out = out if e.bias is None else out + e.bias[:, None, None]
        return out if e.input.dim() == 4 else out[0]

    return run


@stateful_mutant("gradients_equal_definition")
def library_gradient_times_seven() -> Operator:
    """A torch.library op whose registered grad_weight is seven times too large."""
    return _calling(_GRADIENT)


@stateful_mutant("fake_tensors_have_the_form")
def library_fake_too_wide() -> Operator:
    """A torch.library op whose fake output has one column too many."""
    return _calling(_FAKE)
