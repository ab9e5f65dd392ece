"""`convverify prove`: check the theorems, and write or compare the published proofs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from convverify.cli.options import must_be_writable, refuse, writing
from convverify.derivation.coq import CoqError, installed
from convverify.derivation.coq import check as check_script
from convverify.derivation.pages import TIMES, files, times_page
from convverify.derivation.prove import UnknownTheoremError, prove
from convverify.derivation.solvers import SOLVERS, available
from convverify.derivation.theorem import Verdict
from convverify.derivation.theorems import THEOREMS

FAILED = 1


@click.command("prove")
@click.argument("identifiers", metavar="[ID]...", nargs=-1)
@click.option("--check", "compare", is_flag=True, help="Write nothing; fail where a published page differs.")
@click.option("--out", "--output", "output", type=click.Path(path_type=Path, file_okay=False), default=Path("proofs"),
              show_default=True, help="The folder of the published proofs.")  # fmt: skip
@click.option("--solver", "wanted", type=click.Choice([*SOLVERS, "none"]), multiple=True,
              help="Use only this SMT solver (may be repeated); 'none' uses none.")  # fmt: skip
@click.option("--coq", is_flag=True, help="Have Coq check the scripts under <out>/coq too.")
def command(identifiers: tuple[str, ...], compare: bool, output: Path, wanted: tuple[str, ...], coq: bool) -> None:
    """Check the theorems (all, or those named), refute their wrong variants, and publish the proofs.

    Exit code 0: all hold. 1: a theorem or a control failed, or with --check a page differs. 2: a bad request.
    """
    solvers = _solvers(wanted)
    if coq and not installed():
        refuse("--coq needs the program `coqc`, from the package coq of many distributions")
    if not compare:
        must_be_writable("the proofs", output)
    verdicts = _prove(identifiers, solvers)
    for verdict in verdicts:
        _say(verdict)
    failed = [verdict.theorem.id for verdict in verdicts if not verdict.proved]
    proved = [verdict for verdict in verdicts if verdict.proved]
    differ = _compare(proved, output) if compare else _publish(proved, solvers, output)
    _summary(verdicts, failed, solvers)
    refused = _formal(output) if coq else False
    if failed or differ or refused:
        raise SystemExit(FAILED)


def _solvers(wanted: tuple[str, ...]) -> tuple[str, ...]:
    installed = available()
    missing = [name for name in wanted if name != "none" and name not in installed]
    if missing:
        refuse(f"{', '.join(missing)} is not installed; `pip install convverify[smt]` brings it")
    if "none" in wanted and len(wanted) > 1:
        refuse("--solver none cannot be combined with a solver")
    return tuple(name for name in wanted if name != "none") if wanted else installed


def _prove(identifiers: tuple[str, ...], solvers: Sequence[str]) -> list[Verdict]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        total = len(identifiers) or len(THEOREMS)
        task = progress.add_task("proving", total=total)

        def before(identifier: str) -> None:
            progress.update(task, advance=1, description=f"{identifier} of {total} theorems")

        try:
            return prove(identifiers, solvers, before)
        except UnknownTheoremError as error:
            refuse(str(error))


def _say(verdict: Verdict) -> None:
    name = f"{verdict.theorem.id:<8}"
    if verdict.proved:
        state = "proved" if not verdict.unchecked else "held, not fully checked"
        click.echo(f"{name} {state}; {len(verdict.witnesses)} controls refuted; {verdict.seconds:.1f} s")
    for failure in verdict.failures:
        click.echo(f"{name} FAILED: {failure}")
    for gap in verdict.unchecked:
        click.echo(f"{name} not checked: {gap}")


def _summary(verdicts: Sequence[Verdict], failed: Sequence[str], solvers: Sequence[str]) -> None:
    controls = sum(len(verdict.witnesses) for verdict in verdicts)
    problems = sum(len(verdict.problems) for verdict in verdicts)
    seconds = sum(verdict.seconds for verdict in verdicts)
    asked = " and ".join(solvers) or "no solver"
    click.echo(
        f"{len(verdicts) - len(failed)} of {len(verdicts)} theorems hold, {controls} wrong variants refuted, "
        f"{problems} SMT problems put to {asked}; {seconds:.1f} s"
    )
    if failed:
        click.echo(f"failed: {', '.join(failed)}")


def _formal(output: Path) -> bool:
    """Whether Coq refuses a script, or there is none."""
    scripts = sorted((output / "coq").glob("*.v"))
    if not scripts:
        click.echo(f"no script to check in {output / 'coq'}", err=True)
        return True
    for script in scripts:
        try:
            click.echo(f"Coq      {check_script(script)}")
        except CoqError as error:
            click.echo(f"Coq      FAILED: {error}")
            return True
    return False


def _publish(verdicts: Sequence[Verdict], solvers: Sequence[str], output: Path) -> list[str]:
    """Write the pages of what was fully checked; say what was left as it was."""
    complete = [verdict for verdict in verdicts if not verdict.unchecked]
    pages = files(complete, cited_by())
    if len(complete) == len(THEOREMS):
        pages[TIMES] = times_page(complete, solvers)
    with writing("the proofs", output):
        for path, text in pages.items():
            target = output / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
    if complete:
        click.echo(f"{len(complete)} pages written to {output}")
    kept = [verdict.theorem.id for verdict in verdicts if verdict.unchecked]
    if kept:
        click.echo(f"pages left as they were, for want of a solver: {', '.join(kept)}")
    return []


def _compare(verdicts: Sequence[Verdict], output: Path) -> list[str]:
    expected = files(verdicts, cited_by())
    differ = [path for path, text in expected.items() if _read(output / path) != text]
    if len(verdicts) == len(THEOREMS):
        there = {str(path.relative_to(output)) for path in output.rglob("*") if path.suffix in (".md", ".smt2")}
        differ += sorted(there - set(expected) - {TIMES})
    for path in differ:
        click.echo(f"{output / path} does not match the code; `convverify prove` writes it anew", err=True)
    return differ


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def cited_by() -> dict[str, list[str]]:
    """For each theorem the properties that cite it, as far as this build has properties."""
    catalogue = getattr(import_module("convverify.properties"), "CATALOGUE", ())
    found: dict[str, list[str]] = defaultdict(list)
    for prop in catalogue.values() if isinstance(catalogue, dict) else catalogue:
        for identifier in prop.cites:
            found[identifier].append(prop.name)
    return {identifier: sorted(names) for identifier, names in found.items()}
