"""The gradient by the input: GI-1 to GI-6 and GI-ALL."""

from __future__ import annotations

from convverify.derivation import forms, incidence
from convverify.derivation.claims import Claim
from convverify.derivation.forms import NO_REMAINDER, NO_ROTATION, NO_ZEROS, PAD_UNDILATED, REMAINDER_IN_FRONT
from convverify.derivation.incidence import AXIS, A, O, U, meet
from convverify.derivation.logic import All, eq, le, lt, within
from convverify.derivation.markdown import GEOMETRY, MACHINE, display, numbered
from convverify.derivation.symbolic_geometry import symbol
from convverify.derivation.theorem import Theorem
from convverify.derivation.theorems.common import every_size, refuted_everywhere

O2, Q_ = symbol("o2"), symbol("q")
RANGES = (within(U, AXIS.input), within(A, AXIS.kernel))


def _wrong_meetings() -> tuple[tuple[str, Claim], ...]:
    return tuple(
        (wrong.fault, incidence.same_meetings(wrong.forms, "x", f"GI-1-wrong-{number}")[0])
        for number, wrong in enumerate((NO_ROTATION, PAD_UNDILATED, REMAINDER_IN_FRONT, NO_ZEROS), start=1)
    )


def _at_most_one(same_kernel_index: bool) -> Claim:
    other = A if same_kernel_index else symbol("a2")
    letters = (A, O, U, O2) if same_kernel_index else (A, O, U, other, O2)
    return Claim(
        "GI-3" if same_kernel_index else "GI-3-wrong", (*AXIS.sizes, *letters),
        (*AXIS.hypotheses, meet(), meet(U, other, O2)), eq(O, O2), 3,
        "two outputs met through one kernel index are one",
    )  # fmt: skip


def _insertion() -> tuple[Claim, ...]:
    size = AXIS.stride * (AXIS.output - 1) + 1
    ranges = (within(O, AXIS.output), within(O2, AXIS.output))
    return (
        Claim("GI-5-inside", (*AXIS.sizes, O), (*AXIS.hypotheses, ranges[0]),
              within(AXIS.stride * O, size), 3, "every write is inside"),
        Claim("GI-5-apart", (*AXIS.sizes, O, O2),
              (*AXIS.hypotheses, *ranges, eq(AXIS.stride * O, AXIS.stride * O2)), eq(O, O2), 3,
              "no two elements go to one place"),
    )  # fmt: skip


def _wrong_insertion() -> Claim:
    """Room for S*O elements less one: without the zeros behind the last element, but one short."""
    return Claim("GI-5-wrong", (*AXIS.sizes, O), (*AXIS.hypotheses, within(O, AXIS.output)),
                 within(AXIS.stride * O, AXIS.stride * (AXIS.output - 1)))  # fmt: skip


def _gather() -> tuple[Claim, ...]:
    place = U + AXIS.before - AXIS.dilation * A
    return (
        Claim("GI-6-forth", (*AXIS.sizes, A, O, U), (*AXIS.hypotheses, meet()),
              All((eq(AXIS.stride * O, place), within(O, AXIS.output))), 3, "what meets is gathered"),
        Claim("GI-6-back", (*AXIS.sizes, A, Q_, U),
              (*AXIS.hypotheses, *RANGES, eq(AXIS.stride * Q_, place), within(Q_, AXIS.output)),
              meet(U, A, Q_), 3, "what is gathered meets"),
    )  # fmt: skip


def _rounded_gather() -> Claim:
    place = U + AXIS.before - AXIS.dilation * A
    return Claim(
        "GI-6-wrong", (*AXIS.sizes, A, U, Q_),
        (*AXIS.hypotheses, *RANGES, le(AXIS.stride * Q_, place), lt(place, AXIS.stride * Q_ + AXIS.stride),
         within(Q_, AXIS.output)), meet(U, A, Q_),
    )  # fmt: skip


def _read_without_remainder() -> Claim:
    """Reads the array that lacks the remainder, at all H positions."""
    found = incidence.relation(forms.shipped(), "x")
    index, length = found.accesses[0]
    letters = sorted(index.free_symbols - set(AXIS.sizes), key=str)
    sizes = {**dict(found.bound), U: AXIS.input}
    return Claim(
        "GI-4-wrong", (*AXIS.sizes, *letters),
        (*AXIS.hypotheses, *(within(letter, sizes[letter]) for letter in letters)),
        within(index, length - AXIS.remainder),
    )  # fmt: skip


WHY = (
    "The loss depends on $`x[u]`$ through every output that reads it, so by the chain rule, with $`g = "
    "\\partial L / \\partial\\,\\text{out}`$ given,\n\n"
    + display(
        r"\frac{\partial L}{\partial x[u]} = \sum_o g[o]\,\frac{\partial\,\text{out}[o]}{\partial "
        r"x[u]} ."
    )
    + "\n\nThe output is $`\\text{out}[o] = \\sum_a x[S o + D a - P]\\,k[a]`$; its derivative by $`x[u]`$ is "
    "the kernel element that $`x[u]`$ is multiplied by, the one with $`S o + D a - P = u`$, and zero where "
    "there is none:\n\n"
    + display(r"\frac{\partial L}{\partial x[u]} = \sum_{o,\,a\,:\;S o + D a = u + P} g[o]\;k[a] .")
    + "\n\n**Why zeros are inserted.** For stride $`S`$ the outputs that $`u`$ meets lie at multiples of "
    "$`S`$. Let $`\\tilde g[S o] = g[o]`$, and $`\\tilde g = 0`$ in between; then $`o`$ need not be solved "
    "for:\n\n"
    + display(r"\frac{\partial L}{\partial x[u]} = \sum_{a=0}^{K-1} \tilde g[u + P - D a]\;k[a] .")
    + "\n\n**Why the kernel turns by 180°.** In this sum $`\\tilde g`$ is read *backwards* as $`a`$ grows, "
    "while a correlation reads forwards. Count the kernel from its other end, $`a = K - 1 - a'`$:\n\n"
    + display(
        r"\frac{\partial L}{\partial x[u]} = \sum_{a'=0}^{K-1} "
        r"\tilde g\big[u + D a' - (D(K-1) - P)\big]\;k[K-1-a'] ,"
    )
    + "\n\nthe correlation, at stride 1 and dilation $`D`$, of $`\\tilde g`$ with the turned kernel. On two "
    "axes the turn of each is the rotation by 180°.\n\n**How much is padded.** The reads start $`D(K-1) - "
    "P`$ before $`\\tilde g`$: so many zeros go in front (or are cropped, if negative). There must be $`H`$ "
    "of them, and $`\\tilde g`$ has $`S(O-1)+1`$ elements, so that at the far end\n\n"
    + display(r"H + D(K-1) - (D(K-1)-P) - (S(O-1)+1) = H + P - S(O-1) - 1 = D(K-1) - Q + r")
    + "\n\nzeros follow: the same as in front, *and the remainder*, for the last elements of the input, "
    "which no window reads and whose gradient may be zero. For $`S = D = 1`$ and no padding this is the "
    "article's formula: pad $`g`$ by $`K-1`$ on all sides and correlate it with the rotated kernel."
)

GRAD_INPUT = (
    Theorem(
        id="GI-1", title="The grad_input formula meets what the definition meets",
        statement=display(
            r"u = S o + D a - P \;\Longleftrightarrow\; \exists\,a', t:\; a = K-1-a',\; t = S o,\; "
            r"t = u + D a' - (D(K-1) - P)"
        ) + "\n\nwith all indices in their ranges on both sides, and $`a', t`$ unique.",
        hypotheses=GEOMETRY,
        method="SMT, over all integers; the right side is read off the text of `formulas.grad_input`.",
        derivation=lambda: WHY,
        claims=lambda: incidence.same_meetings(forms.shipped(), "x", "GI-1"),
        wrong_claims=_wrong_meetings,
    ),
    Theorem(
        id="GI-2", title="The grad_input formula has the size of the input",
        statement=display(r"\big(S(O-1)+1\big) + \big(D(K-1)-P\big) + \big(D(K-1)-Q+r\big) - D(K-1) = H"),
        hypotheses=GEOMETRY, method="SMT; the size is read off the text of `formulas.grad_input`.",
        derivation=lambda: "Add up, and insert $`H + P + Q - D(K-1) - 1 = S(O-1) + r`$.",
        claims=lambda: (incidence.right_size(forms.shipped(), "x", "GI-2"),),
        wrong_claims=lambda: (
            (NO_REMAINDER.fault, incidence.right_size(NO_REMAINDER.forms, "x", "GI-2-wrong")),
        ),
    ),
    Theorem(
        id="GI-3", title="Through one kernel index, an input meets at most one output",
        statement=display(r"S o + D a = u + P = S o' + D a \;\Rightarrow\; o = o'"),
        hypotheses=GEOMETRY, method="SMT.",
        derivation=lambda: "Subtract: $`S(o - o') = 0`$, and $`S \\ge 1`$. So "
        "$`\\partial\\,\\text{out}[o]/\\partial x[u]`$ is a single kernel element and the sum of the formula "
        "needs no multiplicities.",
        claims=lambda: (_at_most_one(True),),
        wrong_claims=lambda: (("the same for different kernel indices", _at_most_one(False)),),
    ),
    Theorem(
        id="GI-4", title="The grad_input formula reads inside its padded array",
        statement=display(r"0 \le u + D a' \lt \big(S(O-1)+1\big) + \big(D(K-1)-P\big) + "
        r"\big(D(K-1)-Q+r\big)"),
        hypotheses=GEOMETRY,
        method="SMT; index and size are read off the text of `formulas.grad_input`.",
        derivation=lambda: "The largest index is $`H - 1 + D(K-1)`$, and by GI-2 the array has $`H + "
        "D(K-1)`$ elements.",
        claims=lambda: incidence.in_bounds(forms.shipped(), "x", "GI-4"),
        wrong_claims=lambda: (("the size of the input taken for the number of windows, without the remainder",
                               _read_without_remainder()),),
    ),
    Theorem(
        id="GI-5", title="Inserting zeros loses nothing",
        statement=display(r"0 \le S o \lt S(O-1)+1, \qquad S o = S o' \Rightarrow o = o'"),
        hypotheses=GEOMETRY, method="SMT.",
        derivation=lambda: "$`S o \\le S(O-1)`$ because $`o \\le O-1`$; and $`S \\ge 1`$ cancels.",
        claims=_insertion,
        wrong_claims=lambda: (("room for one element less", _wrong_insertion()),),
    ),
    Theorem(
        id="GI-6", title="The gather form",
        statement=display(
            r"u \text{ meets some } o \text{ through } a \;\Longleftrightarrow\; S \mid u + P - D a "
            r"\;\land\; 0 \le \frac{u + P - D a}{S} \lt O"
        ),
        hypotheses=GEOMETRY, method="SMT; divisibility is stated by its quotient $`q`$.",
        derivation=lambda: "Solve $`u = S o + D a - P`$ for $`o`$. A kernel that computes grad_input without "
        "inserting zeros loops over $`a`$ and tests this.",
        claims=_gather,
        wrong_claims=lambda: (("the quotient rounded down, divisibility not tested", _rounded_gather()),),
    ),
    Theorem(
        id="GI-ALL", title="The gradient by the input, for every size",
        statement=display(
            r"\frac{\partial}{\partial x[n, \gamma I + i, u]} T(x, k, g) = \text{correlate}_D\Big(\text{pad}"
            r"\big(\text{insert zeros}_S(g)\big),\ \text{rotate}_{180}(k)\Big)[n, \gamma I + i, u]"
        ) + "\n\nso that $`\\langle g, \\text{conv}(x,k)\\rangle = \\langle x, "
        "\\text{grad\\_input}\\rangle`$, on one, two and three axes at once.",
        hypotheses=GEOMETRY,
        method="SymPy in index notation: SymPy differentiates the definition, the formula is run on arrays "
        "of symbolic sizes, and both come to one normal form.",
        derivation=lambda: WHY + "\n\n" + MACHINE + "\n\n" + numbered(every_size("x", 1)),
        checks=refuted_everywhere("x")[0], controls=refuted_everywhere("x")[1],
    ),
)  # fmt: skip
