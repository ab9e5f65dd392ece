"""Sums in index notation: bound indices, Kronecker deltas, and what is read from which array.

    sum over bound indices of  [all equations hold] * product of reads

Every element of every array that the closed forms build is one such sum, and so is every derivative of
the definition. Two are equal when their normal forms are. SymPy's own `Sum.doit()` with deltas ignores
divisibility (wrong for strides above 1), so the two rewriting rules are here, and small: a bound index
goes only where an equation has it with coefficient 1 or -1 and the range of what replaces it is certain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

import sympy
from sympy import Expr, Symbol

from convverify.derivation.logic import latex

Ranges = dict[Symbol, Expr]
Read = tuple[str, tuple[Expr, ...]]


class ProofError(Exception):
    """The machinery cannot show what was claimed; the message says which step failed."""


@dataclass(frozen=True)
class IndexSum:
    """One element of an array; `bound` gives each summed index with its size."""

    bound: tuple[tuple[Symbol, Expr], ...]
    equations: tuple[Expr, ...]
    reads: tuple[Read, ...]

    def times(self, other: IndexSum) -> IndexSum:
        """The product of two sums with different bound indices."""
        return IndexSum(self.bound + other.bound, self.equations + other.equations, self.reads + other.reads)

    def rewritten(self, rewrite: Callable[[Expr], Expr]) -> IndexSum:
        """Each equation and each index of a read rewritten; equations that became trivial are gone."""
        equations = (sympy.expand(rewrite(equation)) for equation in self.equations)
        return replace(
            self,
            equations=tuple(equation for equation in equations if equation != 0),
            reads=tuple(
                (name, tuple(sympy.expand(rewrite(index)) for index in indices))
                for name, indices in self.reads
            ),
        )

    def without(self, index: Symbol, value: Expr) -> IndexSum:
        """The bound index replaced by a value that it must have."""
        kept = tuple((bound, size) for bound, size in self.bound if bound != index)
        return replace(self, bound=kept).rewritten(lambda term: term.subs(index, value))

    def latex(self) -> str:
        """The sum as it is written on paper."""
        sums = "".join(rf"\sum_{{{latex(index)}=0}}^{{{latex(size - 1)}}}" for index, size in self.bound)
        deltas = "".join(rf"\,\delta\!\left[{_equation(equation)}\right]" for equation in self.equations)
        reads = r"\,".join(
            rf"{name}\left[{','.join(latex(index) for index in indices)}\right]"
            for name, indices in self.reads
        )
        return rf"{sums}{deltas}\,{reads}"


def eliminated(total: IndexSum, ranges: Ranges, solved: Callable[[Expr], Expr]) -> IndexSum:
    """Every bound index replaced that an equation determines, where its range is certain to hold."""
    progress = True
    while progress:
        progress = False
        for index, size in reversed(total.bound):
            value = _determined(total, index, size, ranges, solved)
            if value is not None:
                total = total.without(index, value)
                progress = True
                break
    return total


def _determined(
    total: IndexSum, index: Symbol, size: Expr, ranges: Ranges, solved: Callable[[Expr], Expr]
) -> Expr | None:
    known = {place: solved(its) for place, its in {**ranges, **dict(total.bound)}.items() if place != index}
    for equation in total.equations:
        slope = equation.coeff(index, 1)
        if slope not in (1, -1) or sympy.expand(equation - slope * index).has(index):
            continue
        value = sympy.expand(-(equation - slope * index) / slope)
        if nonnegative(solved(value), known) and nonnegative(solved(size - 1 - value), known):
            return value
    return None


def reflected(total: IndexSum) -> IndexSum:
    """Sum backwards over an index a that is read as size - 1 - a: the turn of the kernel undone."""
    for index, size in total.bound:
        turned = sympy.expand(size - 1 - index)
        if any(turned == read for _, indices in total.reads for read in indices):
            total = total.rewritten(partial(_substituted, index, turned))
    return total


def _substituted(index: Symbol, value: Expr, term: Expr) -> Expr:
    return term.subs(index, value)


def canonical(total: IndexSum) -> IndexSum:
    """Bound indices named after the place where they are read, equations with a fixed sign, all in order.

    Raises:
        ProofError: a bound index is not read anywhere by itself.
    """
    total = replace(total, reads=tuple(sorted(total.reads, key=lambda read: read[0])))
    names: dict[Symbol, Symbol] = {}
    for name, indices in total.reads:
        for place, index in enumerate(indices):
            for bound, _ in total.bound:
                if bound not in names and index.has(bound) and _bare(index, bound):
                    names[bound] = Symbol(f"{name}_{place}_{_rank(index, bound)}", integer=True)
    for bound, _ in total.bound:
        if bound not in names:
            raise ProofError(f"the sum over {bound} is left over in {total.latex()}")
    renamed = total.rewritten(lambda term: term.subs(names, simultaneous=True))
    return IndexSum(
        tuple(sorted(((names[index], sympy.expand(size)) for index, size in total.bound), key=str)),
        tuple(sorted(map(_signed, renamed.equations), key=str)),
        renamed.reads,
    )


def nonnegative(term: Expr, ranges: Ranges) -> bool:
    """Whether a polynomial is certainly >= 0, given that sizes are >= 1 and indices are in range.

    Looks for a certificate: after writing every size as 1 + something, and each index either as it is or
    counted from the far end, all coefficients are >= 0.
    """
    term = sympy.expand(term)
    inside = sorted((index for index in ranges if term.has(index)), key=str)
    for turned in range(1 << len(inside)):
        shifted = term
        for bit, index in enumerate(inside):
            if turned >> bit & 1:
                shifted = shifted.subs(index, ranges[index] - 1 - index)
        sizes = sorted(shifted.free_symbols - set(ranges) - NONNEGATIVE, key=str)
        shifted = sympy.expand(shifted.subs({size: size + 1 for size in sizes}, simultaneous=True))
        if all(coefficient >= 0 for coefficient in shifted.as_coefficients_dict().values()):
            return True
    return False


# Padding and remainders may be 0; every other size is at least 1.
NONNEGATIVE = {
    Symbol(letter + mark, integer=True) for letter in ("P", "Q", "r") for mark in ("", "1", "2", "3")
}


def _bare(index: Expr, bound: Symbol) -> bool:
    """Whether the index holds the bound symbol linearly, with no other one that hides it."""
    return bool(sympy.Poly(index, bound).degree() == 1)


def _rank(index: Expr, bound: Symbol) -> int:
    """0 for an index by itself or the last digit of several, 1 for a digit with a factor."""
    return 0 if index.coeff(bound, 1) == 1 else 1


def _signed(equation: Expr) -> Expr:
    return max(equation, sympy.expand(-equation), key=str)


def _equation(equation: Expr) -> str:
    """`left = right` with positive terms on both sides."""
    terms: Iterable[Expr] = sympy.Add.make_args(sympy.expand(equation))
    left = sympy.Add(*(term for term in terms if term.as_coeff_Mul()[0] > 0))
    right = sympy.Add(*(-term for term in terms if term.as_coeff_Mul()[0] < 0))
    return f"{latex(left)} = {latex(right)}"
