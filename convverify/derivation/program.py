"""What a traced program computes, compared with the derivative of the definition; and its degrees.

Imports torch, through `traced` and `interpreter`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from sympy.polys.rings import PolyElement

from convverify.derivation.instances import trilinear, words
from convverify.derivation.interpreter import Algebra, Interpreter, UninitialisedError
from convverify.derivation.ring_arrays import RING, RingArray, collected, named, partials
from convverify.derivation.traced import Operator, trace
from convverify.geometry import ConvGeometry

Degrees = frozenset[tuple[int, ...]]
PARTS = ("output", "grad_input", "grad_weight", "grad_bias")
# of what, in (x, k, b, g), each term of a part must be a product
EXPECTED = {
    "output": {(1, 1, 0, 0), (0, 0, 1, 0)},
    "grad_input": {(0, 1, 0, 1)},
    "grad_weight": {(1, 0, 0, 1)},
    "grad_bias": {(0, 0, 0, 1)},
}


def _sum_of_polynomials(values: Iterable[PolyElement]) -> PolyElement:
    return collected((value, RING.one) for value in values)


def _union(values: Iterable[Degrees]) -> Degrees:
    return frozenset().union(*values)


def _products(pairs: Iterable[tuple[Degrees, Degrees]]) -> Degrees:
    return frozenset(
        tuple(map(sum, zip(one, other, strict=True)))
        for left, right in pairs
        for one, other in itertools.product(left, right)
    )


POLYNOMIALS: Algebra[PolyElement] = Algebra(RING.zero, RING, collected, _sum_of_polynomials)
DEGREES: Algebra[Degrees] = Algebra(
    frozenset(), lambda number: frozenset({(0, 0, 0, 0)}) if number else frozenset(), _products, _union
)


def degrees(operator: Operator, geometry: ConvGeometry, bias: bool = True) -> dict[str, Degrees]:
    """For each part, the degrees in (input, weight, bias, grad_output) of all terms that its graph can make.

    Raises:
        NotTraceableError: the operator cannot be traced, or has an operation that is opaque.
    """
    interpreter = Interpreter(DEGREES)
    inputs = []
    for place, shape in enumerate(_shapes(geometry)):
        unit = frozenset({tuple(int(place == other) for other in range(4))})
        count = _count(shape)
        inputs.append(interpreter.enter([unit] * count, shape))
    results = interpreter.run(trace(operator, geometry, bias), inputs)
    return {part: _union(interpreter.read(result)) for part, result in zip(PARTS, results, strict=False)}


def degree_fault(operator: Operator, geometry: ConvGeometry, bias: bool = True) -> str | None:
    """A part with a term of a degree that it must not have; None certifies the program as bilinear."""
    try:
        parts = degrees(operator, geometry, bias)
    except UninitialisedError as error:
        return str(error)
    for part, found in parts.items():
        wrong = sorted(found - EXPECTED[part])
        if wrong:
            return f"{part} has a term of degree {wrong[0]} in (input, weight, bias, grad_output)"
    return None


def difference(operator: Operator, geometry: ConvGeometry, bias: bool = True) -> str | None:
    """Where the program, run on polynomials, is not the definition or its derivative.

    Raises:
        NotTraceableError: the operator cannot be traced, or has an operation that is opaque.
    """
    interpreter = Interpreter(POLYNOMIALS)
    inputs = [
        interpreter.enter(list(named(name, shape).cells.values()), shape)
        for name, shape in zip("xkbg", _shapes(geometry), strict=True)
    ]
    try:
        results = interpreter.run(trace(operator, geometry, bias), inputs)
        values = [interpreter.read(result) for result in results]
    except UninitialisedError as error:
        return str(error)
    total = trilinear(geometry)
    if not bias:
        total = RING.from_dict({term: value for term, value in total.items() if not term[7]})
    for part, result, computed, by, shape in zip(
        PARTS, results, values, "gxkb", (geometry.output_shape, *_shapes(geometry)[:3]), strict=False
    ):
        if tuple(result.shape) != shape:
            return f"{part} has shape {list(result.shape)}, not {list(shape)}"
        expected = partials(total, by, shape)
        for index, value in zip(named(by, shape).cells, computed, strict=True):
            if value != expected[index]:
                place = ",".join(map(str, index))
                return f"{part}[{place}] = {words(value)}, not {words(expected[index])}"
    return None


def _shapes(geometry: ConvGeometry) -> tuple[tuple[int, ...], ...]:
    return geometry.input_shape, geometry.weight_shape, (geometry.out_channels,), geometry.output_shape


def _count(shape: tuple[int, ...]) -> int:
    return len(RingArray(shape, named("x", shape).cells).cells)
