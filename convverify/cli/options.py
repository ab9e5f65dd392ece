"""What the commands share: options, how a request is refused, and how a place is known to be writable."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import click

from convverify.budget import BUDGETS

DEVICE = click.option(
    "--device", default="cpu", show_default=True, type=click.Choice(("cpu", "cuda", "auto")),
    help="Where to run; auto: cpu and cuda. One that is absent is reported as not run.",
)  # fmt: skip
budget_option = functools.partial(
    click.option, "--budget", show_default=True, type=click.Choice(tuple(BUDGETS)),
    help=f"How long to search: {', '.join(f'{b.name} {b.seconds:g} s' for b in BUDGETS.values())}; loading adds to it.",
)  # fmt: skip


def refuse(message: str) -> NoReturn:
    """End with exit code 2 and one clear line on stderr."""
    click.echo(f"convverify: {' '.join(message.split())}", err=True)
    raise SystemExit(2)


@contextlib.contextmanager
def writing(what: str, place: Path) -> Iterator[None]:
    """Inside, a place that cannot be written to is refused."""
    try:
        yield
    except OSError as error:
        refuse(f"{what} cannot be written to {place}: {error.strerror}")


def must_be_writable(what: str, folder: Path) -> None:
    """Refuse before the work, not after it, and leave nothing behind."""
    with writing(what, folder), tempfile.TemporaryFile(dir=_nearest(folder.absolute())):
        pass


def _nearest(place: Path) -> Path:
    """The place, or what is there above it and it would be made in."""
    try:
        place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return _nearest(place.parent)
    return place
