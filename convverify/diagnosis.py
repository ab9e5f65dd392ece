"""From a counterexample to a named cause: known faults that give the very same values, and what is computed.

The table of known faults is the table of mutants. A fault is named only where the mutant returns what the
operator returns, bit for bit, on the counterexample, on the case it was shrunken from, and on further data.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace

import torch
from torch import Tensor

from convverify import mutants
from convverify.case import ConvCase
from convverify.derivation.readback import readback
from convverify.properties.base import Property
from convverify.target import Target

# Faults of arithmetic: what a call returns depends on nothing but its operands.
FAMILIES = (
    mutants.forward, mutants.gradients, mutants.second_order, mutants.geometry, mutants.groups, mutants.layout,
    mutants.precision, mutants.special_values, mutants.transforms,
)  # fmt: skip

MOST_READ_BACK = 100
MOST_LINES = 8

Trace = list[tuple[str, object]]


def behaves_like(prop: Property, op: Target, case: ConvCase, first: ConvCase, seconds: float) -> tuple[str, ...]:
    """The faults of known mutants that give the operator's very values; none where none fits exactly."""
    deadline = time.perf_counter() + seconds
    cases = dict.fromkeys((case, replace(case, seed=case.seed + 1), first, replace(first, seed=first.seed + 2)))
    traces = {each: trace(prop, op, each) for each in cases}
    found = []
    for mutant in (m for family in FAMILIES for m in mutants.base.declared(family, mutants.base.Mutant)):
        if time.perf_counter() > deadline:
            break
        other = Target(mutant.make(), mutant.name, op.domain)
        if all(_same(trace(prop, other, each), seen) for each, seen in traces.items()):
            found.append(f"{mutant.name}: {mutant.fault}")
    return tuple(found)


def trace(prop: Property, op: Target, case: ConvCase) -> Trace:
    """What the operator returns where the property looks, and how it ends if it raises."""
    seen: Trace = []
    try:
        for equation in prop.check(op, case):
            actual = equation.actual
            seen.append((equation.what, actual.detach().clone() if isinstance(actual, Tensor) else actual))
    except Exception as error:
        seen.append(("raised", f"{type(error).__name__}: {error}"))
    return seen


def _same(one: Trace, other: Trace) -> bool:
    return len(one) == len(other) and all(a[0] == b[0] and _equal(a[1], b[1]) for a, b in zip(one, other, strict=True))


def _equal(one: object, other: object) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        alike = one.shape == other.shape and one.dtype == other.dtype
        return alike and bool(torch.isclose(one, other, rtol=0, atol=0, equal_nan=True).all())
    return type(one) is type(other) and bool(one == other)


def read_back(op: Target, case: ConvCase) -> str:
    """What the operator computes on a small geometry, as polynomials, where it differs from the theorem."""
    geometry = case.geometry
    if math.prod(geometry.input_shape) * math.prod(geometry.weight_shape) > MOST_READ_BACK:
        return ""
    try:
        lines = list(readback(op, geometry).lines(only_wrong=True))
    except Exception:  # it may refuse unit tensors, or be no bilinear map: then there is nothing to show
        return ""
    more = [f"... and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else []
    return "\n".join([*lines[:MOST_LINES], *more])
