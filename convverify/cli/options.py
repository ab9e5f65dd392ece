"""What the commands share: options, and how a request is refused."""

from __future__ import annotations

from typing import NoReturn

import click

BUDGET = click.option(
    "--budget", default="standard", show_default=True, type=click.Choice(("quick", "standard", "thorough")),
    help="How much to spend: about 5 s, 30 s, 10 min.",
)  # fmt: skip
DEVICE = click.option(
    "--device", default="cpu", show_default=True, type=click.Choice(("cpu", "cuda", "auto")),
    help="Where to run; auto is all there are, and an absent device is reported as not run.",
)  # fmt: skip


def refuse(message: str) -> NoReturn:
    """End with exit code 2 and one clear line on stderr."""
    click.echo(f"convverify: {' '.join(message.split())}", err=True)
    raise SystemExit(2)
