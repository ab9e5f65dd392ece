"""NaN and infinity reach what the convolution sums them into, and nothing else."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from convverify.answers import Unsupported
from convverify.case import ConvCase
from convverify.comparison import Equation
from convverify.demand import Demand
from convverify.properties.base import Refusal, declare
from convverify.properties.calls import Observed, call, observe
from convverify.reference import Reference
from convverify.target import Target

_VALUES = ("integers", "bell", "sparse", "constant")
_PLAIN = Demand(products=4000, values=_VALUES, corners=True, weight=0.7)
MARKS = (float("nan"), float("inf"), float("-inf"))


@declare("special values", ("FW-1", "GI-1", "GW-3"), "nan_becomes_zero", _PLAIN)
def non_finite_values_arrive(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Whatever sums a NaN or an infinity is not finite: in the output and in every gradient.

    Zeros are among what it is multiplied by only where NumPy's BLAS itself leaves none out.
    """
    _finite_only(op)
    zeros = _is_a_product_of_matrices(case)
    for role, found, touched in _marked(op, case, roles=("input", "weight", "grad_output"), zeros=zeros):
        for name, value in found.items():
            must = touched[name]
            yield Equation(f"finite elements of {name} that sum a non-finite {role}",
                           int((value.isfinite() & must).sum()), 0)  # fmt: skip


@declare("special values", ("FW-1", "GI-1"), "nan_spreads_over_the_image", _PLAIN, direct=True)
def non_finite_values_stay_local(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A NaN or an infinity in the input or in grad_output leaves alone the samples and positions that do not sum it."""
    _finite_only(op)
    for role, found, touched in _marked(op, case, roles=("input", "grad_output")):
        for name, value in found.items():
            if (role, name) not in (("input", "output"), ("grad_output", "grad_input")):
                continue  # a zero of the padding times infinity is NaN: those operators may differ
            expected = _clean(case, name)
            outside = ~touched[name].any(1, keepdim=True).expand_as(value)  # dense code for groups mixes 0 * NaN
            yield Equation(f"{name} away from the non-finite {role}", value[outside], expected[outside])


@declare(
    "special values", ("FW-1", "GI-1"), "nan_spreads_over_the_batch",
    Demand(products=4000, values=("integers", "bell"), weight=0.3, where=lambda case: case.geometry.batch > 1),
)  # fmt: skip
def samples_stay_apart(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A NaN, an infinity or a huge number in one sample leaves the outputs and gradients of the others alone."""
    _finite_only(op)
    reference, seen = Reference(case), observe(op, case)
    for mark in (MARKS[case.seed % len(MARKS)], torch.finfo(case.torch_dtype).max / 2):
        x, g = (operand.detach().contiguous().clone() for operand in (seen.leaves["input"], seen.operands.grad_output))
        for operand in (x, g):
            operand[(0, *_place(operand[0], case.seed))] = mark
        found = _results(seen, op, case, {**seen.leaves, "input": x, "grad_output": g})
        for name, role in (("output", "output"), ("grad_input", "input")):
            yield Equation(f"{name} of the samples beside one with {mark:.0e}", found[name][1:], _clean(case, name)[1:],
                           norm=reference.norms[role][1:])  # fmt: skip


@declare("special values", ("FW-1",), "infinity_loses_its_sign", _PLAIN, direct=True)
def infinities_keep_their_sign(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Infinity times a weight, plus finite terms, is infinity of the product's sign; times zero it is NaN.

    Where one factor is a vector or a number, NumPy's BLAS itself may leave out what is multiplied by zero.
    """
    _finite_only(op)
    reference = Reference(case)
    leaves = {role: leaf.detach() for role, leaf in observe(op, case, requires=()).leaves.items()}
    index, drawn = _place(leaves["input"], case.seed), leaves["weight"]
    weights = [_without_zeros(drawn)] * 2
    if _is_a_product_of_matrices(case):
        weights = [drawn, _of_one_tap(drawn, case.seed), _without_channel(drawn, index[1])]
    for mark, weight in zip(itertools.cycle(MARKS[1:]), weights, strict=False):
        marked = leaves["input"].clone()
        marked[index] = mark
        output = call(op, case, {**leaves, "input": marked, "weight": weight.clone()})
        unit = torch.zeros_like(reference.x)
        unit[index] = 1
        products = reference.narrow(reference.maps.forward(unit, reference.wide(weight)))
        touched = reference.maps.forward(unit, torch.ones_like(reference.k)) != 0
        yield Equation("output that sums an infinity", output[touched], (products * mark)[touched])


def _of_one_tap(weight: Tensor, seed: int) -> Tensor:
    """Zeros at all taps but one."""
    kept: tuple[Any, ...] = (..., *_place(weight[0, 0], seed))
    sparse = torch.zeros_like(weight)
    sparse[kept] = weight[kept]
    return sparse


def _without_channel(weight: Tensor, channel: int) -> Tensor:
    """Zeros at what all filters have for a channel."""
    pruned = weight.clone()
    pruned[:, channel % weight.shape[1]] = 0
    return pruned


def _is_a_product_of_matrices(case: ConvCase) -> bool:
    """Whether positions and, in a group, channels in and out are several of each: so of every tap alone it is one."""
    g = case.geometry
    return min(g.out_channels // g.groups, g.in_channels // g.groups, math.prod(g.output_size)) > 1


def _without_zeros(operand: Tensor) -> Tensor:
    return torch.where(operand == 0, torch.ones_like(operand), operand)


@declare("special values", ("FW-1",), "nan_in_the_bias_ignored", replace(_PLAIN, where=lambda case: case.bias))
def non_finite_biases_arrive(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A NaN or an infinity in the bias reaches every output of its channel, and no other channel."""
    _finite_only(op)
    leaves = {role: leaf.detach() for role, leaf in observe(op, case, requires=()).leaves.items()}
    channel, mark = case.seed % case.geometry.out_channels, MARKS[case.seed % 3]
    leaves["bias"] = leaves["bias"].clone()
    leaves["bias"][channel] = mark
    expected = Reference(case).output.clone()
    expected[:, channel] = mark
    yield Equation(
        "output for a non-finite bias", call(op, case, leaves), expected, norm=Reference(case).norms["output"]
    )


@declare(
    "special values", ("FW-1",), "opposite_infinities_cancel", _PLAIN, refusal=Refusal.ALLOWED, direct=True
)
def opposite_infinities_make_nan(op: Target, case: ConvCase) -> Iterator[Equation]:
    """An output that sums infinities of both signs is NaN."""
    _finite_only(op)
    leaves = {role: leaf.detach() for role, leaf in observe(op, case, requires=()).leaves.items()}
    first, second = _place(leaves["input"], case.seed), _place(leaves["input"], case.seed + 1)
    marked, ones = leaves["input"].clone(), torch.ones_like(leaves["weight"])
    marked[first], marked[second] = MARKS[1:]
    summed = []
    for index in (first, second):
        unit = torch.zeros_like(Reference(case).x)
        unit[index] = 1
        summed.append(Reference(case).maps.forward(unit, torch.ones_like(Reference(case).k)) != 0)
    both = summed[0] & summed[1]
    if first != second and bool(both.any()):
        output = call(op, case, {**leaves, "input": marked, "weight": ones})
        yield Equation("numbers among outputs that sum both infinities", int((~output[both].isnan()).sum()), 0)


@declare(
    "special values", ("FW-1",), "overflow_saturates",
    Demand(dtypes=("float32", "float64", "float16", "bfloat16"), products=1500, bias=False),
    refusal=Refusal.ALLOWED, direct=True,
)  # fmt: skip
def overflow_is_not_finite(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A product beyond the largest number of the dtype is infinite (or NaN, where its error is carried along)."""
    _finite_only(op)
    leaves = {role: leaf.detach() for role, leaf in observe(op, case, requires=()).leaves.items()}
    index = _place(leaves["input"], case.seed)
    large = torch.zeros_like(leaves["input"])
    large[index] = torch.finfo(case.torch_dtype).max * (1 - case.seed % 2 * 2)
    unit = torch.zeros_like(Reference(case).x)
    unit[index] = 1
    touched = Reference(case).maps.forward(unit, torch.ones_like(Reference(case).k)) != 0
    output = call(op, case, {"input": large, "weight": torch.full_like(leaves["weight"], 4)})
    yield Equation("finite elements of an output that overflows", int((output.isfinite() & touched).sum()), 0)


def _finite_only(op: Target) -> None:
    if "finite" in op.domain.words:
        raise Unsupported("it claims finite operands only")


def _marked(
    op: Target, case: ConvCase, roles: tuple[str, ...], zeros: bool = True
) -> Iterator[tuple[str, dict[str, Tensor], dict[str, Tensor]]]:
    """For each role, the results with one element marked, and what of them sums that element.

    Without `zeros`, each zero among the operands is made a one.
    """
    for role in roles:
        mark = MARKS[case.seed % 3]
        seen = observe(op, case)
        operands = {**seen.leaves, "grad_output": seen.operands.grad_output}
        if not zeros:
            operands = {name: _without_zeros(operand.detach()) for name, operand in operands.items()}
        index = _place(operands[role], case.seed)
        operands[role] = operands[role].detach().clone(memory_format=torch.contiguous_format)
        operands[role][index] = mark
        found = _results(seen, op, case, operands)
        ones = {name: torch.ones_like(getattr(Reference(case), name)) for name in ("x", "k", "g")}
        name = {"input": "x", "weight": "k", "grad_output": "g"}[role]
        ones[name] = torch.zeros_like(ones[name])
        ones[name][index] = 1
        yield role, found, _touched(case, role, ones)


def _results(seen: Observed, op: Target, case: ConvCase, operands: dict[str, Tensor]) -> dict[str, Tensor]:
    seen.leaves = {role: operands[role].detach().requires_grad_() for role in seen.leaves}
    seen.output = call(op, case, seen.leaves)
    grads = seen.grads(operands["grad_output"])
    return {"output": seen.output.detach()} | {f"grad_{role}": grad for role, grad in grads.items()}


def _touched(case: ConvCase, role: str, ones: dict[str, Tensor]) -> dict[str, Tensor]:
    """Which elements of each result sum the marked one; none, where the result does not read its operand."""
    maps, x, k, g = Reference(case).maps, ones["x"], ones["k"], ones["g"]
    none = {
        "output": torch.zeros(case.geometry.output_shape, dtype=torch.bool),
        "grad_input": torch.zeros(case.geometry.input_shape, dtype=torch.bool),
        "grad_weight": torch.zeros(case.geometry.weight_shape, dtype=torch.bool),
        "grad_bias": torch.zeros((case.geometry.out_channels,), dtype=torch.bool),
    }
    touched = {name: value.to(x.device) for name, value in none.items()}
    if role != "grad_output":
        touched["output"] = maps.forward(x, k) != 0
    if role != "input":
        touched["grad_input"] = maps.grad_input(g, k) != 0
    if role != "weight":
        touched["grad_weight"] = maps.grad_weight(x, g) != 0
    if role == "grad_output":
        touched["grad_bias"] = maps.grad_bias(g) != 0
    return touched


def _clean(case: ConvCase, name: str) -> Tensor:
    reference = Reference(case)
    return reference.output if name == "output" else reference.gradients[name.removeprefix("grad_")]


def _place(operand: Tensor, seed: int) -> tuple[int, ...]:
    flat = (seed * 7919) % max(1, operand.numel())
    return tuple(int(i) for i in torch.unravel_index(torch.tensor(flat), operand.shape))
