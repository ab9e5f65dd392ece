"""`convverify properties`: the catalogue."""

from __future__ import annotations

import json

import click
from rich.console import Console
from rich.table import Table


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def command(as_json: bool) -> None:
    """List the properties: what each states, the theorems it rests on, a mutant that it catches."""
    from convverify.properties import CATALOGUE  # noqa: PLC0415 - imports torch

    if as_json:
        rows = [
            {"name": p.name, "family": p.family, "statement": p.statement, "cites": p.cites, "kills": p.kills}
            for p in CATALOGUE
        ]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    table = Table(title=f"{len(CATALOGUE)} properties")
    for heading in ("family", "property", "statement", "rests on", "catches"):
        table.add_column(heading, overflow="fold")
    for prop in CATALOGUE:
        table.add_row(prop.family, prop.name, prop.statement, ", ".join(prop.cites), prop.kills)
    Console().print(table)
