"""What a mutant and a control are: operators that are wrong, or right, on purpose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

Operator = Callable[..., Any]


@dataclass(frozen=True)
class Mutant:
    """An operator that is wrong on purpose, and the property that must catch it.

    `make()` returns it fresh: with nothing cached, counted or remembered from an earlier use.
    """

    name: str
    fault: str
    caught_by: str
    make: Callable[[], Operator]
    domain: str = ""


@dataclass(frozen=True)
class Control:
    """An operator known to be right, which no property may blame."""

    name: str
    style: str
    make: Callable[[], Operator]
    domain: str = ""
    exact: bool = True


def mutant(caught_by: str, domain: str = "") -> Callable[[Operator], Mutant]:
    """Declare a stateless operator as a mutant; its docstring names the fault."""
    return lambda function: Mutant(function.__name__, _first_line(function), caught_by, lambda: function, domain)


def stateful_mutant(caught_by: str, domain: str = "") -> Callable[[Callable[[], Operator]], Mutant]:
    """Declare a function that builds a fresh operator as a mutant."""
    return lambda build: Mutant(build.__name__, _first_line(build), caught_by, build, domain)


def control(domain: str = "", exact: bool = True) -> Callable[[Operator], Control]:
    """Declare an operator as a control; `exact=False` where it rounds even on small integers."""
    return lambda function: Control(function.__name__, _first_line(function), lambda: function, domain, exact)


def declared(module: ModuleType, kind: type) -> list[Any]:
    """All mutants or all controls that a module declares, in its order."""
    return [value for value in vars(module).values() if isinstance(value, kind)]


def _first_line(function: Operator) -> str:
    return (function.__doc__ or "").strip().splitlines()[0].rstrip(".")
