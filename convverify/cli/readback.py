"""`convverify readback`: what an operator computes, as polynomials."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from convverify.cli.options import refuse
from convverify.geometry import ConvGeometry, GeometryError

if TYPE_CHECKING:
    from convverify.derivation.readback import Readback

WRONG = 1


@click.command("readback")
@click.argument("target")
@click.argument("geometry")
@click.option("--only-wrong", is_flag=True, help="Print only what differs from the definition.")
def command(target: str, geometry: str, only_wrong: bool) -> None:
    """Print what TARGET computes on a small GEOMETRY, beside the definition, and what its graph certifies.

    TARGET is module:attribute or file.py:attribute; GEOMETRY is one line such as
    'n1 c1->1 i3x3 k2x2 s1x1 p0x0 d1x1 g1'. Exit code 0: all as defined. 1: something
    differs, or nothing could be read back. 2: a bad request.
    """
    sizes = _geometry(geometry)
    from convverify.derivation.readback import ReadbackError, readback  # noqa: PLC0415  imports torch
    from convverify.loading import load  # noqa: PLC0415  imports torch
    from convverify.target import TargetError  # noqa: PLC0415  imports torch

    try:
        operator = load(target)
        result = readback(operator, sizes)
    except (TargetError, ReadbackError) as error:
        refuse(str(error))
    if result.notes and not result.rows:
        click.echo(_why_nothing(result))
        raise SystemExit(WRONG)
    for line in result.lines(only_wrong):
        click.echo(line)
    click.echo(f"{len(result.rows) - len(result.wrong)} of {len(result.rows)} elements are as defined")
    click.echo(_certificate(operator, sizes))
    if not result.right:
        raise SystemExit(WRONG)


def _geometry(text: str) -> ConvGeometry:
    try:
        return ConvGeometry.parse(text)
    except GeometryError as error:
        refuse(str(error))


def _why_nothing(result: Readback) -> str:
    """Every part has failed: the reasons, each once."""
    reasons = dict.fromkeys(note.partition(": ")[2] for note in result.notes)
    size = result.geometry.input_size
    axes = "" if len(size) == 2 else f" (on input_size={size}; conv2d has two axes)"
    return f"nothing could be read back{axes}: {'; '.join(reasons)}"


def _certificate(operator: object, geometry: ConvGeometry) -> str:
    """What the operator's traced graph shows, if it can be traced."""
    from convverify.derivation.program import degree_fault, difference  # noqa: PLC0415  imports torch
    from convverify.derivation.traced import NotTraceableError  # noqa: PLC0415  imports torch

    try:
        fault = degree_fault(operator, geometry, bias=False)  # type: ignore[arg-type]
        if fault is not None:
            return f"its graph is not that of a bilinear map: {fault}"
        found = difference(operator, geometry, bias=False)  # type: ignore[arg-type]
    except NotTraceableError as error:
        return f"its graph shows nothing: {error}"
    if found is not None:
        return f"its graph, run on polynomials, differs: {found}"
    return "its graph is certified: bilinear, and equal to the definition and its derivatives as polynomials"
