"""Statements over the integers, each with four faces: SMT-LIB, Python, LaTeX, and its symbols.

Terms are SymPy polynomials with integer coefficients. The relations are classes of our own, because
SymPy's evaluate themselves when they are built, and what is exported must be what was stated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy
from sympy import Expr, Symbol


class Statement:
    """A quantifier-free statement; `&`, `|`, `~` and `>>` (implies) combine them."""

    def smt(self) -> str:
        raise NotImplementedError

    def python(self) -> str:
        raise NotImplementedError

    def latex(self) -> str:
        raise NotImplementedError

    def symbols(self) -> frozenset[Symbol]:
        raise NotImplementedError

    def subs(self, old: Any, new: Any) -> Statement:
        raise NotImplementedError

    def __and__(self, other: Statement) -> Statement:
        return All((self, other))

    def __or__(self, other: Statement) -> Statement:
        return Some((self, other))

    def __invert__(self) -> Statement:
        return Not(self)

    def __rshift__(self, other: Statement) -> Statement:
        return Some((Not(self), other), implication=True)


@dataclass(frozen=True)
class Relation(Statement):
    """`left sign right`, with sign one of =, <=, <."""

    sign: str
    left: Expr
    right: Expr

    def smt(self) -> str:
        return f"({self.sign} {smt(self.left)} {smt(self.right)})"

    def python(self) -> str:
        sign = "==" if self.sign == "=" else self.sign
        return f"({_python(self.left)} {sign} {_python(self.right)})"

    def latex(self) -> str:
        sign = {"=": "=", "<=": r"\le", "<": r"\lt"}[self.sign]
        return f"{latex(self.left)} {sign} {latex(self.right)}"

    def symbols(self) -> frozenset[Symbol]:
        return frozenset(self.left.free_symbols | self.right.free_symbols)

    def subs(self, old: Any, new: Any) -> Relation:
        return Relation(self.sign, self.left.subs(old, new), self.right.subs(old, new))


@dataclass(frozen=True)
class Not(Statement):
    """The negation."""

    part: Statement

    def smt(self) -> str:
        return f"(not {self.part.smt()})"

    def python(self) -> str:
        return f"(not {self.part.python()})"

    def latex(self) -> str:
        return rf"\lnot\left({self.part.latex()}\right)"

    def symbols(self) -> frozenset[Symbol]:
        return self.part.symbols()

    def subs(self, old: Any, new: Any) -> Not:
        return Not(self.part.subs(old, new))


@dataclass(frozen=True)
class _Many(Statement):
    parts: tuple[Statement, ...]

    def symbols(self) -> frozenset[Symbol]:
        return frozenset().union(*(part.symbols() for part in self.parts))

    def _joined(self, face: Callable[[Statement], str], glue: str) -> str:
        return glue.join(face(part) for part in self.parts)


@dataclass(frozen=True)
class All(_Many):
    """The conjunction."""

    def smt(self) -> str:
        parts = self._joined(lambda part: part.smt(), " ")
        return f"(and {parts})" if len(self.parts) > 1 else parts or "true"

    def python(self) -> str:
        return f"({self._joined(lambda part: part.python(), ' and ') or 'True'})"

    def latex(self) -> str:
        return self._joined(_enclosed, r" \;\land\; ")

    def subs(self, old: Any, new: Any) -> All:
        return All(tuple(part.subs(old, new) for part in self.parts))


@dataclass(frozen=True)
class Some(_Many):
    """The disjunction; shown as an implication where it was written as one."""

    implication: bool = False

    def smt(self) -> str:
        parts = self._joined(lambda part: part.smt(), " ")
        return f"(or {parts})" if len(self.parts) > 1 else parts or "false"

    def python(self) -> str:
        return f"({self._joined(lambda part: part.python(), ' or ') or 'False'})"

    def latex(self) -> str:
        if self.implication:
            premise, conclusion = self.parts
            assert isinstance(premise, Not)
            return rf"{_enclosed(premise.part)} \;\Rightarrow\; {_enclosed(conclusion)}"
        return self._joined(_enclosed, r" \;\lor\; ")

    def subs(self, old: Any, new: Any) -> Some:
        return Some(tuple(part.subs(old, new) for part in self.parts), self.implication)


def eq(left: Any, right: Any) -> Relation:
    """left = right."""
    return Relation("=", sympy.sympify(left), sympy.sympify(right))


def le(left: Any, right: Any) -> Relation:
    """left <= right."""
    return Relation("<=", sympy.sympify(left), sympy.sympify(right))


def lt(left: Any, right: Any) -> Relation:
    """left < right."""
    return Relation("<", sympy.sympify(left), sympy.sympify(right))


def within(index: Any, size: Any) -> All:
    """0 <= index < size."""
    return All((le(0, index), lt(index, size)))


def smt(term: Expr) -> str:
    """The SMT-LIB form of an integer polynomial.

    Raises:
        TypeError: the term is not one.
    """
    if isinstance(term, sympy.Integer):
        return str(term) if term >= 0 else f"(- {-term})"
    if isinstance(term, Symbol):
        return str(term.name)
    if isinstance(term, sympy.Pow) and isinstance(term.exp, sympy.Integer) and term.exp > 0:
        return f"(* {' '.join([smt(term.base)] * int(term.exp))})"
    if isinstance(term, (sympy.Add, sympy.Mul)):
        added = isinstance(term, sympy.Add)
        parts = term.as_ordered_terms() if added else term.as_ordered_factors()
        return f"({'+' if added else '*'} {' '.join(map(smt, parts))})"
    raise TypeError(f"{term} is not a polynomial with integer coefficients")


def latex(term: Any) -> str:
    """LaTeX with the names as they are: `a2` for a second a, `rho` left alone."""
    return str(sympy.latex(term, mul_symbol=r"\,"))


def _python(term: Expr) -> str:
    return str(sympy.pycode(term))


def _enclosed(statement: Statement) -> str:
    text = statement.latex()
    return text if isinstance(statement, Relation) else rf"\left({text}\right)"
