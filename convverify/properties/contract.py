"""What a call promises beside its numbers: dtype, shape and device of results, and operands left alone."""

from __future__ import annotations

import contextlib
import itertools
import math
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from convverify.answers import OperatorError, Unsupported
from convverify.case import ConvCase, Operands
from convverify.comparison import Equation
from convverify.demand import Demand
from convverify.geometry import ConvGeometry
from convverify.process_state import State, advance_random_states, process_state, restore
from convverify.properties.base import Refusal, Refuted, declare
from convverify.properties.calls import LEAVES, call, equations, geometry_arguments, observe
from convverify.reference import Reference
from convverify.target import Target

_SMALL = Demand(products=3000, weight=0.5, usual=True, corners=True)
_LAID_OUT = Demand(products=3000, weight=0.5, usual=True, corners=True, operand_layouts=("input", "weight"))


@declare("contract", ("FW-1",), "output_always_requires_grad", _SMALL)
def requires_grad_propagates(op: Target, case: ConvCase) -> Iterator[Equation]:
    """The output requires a gradient just when an operand does and gradients are on, also after calls without."""
    reference = Reference(case)
    for requires in ((), ("input",), ("weight",), LEAVES):
        seen = observe(op, case, requires)
        where = f"where {' and '.join(requires) or 'no operand'} requires a gradient"
        yield Equation(f"output.requires_grad {where}", seen.output.requires_grad, bool(requires))
        for grad_mode in (torch.no_grad, torch.inference_mode):
            with grad_mode():
                output = call(op, case, {role: leaf.detach() for role, leaf in seen.leaves.items()})
                without = call(op, case, seen.leaves)
            yield Equation("whether an output without gradients has a grad_fn", without.grad_fn is not None, False)
            yield from equations(case, reference, {"output": output})
            yield from equations(case, reference, {"output": without})
        again = call(op, case, seen.leaves)
        yield Equation(f"output.requires_grad after calls without gradients, {where}", again.requires_grad,
                       bool(requires))  # fmt: skip


@declare("contract", ("AD-1",), "bias_consumed", _LAID_OUT, refusal=Refusal.DECLARED)
def operands_are_unchanged(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Forward and backward leave input, weight, bias and grad_output as they were, in value and in form."""
    before = Operands(case)
    without = observe(op, case, requires=())
    for role, leaf in without.leaves.items():
        yield Equation(f"{role} after a call without gradients", leaf, getattr(before, role), magnitude=None)
        yield Equation(f"writes to {role} in a call without gradients", leaf._version,
                       getattr(Operands(case), role)._version)  # fmt: skip
    seen = observe(op, case)
    handed = {**seen.leaves, "grad_output": seen.operands.grad_output}
    forms = {role: _form(getattr(before, role)) for role in handed}
    seen.grads(handed["grad_output"])
    for role, operand in handed.items():
        yield Equation(f"{role} after the call", operand, getattr(before, role), magnitude=None)
        yield Equation(f"strides and flags of {role}", _form(operand), forms[role])
        yield Equation(f"requires_grad of {role}", operand.requires_grad, role in LEAVES)


@declare(
    "contract",
    ("AD-1",),
    "identity_returns_its_input",
    Demand(products=2000, values=("integers", "constant", "zeros"), usual=True, corners=True),
)
def output_aliases_nothing(op: Target, case: ConvCase) -> Iterator[Equation]:
    """The output is memory of its own: writing to it changes no operand, no other element, no gradient."""
    reference, before = Reference(case), Operands(case)
    for requires in ((), LEAVES):
        seen = observe(op, case, requires)
        for role, leaf in seen.leaves.items():
            shared = leaf.untyped_storage().data_ptr() == seen.output.untyped_storage().data_ptr()
            yield Equation(f"whether the output shares memory with {role}", shared and leaf.numel() > 0, False)
        overlap = any(
            step == 0 and size > 1 for step, size in zip(seen.output.stride(), seen.output.shape, strict=True)
        )
        yield Equation("whether elements of the output share memory with one another", overlap, False)
        first = seen.output.detach().clone()
        again = call(op, case, seen.leaves)
        seen.output.data.fill_(12345.0)  # not through detach(): autograd forbids it on what a Function returns
        yield Equation("an earlier output, after writing to a later one", again.detach(), first)
        for role, leaf in seen.leaves.items():
            yield Equation(f"{role} after writing to the output", leaf.detach(), getattr(before, role))
        if requires:
            yield from equations(case, reference, seen.grads())
    yield from _identity(op, case)


def _identity(op: Target, case: ConvCase) -> Iterator[Equation]:
    """The identity kernel, where an operator may be tempted to return its input."""
    channels = case.geometry.in_channels
    plain = ConvCase(
        ConvGeometry(1, channels, channels, case.geometry.input_size, (1, 1), (1, 1), (0, 0), (1, 1)),
        dtype=case.dtype, device=case.device, values="integers", seed=case.seed,
    )  # fmt: skip
    if case.geometry.spatial != 2 or not op.domain.allows(plain):
        return
    x = Operands(plain).input
    eye = torch.eye(channels, dtype=x.dtype, device=x.device)[:, :, None, None]
    for without_gradients in (False, True):
        with torch.no_grad() if without_gradients else contextlib.nullcontext():
            output = call(op, plain, {"input": x, "weight": eye})
        output.data.add_(1)
        yield Equation("input after writing to the output of the identity kernel", x, Operands(plain).input)


@declare("contract", ("GI-1", "GW-3", "GB-1"), "output_kept_for_the_backward", _SMALL)
def output_may_be_changed_in_place(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Doubling the output in place, as an in-place activation after a layer does, doubles the gradients.

    Torch itself forbids it for what a Function returns as a view, with an error that tells why.
    """
    seen, reference = observe(op, case), Reference(case)
    try:
        seen.output = op.guarded(seen.output.mul_, 2)
    except OperatorError as error:
        raise Unsupported(str(error)) from error
    for equation in equations(case, reference, seen.grads()):
        yield Equation(
            f"{equation.what}, the output having been doubled in place", equation.actual, 2 * equation.expected,
            norm=2 * equation.norm,
        )  # fmt: skip


@declare("contract", ("GI-1", "GW-3"), "saved_tensors_unguarded", _SMALL)
def saved_operands_are_guarded(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Changing an operand in place after the forward makes the backward raise, or leaves its result as it was."""
    pairs = (("input", "weight"), ("weight", "input"))
    for (role, other), frozen in itertools.product(pairs, (False, True)):
        seen, reference = observe(op, case, requires=(other,) if frozen else LEAVES), Reference(case)
        with torch.no_grad():
            seen.leaves[role].add_(1)
        try:
            found = seen.grads(wrt=(other,))
        except (OperatorError, Unsupported):  # torch's own answer to a saved tensor that was modified
            yield Equation(f"whether a changed {role} was noticed", True, True)
            continue
        for equation in equations(case, reference, found):
            yield Equation(
                f"{equation.what}, {role} having changed in place after the forward", equation.actual,
                equation.expected, norm=equation.norm,
            )  # fmt: skip


@declare(
    "contract", ("GI-1", "GW-3"), "saved_strides_remembered",
    Demand(products=3000, weight=0.3, operand_layouts=("input", "weight")), refusal=Refusal.ALLOWED,
)  # fmt: skip
def saved_operands_may_be_replaced(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Where what is saved for the backward comes back as a contiguous copy, as from another device, it is right."""
    with torch.autograd.graph.saved_tensors_hooks(_copy, lambda saved: saved):
        seen = observe(op, case)
    yield from equations(case, Reference(case), {"output": seen.output, **seen.grads()})


_MANY = 5000  # elements, beyond which implementations have another way


def _copy(saved: Tensor) -> Tensor:
    return saved.detach().clone(memory_format=torch.contiguous_format)


@declare("contract", ("EX-1",), "consumes_random_numbers", _SMALL)
def process_state_is_untouched(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A call, and one that is refused, leave random states, dtypes, threads, grad mode and flags as they were."""
    operands = Operands(case)
    bad = torch.zeros(case.geometry.input_shape[:2], dtype=case.torch_dtype, device=case.device)
    advance_random_states()
    with warnings.catch_warnings():
        warnings.resetwarnings()  # a filter that an earlier call added would hide that this one adds it
        warnings.filterwarnings("ignore", message=".*")  # which no operator is likely to add alike
        before = process_state()
        try:
            observe(op, case).grads()
            yield from _state_equations(before, "after a call")
            larger = case.with_geometry(batch=1 + _MANY // math.prod(case.geometry.input_shape[1:]))
            if op.domain.allows(larger):
                observe(op, larger).grads()
                yield from _state_equations(before, "after a call on a large batch")
            half = replace(case, dtype="bfloat16")
            if op.domain.allows(half):
                with contextlib.suppress(OperatorError, Unsupported, Refuted):
                    observe(op, half).grads()
                yield from _state_equations(before, "after a call in bfloat16")
            if op.domain.declared:
                return  # what it refuses is outside the domain
            try:
                op(bad, operands.weight, None, *geometry_arguments(op, case))
            except (OperatorError, Unsupported):
                yield from _state_equations(before, "after a call that was refused")
        finally:
            restore(before)


def _state_equations(before: State, when: str) -> Iterator[Equation]:
    after = process_state()
    for name, value in before.items():
        yield Equation(f"{name} {when}", after[name], value)


def _form(operand: Tensor) -> tuple[Any, ...]:
    return operand.shape, operand.stride(), operand.storage_offset(), operand.dtype, operand._version
