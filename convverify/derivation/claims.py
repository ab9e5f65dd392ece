"""A claim about all integers of some kind, to be put to a solver or tried out on small numbers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sympy import Symbol

from convverify.derivation.logic import All, Not, Relation, Some, Statement

Numbers = dict[str, int]


@dataclass(frozen=True)
class Claim:
    """The hypotheses imply the conclusion, for all integers.

    `name` is the file name of the exported problem. The order of `variables` is the order in which small
    numbers are tried; one that a hypothesis determines is computed, not tried. `small` is the largest
    number tried when no solver is at hand.
    """

    name: str
    variables: tuple[Symbol, ...]
    hypotheses: tuple[Statement, ...]
    conclusion: Statement
    small: int = 3
    words: str = ""

    def possible(self) -> Claim:
        """The claim that the hypotheses contradict each other: to be refuted, or nothing was proved."""
        return Claim(f"{self.name}-hypotheses", self.variables, self.hypotheses, Some(()), self.small)

    def smt2(self, status: str) -> str:
        """The problem whether a counterexample exists, as SMT-LIB, with the answer that is expected."""
        stated = (*self.hypotheses, Not(self.conclusion))
        lines = [
            "(set-logic QF_NIA)",
            f"(set-info :status {status})",
            *(f"(declare-const {variable.name} Int)" for variable in self.variables),
            *(f"(assert {statement.smt()})" for statement in stated),
            "(check-sat)",
        ]
        return "\n".join(lines) + "\n"

    def counterexample(self, largest: int) -> Numbers | None:
        """The smallest one with all tried numbers at most `largest`: least maximum, then least sum."""
        stated = (*self.hypotheses, Not(self.conclusion))
        names = [variable.name for variable in self.variables]
        for limit in range(1, largest + 1):
            found = list(itertools.islice(_solutions(self.variables, stated, limit), 5000))
            if found:
                best = min(found, key=lambda values: (sum(map(abs, values)), values))
                return dict(zip(names, best, strict=True))
        return None


Step = tuple[Callable[..., int] | None, list[Callable[..., bool]]]


def _solutions(
    variables: tuple[Symbol, ...], statements: tuple[Statement, ...], limit: int
) -> Iterator[tuple[int, ...]]:
    """All assignments that make the statements true, by backtracking."""
    plan = _plan(variables, list(_flat(statements)))
    values: list[int] = []

    def extend(depth: int) -> Iterator[tuple[int, ...]]:
        if depth == len(plan):
            yield tuple(values)
            return
        solve, checks = plan[depth]
        for value in range(limit + 1) if solve is None else (solve(*values),):
            values.append(value)
            if all(check(*values) for check in checks):
                yield from extend(depth + 1)
            values.pop()

    yield from extend(0)


def _flat(statements: tuple[Statement, ...]) -> Iterator[Statement]:
    for statement in statements:
        if isinstance(statement, All):
            yield from _flat(statement.parts)
        else:
            yield statement


def _plan(variables: tuple[Symbol, ...], statements: list[Statement]) -> list[Step]:
    """For each variable: how an equation determines it, if one does, and what can then be checked."""
    plan: list[Step] = []
    for depth, variable in enumerate(variables):
        known = variables[:depth]
        solve = next(filter(None, (_solver(statement, variable, known) for statement in statements)), None)
        ready = [
            statement
            for statement in statements
            if variable in statement.symbols() and statement.symbols() <= {*known, variable}
        ]
        plan.append((solve, [_function((*known, variable), statement.python()) for statement in ready]))
    return plan


def _solver(statement: Statement, variable: Symbol, known: tuple[Symbol, ...]) -> Callable[..., int] | None:
    if not isinstance(statement, Relation) or statement.sign != "=":
        return None
    if variable not in statement.symbols() or not statement.symbols() <= {*known, variable}:
        return None
    difference = (statement.left - statement.right).expand()
    slope = difference.coeff(variable, 1)
    if slope not in (1, -1) or difference.diff(variable) != slope:
        return None
    return _function(known, str((-difference.subs(variable, 0) / slope).expand()))


def _function(arguments: tuple[Symbol, ...], body: str) -> Callable[..., Any]:
    """Compile text that this package has printed from a statement; it holds no text from elsewhere."""
    names = ", ".join(argument.name for argument in arguments)
    function: Callable[..., Any] = eval(f"lambda {names}: {body}", {"__builtins__": {}})
    return function
