"""`convverify graph`: the graph that autograd records, or the article's example."""

from __future__ import annotations

import os
from pathlib import Path

import click

from convverify.cli.options import must_be_writable, refuse, writing
from convverify.derivation.drawing import Drawing, svg
from convverify.geometry import ConvGeometry, GeometryError

SMALL = "n1 c1->1 i3x3 k2x2 s1x1 p0x0 d1x1 g1"


@click.command("graph")
@click.argument("target")
@click.argument("geometry", default=SMALL)
@click.option("--out", "--output", "output", type=click.Path(path_type=Path, dir_okay=False),
              help="Write here; a name that ends in .svg needs Graphviz's `dot`.")  # fmt: skip
def command(target: str, geometry: str, output: Path | None) -> None:
    """Draw the graph that autograd records for TARGET, in Graphviz's language or as SVG.

    TARGET is module:attribute or file.py:attribute, or 'article' for the worked example c = (3x^2)y.
    """
    if output is not None and not os.path.exists(output):
        must_be_writable("the graph", output.parent)
    dot = (_article() if target == "article" else _recorded(target, geometry)).dot()
    if output is None:
        click.echo(dot, nl=False)
        return
    text = svg(dot) if output.suffix == ".svg" else dot
    if text is None:
        refuse("SVG needs the program `dot` of Graphviz; write a .dot file in its place")
    with writing("the graph", output):
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    click.echo(f"written to {output}")


def _article() -> Drawing:
    from convverify.derivation.computational_graph import (  # noqa: PLC0415  imports sympy
        LEAVES,
        C,
        article_example,
    )

    return article_example().drawing(LEAVES, C)


def _recorded(target: str, geometry: str) -> Drawing:
    import torch  # noqa: PLC0415  heavy

    from convverify.answers import OperatorError, Unsupported  # noqa: PLC0415  imports torch
    from convverify.derivation.autograd_graph import autograd_drawing  # noqa: PLC0415  used here only
    from convverify.loading import load  # noqa: PLC0415  imports torch
    from convverify.target import TargetError  # noqa: PLC0415  imports torch

    try:
        sizes = ConvGeometry.parse(geometry)
        leaves = {
            name: torch.ones(shape, dtype=torch.float64, requires_grad=True)
            for name, shape in (("input", sizes.input_shape), ("weight", sizes.weight_shape))
        }
        output = load(target)(
            leaves["input"], leaves["weight"], None, sizes.stride, sizes.padding, sizes.dilation, sizes.groups
        )
    except (GeometryError, TargetError, Unsupported, OperatorError) as error:
        refuse(str(error))
    return autograd_drawing({"output": output}, leaves)
