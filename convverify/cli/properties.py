"""`convverify properties`: the catalogue."""

from __future__ import annotations

import itertools
import json
import shutil

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def command(as_json: bool) -> None:
    """List the properties by family: what each states, the theorems it rests on, a mutant that it catches."""
    from convverify.properties import CATALOGUE  # noqa: PLC0415 - imports torch

    if as_json:
        rows = [
            {"name": p.name, "family": p.family, "statement": p.statement, "cites": p.cites, "kills": p.kills}
            for p in CATALOGUE
        ]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    width = min(shutil.get_terminal_size().columns, 110)
    click.echo(f"{len(CATALOGUE)} properties")
    for family, members in itertools.groupby(CATALOGUE, lambda prop: prop.family):
        click.secho(f"\n{family}", bold=True)
        for prop in members:
            click.echo(f"  {prop.name}")
            for line in (prop.statement, f"rests on {', '.join(prop.cites)}; catches {prop.kills}"):
                click.echo(click.wrap_text(line, width, " " * 4, " " * 4))
