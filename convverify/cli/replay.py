"""`convverify replay`: one case of one property again."""

from __future__ import annotations

import sys

import click

from convverify.cli.options import refuse
from convverify.cli.verify import SHIPPED, run_with_progress, show
from convverify.isolation import Request


@click.command()
@click.argument("line")
@click.argument("target", default=SHIPPED)
@click.option("--domain", default="", help="What the operator claims to support.")
def command(line: str, target: str, domain: str) -> None:
    """Check the one case that LINE names on TARGET (the shipped operator, where none is given).

    \b
    convverify replay 'forward_equals_torch: n1 c1->1 i5x2 k2x2 s1x1 p0x0 d1x1 g1 float64 cpu \\
      layout=contiguous values=integers seed=0' my_ops.py:conv

    \b
    Exit code:
      0  the property holds there
      1  it does not
      2  cannot be carried out
      3  inconclusive: not run, unsupported, or as torch itself fails there
    """
    name, colon, case = line.partition(":")
    if not colon or " " in name.strip():
        refuse(f"{line!r} is not of the form 'property: case', as a counterexample's line is")
    run = run_with_progress(
        Request(target, domain=domain, properties=(name.strip(),), case=case.strip(), secret_seed=0)
    )
    show(run)
    sys.exit(run.exit_code)
