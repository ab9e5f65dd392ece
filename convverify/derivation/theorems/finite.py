"""One geometry at a time, as polynomials: FIN-1 and FIN-2."""

from __future__ import annotations

from functools import partial

from convverify.derivation import forms
from convverify.derivation.geometries import CHOSEN, sampled
from convverify.derivation.index_sum import ProofError
from convverify.derivation.instances import first_order, second_order
from convverify.derivation.markdown import display
from convverify.derivation.theorem import Check, Control, Theorem
from convverify.derivation.theorems.common import smallest
from convverify.geometry import ConvGeometry

ARTICLE = ConvGeometry.parse("n2 c4->6 i10x10 k5x5 s1x1 p0x0 d1x1 g1")
FIRST_ORDER, SECOND_ORDER = 200, 50
WRONG = (
    forms.NO_ROTATION, forms.PAD_UNDILATED, forms.NO_REMAINDER, forms.NO_ZEROS, forms.UNCROPPED,
    forms.UNEXCHANGED, forms.CROPPED_IN_FRONT, forms.PAD_BEHIND, forms.GROUPS_TRANSPOSED, forms.SHORT_BIAS,
)  # fmt: skip
WRONG_TWICE = (forms.NO_ROTATION, forms.UNCROPPED, forms.TURNED_FORWARD)


def first_order_geometries() -> list[ConvGeometry]:
    """The geometries of FIN-1."""
    return [*sampled(FIRST_ORDER - 1, seed=1, products=3000), ARTICLE]


def second_order_geometries() -> list[ConvGeometry]:
    """The geometries of FIN-2."""
    return sampled(SECOND_ORDER, seed=2, products=1500)


def _first() -> str:
    geometries = first_order_geometries()
    for geometry in geometries:
        for difference in first_order(geometry, forms.shipped()):
            raise ProofError(f"{geometry}: {difference}")
    return f"{len(geometries)} geometries, {sum(map(_products, geometries))} products: no polynomial differs"


def _second() -> str:
    geometries = second_order_geometries()
    for geometry in geometries:
        for difference in second_order(geometry, forms.shipped()):
            raise ProofError(f"{geometry}: {difference}")
    return f"{len(geometries)} geometries, {sum(map(_products, geometries))} products: no polynomial differs"


def _products(geometry: ConvGeometry) -> int:
    return geometry.products


def _listed(geometries: list[ConvGeometry]) -> str:
    lines = "\n".join(map(str, geometries))
    return (
        f"{len(CHOSEN)} geometries are chosen for what they combine (remainders on both axes, K = H, K > "
        f"H, S > K, "
        "P > K, 'same' with even kernels, depthwise, one and three axes, an empty batch), and the others "
        "drawn:\n\n"
        f"<details><summary>all of them</summary>\n\n```\n{lines}\n```\n\n</details>"
    )


FINITE = (
    Theorem(
        id="FIN-1", title="Formulas and definition have the same polynomials",
        statement=display(
            r"\text{forward} = \frac{\partial T}{\partial g},\quad \text{grad\_input} = \frac{\partial "
            r"T}{\partial x},\quad "
            r"\text{grad\_weight} = \frac{\partial T}{\partial k},\quad \text{grad\_bias} = "
            r"\frac{\partial T}{\partial b},\qquad "
            r"T = \sum_{\text{taps}} x[u]\,k[a]\,g[o] + \sum_{n,c,o} b[c]\,g[n,c,o]"
        ),
        method="SymPy's polynomial rings over the integers: every element of every array is a symbol of its "
        "own, the definition is the code of `definition.py`, the formulas are the code of `formulas.py`.",
        derivation=lambda: "On one geometry $`T`$ is a polynomial with finitely many terms, all of degree 1 "
        "in each symbol; its partial derivatives are read off, and each element of each closed form, run on "
        "the same symbols, must be the same polynomial: equal for all real (or complex, or integer) values "
        "at once. "
        + _listed(first_order_geometries()),
        checks=(Check(f"{FIRST_ORDER} geometries, the article's own among them", _first),),
        controls=tuple(
            Control(f"{wrong.slot}: {wrong.fault}", partial(smallest, wrong)) for wrong in WRONG
        ),
    ),
    Theorem(
        id="FIN-2", title="The gradients' own derivatives have the same polynomials",
        statement=display(
            r"\frac{\partial T_2}{\partial g} = \text{conv}(u,k) + \text{conv}(x,v),\quad "
            r"\frac{\partial T_2}{\partial k} = \text{grad\_weight}(u,g),\quad "
            r"\frac{\partial T_2}{\partial x} = \text{grad\_input}(g,v),\qquad "
            r"T_2 = \langle u, \text{grad\_input}(g,k)\rangle + \langle v, \text{grad\_weight}(x,g)\rangle"
        ),
        method="SymPy's polynomial rings over the integers, with the code of `formulas.py` on both sides; "
        "that its first order is right is FIN-1.",
        derivation=lambda: "See DB-1 to DB-3 for why these are the double-backward formulas. "
        + _listed(second_order_geometries()),
        checks=(Check(f"{SECOND_ORDER} geometries", _second),),
        controls=tuple(
            Control(f"{wrong.slot}: {wrong.fault}", partial(smallest, wrong, order=2))
            for wrong in WRONG_TWICE
        ),
    ),
)  # fmt: skip
