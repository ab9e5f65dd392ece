"""Operands as they lie in memory: results depend on values, never on strides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch

from convverify.case import ConvCase
from convverify.comparison import Equation
from convverify.demand import Demand
from convverify.geometry import Sizes
from convverify.properties.base import Refusal, declare
from convverify.properties.calls import LEAVES, call, equations, exact_results, observe
from convverify.properties.claims import claimed
from convverify.reference import Reference
from convverify.target import Target

_VALUES = ("integers", "large", "bell")
_PRODUCTS = 6000
_PARTS = ("sliced", "cropped", "columns_sliced", "channels_cropped")  # layouts of what is beside other elements
_OVER_AN_AXIS = ("channels_expanded", "batch_expanded", "rows_expanded")  # what gradients of such sums are like


def _demand(*operands: str) -> Demand:
    return Demand(operand_layouts=operands, products=_PRODUCTS, values=_VALUES, corners=True)


def _every_layout(operand: str) -> Demand:
    """More cases than there are layouts, however slow the operator is."""
    return replace(_demand(operand), weight=2, least=24)


def _and_at_its_worst(op: Target, case: ConvCase, operand: str) -> Iterator[tuple[ConvCase, str]]:
    """The case, and with it what its layout would be misread in without any size or zero to show it.

    Axes that lie in the other order are made equally long; a part of a larger tensor is padded on all sides.
    """
    yield case, ""
    worst, how = case, ""
    layout, g = case.layouts.get(operand), case.geometry
    if layout == "transposed":
        worst, how = _isotropic(case), ", all being as high as wide"
    elif layout == "batch_last":
        channels = max(2, g.in_channels)
        sizes = {} if operand == "weight" else {"batch": channels}
        worst = case.with_geometry(in_channels=channels, out_channels=channels, groups=1, **sizes)
        how = f", the first two axes of {operand} being as long"
    elif operand == "input" and layout in _PARTS:
        worst = case.with_geometry(padding=tuple(max(1, *pads) for pads in g.pads))
        how = ", padded on all sides"
    if worst != case and op.domain.allows(worst):
        yield worst, how


def _isotropic(case: ConvCase) -> ConvCase:
    g = case.geometry

    def all_as(sizes: Sequence[int]) -> Sizes:
        return (max(sizes),) * g.spatial

    kernel, dilation = all_as((2, *g.kernel_size)), all_as(g.dilation)
    size = all_as((*g.input_size, dilation[0] * (kernel[0] - 1) + 1))
    padding = g.padding if isinstance(g.padding, str) else all_as(g.padding)
    return case.with_geometry(input_size=size, kernel_size=kernel, stride=all_as(g.stride), padding=padding,
                              dilation=dilation)  # fmt: skip


def _named(found: Iterable[Equation], how: str) -> Iterator[Equation]:
    return (replace(equation, what=equation.what + how) for equation in found)


@declare("layout", ("AD-1",), "input_assumed_contiguous", _every_layout("input"), refusal=Refusal.DECLARED)
def input_layout_is_irrelevant(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A channels-last, transposed, sliced, offset or expanded input gives the same results."""
    for each, how in _and_at_its_worst(op, case, "input"):
        yield from _named(exact_results(op, each), how)


@declare("layout", ("AD-1",), "weight_assumed_contiguous", _every_layout("weight"), refusal=Refusal.DECLARED)
def weight_layout_is_irrelevant(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A channels-last, transposed, sliced, offset or expanded weight gives the same results."""
    for each, how in _and_at_its_worst(op, case, "weight"):
        yield from _named(exact_results(op, each), how)


@declare("layout", ("AD-1",), "bias_assumed_contiguous", _demand("bias"), refusal=Refusal.DECLARED)
def bias_layout_is_irrelevant(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A sliced, offset or expanded bias gives the same results."""
    yield from exact_results(op, case)


@declare(
    "layout", ("AD-1",), "grad_output_channels_last_misread", _every_layout("grad_output"), refusal=Refusal.DECLARED
)
def grad_output_layout_is_irrelevant(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A channels-last, transposed, sliced or expanded grad_output, as `.sum()` gives, gives the same gradients."""
    for each, how in _and_at_its_worst(op, case, "grad_output"):
        yield from _named(equations(each, Reference(each), observe(op, each).grads()), how)


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
