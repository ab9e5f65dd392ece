"""What floating point does to a convolution: EX-1 and RB-1."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction

import sympy

from convverify.derivation.claims import Claim
from convverify.derivation.index_sum import ProofError
from convverify.derivation.logic import All, le
from convverify.derivation.markdown import display
from convverify.derivation.rounding import Terms, integer_terms, product_terms, rounded, sums
from convverify.derivation.symbolic_geometry import symbols
from convverify.derivation.theorem import Check, Control, Theorem

s, t, A, B = symbols("s t A B")
PRECISIONS = (1, 2, 3)
MOST_TERMS = 4


def _inexact(extra: int) -> Iterator[tuple[int, Terms, Fraction]]:
    """Sums within 2^p + extra that some order does not give exactly."""
    for bits in PRECISIONS:
        for terms in integer_terms(MOST_TERMS, 2**bits + extra):
            wrong = [value for value in sums(terms, bits) if value != sum(terms)]
            if wrong:
                yield bits, terms, min(wrong)


def _exact() -> str:
    for bits, terms, value in _inexact(0):
        raise ProofError(f"with {bits} bits {_written(terms)} can give {value}")
    tried = sum(1 for bits in PRECISIONS for _ in integer_terms(MOST_TERMS, 2**bits))
    return (
        f"{tried} multisets of up to {MOST_TERMS} integers within 2^p, p = 1, 2, 3: "
        "every order and tree gives the exact sum"
    )


def _integers_fit() -> str:
    for bits in range(1, 12):
        for value in range(2**bits + 1):
            if rounded(Fraction(value), bits) != value:
                raise ProofError(f"{value} does not fit in {bits} bits")
    return "all integers up to 2^p, p = 1..11"


def _over_budget() -> str | None:
    found = next((case for case in _inexact(1) if len(case[1]) > 1), None)
    if found is None or 2.0**53 + 1.0 != 2.0**53:  # the same at p = 53, in this machine's own arithmetic
        return None
    bits, terms, value = found
    return f"p={bits}: {_written(terms)} = {sum(terms)} comes out as {value}; p=53: 2^53 + 1 as 2^53"


def _partial(name: str, bound: sympy.Expr) -> Claim:
    return Claim(
        name, (A, B, s, t), (le(0, A), le(0, B), le(-A, s), le(s, A), le(-B, t), le(t, B)),
        All((le(-bound, s + t), le(s + t, bound))), 3, "a partial sum is within the sum of the absolute "
        "values",
    )  # fmt: skip


def _gamma(count: int, bits: int) -> Fraction:
    part = Fraction(count, 2**bits)  # n * u
    return part / (1 - part)


def _beyond(roundings: Callable[[int], int]) -> Iterator[tuple[int, Terms, Fraction]]:
    """Sums of products that are further off than the bound with so many roundings allows."""
    for bits, most in ((2, 3), (3, 3)):
        for count in range(1, most + 1):
            for terms in product_terms(count, bits):
                bound = _gamma(roundings(count), bits) * sum(map(abs, terms))
                for value in _computed(terms, bits):
                    if abs(value - sum(terms)) > bound:
                        yield bits, terms, value


def _computed(terms: Terms, bits: int) -> frozenset[Fraction]:
    return sums(tuple(sorted(rounded(term, bits) for term in terms)), bits)


def _bounded() -> str:
    for bits, terms, value in _beyond(lambda count: count):
        raise ProofError(f"with {bits} bits {_written(terms)} can give {value}, beyond the bound")
    tried = sum(1 for bits in (2, 3) for count in (1, 2, 3) for _ in product_terms(count, bits))
    return (
        f"{tried} sums of up to 3 products of 2- and 3-bit numbers: every order and tree is within the bound"
    )


def _bound_steps() -> str:
    """The two inequalities of the induction, as identities whose right sides show their sign."""
    u, j = sympy.symbols("u j", positive=True)
    up = 1 / (1 - (j + 1) * u) - (1 + u) / (1 - j * u)
    down = (1 - j * u) * (1 - u) - (1 - (j + 1) * u)
    identities = (
        (up, (j + 1) * u**2 / ((1 - (j + 1) * u) * (1 - j * u))),
        (down, j * u**2),
    )
    for left, right in identities:
        if sympy.cancel(left - right) != 0:
            raise ProofError(f"{left} is not {right}")
    return "both steps of the induction are identities with a right side that is >= 0"


def _one_rounding_less() -> str | None:
    found = next(_beyond(lambda count: count - 1), None)
    if found is None:
        return None
    bits, terms, value = found
    return (
        f"p={bits}: the product {_written(terms)} comes out as {value}, where the bound would allow no error"
    )


def _written(terms: Terms) -> str:
    return " + ".join(str(term) if term >= 0 else f"({term})" for term in terms)


ARITHMETIC = (
    Theorem(
        id="EX-1", title="Within 2^p, every order of summation is exact",
        statement=display(
            r"\sum_i |m_i\, l_i| \;(+\,|b|) \le 2^p \;\Rightarrow\; \text{every partial sum, in any order "
            r"or tree, with or "
            r"without fused multiply-add, is exact}"
        ),
        hypotheses=(
            ("operands $`m_i 2^e`$ and $`l_i 2^f`$ with integers $`m_i, l_i`$, all with one $`e`$ and one "
            "$`f`$"),
            "an accumulator with $`p`$ bits that rounds correctly, nothing under- or overflows",
        ),
        method="A proof on this page; its two steps checked by SMT and by trying everything in arithmetic of "
        "few bits.",
        derivation=lambda: (
            "Every product is an integer $`m_i l_i`$ times $`2^{e+f}`$, and so is every partial sum $`t`$ of "
            "some of them; leave the common factor away. Whatever the order, a partial sum adds up a subset "
            "of the products, so $`|t| \\le \\sum_i |m_i l_i| \\le 2^p`$.\n\nAn integer with $`|t| \\le "
            "2^p`$ has at most $`p`$ significant bits, or is $`\\pm 2^p`$, which has one: it is "
            "representable. The exact result of the first addition is representable, hence it is what a "
            "correctly rounded addition returns; so the second addition starts from exact values; and so on, "
            "by induction over the tree. A fused multiply-add, a blocked sum and atomic additions in any "
            "order are such trees. Storing to a narrower type rounds the exact value once. (The sign of a "
            "zero is not determined: compare with `==`.)"
        ),
        checks=(
            Check("integers up to 2^p are representable", _integers_fit),
            Check("all orders and trees, few bits", _exact),
        ),
        claims=lambda: (_partial("EX-1-partial", A + B),),
        wrong_claims=lambda: (("partial sums bounded by the largest part", _partial("EX-1-wrong", A)),),
        controls=(Control("a budget of 2^p + 1", _over_budget),),
    ),
    Theorem(
        id="RB-1", title="The rounding bound of a convolution",
        statement=display(
            r"|\text{computed} - \text{exact}| \le \gamma_n \sum_{i=1}^n |x_i|\,|k_i|, \qquad \gamma_n = "
            r"\frac{n u}{1 - n u}"
        ),
        hypotheses=(
            ("$`u = 2^{-p}`$ for $`p`$ bits, each operation returning $`(a \\circ b)(1 + \\delta)`$ with "
            "$`|\\delta| \\le u`$"),
            "$`n u \\lt 1`$, nothing under- or overflows; any order and tree of the sum",
        ),
        method="A proof on this page; its induction checked by SymPy, the bound by trying everything in "
        "arithmetic of few bits.",
        derivation=lambda: (
            "Each product is rounded once. In any tree that adds $`n`$ terms a term takes part in at most "
            "$`n - 1`$ additions. So the computed sum is $`\\sum_i x_i k_i \\prod_{j \\le n_i} (1 + "
            "\\delta_{ij})`$ with $`n_i \\le n`$, and it remains to show that $`n`$ factors $`1 + \\delta`$ "
            "stay within $`1 \\pm \\gamma_n`$.\n\nFrom above, by induction, because $`1 + \\gamma_j = 1/(1 - "
            "j u)`$:\n\n"
            + display(r"1 + \gamma_{j+1} - (1 + \gamma_j)(1 + u) = \frac{(j+1)\,u^2}{(1-(j+1)u)(1-j u)} "
            r"\ge 0 .")
            + "\n\nFrom below, $`(1-u)^n \\ge 1 - n u`$ by induction, because "
            + "$`(1 - j u)(1 - u) = 1 - (j+1) u + j u^2`$, and $`n u \\le \\gamma_n`$.\n\nThe number of "
            "terms of each pass is a property of the geometry: `terms_per_output`, `terms_per_grad_input` "
            "and `terms_per_grad_weight`."
        ),
        checks=(
            Check("the induction", _bound_steps),
            Check("all orders and trees, few bits", _bounded),
        ),
        controls=(Control("one rounding less: n - 1 in place of n", _one_rounding_less),),
    ),
)  # fmt: skip
