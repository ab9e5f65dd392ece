"""gradcheck and gradgradcheck: exactly, with step 1 on integers, and as torch has them.

A bilinear map's difference quotient has no truncation error (theorem BL-1), so that no tolerance is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from convverify.case import ConvCase
from convverify.comparison import TRANSFORM_GROWTH, Equation, gamma
from convverify.demand import Demand
from convverify.properties.base import Refusal, Refuted, Rounded, declare
from convverify.properties.calls import geometry_arguments, must_not_refuse, observe, tensor
from convverify.reference import Reference
from convverify.target import Target

_TINY = Demand(dtypes=("float64",), values=("integers",), products=150, weight=0.4, least=3)
_TINY_NORMAL = Demand(dtypes=("float64",), values=("normal",), products=100, weight=0.2, least=2)


@declare("finite differences", ("BL-1", "EX-1"), "batch_not_summed", _TINY)
def exact_gradcheck(op: Target, case: ConvCase) -> Iterator[Equation]:
    """gradcheck with step 1 and no tolerance at all holds on integer operands."""
    yield from _exactly(gradcheck, op, case, check_undefined_grad=False)


@declare(
    "finite differences", ("BL-1", "DB-1", "DB-2", "DB-3"), "double_backward_of_groups", _TINY, refusal=Refusal.ALLOWED
)
def exact_gradgradcheck(op: Target, case: ConvCase) -> Iterator[Equation]:
    """gradgradcheck with step 1 and no tolerance at all holds on integer operands and grad_output."""
    grad_output = observe(op, case, requires=()).operands.grad_output.requires_grad_()
    _must_have_second_derivatives(op, case)
    yield from _exactly(gradgradcheck, op, case, grad_outputs=grad_output, check_undefined_grad=False)


@declare("finite differences", ("GI-ALL", "GW-ALL"), "dilation_ignored_in_grad_weight", _TINY_NORMAL)
def torch_gradcheck(op: Target, case: ConvCase) -> Iterator[Equation]:
    """gradcheck as torch has it holds on normal operands."""
    yield from _as_it_stands(gradcheck, op, case)


@declare(
    "finite differences", ("DB-1", "DB-2", "DB-3"), "mixed_derivative_doubled", _TINY_NORMAL, refusal=Refusal.ALLOWED
)
def torch_gradgradcheck(op: Target, case: ConvCase) -> Iterator[Equation]:
    """gradgradcheck as torch has it holds on normal operands."""
    _must_have_second_derivatives(op, case)
    yield from _as_it_stands(gradgradcheck, op, case)


def _must_have_second_derivatives(op: Target, case: ConvCase) -> None:
    """gradgradcheck takes an operator that refuses the double backward for one whose gradients are constant."""
    seen = observe(op, case)
    g = seen.operands.grad_output.requires_grad_()  # only for such a one `once_differentiable` answers
    grads = [grad for grad in seen.grads(g, create_graph=True).values() if grad.requires_grad]
    if grads:
        must_not_refuse(op, grads, [torch.ones_like(grad) for grad in grads])


def _exactly(checker: Callable[..., bool], op: Target, case: ConvCase, **options: Any) -> Iterator[Equation]:
    function, inputs = _function(op, case)

    def holds(atol: float) -> bool:
        return bool(
            op.guarded(checker, function, inputs, eps=1.0, atol=atol, rtol=0.0, raise_exception=False, **options)
        )

    if holds(0.0):
        yield Equation(f"{checker.__name__} without tolerance", True, True)
        return
    reference = Reference(case)
    largest = max((float(m.max()) for m in reference.magnitudes.values() if m.numel()), default=0.0)
    rounding = TRANSFORM_GROWTH * gamma(8 * max(reference.terms.values()), torch.float64) * 8 * largest**2
    if holds(rounding):
        raise Rounded(f"{checker.__name__} holds within {rounding:.1e}, not exactly")
    raise Refuted(_why(checker, function, inputs, eps=1.0, atol=0.0, rtol=0.0, **options))


def _as_it_stands(checker: Callable[..., bool], op: Target, case: ConvCase) -> Iterator[Equation]:
    function, inputs = _function(op, case)
    if not op.guarded(checker, function, inputs, raise_exception=False):
        raise Refuted(_why(checker, function, inputs))
    yield Equation(checker.__name__, True, True)


def _function(op: Target, case: ConvCase) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
    leaves = observe(op, case).leaves
    arguments = geometry_arguments(op, case)

    def function(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return tensor(op(input, weight, bias, *arguments))

    return function, tuple(leaves.values())


def _why(checker: Callable[..., bool], *arguments: Any, **options: Any) -> str:
    try:
        checker(*arguments, raise_exception=True, **options)
    except Exception as error:
        lines = " ".join(str(error).split())
        return f"{checker.__name__}: {lines[:300]}"
    return f"{checker.__name__} failed, and passed when asked again"
