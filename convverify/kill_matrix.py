"""Which property catches which mutant, and whether any blames a control: the checker, checked."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

MATRIX = Path(__file__).parent / "mutants" / "kill_matrix.json"  # importing mutants would import torch


class Row(Protocol):
    """An operator that was verified, and the properties that failed on it."""

    @property
    def name(self) -> str: ...

    @property
    def caught_by(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class Entry:
    """What one mutant or control met.

    `seconds_to_kill` is the time until the first property failed, its shrinking included.
    """

    name: str
    description: str
    outcome: str
    caught_by: tuple[str, ...]
    seconds: float
    seconds_to_kill: float | None


@dataclass(frozen=True)
class Kept:
    """What the matrix keeps of one, as far as summaries need it."""

    name: str
    caught_by: tuple[str, ...]


def kept() -> dict[str, Any]:
    """The matrix of the package, as `convverify mutants --write` measured it; empty where there is none."""
    if not MATRIX.is_file():
        return {}
    matrix: dict[str, Any] = json.loads(MATRIX.read_text(encoding="utf-8"))
    return matrix


def rows(of_kind: Mapping[str, Mapping[str, Any]]) -> list[Kept]:
    """The rows of the mutants, or of the controls, of a matrix."""
    return [Kept(name, tuple(row["caught_by"])) for name, row in of_kind.items()]


def table(
    mutants: Sequence[Entry], controls: Sequence[Entry], properties: Sequence[str], budget: str, version: str
) -> dict[str, Any]:
    """The matrix as the package keeps it: what `convverify.report` shows."""
    return {
        "version": version,
        "budget": budget,
        "properties": list(properties),
        "mutants": {
            e.name: {
                "fault": e.description,
                "caught_by": list(e.caught_by),
                "seconds_to_kill": e.seconds_to_kill,
            }
            for e in sorted(mutants, key=lambda e: e.name)
        },
        "controls": {
            e.name: {key: value for key, value in asdict(e).items() if key in ("description", "outcome", "caught_by")}
            for e in sorted(controls, key=lambda e: e.name)
        },
    }


def merged(matrix: dict[str, Any], part: dict[str, Any], known: Collection[str]) -> dict[str, Any]:
    """A matrix with the rows of a part that was measured since, and without what is no longer known."""
    rows = {kind: {**matrix[kind], **part[kind]} for kind in ("mutants", "controls")}
    return part | {kind: {name: row for name, row in sorted(of_kind.items()) if name in known}
                   for kind, of_kind in rows.items()}  # fmt: skip


def survivors(mutants: Iterable[Row]) -> list[str]:
    """The mutants that no property caught."""
    return sorted(mutant.name for mutant in mutants if not mutant.caught_by)


def blamed(controls: Iterable[Row]) -> list[str]:
    """The controls that some property blamed."""
    return sorted(control.name for control in controls if control.caught_by)


def catching_nothing(mutants: Iterable[Row], properties: Sequence[str]) -> list[str]:
    """The properties that caught no mutant."""
    caught = {name for mutant in mutants for name in mutant.caught_by}
    return [name for name in properties if name not in caught]


def caught_alone(mutants: Iterable[Row]) -> dict[str, list[str]]:
    """By property, the mutants that it alone caught."""
    alone: dict[str, list[str]] = {}
    for mutant in mutants:
        if len(mutant.caught_by) == 1:
            alone.setdefault(mutant.caught_by[0], []).append(mutant.name)
    return alone
