"""Check theorems one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from convverify.derivation.theorem import Verdict, check
from convverify.derivation.theorems import THEOREMS


class UnknownTheoremError(KeyError):
    """No theorem has this ID."""

    def __init__(self, identifier: str) -> None:
        super().__init__(identifier)
        self.identifier = identifier

    def __str__(self) -> str:
        return f"no theorem is called {self.identifier!r}; there are {', '.join(THEOREMS)}"


def prove(
    identifiers: Iterable[str],
    solvers: Sequence[str],
    before: Callable[[str], None] = lambda identifier: None,
) -> list[Verdict]:
    """Check these theorems, or all where none is named; `before` is called with each ID.

    Raises:
        UnknownTheoremError: an ID is not in the table.
    """
    wanted = list(identifiers) or list(THEOREMS)
    for identifier in wanted:
        if identifier not in THEOREMS:
            raise UnknownTheoremError(identifier)
    verdicts = []
    for identifier in wanted:
        before(identifier)
        verdicts.append(check(THEOREMS[identifier], solvers))
    return verdicts
