"""The gradients by weight and bias: GW-1 to GW-3, GW-ALL and GB-1."""

from __future__ import annotations

from functools import partial

from convverify.derivation import forms, incidence
from convverify.derivation.claims import Claim
from convverify.derivation.forms import CROPPED_IN_FRONT, SHORT_BIAS
from convverify.derivation.general import bias_steps
from convverify.derivation.incidence import AXIS
from convverify.derivation.index_sum import ProofError
from convverify.derivation.logic import Statement, eq, le, within
from convverify.derivation.markdown import GEOMETRY, MACHINE, display, numbered
from convverify.derivation.symbolic_geometry import symbol
from convverify.derivation.theorem import Check, Control, Theorem
from convverify.derivation.theorems.common import DIMENSIONS, every_size, refuted_everywhere, smallest

COUNT, EXTRA, REST, SPARE = (symbol(letter) for letter in ("q", "e", "f", "h"))


def _count(name: str, conclusion: Statement) -> Claim:
    """A window fits q times at steps of D where D(K-1) + r is left to move; r = D*e + f."""
    kernel, dilation = AXIS.kernel, AXIS.dilation
    return Claim(
        name, (kernel, dilation, EXTRA, REST, COUNT, SPARE),
        (le(1, kernel), le(1, dilation), le(0, EXTRA), within(REST, dilation), within(SPARE, dilation),
         eq(dilation * (kernel - 1) + dilation * EXTRA + REST, dilation * (COUNT - 1) + SPARE)),
        conclusion, 4, "how often grad_output fits",
    )  # fmt: skip


def _sizes() -> tuple[Claim, ...]:
    room = AXIS.input + AXIS.before + AXIS.after - 1 - AXIS.stride * (AXIS.output - 1)
    return (
        Claim("GW-1-room", AXIS.sizes, AXIS.hypotheses, eq(room, AXIS.reach + AXIS.remainder), 3,
              "how far grad_output can move"),
        _count("GW-1-count", eq(COUNT, AXIS.kernel + EXTRA)),
        incidence.right_size(forms.shipped(), "k", "GW-1"),
    )  # fmt: skip


def _read_one_more() -> Claim:
    found = incidence.relation(forms.shipped(), "k")
    index, length = found.accesses[0]
    letters = sorted(index.free_symbols - set(AXIS.sizes), key=str)
    sizes = {**dict(found.bound), incidence.A: AXIS.kernel + 1}
    return Claim(
        "GW-2-wrong", (*AXIS.sizes, *letters),
        (*AXIS.hypotheses, *(within(letter, sizes[letter]) for letter in letters)), within(index, length),
    )  # fmt: skip


def _wrong_pad() -> Claim:
    """The padding forgotten: reads x at S*o + D*a."""
    u, a, o = incidence.U, incidence.A, incidence.O
    return Claim(
        "GW-3-wrong-2", (*AXIS.sizes, a, o, u),
        (*AXIS.hypotheses, within(a, AXIS.kernel), within(o, AXIS.output), within(u, AXIS.input),
         eq(u, AXIS.stride * o + AXIS.dilation * a)), incidence.meet(),
    )  # fmt: skip


def _bias_proved(dimensions: int) -> str:
    return f"one normal form, after {len(bias_steps(forms.shipped(), dimensions))} steps"


def _bias_refuted() -> str | None:
    try:
        bias_steps(SHORT_BIAS.forms, 1)
    except ProofError:
        return smallest(SHORT_BIAS)
    return None


WHY = (
    "By the chain rule, with $`g = \\partial L / \\partial\\,\\text{out}`$ given,\n\n"
    + display(
        r"\frac{\partial L}{\partial k[a]} = \sum_o g[o]\,\frac{\partial\,\text{out}[o]}{\partial "
        r"k[a]} ."
    )
    + "\n\nThe output is linear in the kernel, $`\\text{out}[o] = \\sum_a x[S o + D a - P]\\,k[a]`$, and the "
    "factor of $`k[a]`$ is\n\n"
    + display(r"\frac{\partial\,\text{out}[o]}{\partial k[a]} = x[S o + D a - P] .")
    + "\n\nTherefore\n\n"
    + display(r"\frac{\partial L}{\partial k[a]} = \sum_{o=0}^{O-1} x[D a + S o - P]\;g[o] .")
    + "\n\nRead it as a correlation: $`a`$ is now the position and moves in steps of $`D`$, $`o`$ is the tap "
    "and moves in steps of $`S`$. So it is the padded input correlated with $`g`$ as the kernel, *stride and "
    "dilation having changed places*. For $`S = D = 1`$ and no padding this is the article's formula: the "
    "input convolved with grad_output.\n\n**Why the remainder is cropped.** $`g`$ at dilation $`S`$ is "
    "$`S(O-1)+1`$ long, and the padded input has $`S(O-1) + 1 + D(K-1) + r`$ elements. Moving in steps of "
    "$`D`$, $`g`$ fits $`K + \\lfloor r/D \\rfloor`$ times (GW-1), so when $`r \\ge D`$ there would be "
    "elements that belong to no tap. Without its last $`r`$ elements, which no window read, the input leaves "
    "exactly $`K`$."
)

GRAD_WEIGHT = (
    Theorem(
        id="GW-1", title="The size of the grad_weight formula, with and without the remainder",
        statement=display(
            r"\left\lfloor \frac{H+P+Q-1-S(O-1)}{D} \right\rfloor + 1 = K + \left\lfloor \frac{r}{D} "
            r"\right\rfloor, "
            r"\qquad \left\lfloor \frac{H+P+Q-r-1-S(O-1)}{D} \right\rfloor + 1 = K"
        ),
        hypotheses=GEOMETRY,
        method="SMT, with each quotient stated by its Euclidean equation; the shipped size is read off the "
        "text of `formulas.grad_weight`.",
        derivation=lambda: "By the definition of $`O`$ and $`r`$, $`H+P+Q-1-S(O-1) = D(K-1) + r`$.",
        claims=_sizes,
        wrong_claims=lambda: (
            ("uncropped, and K claimed", _count("GW-1-wrong", eq(COUNT, AXIS.kernel))),
        ),
    ),
    Theorem(
        id="GW-2", title="The grad_weight formula reads inside its padded input",
        statement=display(r"0 \le D a + S o \lt H + P + Q - r"),
        hypotheses=GEOMETRY, method="SMT; index and size are read off the text of `formulas.grad_weight`.",
        derivation=lambda: "The largest index is $`D(K-1) + S(O-1) = H+P+Q-1-r`$.",
        claims=lambda: incidence.in_bounds(forms.shipped(), "k", "GW-2"),
        wrong_claims=lambda: (("one position more", _read_one_more()),),
    ),
    Theorem(
        id="GW-3", title="The grad_weight formula meets what the definition meets",
        statement=display(r"u = S o + D a - P \;\Longleftrightarrow\; u = (D a + S o) - P")
        + "\n\nwith all indices in their ranges on both sides: $`a`$ as the position of a window and $`o`$ "
        "as its tap.",
        hypotheses=GEOMETRY,
        method="SMT, over all integers; the right side is read off the text of `formulas.grad_weight`.",
        derivation=lambda: WHY,
        claims=lambda: incidence.same_meetings(forms.shipped(), "k", "GW-3"),
        wrong_claims=lambda: (
            (CROPPED_IN_FRONT.fault, incidence.same_meetings(CROPPED_IN_FRONT.forms, "k", "GW-3-wrong-1")[0]),
            ("the padding forgotten", _wrong_pad()),
        ),
    ),
    Theorem(
        id="GW-ALL", title="The gradient by the weight, for every size",
        statement=display(
            r"\frac{\partial}{\partial k[\gamma J + c, i, a]} T(x, k, g) = \sum_{n, o} "
            r"x[n, \gamma I + i, D a + S o - P]\;g[n, \gamma J + c, o]"
        ) + "\n\nso that $`\\langle g, \\text{conv}(x,k)\\rangle = \\langle k, "
        "\\text{grad\\_weight}\\rangle`$, on one, two and three axes at once.",
        hypotheses=GEOMETRY,
        method="SymPy in index notation: SymPy differentiates the definition, the formula is run on arrays "
        "of symbolic sizes, and both come to one normal form.",
        derivation=lambda: WHY + "\n\n" + MACHINE + "\n\n" + numbered(every_size("k", 1)),
        checks=refuted_everywhere("k")[0], controls=refuted_everywhere("k")[1],
    ),
    Theorem(
        id="GB-1", title="The gradient by the bias",
        statement=display(r"\frac{\partial L}{\partial b[c]} = \sum_{n, o} g[n, c, o]"),
        method="SymPy in index notation.",
        derivation=lambda: "The bias of a channel is added to each of its outputs, so "
        "$`\\partial\\,\\text{out}[n,c,o]/\\partial b[c'] = \\delta[c = c']`$; the chain rule sums over "
        "$`n`$ and $`o`$.\n\n"
        + numbered(bias_steps(forms.shipped(), 1)),
        checks=tuple(
            Check(f"{dims} spatial {'axis' if dims == 1 else 'axes'}, all sizes symbols",
                  partial(_bias_proved, dims))
            for dims in DIMENSIONS
        ),
        controls=(Control(SHORT_BIAS.fault, _bias_refuted),),
    ),
)  # fmt: skip
