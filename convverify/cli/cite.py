"""`convverify cite`: how to refer to a theorem."""

from __future__ import annotations

import difflib

import click

from convverify import __version__
from convverify.cli.options import refuse
from convverify.theorem_ids import THEOREM_IDS


@click.command("cite")
@click.argument("identifier", metavar="ID")
def command(identifier: str) -> None:
    """Print a citation of a theorem: as text, and for BibTeX."""
    known = _known(identifier.upper())
    click.echo(text(known))
    click.echo()
    click.echo(bibtex(known))


def _known(identifier: str) -> str:
    if identifier not in THEOREM_IDS:
        near = difflib.get_close_matches(identifier, THEOREM_IDS, 3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(THEOREM_IDS)}"
        refuse(f"no theorem is called {identifier!r}; {hint}")
    return identifier


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
