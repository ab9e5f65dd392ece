"""Dtypes beyond float64 and float32: halves, complex numbers, integers, where the operator claims them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from convverify.answers import OperatorError, Unsupported
from convverify.case import ConvCase
from convverify.comparison import Equation, Verdict, compare
from convverify.demand import Demand
from convverify.geometry import ConvGeometry
from convverify.properties.base import Refusal, Refuted, declare
from convverify.properties.calls import equations, exact_results, observe
from convverify.properties.forward import EXACT
from convverify.reference import Reference
from convverify.target import Target

LOW = ("bfloat16", "float16")
INTEGER = ("int64", "int32", "int16")
_PRODUCT = ConvGeometry(1, 1, 1, (1, 1), (1, 1), (1, 1), (0, 0), (1, 1))


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
    yield from _results(op, case)


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
    yield from _results(op, case)


def _results(op: Target, case: ConvCase) -> Iterator[Equation]:
    seen = observe(op, case)
    grads = seen.grads() if seen.leaves["input"].requires_grad else {}
    yield from equations(case, Reference(case), {"output": seen.output, **grads})


def claimed(op: Target, case: ConvCase) -> None:
    """An operator claims a dtype of which it gets the simplest case right, but perhaps for a conjugate in the output.

    Gradients without a conjugate are what formulas for real numbers give. One of two without it, or an output with one
    too many, is nothing that the operator could mean for real numbers alone, and is for the property to judge.

    Raises:
        Unsupported: it does not, and has not declared the dtype either.
    """
    if case.dtype in op.domain.dtypes:
        return
    simplest = ConvCase(_PRODUCT, dtype=case.dtype, device=case.device, seed=3)
    try:
        wrong = [equation for equation in _results(op, simplest) if compare(equation)[0] is Verdict.UNEQUAL]
    except (OperatorError, Refuted) as error:
        raise Unsupported(f"it does not compute in {case.dtype}: {error}") from error
    conjugated = {equation.what for equation in wrong if _conjugated(equation)}
    bilinear = {equation.what for equation in wrong} & {"grad_input", "grad_weight"}
    if wrong and "output" not in conjugated and not (len(bilinear) == 1 and bilinear <= conjugated):
        raise Unsupported(f"it does not claim {case.dtype}: a single product or its gradient is not right")


def _conjugated(equation: Equation) -> bool:
    """Whether a complex product has the right modulus alone."""
    found, expected = equation.actual, equation.expected
    complex_ = isinstance(found, Tensor) and found.is_complex() and found.shape == expected.shape
    return complex_ and bool((found.abs() - expected.abs()).abs().max() < 1e-3 * expected.abs().max())
