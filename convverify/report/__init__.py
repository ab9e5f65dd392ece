"""Reports, made from results alone: JSON, Markdown and a self-contained HTML page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jinja2

from convverify import kill_matrix
from convverify.results import Outcome, Run

FORMATS = {"report.md": "report.md.jinja", "report.html": "report.html.jinja"}
MARKS = {
    Outcome.PASSED: "✓", Outcome.FALSIFIED: "✗", Outcome.ERRORED: "✗", Outcome.INEXACT: "≈",
    Outcome.KNOWN_FAILURE: "!", Outcome.INCONCLUSIVE: "?", Outcome.UNSUPPORTED: "–", Outcome.NOT_RUN: "·",
}  # fmt: skip
VERDICTS = {
    Outcome.PASSED: "No property was falsified, and all that could be checked holds exactly or within its bound.",
    Outcome.INEXACT: "No property was falsified; some that direct summation satisfies exactly hold here up to "
    "rounding only, as for a Winograd or FFT algorithm.",
    Outcome.FALSIFIED: "The operator is wrong: at least one property does not hold. The smallest cases are below.",
    Outcome.ERRORED: "The operator broke on a case that it should support.",
    Outcome.INCONCLUSIVE: "Nothing was falsified, but not everything that was asked for could be checked.",
}  # fmt: skip


def write(run: Run, folder: Path) -> list[Path]:
    """Write the run's report in every format; returns the files.

    Raises:
        OSError: the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {"report.json": run.to_json()} | {name: render(run, name) for name in FORMATS}
    for name, text in files.items():
        partial = folder / f".{name}.partial"
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, folder / name)  # a reader never sees half a report
    return [folder / name for name in files]


def render(run: Run, name: str) -> str:
    """The text of one format of the report."""
    page = environment(name).get_template(FORMATS[name])
    return page.render(
        run=run, marks=MARKS, verdict=VERDICTS.get(run.outcome, ""), matrix=kill_matrix.kept(),
        failures=[result for result in run.results if result.counterexample], families=_families(run),
        counts={outcome: n for outcome in Outcome if (n := sum(r.outcome is outcome for r in run.results))},
    )  # fmt: skip


def _families(run: Run) -> dict[str, list[Any]]:
    families: dict[str, list[Any]] = {}
    for result in run.results:
        families.setdefault(result.family, []).append(result)
    return families


def environment(name: str) -> jinja2.Environment:
    """The templates, for a file of that name."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("convverify.report"),
        autoescape=name.endswith(".html"), trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    templates.filters["line"] = _line
    return templates


def _line(text: object) -> str:
    """Text for a Markdown table or heading, which it must not break."""
    return " ".join(str(text).split()).replace("|", "\\|")
