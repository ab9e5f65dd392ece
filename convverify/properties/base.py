"""What a property is: a small function from an operator and a case to equations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from types import ModuleType

from convverify.case import ConvCase
from convverify.comparison import Equation
from convverify.demand import Demand
from convverify.target import Target
from convverify.theorem_ids import THEOREM_IDS

Check = Callable[[Target, ConvCase], Iterator[Equation]]


class Refusal(Enum):
    """What an error of the operator means to a property.

    `NotImplementedError` always means that the operator does not support the case, and so does a `ValueError`,
    `TypeError` or `AssertionError` that it raises itself, with a reason, or a `RuntimeError` that states a restriction.
    """

    FAULT = "any other error is a fault"
    DECLARED = "any error means unsupported, if the operator declares a domain"
    ALLOWED = "any error means unsupported"


class KnownFailure(Exception):  # noqa: N818 - a finding about torch, not an error
    """The property does not hold, and the operator does just what torch itself does wrongly."""


class Rounded(Exception):  # noqa: N818 - a finding about the operator, not an error
    """The property holds up to rounding, where it should hold exactly."""


class Refuted(Exception):  # noqa: N818 - a finding about the operator, not an error
    """The property does not hold, and there is no pair of values to show for it."""


@dataclass(frozen=True)
class Property:
    """Something that every right convolution operator satisfies.

    `statement` is for people, `cites` names the theorems it rests on, `kills` a mutant that it must catch.
    A `direct` one holds only for operators that sum the products themselves.
    """

    name: str
    family: str
    statement: str
    cites: tuple[str, ...]
    kills: str
    check: Check
    demand: Demand
    refusal: Refusal = Refusal.FAULT
    direct: bool = False


def declare(
    family: str,
    cites: tuple[str, ...],
    kills: str,
    demand: Demand | None = None,
    refusal: Refusal = Refusal.FAULT,
    direct: bool = False,
) -> Callable[[Check], Property]:
    """Turn a check into a property; the first paragraph of its docstring is the statement."""
    unknown = set(cites) - set(THEOREM_IDS)
    if unknown:
        raise ValueError(f"cites {sorted(unknown)}, which are no theorems")

    def decorate(check: Check) -> Property:
        statement = " ".join((check.__doc__ or "").split("\n\n")[0].split())
        return Property(check.__name__, family, statement, cites, kills, check, demand or Demand(), refusal, direct)

    return decorate


def declared(module: ModuleType) -> tuple[Property, ...]:
    """All properties of a module, in its order."""
    return tuple(value for value in vars(module).values() if isinstance(value, Property))
