"""The page of the kill matrix: what each property is known to catch, made from the measured matrix alone."""

from __future__ import annotations

import statistics
from collections import Counter
from pathlib import Path
from typing import Any

from convverify.report import environment, kill_matrix

PAGE = "report.md"


def write(folder: Path) -> Path:
    """Write the page of the shipped matrix; returns the file.

    Raises:
        OSError: the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PAGE).write_text(render(), encoding="utf-8")
    return folder / PAGE


def render() -> str:
    """The text of the page."""
    matrix = kill_matrix()
    return environment(PAGE).get_template("mutants.md.jinja").render(matrix=matrix, **_summary(matrix))


def _summary(matrix: dict[str, Any]) -> dict[str, Any]:
    """What the matrix comes to: who survives, which property alone catches what, which catches nothing."""
    mutants: dict[str, dict[str, Any]] = matrix["mutants"]
    caught = {name: entry for name, entry in mutants.items() if entry["caught_by"]}
    kills = Counter(prop for entry in caught.values() for prop in entry["caught_by"])
    alone: dict[str, list[str]] = {}
    for name, entry in caught.items():
        if len(entry["caught_by"]) == 1:
            alone.setdefault(entry["caught_by"][0], []).append(name)
    return {
        "caught": caught,
        "survivors": [name for name in mutants if name not in caught],
        "kills": kills,
        "alone": alone,
        "idle": [prop for prop in matrix["properties"] if not kills[prop]],
        "blamed": [name for name, entry in matrix["controls"].items() if entry["caught_by"]],
        "seconds": statistics.median(entry["seconds_to_kill"] for entry in caught.values()),
    }
