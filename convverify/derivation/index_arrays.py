"""The array primitives of the closed forms, on arrays whose sizes and indices are symbols.

Running the text of `formulas.py` on these gives, for every element, its index sum: the very functions
that the operator runs are what is proved for every size.
"""



from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sympy
from sympy import Expr, Symbol

from convverify.derivation.index_sum import IndexSum, ProofError, Ranges
from convverify.derivation.symbolic_geometry import SymbolicGeometry, symbol

Indices = tuple[Expr, ...]


@dataclass(frozen=True)
class IndexArray:
    """An array as a function from symbolic indices to the sum that is its element."""

    shape: tuple[Expr, ...]
    at: Callable[[Indices], IndexSum]


def array(name: str, shape: tuple[Expr, ...]) -> IndexArray:
    """An array of independent values."""
    return IndexArray(shape, lambda indices: IndexSum((), (), ((name, indices),)))


class IndexArrays:
    """`convverify.formulas.Arrays` for symbolic sizes.

    `ranges` holds the size of every index in use, `accesses` each index at which a window reads an array,
    with the size that it must stay below.
    """

    def __init__(self, geometry: SymbolicGeometry) -> None:
        self.geometry = geometry
        self.ranges: Ranges = {}
        self.accesses: list[tuple[Expr, Expr]] = []
        self._fresh = 0

    def fresh(self, size: Expr, letter: str = "t") -> Symbol:
        """A new index with this range."""
        self._fresh += 1
        index = symbol(f"{letter}{self._fresh}")
        self.ranges[index] = size
        return index

    def pad(self, array: IndexArray, pads: Sequence[tuple[Any, Any]]) -> IndexArray:
        first = len(array.shape) - len(pads)
        sizes = array.shape[first:]
        shape = tuple(size + before + after for size, (before, after) in zip(sizes, pads, strict=True))

        def at(indices: Indices) -> IndexSum:
            inner = [self.fresh(size) for size in sizes]
            element = array.at((*indices[:first], *inner))
            places = zip(indices[first:], pads, inner, strict=True)
            equations = tuple(sympy.expand(index - before - place) for index, (before, _), place in places)
            return IndexSum(tuple(zip(inner, sizes, strict=True)), equations, ()).times(element)

        return IndexArray((*array.shape[:first], *shape), at)

    def insert_zeros(self, array: IndexArray, stride: Sequence[Any]) -> IndexArray:
        first = len(array.shape) - len(stride)
        sizes = array.shape[first:]
        shape = tuple((size - 1) * step + 1 for size, step in zip(sizes, stride, strict=True))

        def at(indices: Indices) -> IndexSum:
            inner = [self.fresh(size) for size in sizes]
            element = array.at((*indices[:first], *inner))
            places = zip(indices[first:], stride, inner, strict=True)
            equations = tuple(sympy.expand(index - step * place) for index, step, place in places)
            return IndexSum(tuple(zip(inner, sizes, strict=True)), equations, ()).times(element)

        return IndexArray((*array.shape[:first], *shape), at)

    def rotate180(self, array: IndexArray, spatial: int) -> IndexArray:
        first = len(array.shape) - spatial

        def at(indices: Indices) -> IndexSum:
            turned = (
                size - 1 - index for size, index in zip(array.shape[first:], indices[first:], strict=True)
            )
            return array.at((*indices[:first], *turned))

        return IndexArray(array.shape, at)

    def windows(
        self, array: IndexArray, size: Sequence[Any], stride: Sequence[Any], dilation: Sequence[Any]
    ) -> IndexArray:
        spatial = len(size)
        first = len(array.shape) - spatial
        positions = tuple(
            self._count(length - d * (k - 1) - 1, s)
            for length, k, s, d in zip(array.shape[first:], size, stride, dilation, strict=True)
        )

        def at(indices: Indices) -> IndexSum:
            start, offset = indices[first : first + spatial], indices[first + spatial :]
            places = tuple(p * s + k * d for p, k, s, d in zip(start, offset, stride, dilation, strict=True))
            self.accesses += zip(places, array.shape[first:], strict=True)
            return array.at((*indices[:first], *places))

        return IndexArray((*array.shape[:first], *positions, *size), at)

    def split(self, array: IndexArray, axis: int, parts: Any) -> IndexArray:
        size = sympy.cancel(array.shape[axis] / parts)
        shape = (*array.shape[:axis], sympy.sympify(parts), size, *array.shape[axis + 1 :])

        def at(indices: Indices) -> IndexSum:
            flat = indices[axis] * size + indices[axis + 1]
            return array.at((*indices[:axis], flat, *indices[axis + 2 :]))

        return IndexArray(shape, at)

    def merge(self, array: IndexArray, axis: int) -> IndexArray:
        size = array.shape[axis + 1]
        shape = (*array.shape[:axis], array.shape[axis] * size, *array.shape[axis + 2 :])

        def at(indices: Indices) -> IndexSum:
            digits = self._digits(sympy.expand(indices[axis]), size)
            return array.at((*indices[:axis], *digits, *indices[axis + 1 :]))

        return IndexArray(shape, at)

    def einsum(self, equation: str, *arrays: IndexArray) -> IndexArray:
        left, output = equation.split("->")
        sizes: dict[str, Expr] = {}
        for letters, operand in zip(left.split(","), arrays, strict=True):
            for letter, size in zip(letters, operand.shape, strict=True):
                if self.geometry.solved(size - sizes.setdefault(letter, size)) != 0:
                    raise ProofError(f"einsum {equation}: {letter} is both {sizes[letter]} and {size}")

        def at(indices: Indices) -> IndexSum:
            summed = {letter: self.fresh(size) for letter, size in sizes.items() if letter not in output}
            place = {**dict(zip(output, indices, strict=True)), **summed}
            total = IndexSum(tuple((index, sizes[letter]) for letter, index in summed.items()), (), ())
            for letters, operand in zip(left.split(","), arrays, strict=True):
                total = total.times(operand.at(tuple(place[letter] for letter in letters)))
            return total

        return IndexArray(tuple(sizes[letter] for letter in output), at)

    def _count(self, slack: Expr, stride: Expr) -> Expr:
        """floor(slack / stride) + 1, where the rest of the division is known to be one."""
        slack = self.geometry.solved(slack)
        if stride == 1:
            return slack + 1
        quotient, rest = sympy.div(slack, stride, stride)
        rests = {axis.remainder: axis.stride for axis in self.geometry.axes}
        if rest == 0 or rests.get(rest) == stride:
            return sympy.expand(quotient + 1)
        raise ProofError(f"{rest} is not known to be less than {stride}: how often a window fits is open")

    def _digits(self, flat: Expr, size: Expr) -> tuple[Expr, Expr]:
        """The two indices whose merged index this is: the quotient and the rest by the size of the last."""
        quotient, rest = sympy.div(flat, size, size)
        if self.ranges.get(rest) != size:
            raise ProofError(f"{flat} does not show its quotient and rest by {size}")
        return quotient, rest
