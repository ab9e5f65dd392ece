"""`convverify lenet`: the article's experiment."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from convverify.cli.options import must_be_writable, refuse, writing
from convverify.experiments import report
from convverify.experiments.record import Record, Settings, Verdict

if TYPE_CHECKING:
    from convverify.experiments.mnist import Mnist

COLOURS = {
    Verdict.AGREE: "green",
    Verdict.DISAGREE: "bold red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.INTERRUPTED: "yellow",
}
EXIT_CODES = {Verdict.AGREE: 0, Verdict.DISAGREE: 1, Verdict.INCONCLUSIVE: 3, Verdict.INTERRUPTED: 3}
VARIANTS = tuple(report.LAYERS)
EXITS = """\b
Exit code:
  0  all variants agree with nn.Conv2d
  1  one does not: at the same weights a loss or gradient is outside the bound that torch's own
     rounding gives, or the mean accuracy differs by more than 0.2 points plus its uncertainty
  2  cannot be carried out
  3  interrupted, or inconclusive: only the losses of the separate trainings are outside their
     bound, or the mean accuracy differs by more than 0.2 points, but not plus its uncertainty
"""


@click.command(epilog=EXITS)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="A folder with MNIST's four IDX files, plain or .gz  [default: download once]",
)
@click.option(
    "--epochs",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="How often all images are seen.",
)
@click.option("--subset", type=click.IntRange(min=1), help="Only the first N images, for a quick run.")
@click.option(
    "--variants",
    default=",".join(Settings.variants),
    show_default=True,
    help="What to train beside torch, which always runs.",
)
@click.option("--device", default="cpu", show_default=True, type=click.Choice(("cpu", "cuda")), help="Where to train.")
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0, 2**63 - 1),
    help="Of the weights and the order of the images.",
)
@click.option(
    "--decay",
    is_flag=True,
    help="Let the learning rate fall linearly to zero, so that the last steps move the accuracy less.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Where the report goes  [default: reports/lenet, or beside what is rendered]",
)
@click.option(
    "--render",
    "rendered",
    type=click.Path(path_type=Path),
    help="Train nothing: make the pages again from this report.json.",
)
def command(
    data: Path | None, epochs: int, subset: int | None, variants: str, device: str, seed: int, decay: bool,
    out: Path | None, rendered: Path | None,
) -> None:  # fmt: skip
    """Train the article's LeNet on MNIST with nn.Conv2d and with other convolutions, side by side.

    All start from the same weights and see the same batches; step i of every variant is run and timed one
    after another. The report holds the losses and the largest differences step by step, the accuracy, and the
    ratio of time to nn.Conv2d, beside the article's own table.

    \b
    The variants:
      torch          nn.Conv2d in both layers: the yardstick
      convverify     ours in both layers
      first          ours in the first layer only, as the article did
      article        the article's unfold and einsum in both layers (slow)
      article-first  the same in the first layer only

    \b
    convverify lenet --subset 6400                      a minute or two
    convverify lenet --data mnist/ --variants convverify  a whole epoch, ours only
    convverify lenet --render reports/lenet/report.json

    Ctrl-C ends it and writes the report of what was measured so far.

    Rounding alone moves the accuracy of one training by tenths of a point. A run on all images therefore trains torch
    and each variant four times more, each time with the channels renumbered and the images turned, which changes
    nothing but rounding. Judged is the mean difference of the five pairs, together with its uncertainty (99 %).
    """
    settings = Settings(epochs, subset, _chosen(variants), device, seed, decay)
    folder = out or (rendered.parent if rendered else Path("reports/lenet"))
    earlier = _read(rendered) if rendered else None
    must_be_writable("the report", folder)
    record = earlier or _train(settings, data)
    show(record)
    _write(record, folder)
    sys.exit(EXIT_CODES[record.verdict])


def _chosen(text: str) -> tuple[str, ...]:
    """The variants named, torch first."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in VARIANTS:
            refuse(f"--variants names {name!r}, must be among {', '.join(VARIANTS)}")
    return tuple(dict.fromkeys(("torch", *names)))


def _train(settings: Settings, folder: Path | None) -> Record:
    """Read the data and train, with a bar on stderr."""
    import torch  # noqa: PLC0415 - seconds, and neither --help nor --render needs it

    from convverify.experiments import download, lenet, mnist  # noqa: PLC0415 - likewise

    if settings.device == "cuda" and not torch.cuda.is_available():
        refuse("--device cuda: torch finds no CUDA device here")
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:26}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        data: Mnist = download.load_cached() if folder is None else mnist.load(folder)
        with Progress(*columns, console=console, transient=True) as bar:
            return lenet.train(settings, data, _shown_on(bar))
    except (mnist.DataError, lenet.NothingMeasuredError) as error:
        refuse(str(error))
    except KeyboardInterrupt:
        refuse("interrupted before the first step was over")
    except torch.OutOfMemoryError as error:
        refuse(f"--device {settings.device} has too little memory for these variants: {error}")


def _write(record: Record, folder: Path) -> None:
    with writing("the report", folder):
        files = report.write(record, folder)
    click.echo(f"report: {', '.join(map(str, files))}")
    if not any(file.name == report.FIGURE for file in files):
        click.echo("no curves: they need matplotlib, which convverify[plot] brings", err=True)


def _shown_on(bar: Progress) -> Callable[[str, int, int], None]:
    task = bar.add_task("starting", total=None)
    return lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


def _read(file: Path) -> Record:
    try:
        return Record.from_json(file.read_text(encoding="utf-8"))
    except OSError as error:
        refuse(f"{file} cannot be read: {error.strerror}")
    except ValueError as error:
        refuse(f"{file}: {error}")


def show(record: Record) -> None:
    """The verdict as a table."""
    console = Console()
    table = Table(title=f"LeNet on MNIST: {record.verdict}", title_style=COLOURS[record.verdict])
    headings = ("variant", "accuracy", "seconds", "ratio", "loss differs by", "of bound", "weights differ by")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "variant" else "right")
    for row in report.rows(record):
        accuracy = "–" if row.accuracy is None else f"{row.accuracy:.2f} %"
        table.add_row(
            row.name, accuracy, f"{row.seconds:.1f}", report.times(row.ratio),
            report.figures(row.early_loss_difference), report.times(row.share),
            report.figures(row.weight_difference),
        )  # fmt: skip
    console.print(table)
    for sentence in record.disagreements() + record.drifts():
        console.print(sentence, style="red", highlight=False, markup=False)
    if record.interrupted:
        console.print(f"interrupted after {record.steps} steps", style="yellow", highlight=False)
