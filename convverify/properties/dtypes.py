"""Dtypes beyond float64 and float32: halves, complex numbers, integers, where the operator claims them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import torch

from convverify.answers import Unsupported
from convverify.case import ConvCase
from convverify.comparison import Equation
from convverify.demand import EXACT, Demand
from convverify.properties.base import Refusal, declare
from convverify.properties.calls import exact_results, observe, results
from convverify.properties.claims import claimed
from convverify.reference import Reference
from convverify.target import Target

LOW = ("bfloat16", "float16")
INTEGER = ("int64", "int32", "int16")


@declare(
    "dtypes", ("EX-1",), "float16_last_channel",
    Demand(dtypes=LOW, values=EXACT, products=20_000), refusal=Refusal.ALLOWED,
)  # fmt: skip
def low_precision_is_exact(op: Target, case: ConvCase) -> Iterator[Equation]:
    """In bfloat16 and float16, output and gradients are exact where the format can hold every sum."""
    yield from exact_results(op, case)


@declare(
    "dtypes", ("EX-1", "FW-1"), "complex_weight_conjugated",
    Demand(dtypes=("complex128", "complex64"), products=3000, weight=0.5), refusal=Refusal.ALLOWED,
)  # fmt: skip
def complex_is_exact(op: Target, case: ConvCase) -> Iterator[Equation]:
    """On complex operands output and gradients are exact, the gradients with the conjugate, as torch has them."""
    claimed(op, case)
    yield from results(op, case)


@declare(
    "dtypes", ("FW-1",), "integers_through_float32",
    Demand(dtypes=INTEGER, products=3000, weight=0.5), refusal=Refusal.ALLOWED,
)  # fmt: skip
def integers_are_exact(op: Target, case: ConvCase) -> Iterator[Equation]:
    """On integer tensors the output is the definition's, if that of the same numbers in float64 is."""
    claimed(op, case)
    yield from _as_in_float64(op, case)
    largest = replace(case, dtype="int64", values="large")
    if case != largest and op.domain.allows(largest):
        with contextlib.suppress(Unsupported):  # of what it claims of other integers
            claimed(op, largest)
            yield from _as_in_float64(op, largest)


def _as_in_float64(op: Target, case: ConvCase) -> Iterator[Equation]:
    in_float64 = replace(case, dtype="float64")
    if op.domain.allows(in_float64):
        seen = observe(op, in_float64, requires=())
        if not torch.equal(seen.output, Reference(in_float64).output):
            raise Unsupported("in float64, too, its output is not the very integers that it should be")
    yield from results(op, case)
