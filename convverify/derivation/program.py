"""What a traced program computes, compared with the derivative of the definition; and its degrees.

Imports torch, through `traced` and `interpreter`.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import lru_cache

import torch
from sympy.polys.rings import PolyElement
from torch import Tensor

from convverify.derivation.entries import Algebra, UninitialisedError
from convverify.derivation.instances import trilinear, words
from convverify.derivation.interpreter import Interpreter
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

Kernel = Callable[[ConvGeometry, Tensor, Tensor, torch.memory_format, int], Tensor]
# the operands of each map, and by what T(x, k, g) is differentiated
MAPS = {"forward": ("x", "k", "g"), "grad_input": ("g", "k", "x"), "grad_weight": ("x", "g", "k")}
# Memory formats, and bytes of scratch with which a formulation works row by row, in pieces with a rest, on all at once.
CALLS = ((torch.contiguous_format, 1), (torch.contiguous_format, 700), (torch.channels_last, 1 << 22))


def _sum_of_polynomials(values: Iterable[PolyElement]) -> PolyElement:
    total: dict[tuple[int, ...], int] = defaultdict(int)
    for value in values:
        for exponents, coefficient in value.items():
            total[exponents] += coefficient
    return RING.from_dict(total)


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
    expected = _derivatives(geometry, bias)
    for part, result, computed, by in zip(PARTS, results, values, "gxkb", strict=False):
        found = _mismatch(part, result, computed, expected[by])
        if found is not None:
            return found
    return None


def map_difference(kernel: Kernel, name: str, geometry: ConvGeometry) -> str | None:
    """Where one formulation of a map, run by itself on polynomials, is not the derivative of the definition.

    Raises:
        NotTraceableError: it does an operation that is opaque.
    """
    *operands, by = MAPS[name]
    expected = _derivatives(geometry)
    shapes = [expected[operand].shape for operand in operands]
    first, second = (torch.empty(shape, dtype=torch.float64, device="meta") for shape in shapes)
    for layout, limit in CALLS:
        format = layout if geometry.spatial == 2 else torch.contiguous_format
        # What reads values, by whatever way, fails on tensors that have none.
        kernel(geometry, first, second, format, limit)
        interpreter = Interpreter(POLYNOMIALS)
        inputs = [
            interpreter.enter(list(named(operand, shape).cells.values()), shape).contiguous(memory_format=format)
            for operand, shape in zip(operands, shapes, strict=True)
        ]
        try:
            result = interpreter.follow(lambda a, b, how=(format, limit): kernel(geometry, a, b, *how), inputs)
            found = _mismatch(name, result, interpreter.read(result), expected[by])
        except UninitialisedError as error:
            return str(error)
        if found is not None:
            return found
    return None


def _mismatch(part: str, result: Tensor, computed: Iterable[PolyElement], expected: RingArray) -> str | None:
    if tuple(result.shape) != expected.shape:
        return f"{part} has shape {list(result.shape)}, not {list(expected.shape)}"
    for index, value in zip(itertools.product(*map(range, expected.shape)), computed, strict=True):
        if value != expected[index]:
            place = ",".join(map(str, index))
            return f"{part}[{place}] = {words(value)}, not {words(expected[index])}"
    return None


@lru_cache(maxsize=64)
def _derivatives(geometry: ConvGeometry, bias: bool = False) -> dict[str, RingArray]:
    """Of T(x, k, g) + <bias, g> or, without bias, of T, by each of its arguments."""
    total = trilinear(geometry)
    if not bias:
        total = RING.from_dict({term: value for term, value in total.items() if not term[7]})
    return {by: partials(total, by, shape) for by, shape in zip("xkbg", _shapes(geometry), strict=True)}


def _shapes(geometry: ConvGeometry) -> tuple[tuple[int, ...], ...]:
    return geometry.input_shape, geometry.weight_shape, (geometry.out_channels,), geometry.output_shape


def _count(shape: tuple[int, ...]) -> int:
    return len(RingArray(shape, named("x", shape).cells).cells)
