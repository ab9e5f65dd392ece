"""How properties call an operator and ask for its derivatives."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from convverify.answers import OperatorError, Unsupported
from convverify.case import ConvCase, Operands
from convverify.child import Waited, can_fork, in_a_child
from convverify.comparison import Equation
from convverify.properties.base import Refuted
from convverify.reference import Reference
from convverify.target import Target

LEAVES = ("input", "weight", "bias")
Grads = dict[str, Tensor]


ONE_NUMBER = {"square", "isotropic"}


def geometry_arguments(op: Target, case: ConvCase) -> tuple[Any, Any, Any, int]:
    """stride, padding, dilation and groups; as ints where the axes agree and every other seed."""
    g, words = case.geometry, op.domain.words
    as_int = "pairs" not in words and (case.seed % 2 == 1 or words & ONE_NUMBER)

    def form(size: Any) -> Any:
        alike = isinstance(size, tuple) and len(set(size)) == 1
        return size[0] if alike and as_int else size

    return form(g.stride), form(g.padding), form(g.dilation), g.groups


def of_samples(op: Target, case: ConvCase, batch: int) -> ConvCase:
    """The case with so many samples and a bias, where the operator takes that."""
    larger = replace(case.with_geometry(batch=batch), bias="bias" in op.accepts)
    return larger if op.domain.allows(larger) else case


@dataclass
class Observed:
    """One call of an operator: its output and the leaves it was computed from."""

    op: Target
    case: ConvCase
    leaves: dict[str, Tensor]
    output: Tensor
    operands: Operands

    def grads(
        self, grad_output: Tensor | None = None, create_graph: bool = False, wrt: tuple[str, ...] = LEAVES
    ) -> Grads:
        """The gradients of the leaves that require one, by the operator's own backward.

        Raises:
            Refuted: the operator does not connect its output with a leaf.
        """
        asked = {role: leaf for role, leaf in self.leaves.items() if leaf.requires_grad and role in wrt}
        if not self.output.requires_grad:
            raise Refuted(f"the output does not require a gradient, but {', '.join(asked)} does")
        if grad_output is None:
            grad_output = self.operands.grad_output
        if self.output.shape != grad_output.shape:  # not left to autograd, whose error could pass for a refusal
            raise Refuted(f"the output has shape {list(self.output.shape)}, not {list(grad_output.shape)}")
        found = self.op.guarded(
            torch.autograd.grad, self.output, list(asked.values()), grad_output,
            create_graph=create_graph, retain_graph=True, allow_unused=True,
        )  # fmt: skip
        for role, grad in zip(asked, found, strict=True):
            if grad is None:
                raise Refuted(f"grad_{role} is None: the output does not depend on {role} for autograd")
        return dict(zip(asked, found, strict=True))


def observe(op: Target, case: ConvCase, requires: tuple[str, ...] = LEAVES) -> Observed:
    """Call the operator on the case's operands.

    Raises:
        OperatorError: it raised, or returned something other than a tensor.
    """
    operands = Operands(case)
    leaves = {"input": operands.input.detach(), "weight": operands.weight.detach()}
    if operands.bias is not None:
        leaves["bias"] = operands.bias.detach()
    for role, leaf in leaves.items():
        leaf.requires_grad_(role in requires and (leaf.is_floating_point() or leaf.is_complex()))
    return Observed(op, case, leaves, call(op, case, leaves), operands)


def must_not_refuse(op: Target, gradients: Sequence[Tensor], cotangents: Sequence[Tensor]) -> None:
    """Run backward through gradients, which `once_differentiable` answers by raising only when it is run.

    Raises:
        OperatorError: the operator says that its gradients have no derivatives.
    """
    op.guarded(torch.autograd.backward, gradients, cotangents, retain_graph=True)


def call(op: Target, case: ConvCase, leaves: dict[str, Tensor]) -> Tensor:
    """The operator's output on any tensors of the case's shapes."""
    return tensor(op(leaves["input"], leaves["weight"], leaves.get("bias"), *geometry_arguments(op, case)))


def most_edges(output: Tensor) -> int:
    """How many gradients autograd adds up, at most, where they meet on their way from an output."""
    seen, waiting, edges = set[Any](), [output.grad_fn], Counter[Any]()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        edges.update(node.next_functions)
        waiting += [following for following, _ in node.next_functions]
    return max(edges.values(), default=0)


def exact_results(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Output and gradients are the reference's, as is the output of a call without gradients."""
    seen, reference = observe(op, case), Reference(case)
    yield from equations(case, reference, {"output": seen.output, **seen.grads()})
    yield from output_without_gradients(seen, reference)
    yield from unchanged(seen, reference)


def results(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Output and gradients are the reference's, where the dtype has gradients."""
    seen = observe(op, case)
    grads = seen.grads() if seen.leaves["input"].requires_grad else {}
    yield from equations(case, Reference(case), {"output": seen.output, **grads})


def unchanged(seen: Observed, reference: Reference) -> Iterator[Equation]:
    """The operands are what they were before the calls."""
    for role, leaf in seen.leaves.items():
        yield Equation(f"{role} after the calls", leaf.detach(), getattr(reference.operands, role))


def undisturbed(op: Target, case: ConvCase) -> Iterator[Equation]:
    """An output of a call without gradients stays what it is when the next one is made with other data."""
    leaves = observe(op, case, requires=()).leaves
    with torch.no_grad():
        first = call(op, case, leaves)
        kept = first.clone()
        call(op, case, {**leaves, "input": -leaves["input"]})
    yield Equation("an output, after a later call with other data", first.detach(), kept)


def output_without_gradients(seen: Observed, reference: Reference) -> Iterator[Equation]:
    """The output under `no_grad`, or of operands that require no gradient, is the reference's, and has no graph.

    That it requires no gradient either is more than TorchScript holds to under `no_grad`.
    """
    case, under_no_grad = seen.case, seen.case.seed % 2 == 1
    with torch.no_grad() if under_no_grad else contextlib.nullcontext():
        leaves = seen.leaves if under_no_grad else {role: leaf.detach() for role, leaf in seen.leaves.items()}
        output = call(seen.op, case, leaves)
    yield Equation("whether an output without gradients has a grad_fn", output.grad_fn is not None, False)
    for equation in equations(case, reference, {"output": output}):
        yield replace(equation, what="output without gradients")


def apart(op: Target, case: ConvCase, compute: Callable[[], Grads]) -> Grads:
    """What `compute` returns: on the CPU from a child, whose process it may end.

    Raises:
        ProcessDied: it did.
        Unsupported: the operator waits in a child for what it has here alone, now or when it was asked before.
    """
    if not can_fork(case.device):
        return compute()
    if op.waits_in_a_child:
        raise Unsupported("in a forked process it waits for ever")
    try:
        return in_a_child(compute)
    except Waited:
        op.waits_in_a_child = True
        raise


def tensor(value: Any) -> Tensor:
    """The value, if it is a tensor.

    Raises:
        OperatorError: it is none.
    """
    if not isinstance(value, Tensor):
        kind = "None" if value is None else f"a {type(value).__name__}"
        raise OperatorError(f"it returned {kind}, not a tensor")
    return value


def equations(case: ConvCase, reference: Reference, found: Grads) -> list[Equation]:
    """One equation for each result: `output` and each leaf's gradient."""
    expected = {"output": reference.output} if "output" in found else {}
    if set(found) - {"output"}:
        expected |= reference.gradients
    rounds = case.torch_dtype.is_floating_point or case.torch_dtype.is_complex
    return [
        Equation(
            role if role == "output" else f"grad_{role}",
            value,
            expected[role],
            case.exact,
            reference.terms[role],
            functools.partial(_magnitude, reference, role) if rounds else None,
            reference.norms[role] if rounds else 0.0,
        )
        for role, value in found.items()
    ]


def _magnitude(reference: Reference, role: str) -> Tensor:
    return reference.magnitudes[role]
