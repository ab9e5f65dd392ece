"""Winograd's minimal filtering: WG-1 and WG-2."""

from __future__ import annotations

from collections.abc import Callable

import sympy
from sympy import Matrix, Rational

from convverify.derivation.index_sum import ProofError
from convverify.derivation.markdown import display
from convverify.derivation.theorem import Check, Control, Theorem

Points = tuple[Rational, ...]
TAPS = 3


def _powers(points: Points, columns: int) -> Matrix:
    """A polynomial with so many coefficients, evaluated at the points and at infinity."""
    rows = [[point**column for column in range(columns)] for point in points]
    return Matrix([*rows, [int(column == columns - 1) for column in range(columns)]])


def transforms(points: Points, outputs: int) -> tuple[Matrix, Matrix, Matrix]:
    """The transforms of output, weight and input: y = A^T ((G k) * (B^T x)), from the points.

    Multiplying polynomials by values at points, read as a bilinear map and transposed, is a correlation.
    """
    values = _powers(points, len(points) + 1)
    return _powers(points, outputs).T, _powers(points, TAPS), values.inv().T


def _computed(
    output: Matrix, weight: Matrix, data: Matrix, k: list[sympy.Symbol], x: list[sympy.Symbol]
) -> Matrix:
    return output * sympy.matrix_multiply_elementwise(weight * Matrix(k), data * Matrix(x))


def difference(outputs: int, change: Callable[[Matrix], Matrix] = lambda weight: weight) -> str | None:
    """Where F(outputs, 3) is not the correlation; `change` spoils the weight transform."""
    points = tuple(map(Rational, (0, 1, -1, 2, -2)))[: outputs + TAPS - 2]
    k = list(sympy.symbols(f"k0:{TAPS}"))
    x = list(sympy.symbols(f"x0:{outputs + TAPS - 1}"))
    output, weight, data = transforms(points, outputs)
    result = _computed(output, change(weight), data, k, x)
    for place in range(outputs):
        wanted = sum(x[place + tap] * k[tap] for tap in range(TAPS))
        if sympy.expand(result[place] - wanted) != 0:
            return f"output {place} is {sympy.expand(result[place])}"
    return None


def _right(outputs: int) -> str:
    wrong = difference(outputs)
    if wrong is not None:
        raise ProofError(wrong)
    size = outputs + TAPS - 1
    return f"{outputs} outputs of {TAPS} taps with {size} multiplications in place of {outputs * TAPS}"


def _spoilt(weight: Matrix) -> Matrix:
    changed = weight.copy()
    changed[1, 1] = -changed[1, 1]
    return changed


def _theorem(identifier: str, outputs: int, points: str) -> Theorem:
    return Theorem(
        id=identifier,
        title=f"Winograd's F({outputs},{TAPS}) is the correlation",
        statement=display(
            rf"A^{{\mathsf T}}\big[(G k) \odot (B^{{\mathsf T}} x)\big]_o = \sum_{{a=0}}^{{2}} "
            rf"x_{{o+a}}\,k_a, \qquad 0 \le o \lt {outputs}"
        ),
        hypotheses=("stride and dilation 1, 3 taps; arithmetic over the rationals, without rounding",),
        method="SymPy over the rationals. The transforms are derived from their evaluation points, not "
        "copied.",
        derivation=lambda: (
            "Two polynomials with $`m`$ and 3 coefficients have a product with $`n = m + 2`$ "
            "coefficients, which is known by "
            f"its values at $`n`$ points; take {points} and infinity (the leading coefficient). With "
            f"$`V_c`$ the evaluation of "
            "$`c`$ coefficients at the points, the product of $`p`$ and $`q`$ is $`V_n^{-1}[(V_m p) "
            "\\odot (V_3 q)]`$. Pair it "
            "with $`x`$ and differentiate by $`p`$: the transposed map is\n\n"
            + display(r"V_m^{\mathsf T}\big[(V_3 q) \odot (V_n^{-\mathsf T} x)\big] ,")
            + "\n\nand the transpose of the multiplication by $`q`$ is the correlation with $`q`$: the same "
            "fact by which the gradient of a convolution is one. So $`A = V_m`$, $`G = V_3`$, $`B = "
            "V_n^{-1}`$. In two dimensions the transforms are applied to each axis.\n\n" + _shown(outputs)
        ),
        checks=(Check("symbolic input and weight", lambda: _right(outputs)),),
        controls=(Control("one sign of the weight transform turned", lambda: difference(outputs, _spoilt)),),
    )


def _shown(outputs: int) -> str:
    points = tuple(map(Rational, (0, 1, -1, 2, -2)))[: outputs + TAPS - 2]
    names = (r"A^{\mathsf T}", "G", r"B^{\mathsf T}")
    return "\n\n".join(
        display(f"{name} = {sympy.latex(matrix)}")
        for name, matrix in zip(names, transforms(points, outputs), strict=True)
    )


WINOGRAD = (
    _theorem("WG-1", 2, r"$`0, 1, -1`$"),
    _theorem("WG-2", 4, r"$`0, 1, -1, 2, -2`$"),
)
