"""The gradients by input, weight and bias."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop

from convverify.case import ConvCase
from convverify.comparison import Equation
from convverify.demand import EXACT, Demand
from convverify.properties.base import Refusal, Refuted, declare
from convverify.properties.calls import LEAVES, call, equations, geometry_arguments, observe, tensor
from convverify.reference import DefinitionMaps, Maps, Reference
from convverify.target import Target

_FLAT = Demand(products=3000, values=("integers", "large", "wide"), weight=0.4)


@declare("gradients", ("GI-1", "GW-3", "GB-1", "EX-1"), "kernel_not_rotated", Demand(products=1500, corners=True))
def gradients_equal_definition(op: Target, case: ConvCase) -> Iterator[Equation]:
    """grad_input, grad_weight and grad_bias are the derivative of the index sum, exactly, on integers."""
    yield from equations(case, Reference(case, DefinitionMaps), observe(op, case).grads())


@declare("gradients", ("GI-ALL", "GW-ALL", "GB-1"), "channels_not_transposed", Demand(values=EXACT, products=20_000))
def gradients_equal_formulas(op: Target, case: ConvCase) -> Iterator[Equation]:
    """The gradients equal the proved closed forms, exactly."""
    yield from equations(case, Reference(case, Maps), observe(op, case).grads())


@declare(
    "gradients", ("GI-ALL", "GW-ALL", "GB-1"), "remainder_rows_shifted",
    Demand(values=EXACT, products=60_000, corners=True, weight=3),
)  # fmt: skip
def gradients_equal_torch(op: Target, case: ConvCase) -> Iterator[Equation]:
    """The gradients equal torch's, exactly, for operands of every distribution."""
    yield from equations(case, Reference(case), observe(op, case).grads())


@declare("gradients", ("GI-1", "GW-3", "GB-1"), "frozen_weight_loses_grad_input", Demand(products=3000))
def gradients_of_every_subset(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Whichever of input, weight and bias require a gradient, exactly those get one, and the right one."""
    larger = case.with_geometry(batch=4 + case.seed % 9)  # batches are taken in pieces
    if case.seed % 2 and op.domain.allows(larger):
        case = larger
    roles = [role for role in LEAVES if role != "bias" or case.bias]
    reference = Reference(case)
    for size in range(1, len(roles)):
        for subset in itertools.combinations(roles, size):
            seen = observe(op, case, subset)
            yield from equations(case, reference, {"output": seen.output, **seen.grads()})
            asked = [role for role, leaf in seen.leaves.items() if leaf.requires_grad]
            yield Equation("which operands require a gradient after the call", asked, list(subset))


@declare("gradients", ("GI-1", "GW-3", "GB-1"), "leaves_only", Demand(products=3000))
def operands_of_a_network_are_the_same(op: Target, case: ConvCase) -> Iterator[Equation]:
    """With operands that another operation computed, and with Parameters, frozen or not, the results are the same."""
    seen, reference = observe(op, case), Reference(case)
    parameters = {role: nn.Parameter(leaf.detach()) for role, leaf in seen.leaves.items() if role != "input"}
    frozen = {role: nn.Parameter(leaf.detach(), requires_grad=False) for role, leaf in parameters.items()}
    for leaves, computed in ((parameters, ("input",)), (frozen, ("input",)), ({}, LEAVES)):
        seen.leaves |= leaves
        taken = {role: leaf * 1 if role in computed else leaf for role, leaf in seen.leaves.items()}
        seen.output = call(op, case, taken)
        yield from equations(case, reference, {"output": seen.output, **seen.grads()})
        if leaves is frozen:
            thawed = [role for role, leaf in frozen.items() if leaf.requires_grad]
            yield Equation("frozen Parameters that require a gradient after the call", thawed, [])
            seen = observe(op, case)


@declare("gradients", ("GI-1", "GW-3", "GB-1"), "second_backward_doubled", Demand(products=3000))
def backward_accumulates(op: Target, case: ConvCase) -> Iterator[Equation]:
    """`.backward()` puts the gradients into `.grad`, and a second one adds them again; `autograd.grad` adds nothing."""
    seen = observe(op, case)
    if not seen.output.requires_grad:
        raise Refuted("the output does not require a gradient, but its operands do")
    for _ in range(2):  # each with a grad_output of its own: torch may keep a view of it as .grad, and add to that
        op.guarded(seen.output.backward, seen.operands.grad_output.clone(), retain_graph=True)
    reference = Reference(case)
    yield from equations(case, reference, seen.grads())
    for equation in equations(case, reference, {role: _grad(leaf) for role, leaf in seen.leaves.items()}):
        yield Equation(
            f"{equation.what} after two backward passes", equation.actual, 2 * equation.expected,
            norm=2 * equation.norm,
        )  # fmt: skip


@declare(
    "gradients", ("GI-1", "GW-3", "GB-1"), "bias_lost_when_recomputed",
    Demand(products=3000, usual=True, weight=0.4), refusal=Refusal.ALLOWED,
)  # fmt: skip
def recomputing_changes_nothing(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Where checkpointing calls the operator again within the backward pass, the gradients are the same."""
    reference, options = Reference(case), geometry_arguments(op, case)

    def again(x: Tensor, k: Tensor, bias: Tensor | None = None) -> Tensor:
        return tensor(op.call(*op.taken(x, k, bias, *options)))

    for reentrant in (True, False):
        leaves = {role: leaf.detach().requires_grad_() for role, leaf in observe(op, case).leaves.items()}
        with set_checkpoint_early_stop(False):  # which is by an exception that TorchScript does not let through
            output: Tensor = op.guarded(checkpoint, again, *leaves.values(), use_reentrant=reentrant)
            op.guarded(output.backward, reference.operands.grad_output.clone())
        for equation in equations(case, reference, {role: _grad(leaf) for role, leaf in leaves.items()}):
            yield replace(equation, what=f"{equation.what} of a call made again in the backward pass")


@declare(
    "gradients", ("GI-ALL", "GW-ALL", "BL-1"), "grad_weight_flipped", Demand(products=20_000, values=("integers",))
)
def gradients_are_adjoint(op: Target, case: ConvCase) -> Iterator[Equation]:
    """<g, conv(x, k)> = <grad_input, x> = <grad_weight, k>, and <g, bias> = <grad_bias, bias>, on integers."""
    seen = observe(op, case)
    g, reference = seen.operands.grad_output, Reference(case)
    bias = seen.operands.bias
    pairing = _pair(g, seen.output)
    if bias is not None:
        pairing = pairing - _pair(g, bias.detach().view(-1, *[1] * case.geometry.spatial).expand_as(g))
    norm = float(g.double().norm()) * reference.norm  # of g and of the output, which is below its operands' norms
    for role, grad in seen.grads(wrt=("input", "weight")).items():
        yield Equation(
            f"<grad_{role}, {role}>", _pair(grad, seen.leaves[role]).to(g.dtype), pairing.to(g.dtype),
            norm=norm,
        )  # fmt: skip


def _pair(a: Tensor, b: Tensor) -> Tensor:
    """The inner product, in float64: exact for small integers."""
    return (a.detach().double() * b.detach().double()).sum()


def _grad(leaf: Tensor) -> Tensor:
    if leaf.grad is None:
        raise Refuted("a leaf's .grad is None after .backward()")
    return leaf.grad


@declare("gradients", ("FW-1", "GI-1", "GW-3"), "zero_image_loses_the_bias", _FLAT)
def one_operand_may_be_constant(op: Target, case: ConvCase) -> Iterator[Equation]:
    """With input, weight or grad_output zero, or 1 throughout, beside ordinary operands, all results are right."""
    for value in (0.0, 1.0):
        for role, name in (("input", "x"), ("weight", "k"), ("grad_output", "g")):
            reference, seen = Reference(case), observe(op, case)
            flat = torch.full_like(getattr(reference.operands, role), value)
            setattr(reference, name, reference.wide(flat))
            if role != "grad_output":
                seen.leaves[role] = flat.contiguous().requires_grad_()
                seen.output = call(op, case, seen.leaves)
            found = {"output": seen.output, **seen.grads(flat if role == "grad_output" else None)}
            for equation in equations(case, reference, found):
                yield replace(equation, what=f"{equation.what} where every {role} is {value:g}")
