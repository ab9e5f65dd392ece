"""Operands as they lie in memory: results depend on values, never on strides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from convverify.case import ConvCase
from convverify.comparison import Equation
from convverify.demand import Demand
from convverify.properties.base import Refusal, declare
from convverify.properties.calls import LEAVES, call, equations, exact_results, observe
from convverify.properties.dtypes import claimed
from convverify.reference import Reference
from convverify.target import Target

_VALUES = ("integers", "large", "bell")
_PRODUCTS = 6000
_OVER_AN_AXIS = ("channels_expanded", "batch_expanded", "rows_expanded")  # what gradients of such sums are like


def _demand(*operands: str) -> Demand:
    return Demand(operand_layouts=operands, products=_PRODUCTS, values=_VALUES, corners=True)


def _every_layout(operand: str) -> Demand:
    """More cases than there are layouts, however slow the operator is."""
    return replace(_demand(operand), weight=2, least=24)


@declare("layout", ("AD-1",), "input_assumed_contiguous", _every_layout("input"), refusal=Refusal.DECLARED)
def input_layout_is_irrelevant(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A channels-last, transposed, sliced, offset or expanded input gives the same results."""
    yield from exact_results(op, case)


@declare("layout", ("AD-1",), "weight_assumed_contiguous", _every_layout("weight"), refusal=Refusal.DECLARED)
def weight_layout_is_irrelevant(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A channels-last, transposed, sliced, offset or expanded weight gives the same results."""
    yield from exact_results(op, case)


@declare("layout", ("AD-1",), "bias_assumed_contiguous", _demand("bias"), refusal=Refusal.DECLARED)
def bias_layout_is_irrelevant(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A sliced, offset or expanded bias gives the same results."""
    yield from exact_results(op, case)


@declare(
    "layout", ("AD-1",), "grad_output_channels_last_misread", _every_layout("grad_output"), refusal=Refusal.DECLARED
)
def grad_output_layout_is_irrelevant(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A channels-last, transposed, sliced or expanded grad_output, as `.sum()` gives, gives the same gradients."""
    yield from equations(case, Reference(case), observe(op, case).grads())


@declare(
    "layout", ("AD-1",), "channels_last_read_as_contiguous", _demand(*LEAVES, "grad_output"), refusal=Refusal.DECLARED
)
def mixed_layouts_are_irrelevant(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Operands of different layouts at once give the same results."""
    yield from exact_results(op, case)


@declare("layout", ("AD-1",), "negative_bit_ignored", Demand(products=3000, weight=0.3), refusal=Refusal.ALLOWED)
def lazy_negation_is_seen(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A tensor that torch negates only when it is read (the imaginary part of a conjugate) is read negated."""
    reference = Reference(case)
    leaves = observe(op, case, requires=()).leaves
    for role in ("input", "weight"):
        complex_ = torch.complex(torch.zeros_like(leaves[role]), -leaves[role])
        output = call(op, case, {**leaves, role: complex_.conj().imag})
        yield from equations(case, reference, {"output": output})


@declare(
    "layout", ("AD-1",), "conjugate_bit_ignored", Demand(dtypes=("complex128", "complex64"), products=3000, weight=0.3),
    refusal=Refusal.ALLOWED,
)  # fmt: skip
def lazy_conjugation_is_seen(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A tensor that torch conjugates only when it is read is read conjugated."""
    claimed(op, case)
    reference = Reference(case)
    leaves = observe(op, case, requires=()).leaves
    for role in ("input", "weight"):
        output = call(op, case, {**leaves, role: leaves[role].conj().resolve_conj().conj()})
        yield from equations(case, reference, {"output": output})


@declare("layout", ("AD-1", "GB-1"), "grad_output_expanded_misread", Demand(products=3000, corners=True, weight=0.3))
def gradient_of_sum_is_right(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Sums of the output over all, each plane or an axis, weighted along what is left, have the right gradients."""
    seen = observe(op, case)
    op.guarded(lambda: seen.output.sum().backward())
    reference = Reference(case)
    reference.g = torch.ones_like(reference.g)
    for role, leaf in seen.leaves.items():
        grad = leaf.grad if leaf.grad is not None else torch.full_like(leaf, float("nan"))
        yield from equations(case, reference, {role: grad})
    for layout in ("planes_expanded", _OVER_AN_AXIS[case.seed % len(_OVER_AN_AXIS)]):
        summed = replace(_with_room(op, case), layout=f"grad_output:{layout}")
        yield from equations(summed, Reference(summed), observe(op, summed).grads())


def _with_room(op: Target, case: ConvCase) -> ConvCase:
    """The case with several samples and positions, where the operator takes such ones."""
    g = case.geometry
    size = tuple(n + s for n, s in zip(g.input_size, g.stride, strict=True))
    larger = case.with_geometry(batch=g.batch + 1, input_size=size)
    return larger if op.domain.allows(larger) else case
