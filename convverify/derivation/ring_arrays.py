"""The array primitives of the closed forms, on sparse arrays of polynomials over the integers.

Element i of the array named x is the monomial X^i * T, with two generators for each name: products of
elements of different arrays stay apart, and a few generators serve any number of elements. (Polynomials
in one generator an element are some thousand times slower.)
"""



from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sympy import ZZ
from sympy.polys.rings import PolyElement, ring

Index = tuple[int, ...]
NAMES = "xkgbuv"
RING = ring([letter + role for letter in NAMES for role in ("", "_degree")], ZZ)[0]


@dataclass(frozen=True)
class RingArray:
    """An array of polynomials; where `cells` has no entry the element is zero."""

    shape: Index
    cells: dict[Index, PolyElement]

    def __getitem__(self, index: Index) -> PolyElement:
        return self.cells.get(index, RING.zero)


def named(name: str, shape: Index) -> RingArray:
    """An array of independent symbols."""
    indices = itertools.product(*map(range, shape))
    return RingArray(shape, {index: monomial(name, place) for place, index in enumerate(indices)})


def monomial(name: str, place: int) -> PolyElement:
    """The symbol for the element at one row-major place of the array with this name."""
    exponents = [0] * (2 * len(NAMES))
    at = 2 * NAMES.index(name)
    exponents[at : at + 2] = place, 1
    return RING.from_dict({tuple(exponents): ZZ(1)})


def partials(polynomial: PolyElement, name: str, shape: Index) -> RingArray:
    """All first derivatives by the elements of one array, in which the polynomial is linear.

    Raises:
        ValueError: it is not.
    """
    at = 2 * NAMES.index(name)
    found: dict[int, PolyElement] = defaultdict(lambda: RING.zero)
    for exponents, coefficient in polynomial.items():
        place, degree = exponents[at : at + 2]
        if degree == 0:
            continue
        if degree != 1:
            raise ValueError(f"degree {degree} in {name}, where the derivative needs degree 1")
        found[place][(*exponents[:at], 0, 0, *exponents[at + 2 :])] = coefficient
    return RingArray(shape, {_unravel(place, shape): value for place, value in found.items()})


def pairing(one: RingArray, other: RingArray) -> PolyElement:
    """The sum of the products of the elements."""
    return collected((one[index], other[index]) for index in one.cells.keys() & other.cells.keys())


def collected(products: Any) -> PolyElement:
    """The sum of products of two, gathered in one dictionary."""
    total: dict[Index, int] = defaultdict(int)
    multiply = RING.monomial_mul
    for left, right in products:
        for (one, factor), (other, other_factor) in itertools.product(left.items(), right.items()):
            total[multiply(one, other)] += factor * other_factor
    return RING.from_dict({exponents: value for exponents, value in total.items() if value})


class RingArrays:
    """`convverify.formulas.Arrays` for polynomials."""

    def pad(self, array: RingArray, pads: Sequence[tuple[int, int]]) -> RingArray:
        first = len(array.shape) - len(pads)
        sizes = tuple(size + sum(pad) for size, pad in zip(array.shape[first:], pads, strict=True))
        moved = (
            (
                (*index[:first], *(place + pad[0] for place, pad in zip(index[first:], pads, strict=True))),
                cell,
            )
            for index, cell in array.cells.items()
        )
        shape = (*array.shape[:first], *sizes)
        return RingArray(shape, {index: cell for index, cell in moved if _inside(index, shape)})

    def insert_zeros(self, array: RingArray, stride: Sequence[int]) -> RingArray:
        first = len(array.shape) - len(stride)
        sizes = tuple((n - 1) * s + 1 for n, s in zip(array.shape[first:], stride, strict=True))
        cells = {
            (*index[:first], *(place * s for place, s in zip(index[first:], stride, strict=True))): cell
            for index, cell in array.cells.items()
        }
        return RingArray((*array.shape[:first], *sizes), cells)

    def rotate180(self, array: RingArray, spatial: int) -> RingArray:
        first = len(array.shape) - spatial
        sizes = array.shape[first:]
        cells = {
            (*index[:first], *(n - 1 - place for place, n in zip(index[first:], sizes, strict=True))): cell
            for index, cell in array.cells.items()
        }
        return RingArray(array.shape, cells)

    def windows(
        self, array: RingArray, size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
    ) -> RingArray:
        first = len(array.shape) - len(size)
        positions = tuple(
            (length - d * (k - 1) - 1) // s + 1
            for length, k, s, d in zip(array.shape[first:], size, stride, dilation, strict=True)
        )
        cells = {
            (*index[:first], *(p for p, _ in seen), *(k for _, k in seen)): cell
            for index, cell in array.cells.items()
            for seen in itertools.product(
                *(
                    [(p, k) for k in range(taps) for p, rest in (divmod(place - d * k, s),)
                     if rest == 0 and 0 <= p < count]
                    for place, taps, s, d, count in zip(
                        index[first:], size, stride, dilation, positions, strict=True)
                )
            )
        }  # fmt: skip
        return RingArray((*array.shape[:first], *positions, *size), cells)

    def split(self, array: RingArray, axis: int, parts: int) -> RingArray:
        size = array.shape[axis] // parts
        shape = (*array.shape[:axis], parts, size, *array.shape[axis + 1 :])
        cells = {
            (*index[:axis], *divmod(index[axis], size), *index[axis + 1 :]): cell
            for index, cell in array.cells.items()
        }
        return RingArray(shape, cells)

    def merge(self, array: RingArray, axis: int) -> RingArray:
        size = array.shape[axis + 1]
        shape = (*array.shape[:axis], array.shape[axis] * size, *array.shape[axis + 2 :])
        cells = {
            (*index[:axis], index[axis] * size + index[axis + 1], *index[axis + 2 :]): cell
            for index, cell in array.cells.items()
        }
        return RingArray(shape, cells)

    def einsum(self, equation: str, *arrays: RingArray) -> RingArray:
        left, output = equation.split("->")
        letters = left.split(",")
        sizes: dict[str, int] = {}
        for subscripts, array in zip(letters, arrays, strict=True):
            for letter, size in zip(subscripts, array.shape, strict=True):
                if sizes.setdefault(letter, size) != size:
                    raise ValueError(f"einsum {equation}: {letter} is both {sizes[letter]} and {size}")
        products: dict[Index, list[tuple[PolyElement, PolyElement]]] = defaultdict(list)
        for place, pair in _joined(letters, arrays):
            products[tuple(place[letter] for letter in output)].append(pair)
        shape = tuple(sizes[letter] for letter in output)
        return RingArray(shape, {index: collected(pairs) for index, pairs in products.items()})


def _joined(
    letters: list[str], arrays: tuple[RingArray, ...]
) -> Iterator[tuple[dict[str, int], tuple[PolyElement, PolyElement]]]:
    """All pairs of cells that an einsum of one or two arrays multiplies, with their indices."""
    if len(arrays) == 1:
        for index, cell in arrays[0].cells.items():
            yield dict(zip(letters[0], index, strict=True)), (cell, RING.one)
        return
    shared = [letter for letter in letters[0] if letter in letters[1]]
    matching: dict[Index, list[tuple[dict[str, int], PolyElement]]] = defaultdict(list)
    for index, cell in arrays[1].cells.items():
        place = dict(zip(letters[1], index, strict=True))
        matching[tuple(place[letter] for letter in shared)].append((place, cell))
    for index, cell in arrays[0].cells.items():
        place = dict(zip(letters[0], index, strict=True))
        for other, other_cell in matching[tuple(place[letter] for letter in shared)]:
            yield {**place, **other}, (cell, other_cell)


def _inside(index: Index, shape: Index) -> bool:
    return all(0 <= place < size for place, size in zip(index, shape, strict=True))


def _unravel(place: int, shape: Index) -> Index:
    index = []
    for dim in range(len(shape)):
        below = math.prod(shape[dim + 1 :])
        index.append(place // below % shape[dim])
    return tuple(index)
