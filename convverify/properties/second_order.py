"""The double backward, and one order more."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from convverify.case import ConvCase
from convverify.comparison import Equation
from convverify.demand import Demand
from convverify.properties.base import Refusal, Refuted, declare
from convverify.properties.calls import Observed, observe
from convverify.reference import Reference
from convverify.target import Target

_DEMAND = Demand(values=("integers", "large", "dyadic", "sparse", "negative"), products=6000, corners=True)
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
            role: self.seen.operands.draw(f"cotangent_{role}", shape) for role, shape in shapes.items()
        }

    def derivatives(self, by: dict[str, Tensor], terms: tuple[str, ...]) -> dict[str, Tensor | None]:
        """The derivatives of sum <grad_role, cotangent_role> over the given terms."""
        for role in terms:
            if not self.grads[role].requires_grad:
                raise Refuted(f"grad_{role} is detached: it has no derivative of its own")
        found = self.op.guarded(
            torch.autograd.grad, [self.grads[role] for role in terms], list(by.values()),
            [self.cotangents[role] for role in terms], allow_unused=True, retain_graph=True,
        )  # fmt: skip
        return dict(zip(by, found, strict=True))


@declare("second order", ("DB-1", "DB-2", "DB-3", "EX-1"), "", _DEMAND, refusal=Refusal.ALLOWED)
def double_backward_equals_formulas(op: Target, case: ConvCase) -> Iterator[Equation]:
    """The derivatives of each gradient by grad_output, weight and input are the proved ones, exactly."""
    second = _Second(op, case, ("input", "weight", "bias"))
    by = {"grad_output": second.g, "weight": second.seen.leaves["weight"], "input": second.seen.leaves["input"]}
    for role in second.grads:
        expected = _expected(second, role)
        found = second.derivatives({name: by[name] for name in expected}, (role,))
        yield from _equations(second, role, found, expected)


@declare("second order", ("DB-1", "DB-2", "DB-3"), "", _DEMAND, refusal=Refusal.ALLOWED)
def double_backward_of_every_subset(op: Target, case: ConvCase) -> Iterator[Equation]:
    """The double backward is right whichever of input and weight require a gradient, and summed up."""
    requires = _SUBSETS[case.seed % len(_SUBSETS)]
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


@declare("second order", ("DB-1", "DB-2", "DB-3"), "", _DEMAND, refusal=Refusal.ALLOWED)
def third_order_equals_formulas(op: Target, case: ConvCase) -> Iterator[Equation]:
    """The derivative of the double backward, once more, is the formulas'."""
    second = _Second(op, case, ("input", "weight", "bias"))
    u = second.cotangents["input"].detach().requires_grad_()
    first = second.grads["input"]
    if not first.requires_grad:
        raise Refuted("grad_input is detached: it has no derivative of its own")
    k = second.seen.leaves["weight"]
    found = op.guarded(torch.autograd.grad, first, [second.g, k], u, create_graph=True, allow_unused=True)
    for name, value in zip(("grad_output", "weight"), found, strict=True):
        if value is None or not value.requires_grad:
            raise Refuted(f"the derivative of grad_input by {name} is detached")
    reference, maps = second.reference, second.reference.maps
    p = second.seen.operands.draw("third", case.geometry.output_shape)
    q = second.seen.operands.draw("third_weight", case.geometry.weight_shape)
    wide_p, wide_q, wide_u = map(reference.wide, (p, q, u))
    pairs = {  # of <p, conv(u, k)> and of <q, grad_weight(u, g)>, by u and the other argument
        "d<p, ddg>/du": (found[0], p, u, maps.grad_input(wide_p, reference.k)),
        "d<p, ddg>/dk": (found[0], p, k, maps.grad_weight(wide_u, wide_p)),
        "d<q, ddk>/du": (found[1], q, u, maps.grad_input(reference.g, wide_q)),
        "d<q, ddk>/dg": (found[1], q, second.g, maps.forward(wide_u, wide_q)),
    }
    for what, (value, cotangent, by, expected) in pairs.items():
        third = op.guarded(torch.autograd.grad, value, by, cotangent, retain_graph=True, allow_unused=True)[0]
        yield _equation(second, what, third, expected)


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


def _equations(
    second: _Second, of: str, found: dict[str, Tensor | None], expected: dict[str, Tensor]
) -> Iterator[Equation]:
    for name, value in expected.items():
        yield _equation(second, f"the derivative of grad_{of} by {name}", found[name], value)


def _equation(second: _Second, what: str, found: Tensor | None, expected: Tensor) -> Equation:
    reference = second.reference
    if found is None:  # autograd's way to say zero
        found = torch.zeros_like(expected, dtype=second.case.torch_dtype)
    largest = max(float(m.max()) for m in reference.magnitudes.values() if m.numel()) if expected.numel() else 0.0
    return Equation(
        what, found, reference.narrow(expected).contiguous(), terms=2 * max(reference.terms.values()),
        magnitude=2 * largest,
    )  # fmt: skip
