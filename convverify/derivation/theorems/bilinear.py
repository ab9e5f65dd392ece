"""What bilinearity gives a test: SZ-1, BL-1 and BC-1."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction

import sympy

from convverify import definition
from convverify.derivation.forms import shipped
from convverify.derivation.general import General
from convverify.derivation.geometries import CHOSEN
from convverify.derivation.index_sum import ProofError
from convverify.derivation.markdown import display
from convverify.derivation.ring_arrays import RING, RingArray, named
from convverify.derivation.theorem import Check, Control, Theorem
from convverify.geometry import ConvGeometry

Matrix = tuple[tuple[int, ...], ...]
SMALL = tuple(geometry for geometry in CHOSEN if geometry.products <= 200)


def _matrices(rows: int, columns: int) -> Iterator[Matrix]:
    entries = itertools.product((-1, 0, 1), repeat=rows * columns)
    for flat in entries:
        if any(flat):
            yield tuple(flat[row * columns : (row + 1) * columns] for row in range(rows))


def _missed(matrix: Matrix, values: tuple[int, ...]) -> Fraction:
    """The share of all pairs (x, k) with entries among the values on which the form is zero."""
    vectors = list(itertools.product(values, repeat=len(matrix)))
    images = [
        tuple(sum(row[j] * k[j] for j in range(len(k))) for row in matrix)
        for k in itertools.product(values, repeat=len(matrix[0]))
    ]
    zeros = sum(1 for x in vectors for image in images if sum(map(lambda a, b: a * b, x, image)) == 0)
    return Fraction(zeros, len(vectors) * len(images))


def _missed_at_most() -> str:
    count, attained = 0, 0
    for values in ((0, 1), (-1, 0, 1)):
        bound = 1 - (1 - Fraction(1, len(values))) ** 2
        for rows, columns in ((1, 1), (1, 2), (2, 1), (2, 2)):
            for matrix in _matrices(rows, columns):
                share = _missed(matrix, values)
                if share > bound:
                    raise ProofError(f"{matrix} on {values} is missed with {share} > {bound}")
                count, attained = count + 1, attained + (share == bound)
    return f"{count} forms, all pairs of arguments: none is missed more often, {attained} exactly so often"


def _simpler_bound() -> str:
    size = sympy.Symbol("s", positive=True)
    if sympy.expand(2 / size - (1 - (1 - 1 / size) ** 2)) != 1 / size**2:
        raise ProofError("2/s - (1 - (1 - 1/s)^2) is not 1/s^2")
    return "2/s - (1 - (1 - 1/s)^2) = 1/s^2 >= 0"


def _too_confident() -> str | None:
    share = _missed(((1,),), (0, 1))
    return f"x*k with s=2: missed with {share} > 1/2" if share > Fraction(1, 2) else None


def _plus(one: RingArray, other: RingArray, sign: int = 1) -> RingArray:
    return RingArray(one.shape, {index: one[index] + sign * other[index] for index in one.cells})


def _differences() -> str:
    for geometry in SMALL:
        x, h = named("x", geometry.input_shape), named("u", geometry.input_shape)
        k, step = named("k", geometry.weight_shape), named("v", geometry.weight_shape)
        moves = (
            ((_plus(x, h), k), (x, k), (_plus(x, h, -1), k), (h, k)),
            ((x, _plus(k, step)), (x, k), (x, _plus(k, step, -1)), (x, step)),
        )
        for ahead, here, back, along in moves:
            values = (definition.forward(geometry, *arguments) for arguments in (ahead, here, back, along))
            for forward, middle, backward, derivative in zip(
                *(value.values() for value in values), strict=True
            ):
                if forward - middle != derivative or forward - backward != 2 * derivative:
                    raise ProofError(f"{geometry}: a difference is not the derivative")
    return f"{len(SMALL)} geometries, symbolic step: both differences are the derivative, as polynomials"


def _one_of_each() -> str:
    for dimensions in (1, 2, 3):
        general = General(shipped(), dimensions)
        total = general.closed_form("g", "x", "k").at(general.free["g"])
        if sorted(name for name, _ in total.reads) != ["k", "x"]:
            raise ProofError(f"a term of the forward formula reads {total.reads}")
    return "each term of the forward formula reads one element of the input and one of the weight"


def _square(x: int, k: int) -> int:
    """A map that is quadratic in its input."""
    return x * x * k


def _square_differs() -> str | None:
    for x, h, k in itertools.product(range(3), repeat=3):
        difference, derivative = _square(x + h, k) - _square(x, k), 2 * x * h * k
        if difference != derivative:
            return (
                f"x^2*k at x={x}, h={h}, k={k}: the forward difference is {difference}, the derivative "
                f"{derivative}"
            )
    return None


def _from_units() -> str:
    for geometry in SMALL:
        x, k = named("x", geometry.input_shape), named("k", geometry.weight_shape)
        rebuilt = _rebuilt(geometry, x, k)
        for index, value in definition.forward(geometry, x, k).items():
            if value != rebuilt.get(index, RING.zero):
                raise ProofError(f"{geometry}: units do not determine output {index}")
    return f"{len(SMALL)} geometries: the values on unit tensors give back the polynomial of every output"


def _rebuilt(geometry: ConvGeometry, x: RingArray, k: RingArray) -> dict[tuple[int, ...], object]:
    """Sum of x[i] * k[j] * f(unit i, unit j), from values of the definition on integers."""
    total: dict[tuple[int, ...], object] = {}
    for i, j in itertools.product(x.cells, k.cells):
        unit_x, unit_k = ({at: int(at == one) for at in array.cells} for array, one in ((x, i), (k, j)))
        for index, value in definition.forward(geometry, unit_x, unit_k).items():
            if value:
                total[index] = total.get(index, RING.zero) + value * x[i] * k[j]
    return total


def _square_on_units() -> str | None:
    if any(_square(x, k) != x * k for x, k in itertools.product((0, 1), repeat=2)):
        return None
    x, k = next((x, k) for x, k in itertools.product(range(3), repeat=2) if _square(x, k) != x * k)
    return f"x^2*k and x*k agree on units, and are {_square(x, k)} and {x * k} at x={x}, k={k}"


BILINEAR = (
    Theorem(
        id="SZ-1", title="The chance that random values miss a wrong bilinear map",
        statement=display(r"\Pr\big[\,\beta(x, k) = 0\,\big] \le 1 - \left(1 - \tfrac1s\right)^2 \le "
        r"\tfrac2s "
                          r"\quad\text{for every bilinear } \beta \ne 0"),
        hypotheses=("the entries of $`x`$ and $`k`$ are independent and uniform on $`s`$ different values",
                    "$`\\beta`$ is the difference of two bilinear maps; its coefficients need not be known"),
        method="A proof on this page; the bound tried on all small forms and all their arguments, and "
        "attained.",
        derivation=lambda: (
            "Write $`\\beta(x, k) = \\sum_i x_i\\,(B k)_i`$ with a matrix $`B \\ne 0`$ (for an operator with "
            "several outputs take one on which it is wrong).\n\nSome row of $`B`$ has an entry that is not "
            "0. Fix all entries of $`k`$ but the one that it multiplies: at most one of the $`s`$ values "
            "makes that row's product 0. So $`\\Pr[B k = 0] \\le 1/s`$. Given $`B k \\ne 0`$, the same "
            "argument about $`x`$ gives $`\\Pr[\\beta(x,k) = 0 \\mid B k \\ne 0] \\le 1/s`$. The form is "
            "therefore seen with probability at least $`(1 - 1/s)^2`$. The single product $`x_1 k_1`$, with "
            "0 among the values, attains it. For $`t`$ independent trials the bound is raised to the power "
            "$`t`$; a trilinear pairing with a third factor is missed with probability at most $`3/s`$. "
            "(This is the argument of Schwartz and Zippel.)"
        ),
        checks=(Check("all small forms", _missed_at_most), Check("the simpler bound", _simpler_bound)),
        controls=(Control("1/s, as for a linear map", _too_confident),),
    ),
    Theorem(
        id="BL-1", title="Differences with step 1 are exact derivatives",
        statement=display(r"f(x + h, k) - f(x, k) = f(h, k) = \tfrac12\big(f(x + h, k) - f(x - h, k)\big), "
                          r"\quad\text{and likewise in } k"),
        hypotheses=("$`f`$ is bilinear; that a program is, is PRG-1",),
        method="SymPy polynomials with a symbolic step; in index notation for every size.",
        derivation=lambda: "$`f(x+h,k) = f(x,k) + f(h,k)`$ by linearity in $`x`$, and the derivative at "
        "$`x`$ along $`h`$ is $`\\lim_{\\epsilon \\to 0}\\,\\big(f(x + \\epsilon h, k) - "
        "f(x,k)\\big)/\\epsilon = f(h,k)`$: the quotient does not depend on $`\\epsilon`$, so $`\\epsilon = "
        "1`$ is as good as the limit. On integers within the budget of EX-1 every term is exact, and a "
        "gradient check needs no tolerance. Every term of the definition reads one element of the input and "
        "one of the weight, so the convolution is bilinear.",
        checks=(Check("polynomials", _differences), Check("every size", _one_of_each)),
        controls=(Control("a map that is quadratic in its input", _square_differs),),
    ),
    Theorem(
        id="BC-1", title="Unit tensors determine a bilinear map",
        statement=display(r"f(x, k) = \sum_{i, j} x_i\,k_j\,f(e_i, e_j)"),
        hypotheses=("$`f`$ is bilinear; $`e_i`$ has a 1 at place $`i`$ and 0 elsewhere",),
        method="SymPy polynomials.",
        derivation=lambda: "Write $`x = \\sum_i x_i e_i`$ and $`k = \\sum_j k_j e_j`$ and use linearity in "
        "each. Two bilinear maps that agree on all pairs of unit tensors are therefore equal, everywhere: "
        "for one geometry this is a complete certificate, and it is how `convverify readback` prints what an "
        "operator computes.",
        checks=(Check("polynomials", _from_units),),
        controls=(Control("a map that is quadratic in its input", _square_on_units),),
    ),
)  # fmt: skip
