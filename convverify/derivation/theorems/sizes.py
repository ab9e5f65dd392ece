"""Sizes of relatives of the convolution: TC-1, SP-1 and FF-1."""

from __future__ import annotations

import itertools

from sympy import Expr

from convverify.derivation.claims import Claim
from convverify.derivation.incidence import AXIS
from convverify.derivation.index_sum import ProofError
from convverify.derivation.logic import All, Statement, eq, le, lt, within
from convverify.derivation.markdown import GEOMETRY, display
from convverify.derivation.symbolic_geometry import symbols
from convverify.derivation.theorem import Check, Theorem
from convverify.geometry import ConvGeometry

K, S, D, P, Q, O, H, e, m, q, h, L, p, w, o, a = symbols("K S D P Q O H e m q h L p w o a")  # noqa: E741  the letters of the page
POSITIVE = tuple(le(1, size) for size in (K, S, D, O))


def _inverse(name: str, extra: tuple[Statement, ...], conclusion: Statement) -> Claim:
    """q is the size of the convolution of an array with the transposed convolution's size H."""
    transposed = S * (O - 1) + D * (K - 1) + 1 - P - Q + m
    return Claim(
        name, (K, S, D, P, Q, O, m, H, q, h),
        (*POSITIVE, le(0, P), le(0, Q), le(0, m), le(1, H), eq(H, transposed),
         eq(H + P + Q - D * (K - 1) - 1, S * (q - 1) + h), within(h, S), *extra),
        conclusion, 3, "the size comes back",
    )  # fmt: skip


def _torch_check() -> Claim:
    """Torch's own condition: output_padding below stride or below dilation."""
    return _inverse("TC-1-wrong", (lt(m, S) | lt(m, D),), eq(q, O))


def _same(name: str, after: Expr) -> Claim:
    return Claim(
        name, (K, D, P, e, H, Q, O),
        (le(1, K), le(1, D), le(1, H), le(0, P), within(e, 2), eq(2 * P + e, D * (K - 1)), eq(Q, after),
         eq(H + P + Q - D * (K - 1) - 1, O - 1)),
        All((eq(O, H), within(Q - P, 2))), 4, "the size is kept",
    )  # fmt: skip


def _same_code() -> str:
    """The sizes that `ConvGeometry` computes for padding='same'."""
    count = 0
    for size, kernel, dilation in itertools.product(range(1, 9), range(1, 7), range(1, 5)):
        geometry = ConvGeometry(1, 1, 1, (size,), (kernel,), (1,), "same", (dilation,))
        (before, after), count = geometry.pads[0], count + 1
        if geometry.output_size != (size,) or after - before not in (0, 1):
            raise ProofError(f"{geometry}: output {geometry.output_size}, padding {before} and {after}")
    return f"{count} geometries: `ConvGeometry` keeps the size"


def _period(name: str, least: Expr) -> Claim:
    """Position p of the padded input is read in place of S*o + D*a when they differ by a period."""
    read = AXIS.stride * o + AXIS.dilation * a
    length = AXIS.input + AXIS.before + AXIS.after
    return Claim(
        name, (*AXIS.sizes, o, a, L, w, p),
        (*AXIS.hypotheses, within(o, AXIS.output), within(a, AXIS.kernel), le(least, L), le(1, L), le(0, w),
         within(p, length), eq(p + L * w, read) | eq(p, read + L * w)),
        eq(p, read), 2, "nothing wraps around",
    )  # fmt: skip


SIZES = (
    Theorem(
        id="TC-1", title="The size of a transposed convolution comes back",
        statement=display(
            r"H_m = S(O-1) + D(K-1) + 1 - P - Q + m \;\Rightarrow\; "
            r"\left(\left\lfloor \frac{H_m + P + Q - D(K-1) - 1}{S} \right\rfloor + 1 = O "
            r"\;\Longleftrightarrow\; m \lt S\right)"
        ),
        hypotheses=("$`K, S, D, O, H_m \\ge 1`$, $`P, Q, m \\ge 0`$; $`m`$ is `output_padding`",),
        method="SMT, with the quotient stated by its Euclidean equation.",
        derivation=lambda: "The numerator is $`S(O-1) + m`$. Its quotient by $`S`$ is $`O-1`$ exactly when "
        "$`m \\lt S`$. Transposed convolution is grad_input, and $`m`$ its remainder $`r`$ (GI-2): the "
        "outputs that one size can come from are told apart by $`m = 0, \\ldots, S-1`$.\n\nTorch asks for "
        "`output_padding` below the stride *or* the dilation, which is not enough.",
        claims=lambda: (
            _inverse("TC-1-if", (lt(m, S),), eq(q, O)),
            _inverse("TC-1-only-if", (eq(q, O),), lt(m, S)),
        ),
        wrong_claims=lambda: (("output_padding below the larger of stride and dilation", _torch_check()),),
    ),
    Theorem(
        id="SP-1", title="Padding 'same' keeps the size",
        statement=display(r"P = \left\lfloor \tfrac{D(K-1)}{2} \right\rfloor,\; Q = D(K-1) - P "
        r"\;\Rightarrow\; "
                          r"O = H,\; 0 \le Q - P \le 1"),
        hypotheses=("$`S = 1`$, $`H, K, D \\ge 1`$",),
        method="SMT; and the code that computes sizes, on small geometries.",
        derivation=lambda: "With $`P + Q = D(K-1)`$ the output has $`H + D(K-1) - D(K-1) = H`$ elements. "
        "Halving an odd $`D(K-1)`$ leaves one element over, which torch puts at the far end.",
        checks=(Check("`ConvGeometry` with padding='same'", _same_code),),
        claims=lambda: (_same("SP-1", D * (K - 1) - P),),
        wrong_claims=lambda: (("the same padding on both sides, for an even kernel too", _same(
            "SP-1-wrong", P)),),
    ),
    Theorem(
        id="FF-1", title="A circular correlation with a long enough period is the linear one",
        statement=display(r"L \ge H + P + Q,\; p \equiv S o + D a \pmod L \;\Rightarrow\; p = S o + D a"),
        hypotheses=(*GEOMETRY, "$`0 \\le p \\lt H + P + Q`$, $`0 \\le o \\lt O`$, $`0 \\le a \\lt K`$"),
        method="SMT, with the congruence stated by its factor $`w`$.",
        derivation=lambda: "A product of discrete Fourier transforms of length $`L`$ is a circular "
        "correlation: the element read at $`S o + D a`$ is every $`p`$ that is congruent to it. By FW-1 both "
        "lie in $`[0, H+P+Q)`$, so they differ by less than $`L`$ and are equal.",
        claims=lambda: (_period("FF-1", AXIS.input + AXIS.before + AXIS.after),),
        wrong_claims=lambda: (
            ("a period one shorter", _period("FF-1-wrong", AXIS.input + AXIS.before + AXIS.after - 1)),
        ),
    ),
)  # fmt: skip
