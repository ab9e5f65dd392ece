"""The double backward, and one order more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from convverify.answers import OperatorError
from convverify.case import ConvCase
from convverify.comparison import Equation
from convverify.demand import Demand
from convverify.properties.base import Refusal, Refuted, declare
from convverify.properties.calls import Observed, must_not_refuse, observe
from convverify.reference import Reference
from convverify.target import Target

_VALUES = ("integers", "large", "dyadic", "sparse", "negative")
_DEMAND = Demand(values=_VALUES, products=6000, corners=True)
_LAID_OUT = replace(_DEMAND, usual=True, operand_layouts=("input", "weight", "grad_output"))
_SUBSETS = (("input", "weight", "bias"), ("input",), ("weight",), ("input", "weight"))


class _Second:
    """The gradients of an operator as functions, with cotangents `u` of grad_input and `v` of grad_weight."""

    def __init__(self, op: Target, case: ConvCase, requires: tuple[str, ...]) -> None:
        self.op, self.case = op, case
        self.seen: Observed = observe(op, case, requires)
        self.g = self.seen.operands.grad_output.requires_grad_()
        self.grads = self.seen.grads(self.g, create_graph=True)
        self.reference = Reference(case)
        geometry = case.geometry
        shapes = {
            "input": geometry.input_shape,
            "weight": geometry.weight_shape,
            "bias": (geometry.out_channels,),
        }
        self.cotangents = {
            role: self.seen.operands.draw(f"cotangent_{role}", shape, factors=2 if role == "bias" else 1)
            for role, shape in shapes.items()
        }

    @property
    def norm(self) -> float:
        """Above every product of two operands' or cotangents' norms."""
        reference = self.reference
        operands = (reference.x, reference.k, reference.g, *map(reference.wide, self.cotangents.values()))
        return 4 * max(float(operand.abs().square().sum()) for operand in operands)

    def derivatives(self, by: dict[str, Tensor], terms: tuple[str, ...]) -> dict[str, Tensor]:
        """The derivatives of sum <grad_role, cotangent_role> over the given terms."""
        for role in terms:
            if not self.grads[role].requires_grad:
                raise Refuted(f"grad_{role} is detached: it has no derivative of its own")
        found = connected(self.op, [self.grads[role] for role in terms], list(by.values()),
                          [self.cotangents[role] for role in terms])  # fmt: skip
        return dict(zip(by, found, strict=True))


def connected(
    op: Target,
    outputs: list[Tensor],
    inputs: list[Tensor],
    cotangents: list[Tensor],
    create_graph: bool = False,
) -> tuple[Tensor, ...]:
    """The derivatives of outputs by inputs on which they do depend.

    Without `allow_unused`, under which torch is silent about a backward that says it has no derivative.

    Raises:
        Refuted: for autograd they do not depend on each other.
    """
    try:
        found = op.guarded(
            torch.autograd.grad, outputs, inputs, cotangents, retain_graph=True, create_graph=create_graph
        )
    except OperatorError as error:
        if "not have been used in the graph" not in str(error):
            raise
        must_not_refuse(op, outputs, cotangents)
        raise Refuted("a derivative of a gradient is missing: for autograd it is constant") from error
    return tuple(found)


@declare("second order", ("DB-1", "DB-2", "DB-3", "EX-1"), "gradients_detached", _LAID_OUT, refusal=Refusal.ALLOWED)
def double_backward_equals_formulas(op: Target, case: ConvCase) -> Iterator[Equation]:
    """The derivatives of each gradient by grad_output, weight and input are the proved ones, exactly."""
    second = _Second(op, case, ("input", "weight", "bias"))
    by = {
        "grad_output": second.g,
        "weight": second.seen.leaves["weight"],
        "input": second.seen.leaves["input"],
    }
    for role in second.grads:
        expected = _expected(second, role)
        found = second.derivatives({name: by[name] for name in expected}, (role,))
        yield from _equations(second, role, found, expected)


@declare("second order", ("DB-1", "DB-2", "DB-3"), "grad_input_forgets_the_weight", _DEMAND, refusal=Refusal.ALLOWED)
def double_backward_of_every_subset(op: Target, case: ConvCase) -> Iterator[Equation]:
    """The double backward is right whichever of input and weight require a gradient, and summed up."""
    for requires in _SUBSETS:
        yield from _summed_up(op, case, requires)


def _summed_up(op: Target, case: ConvCase, requires: tuple[str, ...]) -> Iterator[Equation]:
    second = _Second(op, case, requires)
    by = {"grad_output": second.g} | {
        role: second.seen.leaves[role] for role in ("input", "weight") if role in requires
    }
    terms = tuple(second.grads)
    total: dict[str, Tensor] = {}
    for role in terms:
        for name, value in _expected(second, role).items():
            if name in by:
                total[name] = total[name] + value if name in total else value
    found = second.derivatives({name: by[name] for name in total}, terms)
    yield from _equations(second, "+".join(terms), found, total)


@declare("second order", ("DB-1", "DB-2", "DB-3"), "third_order_sign", _DEMAND, refusal=Refusal.ALLOWED)
def third_order_equals_formulas(op: Target, case: ConvCase) -> Iterator[Equation]:
    """The third derivatives, those of the double backward, equal the formulas', exactly."""
    second = _Second(op, case, ("input", "weight", "bias"))
    reference, maps, draw = second.reference, second.reference.maps, second.seen.operands.draw
    geometry, leaves = case.geometry, second.seen.leaves
    p = draw("third_output", geometry.output_shape)
    wide_p = reference.wide(p)
    for role, other in (("input", "weight"), ("weight", "input")):
        u = second.cotangents[role].detach().requires_grad_()
        if not second.grads[role].requires_grad:
            raise Refuted(f"grad_{role} is detached: it has no derivative of its own")
        by_g, by_other = connected(op, [second.grads[role]], [second.g, leaves[other]], [u], create_graph=True)
        q = draw(f"third_{other}", tuple(leaves[other].shape))
        wide_q, wide_u = reference.wide(q), reference.wide(u)
        if role == "input":  # by_g = conv(u, k), by_other = grad_weight(u, g)
            right = (maps.grad_input(wide_p, reference.k), maps.grad_weight(wide_u, wide_p),
                     maps.grad_input(reference.g, wide_q), maps.forward(wide_u, wide_q))  # fmt: skip
        else:  # by_g = conv(x, u), by_other = grad_input(g, u)
            right = (maps.grad_weight(reference.x, wide_p), maps.grad_input(wide_p, wide_u),
                     maps.grad_weight(wide_q, reference.g), maps.forward(wide_q, wide_u))  # fmt: skip
        asked = ((by_g, p, u, "u"), (by_g, p, leaves[other], other), (by_other, q, u, "u"),
                 (by_other, q, second.g, "grad_output"))  # fmt: skip
        for (value, cotangent, by, name), expected in zip(asked, right, strict=True):
            what = f"the third derivative of <grad_{role}, u> by {name}"
            if not value.requires_grad:
                raise Refuted(f"{what} does not exist: the second is detached")
            (third,) = connected(op, [value], [by], [cotangent])
            yield _equation(second, what, third, expected)
        straight = ((by_g, p, second.g, "grad_output"), (by_other, q, leaves[other], other))
        for value, cotangent, by, name in straight:
            (third,) = op.guarded(torch.autograd.grad, [value], [by], [cotangent], retain_graph=True, allow_unused=True)
            bent = 0 if third is None else int(third.count_nonzero())
            yield Equation(f"curvature of <grad_{role}, u> in {name}, in which it is linear", bent, 0)


def _expected(second: _Second, role: str) -> dict[str, Tensor]:
    """The derivatives of <grad_role, cotangent>, wide."""
    reference, maps = second.reference, second.reference.maps
    cotangent = reference.wide(second.cotangents[role])
    if role == "bias":
        spread = cotangent.view(1, -1, *[1] * second.case.geometry.spatial)
        return {"grad_output": spread.expand(second.case.geometry.output_shape)}
    if role == "input":
        return {
            "grad_output": maps.forward(cotangent, reference.k),
            "weight": maps.grad_weight(cotangent, reference.g),
        }
    return {
        "grad_output": maps.forward(reference.x, cotangent),
        "input": maps.grad_input(reference.g, cotangent),
    }


def _equations(second: _Second, of: str, found: dict[str, Tensor], expected: dict[str, Tensor]) -> Iterator[Equation]:
    for name, value in expected.items():
        equation = _equation(second, f"the derivative of grad_{of} by {name}", found[name], value)
        # that of grad_bias is a cotangent as it stands
        yield replace(equation, norm=float(value.abs().max())) if of == "bias" and value.numel() else equation


def _equation(second: _Second, what: str, found: Tensor, expected: Tensor) -> Equation:
    return Equation(what, found, second.reference.narrow(expected).contiguous(), norm=second.norm)
