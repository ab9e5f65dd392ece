"""`convverify cite`: how to refer to a theorem."""

from __future__ import annotations

import click

from convverify import __version__
from convverify.cli.options import refuse
from convverify.theorem_ids import THEOREM_IDS


@click.command("cite")
@click.argument("identifier", metavar="ID")
def command(identifier: str) -> None:
    """Print a citation of a theorem: as text, and for BibTeX."""
    if identifier not in THEOREM_IDS:
        refuse(f"no theorem is called {identifier!r}; there are {', '.join(THEOREM_IDS)}")
    click.echo(text(identifier))
    click.echo()
    click.echo(bibtex(identifier))


def text(identifier: str) -> str:
    """The citation in running text."""
    place = f"proofs/{identifier}.md"
    return f"Theorem {identifier} of convverify {__version__} ({place}): {THEOREM_IDS[identifier]}"


def bibtex(identifier: str) -> str:
    """The citation as a BibTeX entry."""
    statement = THEOREM_IDS[identifier].replace("^", r"\^{}").replace("_", r"\_")
    fields = {
        "title": f"{{Theorem {identifier}}}: {statement}",
        "author": "{The convverify authors}",
        "howpublished": f"convverify {__version__}, proofs/{identifier}.md",
        "note": f"Machine-checked; recheck with: convverify prove {identifier}",
        "version": __version__,
    }
    body = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
    return f"@misc{{convverify-{identifier.lower()},\n{body}\n}}"
