"""`convverify mutants`: verify the verifier."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress

from convverify import __version__, kill_matrix, measuring
from convverify.cli.options import budget_option, must_be_writable, refuse, writing
from convverify.kill_matrix import Entry
from convverify.report import mutants


@click.command()
@click.argument("names", nargs=-1)
@budget_option(default="quick")
@click.option("--seed", default=0, show_default=True, help="Both halves of the seeds.")
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(min=1), help="Processes at once.")
@click.option("--controls/--no-controls", default=True, help="Whether the controls are verified, too.")
@click.option("--fail-fast", is_flag=True, help="Only the first property that catches one, which is faster.")
@click.option("--write", is_flag=True, help="Keep what is measured in the package's matrix, and publish its page.")
@click.option("--out", default="reports/mutants", show_default=True, type=click.Path(path_type=Path),
              help="Where --write publishes the page.")  # fmt: skip
def command(
    names: tuple[str, ...], budget: str, seed: int, jobs: int, controls: bool, fail_fast: bool, write: bool, out: Path
) -> None:
    """Verify operators that are wrong on purpose, and the controls that are right.

    Prints which properties catch each mutant and how fast, which catch one alone and which catch nothing, and
    any control that is blamed. Ctrl-C ends it and shows what was measured so far.

    \b
    convverify mutants kernel_flipped loop_over_taps    these two
    convverify mutants kernel_flipped --write           its row of the matrix again
    convverify mutants --write                          the whole matrix: 45 minutes on two cores

    Exit code: 0 all mutants caught and no control blamed, 1 otherwise, 3 interrupted.
    """
    from convverify.mutants import CONTROLS, MUTANTS  # noqa: PLC0415
    from convverify.properties import CATALOGUE  # noqa: PLC0415

    known = {m.name: "mutant" for m in MUTANTS} | {c.name: "control" for c in CONTROLS}
    for name in names:
        if name not in known:
            refuse(f"there is no mutant or control {name!r}; reports/mutants/report.md lists them")
    wanted = {name: known[name] for name in names or known if controls or known[name] == "mutant"}
    if not wanted:
        refuse(f"--no-controls leaves nothing to verify: {', '.join(names)} are controls")
    if write:
        _must_be_keepable(bool(names), budget, controls, fail_fast, out)
    found: dict[str, list[Entry]] = {"mutant": [], "control": []}
    interrupted = not _measure(wanted, found, budget, seed, jobs, fail_fast)
    properties = [prop.name for prop in CATALOGUE]
    _show(found["mutant"], found["control"], [] if names or fail_fast or interrupted else properties)
    if interrupted:
        click.echo(f"interrupted after {sum(map(len, found.values()))} of {len(wanted)}; nothing was written", err=True)
        sys.exit(3)
    if write:
        matrix = kill_matrix.table(found["mutant"], found["control"], properties, budget, __version__)
        if names:
            matrix = kill_matrix.merged(kill_matrix.kept(), matrix, known)
        _keep(matrix, out)
    sys.exit(1 if kill_matrix.survivors(found["mutant"]) or kill_matrix.blamed(found["control"]) else 0)


def _keep(matrix: dict[str, Any], folder: Path) -> None:
    with writing("the matrix", kill_matrix.MATRIX):
        kill_matrix.MATRIX.write_text(json.dumps(matrix, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    with writing("its page", folder):
        page = mutants.write(folder)
    click.echo(f"wrote {kill_matrix.MATRIX} and {page}")


def _must_be_keepable(a_part: bool, budget: str, controls: bool, fail_fast: bool, out: Path) -> None:
    """Refuse what would leave something out of the matrix, mix budgets in it, or not be written in the end."""
    if fail_fast or not (a_part or controls):
        refuse("--write keeps all that catches a mutant, and controls with the mutants: leave nothing out")
    if a_part and budget != (kept := kill_matrix.kept()["budget"]):
        refuse(f"--write puts rows into a matrix of the {kept} budget, not of {budget}: name none to write it anew")
    must_be_writable("the matrix", kill_matrix.MATRIX.parent)
    must_be_writable("its page", out)


def _measure(
    wanted: dict[str, str], found: dict[str, list[Entry]], budget: str, seed: int, jobs: int, fail_fast: bool
) -> bool:
    """Measure what is wanted, by name and kind; whether all is found."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("verifying", total=len(wanted))
        try:
            for kind, entries in found.items():
                chosen = [name for name in wanted if wanted[name] == kind]
                for done in measuring.measure(chosen, kind, budget, seed, jobs, fail_fast):
                    entries.append(done)
                    bar.update(task, advance=1, description=done.name)
        except KeyboardInterrupt:
            return False
    return True


def _show(mutants: list[Entry], controls: list[Entry], properties: list[str]) -> None:
    for e in sorted(mutants, key=lambda e: e.name):
        first = f"{e.seconds_to_kill:5.1f} s  {', '.join(e.caught_by[:4])}" if e.caught_by else "   NOT CAUGHT"
        more = f" and {len(e.caught_by) - 4} more" if len(e.caught_by) > 4 else ""
        click.echo(f"{e.name:46} {first}{more}")
    for e in sorted(controls, key=lambda e: e.name):
        blame = f"  blamed by {', '.join(e.caught_by)}" if e.caught_by else ""
        click.echo(f"{e.name:46} {e.outcome}{blame}")
    if mutants:
        lost = kill_matrix.survivors(mutants)
        click.echo(f"\n{len(mutants) - len(lost)} of {len(mutants)} mutants caught; not: {', '.join(lost) or 'none'}")
        if properties:  # all were asked, of all mutants
            for prop, names in kill_matrix.caught_alone(mutants).items():
                click.echo(f"caught by {prop} alone: {', '.join(names)}")
            idle = kill_matrix.catching_nothing(mutants, properties)
            click.echo(f"properties that caught nothing: {', '.join(idle) or 'none'}")
    if controls:
        wrong = kill_matrix.blamed(controls)
        click.echo(f"{len(controls)} controls, {len(wrong)} blamed: {', '.join(wrong) or 'none'}")
