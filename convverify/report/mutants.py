"""The page of the kill matrix: what each property is known to catch, made from the measured matrix alone."""

from __future__ import annotations

import statistics
from collections import Counter
from pathlib import Path
from typing import Any

from convverify import kill_matrix
from convverify.report import environment

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
    matrix = kill_matrix.kept()
    return environment(PAGE).get_template("mutants.md.jinja").render(matrix=matrix, **_summary(matrix))


def _summary(matrix: dict[str, Any]) -> dict[str, Any]:
    """What the matrix comes to: who survives, which property alone catches what, which catches nothing."""
    mutants, controls = kill_matrix.rows(matrix["mutants"]), kill_matrix.rows(matrix["controls"])
    return {
        "caught": [row.name for row in mutants if row.caught_by],
        "survivors": kill_matrix.survivors(mutants),
        "kills": Counter(prop for row in mutants for prop in row.caught_by),
        "alone": kill_matrix.caught_alone(mutants),
        "idle": kill_matrix.catching_nothing(mutants, matrix["properties"]),
        "blamed": kill_matrix.blamed(controls),
        "seconds": statistics.median(row["seconds_to_kill"] for row in matrix["mutants"].values() if row["caught_by"]),
    }
