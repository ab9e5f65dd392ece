"""Proofs on one geometry at a time: the closed forms have the polynomials that the definition has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sympy.polys.rings import PolyElement

from convverify import definition
from convverify.derivation.forms import Forms
from convverify.derivation.geometries import small_first
from convverify.derivation.ring_arrays import (
    RING,
    RingArray,
    RingArrays,
    collected,
    named,
    pairing,
    partials,
)
from convverify.geometry import ConvGeometry

XP = RingArrays()
Differences = Iterator[str]
SHOWN_TERMS = 6


def trilinear(geometry: ConvGeometry) -> PolyElement:
    """T(x, k, g) + <bias, g> of the definition, as one polynomial."""
    x, k, g, b = _arrays(geometry)
    total = _sum_of_taps(geometry, x, k, g)
    for index in definition.indices(geometry.output_shape):
        for exponents, value in (b[(index[1],)] * g[index]).items():
            total[exponents] = total.get(exponents, 0) + value
    return total


def first_order(geometry: ConvGeometry, forms: Forms) -> Differences:
    """What differs between the closed forms and the derivatives of the definition."""
    x, k, g, _b = _arrays(geometry)
    total = trilinear(geometry)
    unbiased = _sum_of_taps(geometry, x, k, g)
    compared = (
        ("forward", forms.forward, (x, k), partials(unbiased, "g", geometry.output_shape)),
        ("grad_input", forms.grad_input, (g, k), partials(total, "x", geometry.input_shape)),
        ("grad_weight", forms.grad_weight, (x, g), partials(total, "k", geometry.weight_shape)),
        ("grad_bias", forms.grad_bias, (g,), partials(total, "b", (geometry.out_channels,))),
    )
    for name, form, arguments, expected in compared:
        yield from _differences(name, lambda f=form, a=arguments: f(XP, geometry, *a), expected)


def second_order(geometry: ConvGeometry, forms: Forms) -> Differences:
    """What differs between the derivatives of the gradients and the double-backward formulas.

    u and v are the cotangents of grad_input and of grad_weight.
    """
    x, k, g, _ = _arrays(geometry)
    u, v = named("u", geometry.input_shape), named("v", geometry.weight_shape)
    try:
        grad_input = forms.grad_input(XP, geometry, g, k)
        grad_weight = forms.grad_weight(XP, geometry, x, g)
    except ValueError as error:
        yield f"the gradients cannot be computed: {error}"
        return
    total = pairing(u, grad_input) + pairing(v, grad_weight)
    compared = (
        ("by grad_output", "g", geometry.output_shape,
         lambda: _plus(forms.forward(XP, geometry, u, k), forms.forward(XP, geometry, x, v))),
        ("by weight", "k", geometry.weight_shape, lambda: forms.grad_weight(XP, geometry, u, g)),
        ("by input", "x", geometry.input_shape, lambda: forms.grad_input(XP, geometry, g, v)),
    )  # fmt: skip
    for name, by, shape, form in compared:
        yield from _differences(name, form, partials(total, by, shape))


def witness(
    forms: Forms, order: int = 1, only: str = "", geometries: Iterable[ConvGeometry] | None = None
) -> tuple[ConvGeometry, str] | None:
    """The first geometry on which something differs, small ones first, and what differs there.

    `only` limits it to one closed form.
    """
    differ = first_order if order == 1 else second_order
    for geometry in small_first(3) if geometries is None else geometries:
        for difference in differ(geometry, forms):
            if difference.startswith(only):
                return geometry, difference
    return None


def _arrays(geometry: ConvGeometry) -> tuple[RingArray, RingArray, RingArray, RingArray]:
    return (
        named("x", geometry.input_shape),
        named("k", geometry.weight_shape),
        named("g", geometry.output_shape),
        named("b", (geometry.out_channels,)),
    )


def _sum_of_taps(geometry: ConvGeometry, x: RingArray, k: RingArray, g: RingArray) -> PolyElement:
    return collected((x[u] * k[a], g[o]) for o, a, u in definition.taps(geometry))


def _plus(one: RingArray, other: RingArray) -> RingArray:
    return RingArray(one.shape, {index: one[index] + other[index] for index in {*one.cells, *other.cells}})


def _differences(name: str, form: object, expected: RingArray) -> Differences:
    try:
        actual: RingArray = form()  # type: ignore[operator]
    except (ValueError, ZeroDivisionError) as error:
        yield f"{name} cannot be computed: {error}"
        return
    if actual.shape != expected.shape:
        yield f"{name} has shape {list(actual.shape)}, not {list(expected.shape)}"
        return
    for index in definition.indices(expected.shape):
        if actual[index] != expected[index]:
            place = ",".join(map(str, index))
            yield f"{name}[{place}] = {words(actual[index])}, not {words(expected[index])}"
            return


def words(polynomial: PolyElement) -> str:
    """The polynomial with elements by row-major place: x0*k1 + x1*k2; of many terms the first few."""
    terms = []
    for exponents, coefficient in sorted(polynomial.items())[:SHOWN_TERMS]:
        factors = [
            f"{generator}{exponents[at]}" if exponents[at + 1] == 1 else f"{generator}^{exponents[at + 1]}"
            for at, generator in ((2 * place, name) for place, name in enumerate("xkgbuv"))
            if exponents[at + 1]
        ]
        terms.append(("" if coefficient == 1 else f"{coefficient}*") + ("*".join(factors) or "1"))
    more = len(polynomial) - SHOWN_TERMS
    return (" + ".join(terms) or "0") + (f" + {more} more terms" if more > 0 else "")


assert RING.ngens == 12  # words() lists the generators by hand
