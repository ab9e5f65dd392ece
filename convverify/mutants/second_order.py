"""Second and third derivatives that are wrong while output and first gradients are right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from convverify.mutants.base import Operator, stateful_mutant
from convverify.mutants.toolkit import Conf, apply, cut, grad_bias, grad_input, grad_weight, with_parts


class _Altered(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.change = inputs[1]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        return ctx.change(g), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        return tangent.clone()


class _Tangentless(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        return torch.zeros_like(tangent)


def altered(x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """`x`, but the gradient that flows back through it is changed."""
    result: Tensor = apply(_Altered, x, change)
    return result


@stateful_mutant("double_backward_equals_formulas")
def gradients_detached() -> Operator:
    """Both gradients are computed without a graph, so that they look like constants."""
    return with_parts(
        grad_input=lambda g, x, w, conf: cut(grad_input(g, x, w, conf)),
        grad_weight=lambda g, x, w, conf: cut(grad_weight(g, x, w, conf)),
    )


@stateful_mutant("double_backward_of_every_subset")
def grad_input_forgets_the_weight() -> Operator:
    """grad_input is constant in the weight: its mixed second derivative is lost."""
    return with_parts(grad_input=lambda g, x, w, conf: grad_input(g, x, cut(w), conf))


@stateful_mutant("double_backward_of_every_subset")
def grad_weight_of_data_is_constant() -> Operator:
    """grad_weight is constant in grad_output where the input requires no gradient, as in a first layer."""
    return with_parts(
        grad_weight=lambda g, x, w, conf: grad_weight(g if x.requires_grad else cut(g), x, w, conf)
    )


@stateful_mutant("double_backward_equals_formulas")
def grad_weight_forgets_the_input() -> Operator:
    """grad_weight is constant in the input: its mixed second derivative is lost."""
    return with_parts(grad_weight=lambda g, x, w, conf: grad_weight(g, cut(x), w, conf))


@stateful_mutant("double_backward_equals_formulas")
def grad_input_forgets_grad_output() -> Operator:
    """grad_input is constant in grad_output."""
    return with_parts(grad_input=lambda g, x, w, conf: grad_input(cut(g), x, w, conf))


@stateful_mutant("double_backward_equals_formulas")
def grad_bias_detached() -> Operator:
    """grad_bias is constant in grad_output."""
    return with_parts(grad_bias=lambda g: grad_bias(cut(g)))


@stateful_mutant("torch_gradgradcheck")
def mixed_derivative_doubled() -> Operator:
    """The derivative of grad_input with respect to the weight is counted twice."""
    return with_parts(grad_input=lambda g, x, w, conf: grad_input(g, x, altered(w, lambda u: 2 * u), conf))


@stateful_mutant("exact_gradgradcheck")
def double_backward_of_groups() -> Operator:
    """With groups, the derivative of grad_weight with respect to the input has its channels reversed."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        seen = altered(x, lambda u: u.flip(1)) if conf.groups > 1 else x
        return grad_weight(g, seen, w, conf)

    return with_parts(grad_weight=wrong)


@stateful_mutant("double_backward_equals_formulas")
def double_backward_of_strides() -> Operator:
    """With a stride, the second derivative with respect to grad_output misses its last column."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        def drop(u: Tensor) -> Tensor:
            return torch.nn.functional.pad(u[..., :-1], (0, 1))

        return grad_weight(altered(g, drop) if conf.stride[1] > 1 else g, x, w, conf)

    return with_parts(grad_weight=wrong)


@stateful_mutant("double_backward_equals_formulas")
def double_backward_of_the_bias() -> Operator:
    """The derivative of grad_bias with respect to grad_output is divided by the number of pixels."""

    def wrong(g: Tensor) -> Tensor:
        pixels = max(g.shape[2] * g.shape[3], 1)
        return grad_bias(altered(g, lambda u: u / pixels))

    return with_parts(grad_bias=wrong)


@stateful_mutant("third_order_equals_formulas")
def third_order_sign() -> Operator:
    """The third derivative has the wrong sign; the first and the second are right."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        return grad_input(g, x, altered(w, lambda u: altered(u, torch.neg)), conf)

    return with_parts(grad_input=wrong)


@stateful_mutant("third_order_equals_formulas")
def third_order_detached() -> Operator:
    """The second derivative of grad_weight is right but constant."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        return grad_weight(g, altered(x, lambda u: altered(u, torch.zeros_like)), w, conf)

    return with_parts(grad_weight=wrong)


@stateful_mutant("forward_over_reverse_is_right")
def forward_over_reverse_lost() -> Operator:
    """Gradients carry no tangent: forward mode over reverse mode gives zero."""

    return with_parts(
        grad_input=lambda g, x, w, conf: grad_input(g, x, apply(_Tangentless, w), conf),
        grad_weight=lambda g, x, w, conf: grad_weight(g, apply(_Tangentless, x), w, conf),
    )
