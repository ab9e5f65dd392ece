"""The one place that says what "equal" means: exactly, or within an error bound.

Two bounds are used. For `n` products summed in a format of unit roundoff `u`, in
any order, `|computed - exact| <= gamma_n * sum|products|` with `gamma_n = n*u / (1 - n*u)` (theorem RB-1;
Higham, Accuracy and Stability of Numerical Algorithms, chapter 3). That bound holds element by element for
every operator that sums the products themselves. An operator that transforms its operands first (FFT,
Winograd) keeps it only relative to the largest element; it is then called inexact, not wrong. By how much is
measured on operators that are known to be right, not derived.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor

# Significant bits of a format's sums: integers up to 2**bits are represented without a gap.
EXACT_BITS = {
    torch.float64: 53, torch.float32: 24, torch.float16: 11, torch.bfloat16: 8,
    torch.complex128: 53, torch.complex64: 24,
    torch.int64: 53, torch.int32: 30, torch.int16: 14,
}  # fmt: skip

# How much an operator that transforms its operands may lose: so many unit roundoffs of the norm of one
# operand times that of the other. An FFT loses about the log2 of its size, below 20 here; Winograd's
# F(4x4, 3x3), whose transforms grow norms the most, stays below 64 on the controls. The number of terms
# does not enter: it would hide a dropped term of a long sum.
TRANSFORM_GROWTH = 64
HALF_GROWTH = 4  # in bfloat16 and float16, whose unit roundoff 64 times over would be a quarter, or 3 %


class Verdict(Enum):
    """How an equation came out, from best to worst."""

    EQUAL = 0
    ROUNDED = 1
    UNEQUAL = 2


@dataclass(frozen=True)
class Equation:
    """`actual` must equal `expected`: exactly, or within rounding.

    `magnitude` is the sum of the absolute products behind each element (a tensor that broadcasts, a number, or
    what computes it, since it is needed only where values differ) and `terms` their number; `norm` is the product
    of the operands' norms (of each sample, or of all), up to which an operator that transforms them may round.
    Without either only exact equality will do.
    """

    what: str
    actual: Any
    expected: Any
    exact: bool = True
    terms: int = 1
    magnitude: Tensor | float | Callable[[], Tensor] | None = None
    norm: Tensor | float = 0.0


def unit_roundoff(dtype: torch.dtype) -> float:
    """Half the distance from 1 to the next number of `dtype`."""
    return 2.0 ** -EXACT_BITS[dtype]


def gamma(terms: int, dtype: torch.dtype) -> float:
    """The rounding bound of a sum of `terms` products, relative to the sum of their absolute values.

    Past `terms * u = 1/2`, where the classical form breaks down, `2 * terms * u` stays valid
    (Jeannerod and Rump, 2013: `terms * u` holds without restriction).
    """
    error = terms * unit_roundoff(dtype)
    return error / (1 - min(error, 0.5))


def compare(equation: Equation) -> tuple[Verdict, str]:
    """The verdict, and where it is not EQUAL what differs."""
    actual, expected = equation.actual, equation.expected
    if not isinstance(expected, Tensor):
        return (Verdict.EQUAL, "") if _same(actual, expected) else (Verdict.UNEQUAL, _plain(equation))
    if not isinstance(actual, Tensor):
        return Verdict.UNEQUAL, f"{equation.what} is {_kind(actual)}, not a tensor"
    for name in ("shape", "dtype", "device"):
        is_, should = getattr(actual, name), getattr(expected, name)
        if is_ != should:
            show = list if name == "shape" else str
            return Verdict.UNEQUAL, f"{equation.what} has {name} {show(is_)}, not {show(should)}"
    actual, expected = actual.detach().resolve_conj().resolve_neg(), expected.detach()
    if equation.exact and bool(_agree(actual, expected).all()):
        return Verdict.EQUAL, ""
    return _within_rounding(equation, actual, expected)


def _within_rounding(equation: Equation, actual: Tensor, expected: Tensor) -> tuple[Verdict, str]:
    wrong = ~_agree(actual, expected)
    unbounded = equation.magnitude is None and not isinstance(equation.norm, Tensor) and not equation.norm
    if unbounded or (not actual.dtype.is_floating_point and not actual.dtype.is_complex):
        return Verdict.UNEQUAL, _difference(equation, wrong)
    wide = torch.complex128 if actual.dtype.is_complex else torch.float64
    error = (actual.to(wide) - expected.to(wide)).abs()
    error = torch.where(wrong, error, 0.0)  # where both are infinite the difference is NaN
    given = equation.magnitude() if callable(equation.magnitude) else equation.magnitude
    magnitude = torch.as_tensor(0.0 if given is None else given, dtype=torch.float64, device=actual.device)
    bound = gamma(equation.terms + 2, actual.dtype) * magnitude + torch.finfo(actual.dtype).tiny
    if not equation.exact and bool((error <= bound).all()):
        return Verdict.EQUAL, ""
    norm = equation.norm
    if not isinstance(norm, Tensor):
        norm = max(norm, float(magnitude.max()) if magnitude.numel() else 0.0)
    growth = HALF_GROWTH if EXACT_BITS[actual.dtype] < EXACT_BITS[torch.float32] else TRANSFORM_GROWTH
    normwise = growth * unit_roundoff(actual.dtype) * norm
    if bool((error <= normwise).all()):
        return Verdict.ROUNDED, _difference(equation, wrong)
    return Verdict.UNEQUAL, _difference(equation, wrong if equation.exact else ~(error <= bound))


def _agree(actual: Tensor, expected: Tensor) -> Tensor:
    return (actual == expected) | ((actual != actual) & (expected != expected))  # noqa: PLR0124


def _difference(equation: Equation, wrong: Tensor) -> str:
    index = tuple(wrong.nonzero()[0].tolist())
    actual, expected = equation.actual[index].item(), equation.expected[index].item()
    where = f"[{', '.join(map(str, index))}]" if index else ""
    count = int(wrong.sum())
    more = f" ({count} of {wrong.numel()} elements differ)" if wrong.numel() > 1 else ""
    return f"{equation.what}{where} is {actual!r}, not {expected!r}{more}"


def _same(actual: Any, expected: Any) -> bool:
    return type(actual) is type(expected) and bool(actual == expected)


def _plain(equation: Equation) -> str:
    return f"{equation.what} is {equation.actual!r}, not {equation.expected!r}"


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
