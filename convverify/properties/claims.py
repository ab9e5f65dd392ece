"""Which dtypes an operator claims, where it declares none."""

from __future__ import annotations

from torch import Tensor

from convverify.answers import OperatorError, Unsupported
from convverify.case import ConvCase
from convverify.comparison import Equation, Verdict, compare
from convverify.geometry import ConvGeometry
from convverify.properties.base import Refuted
from convverify.properties.calls import results
from convverify.target import Target

_PRODUCT = ConvGeometry(1, 1, 1, (1, 1), (1, 1), (1, 1), (0, 0), (1, 1))


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
        wrong = [equation for equation in results(op, simplest) if compare(equation)[0] is Verdict.UNEQUAL]
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
