"""`convverify verify`: verify an operator and write its report."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from convverify import report
from convverify.cli.options import DEVICE, budget_option, must_be_writable, refuse, writing
from convverify.isolation import Request, verify_isolated
from convverify.results import Outcome, Result, Run
from convverify.shapes import SHAPES
from convverify.supervision import RequestError

MOST_SHOWN = 3
SHIPPED = "convverify:conv2d"
COLOURS = {
    Outcome.PASSED: "green", Outcome.FALSIFIED: "bold red", Outcome.ERRORED: "bold red",
    Outcome.INEXACT: "yellow", Outcome.KNOWN_FAILURE: "yellow", Outcome.INCONCLUSIVE: "yellow",
}  # fmt: skip
DOMAIN = """\b
A domain is what the operator claims, with commas between:
  stride=1|2, kernel<=7  sizes compared with integers: batch, in_channels, out_channels,
                         groups, input_size, kernel, stride, padding, dilation
  stride!=1|2            neither of these
  dtype=float32|float64  these dtypes only
  square                 image, kernel and options are the same along both axes
  isotropic              options are the same along both axes, and given as one number
  pairs                  options are given as pairs, never as one number
  bias                   there is always a bias
  no bias                there is never one
  contiguous             operands lie in memory one element after another
  finite                 no NaN and no infinity is among the operands: these may spread
"""


@click.command(epilog=DOMAIN)
@click.argument("target", default=SHIPPED)
@budget_option(default="standard")
@DEVICE
@click.option("--seed", default=0, show_default=True,
              help="The public half of the seeds. A second, secret seed is drawn, and printed in the report, so that "
              "no operator can be tuned to the cases.")  # fmt: skip
@click.option("--secret-seed", type=int, help="Repeat a run with the secret seed that its report names.")
@click.option("--domain", default="", help="What the operator claims, such as 'square, stride=1, groups=1'; see below.")
@click.option("--property", "properties", multiple=True, help="Check only this property; may be repeated.")
@click.option("--shapes", default="", help=f"Check a network's layers instead of drawn cases: {', '.join(SHAPES)}.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first property that is falsified.")
@click.option("--jobs", type=click.IntRange(1), help="Processes that share the work.  [default: one a core, at most 2]")
@click.option("--out", type=click.Path(path_type=Path), help="Where the report goes  [default: reports/<name>]")
def command(
    target: str, budget: str, device: str, seed: int, secret_seed: int | None, domain: str,
    properties: tuple[str, ...], shapes: str, fail_fast: bool, jobs: int | None,
    out: Path | None,
) -> None:  # fmt: skip
    """Verify TARGET and write its report.

    TARGET is pkg.mod:attribute or path/to/file.py:attribute: a callable with the signature of
    torch.nn.functional.conv2d, options of which it may leave out or take by name alone, an autograd.Function
    class, or a module class like nn.Conv2d. Without it, the shipped operator is verified.

    \b
    convverify verify torch.nn.functional:conv2d --budget quick
    convverify verify my_ops.py:conv --domain 'square, stride=1|2, groups=1'

    \b
    Exit code:
      0  passed
      1  falsified, or broken on a case that it should support
      2  cannot be carried out
      3  inconclusive
    """
    folder = out or Path("reports") / folder_name(target, shapes)
    must_be_writable("the report", folder)
    request = Request(target, budget, device, seed, secret_seed, domain, properties, shapes, fail_fast, jobs=jobs)
    run = run_with_progress(request)
    show(run)
    with writing("the report", folder):
        files = report.write(run, folder)
    click.echo(f"report: {', '.join(map(str, files))}")
    sys.exit(run.exit_code)


def run_with_progress(request: Request) -> Run:
    """Verify in a process of its own, with a bar on stderr."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=None)

        def progress(result: Result, total: int) -> None:
            bar.update(task, advance=1, total=total, description=result.property)
            if result.outcome.is_failure:
                console.print(f"[red]✗[/red] {result.property}: {result.reason}", highlight=False, markup=True)

        try:
            return verify_isolated(request, progress)
        except RequestError as error:
            bar.stop()
            refuse(str(error))


def show(run: Run) -> None:
    """The verdict as a table, and what failed in full."""
    console = Console()
    table = Table(title=f"{run.operator}: {run.outcome}", title_style=COLOURS.get(run.outcome, ""), box=None)
    for heading in ("", "property", "outcome", "cases"):
        table.add_column(heading, no_wrap=True, justify="right" if heading == "cases" else "left")
    for result in run.results:
        colour = COLOURS.get(result.outcome, "dim")
        device = f" ({result.device})" if len(run.devices) > 1 else ""
        table.add_row(
            f"[{colour}]{report.MARKS[result.outcome]}[/]", result.property + device,
            f"[{colour}]{result.outcome}[/]", str(result.cases),
        )  # fmt: skip
    console.print(table)
    _show_reasons(run)
    failures = [result for result in run.results if result.counterexample]
    for place, result in enumerate(failures[:MOST_SHOWN]):
        show_counterexample(console, run, result, with_script=place == 0)
    if len(failures) > MOST_SHOWN:
        console.print(f"... and {len(failures) - MOST_SHOWN} more counterexamples in the report")
    counts = ", ".join(f"{n} {outcome}" for outcome in Outcome if (n := sum(r.outcome is outcome for r in run.results)))
    console.print(f"[bold]{run.outcome}[/] — {counts}; {run.elapsed_seconds:.1f} s", highlight=False)
    for device in dict.fromkeys(r.device for r in run.results if r.outcome is Outcome.NOT_RUN):
        why = next(r.reason for r in run.results if r.device == device and r.outcome is Outcome.NOT_RUN)
        click.echo(f"not run on {device}: {why}", err=True)


def show_counterexample(console: Console, run: Run, result: Result, with_script: bool) -> None:
    """One failure: the case, both values side by side, how to check it again, the script."""
    example = result.counterexample
    assert example is not None
    console.rule(f"[red]{result.property}[/]")
    console.print(result.statement, highlight=False, markup=False)
    console.print(f"\n{example.message}", style="bold", highlight=False, markup=False)
    for fault in example.behaves_like:
        console.print(f"behaves like: {fault}", style="bold", highlight=False, markup=False)
    if example.expected:
        sides = Table("expected", "actual", box=None)
        sides.add_row(example.expected.replace("[", r"\["), example.actual.replace("[", r"\["))
        console.print(sides)
    if example.readback:
        console.print(example.readback, highlight=False, markup=False)
    if not example.reproducible:
        console.print("It did not fail again on the same case.", style="yellow")
    again = ["convverify", "replay", example.line, run.operator, *(["--domain", run.domain] if run.domain else [])]
    click.echo(f"\n{shlex.join(again)}\n")
    if example.script and with_script:
        click.echo(example.script)


def folder_name(target: str, shapes: str = "") -> str:
    """The report folder's name for a target, and for the layers it was checked on."""
    place, _, attribute = target.rpartition(":")
    place = Path(place).stem if place.endswith(".py") else place
    return re.sub(r"[^\w.-]+", "-", f"{place}.{attribute}-{shapes}").strip("-.") or "report"


def _show_reasons(run: Run) -> None:
    """Why what did not pass did not, one line a reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for result in run.results:
        if result.outcome not in (Outcome.PASSED, Outcome.FALSIFIED, Outcome.ERRORED, Outcome.NOT_RUN):
            reasons.setdefault((result.outcome, result.reason), []).append(result.property)
    for (outcome, reason), names in reasons.items():
        click.echo(f"{outcome}: {', '.join(names)}\n    {reason}")
