"""The forward pass: FW-1 and FW-ALL."""

from __future__ import annotations

from sympy import Expr

from convverify.derivation import forms, incidence
from convverify.derivation.claims import Claim
from convverify.derivation.logic import eq, le, lt, within
from convverify.derivation.markdown import GEOMETRY, MACHINE, display, numbered
from convverify.derivation.symbolic_geometry import symbol, symbols
from convverify.derivation.theorem import Theorem
from convverify.derivation.theorems.common import every_size, refuted_everywhere

AXIS = incidence.AXIS


def _largest() -> Claim:
    beyond: Expr = AXIS.stride * AXIS.output + AXIS.reach
    return Claim(
        "FW-1-largest", AXIS.sizes, AXIS.hypotheses, le(AXIS.input + AXIS.before + AXIS.after, beyond), 3,
        "one more output would read behind the padded input",
    )  # fmt: skip


def _ceil() -> Claim:
    """The output size rounded up, S(O-1) = slack + missing; a 1-tap kernel is enough to go wrong."""
    missing = symbol("m")
    slack = AXIS.input + AXIS.before + AXIS.after - AXIS.reach - 1
    sizes = (*AXIS.sizes[:6], missing, AXIS.input)
    hypotheses = (*AXIS.hypotheses[:7], within(missing, AXIS.stride), le(0, slack), eq(AXIS.kernel, 1),
                  eq(slack + missing, AXIS.stride * (AXIS.output - 1)))  # fmt: skip
    o, a = symbols("o a")
    return Claim(
        "FW-1-wrong-ceil", (*sizes, o, a),
        (*hypotheses, within(o, AXIS.output), within(a, AXIS.kernel)),
        lt(AXIS.stride * o + AXIS.dilation * a, AXIS.input + AXIS.before + AXIS.after),
    )  # fmt: skip


FORWARD = (
    Theorem(
        id="FW-1",
        title="The forward pass reads inside its padded input",
        statement=display(
            r"0 \le S\,o + D\,a \lt H + P + Q \quad\text{for all } 0 \le o \lt O,\ 0 \le a \lt K,"
            r"\qquad\text{and}\qquad S\,O + D(K-1) \ge H + P + Q ."
        ),
        hypotheses=GEOMETRY,
        method="SMT, over all integers; the index that is read is taken from the text of `formulas.forward`.",
        derivation=lambda: (
            "The window at $`o`$ starts at $`S o`$ in the padded input and its last tap lies $`D(K-1)`$ "
            "further. The last window starts at $`S(O-1)`$, so its last read is\n\n"
            + display(r"S(O-1) + D(K-1) = (H+P+Q-1) - r \le H+P+Q-1 ,")
            + "\n\nwhich is inside. One more window would read at\n\n"
            + display(r"S\,O + D(K-1) = (H+P+Q-1) - r + S \ge H+P+Q ,")
            + "\n\nwhich is not, because $`r \\lt S`$. The last $`r`$ elements are read by no window: this "
            "remainder comes back in both gradients."
        ),
        claims=lambda: (
            *incidence.in_bounds(forms.shipped(), "g", "FW-1"),
            incidence.right_size(forms.shipped(), "g", "FW-1"),
            _largest(),
        ),
        wrong_claims=lambda: (("the output size rounded up", _ceil()),),
    ),
    Theorem(
        id="FW-ALL",
        title="The forward formula is the definition, for every size",
        statement=display(
            r"\text{out}[n, \gamma J + c, o] = \sum_{i=0}^{I-1} \sum_{a=0}^{K-1} "
            r"x[n, \gamma I + i, S\,o + D\,a - P]\; k[\gamma J + c, i, a]"
        )
        + "\n\nwith zero for what lies outside the input, on one, two and three axes at once.",
        hypotheses=GEOMETRY,
        method="SymPy in index notation: the formula is run on arrays of symbolic sizes.",
        derivation=lambda: (
            "The definition says which elements meet: on each axis, input index $`u`$, kernel index $`a`$ "
            "and output index $`o`$ meet where $`u = S o + D a - P`$ and all three are in range. Everything "
            "follows from one number that pairs the output with any array $`g`$ of its shape,\n\n"
            + display(r"T(x, k, g) = \sum_{u = S o + D a - P} x[u]\; k[a]\; g[o] ,")
            + "\n\nbecause $`\\partial T/\\partial g[o]`$ is the output at $`o`$. (The gradients will be the "
            "other two partial derivatives.) " + MACHINE + "\n\n" + numbered(every_size("g", 1))
        ),
        checks=refuted_everywhere("g")[0],
        controls=refuted_everywhere("g")[1],
    ),
)
