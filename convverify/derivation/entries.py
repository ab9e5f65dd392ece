"""A table of entries of any algebra, and arithmetic on tensors that hold, in place of values, their numbers.

The algebra says what is found out: polynomials (what is computed) or sets of degrees (how values enter).
Imports torch, as `interpreter` does.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from convverify.derivation.traced import NotTraceableError

V = TypeVar("V")


class UninitialisedError(Exception):
    """The program uses memory that it has never written."""

    def __str__(self) -> str:
        return "it uses memory that was never written"


@dataclass(frozen=True)
class Algebra(Generic[V]):
    """What the entries of the table are."""

    zero: V
    number: Callable[[int], V]
    total_of_products: Callable[[Iterable[tuple[V, V]]], V]
    total: Callable[[Iterable[V]], V]


class Entries(Generic[V]):
    """The table and what is computed with it; index 0 of the table is zero."""

    def __init__(self, algebra: Algebra[V]) -> None:
        self.algebra = algebra
        self.table: list[V] = [algebra.zero]

    def enter(self, values: Sequence[V], shape: Sequence[int]) -> Tensor:
        """A tensor of new entries."""
        start = len(self.table)
        self.table += values
        places = [0 if value == self.algebra.zero else start + at for at, value in enumerate(values)]
        return torch.tensor(places, dtype=torch.float64).reshape(tuple(shape))

    def read(self, places: Tensor) -> list[V]:
        """The entries of a tensor in row-major order."""
        return [self.entry(place) for place in places.reshape(-1).tolist()]

    def entry(self, place: float) -> V:
        """One entry; memory that was never written holds NaN in place of a number.

        Raises:
            UninitialisedError: it is such memory.
        """
        if place != place:  # noqa: PLR0124  NaN alone differs from itself
            raise UninitialisedError
        return self.table[int(place)]

    def _numbers(self, numbers: Sequence[Any], shape: Sequence[int]) -> Tensor:
        if any(number != int(number) for number in numbers):
            raise NotTraceableError("a constant that is not an integer")
        return self.enter([self.algebra.number(int(number)) for number in numbers], shape)

    def _operand(self, value: Any) -> Tensor:
        if not isinstance(value, Tensor):
            return self._numbers([value], ())
        if not value.is_floating_point():
            return self._numbers(value.reshape(-1).tolist(), value.shape)
        return value

    def add(self, one: Any, other: Any, alpha: Any = 1) -> Tensor:
        """one + alpha * other."""
        if alpha != 1:
            other = self.multiply(other, alpha)
        left, right = _broadcast(self._operand(one), self._operand(other))
        pairs = zip(self.read(left), self.read(right), strict=True)
        return self.enter([self.algebra.total(pair) for pair in pairs], left.shape)

    def subtract(self, one: Any, other: Any, alpha: Any = 1) -> Tensor:
        """one - alpha * other."""
        return self.add(one, other, -alpha)

    def multiply(self, one: Any, other: Any) -> Tensor:
        """one * other, elementwise."""
        left, right = _broadcast(self._operand(one), self._operand(other))
        pairs = zip(self.read(left), self.read(right), strict=True)
        return self.enter([self.algebra.total_of_products([pair]) for pair in pairs], left.shape)

    def filled(self, one: Tensor, value: Any) -> Tensor:
        """A number in the shape of a tensor."""
        return self._operand(value).expand(one.shape)

    def negate(self, one: Tensor) -> Tensor:
        """-one."""
        return self.multiply(one, -1)

    def sum(self, one: Tensor, dims: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
        """The sum over some axes, or all."""
        dims = list(range(one.dim())) if dims is None or dims == [] else dims
        dims = [dim % one.dim() for dim in ([dims] if isinstance(dims, int) else dims)]
        kept = [dim for dim in range(one.dim()) if dim not in dims]
        rows = one.permute(*kept, *dims).reshape([*(one.shape[dim] for dim in kept), -1])
        flat = rows.reshape(-1, rows.shape[-1]) if rows.numel() else rows.reshape(0, 0)
        shape = (
            [1 if dim in dims else one.shape[dim] for dim in range(one.dim())] if keepdim else rows.shape[:-1]
        )
        return self.enter([self.algebra.total(self.read(row)) for row in flat], shape)

    def matmul(self, one: Tensor, other: Tensor) -> Tensor:
        """mm and bmm."""
        entry = self.entry
        values = []
        for left, right in zip(_matrices(one), _matrices(other), strict=True):
            columns = list(zip(*right, strict=True))
            for row, column in itertools.product(left, columns):
                # a product with zero is zero, unless its other factor was never written
                used = ((a, b) for a, b in zip(row, column, strict=True) if a * b != 0)
                pairs = [(entry(a), entry(b)) for a, b in used]
                values.append(self.algebra.total_of_products(pairs))
        return self.enter(values, (*one.shape[:-1], other.shape[-1]))

    def linear(self, one: Tensor, other: Tensor, bias: Any, unary: str, *rest: Any) -> Tensor:
        """oneDNN's one @ other.T, to which it can do more.

        Raises:
            NotTraceableError: it does.
        """
        if bias is not None or unary != "none":
            raise NotTraceableError("oneDNN's product with more than the product")
        return self.matmul(one, other.t())

    def addcmul(self, start: Tensor, one: Any, other: Any, value: Any = 1) -> Tensor:
        """start + value * one * other."""
        return self.add(start, self.multiply(one, other), value)

    def addmm(self, start: Tensor, one: Tensor, other: Tensor, beta: Any = 1, alpha: Any = 1) -> Tensor:
        """addmm and baddbmm."""
        return self.add(self.multiply(start, beta), self.matmul(one, other), alpha)

    def addbmm(self, start: Tensor, one: Tensor, other: Tensor, beta: Any = 1, alpha: Any = 1) -> Tensor:
        """The products of a batch, all added up."""
        return self.add(self.multiply(start, beta), self.sum(self.matmul(one, other), [0]), alpha)

    def bags(self, rows: Tensor, indices: Tensor, offsets: Tensor, scale: bool = False, mode: int = 0,
             sparse: bool = False, weights: Tensor | None = None, last: bool = False,
             padding: int = -1) -> tuple[Tensor, ...]:  # fmt: skip
        """Sums of rows with weights, those from each offset to the next.

        Raises:
            NotTraceableError: bags of another kind.
        """
        if weights is None or mode != 0 or not last or padding != -1:
            raise NotTraceableError("bags other than sums of rows with weights")
        weighted = self.multiply(rows.index_select(0, indices), weights.unsqueeze(1))
        ends = offsets.tolist()
        sums = [self.sum(weighted[first:end], [0]) for first, end in itertools.pairwise(ends)]
        return torch.stack(sums), offsets, offsets, offsets

    def col2im(self, columns: Tensor, size: Sequence[int], *options: Sequence[int]) -> Tensor:
        """The adjoint of im2col: each pixel is the sum of the entries that im2col would copy from it."""
        pixels = torch.arange(1, 1 + math.prod(size), dtype=torch.float64).reshape(1, 1, *size)
        sources = torch.ops.aten.im2col(pixels, *options).reshape(-1).int().tolist()  # 0 is padding
        planes = columns.reshape(columns.shape[0], -1, len(sources))
        values: list[V] = []
        for plane in planes.flatten(0, 1):
            copies: list[list[V]] = [[] for _ in range(1 + math.prod(size))]
            for source, entry in zip(sources, self.read(plane), strict=True):
                copies[source].append(entry)
            values += map(self.algebra.total, copies[1:])
        return self.enter(values, (*planes.shape[:2], *size))


def _broadcast(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    shape = torch.broadcast_shapes(one.shape, other.shape)
    return one.expand(shape), other.expand(shape)


def _matrices(tensor: Tensor) -> list[list[list[float]]]:
    return tensor.tolist() if tensor.dim() == 3 else [tensor.tolist()]


ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": Entries.add,
    "sub": Entries.subtract,
    "rsub": lambda self, one, other, alpha=1: self.subtract(other, one, alpha),
    "mul": Entries.multiply,
    "neg": Entries.negate,
    "fill": Entries.filled,
    "sum": Entries.sum,
    "mm": Entries.matmul,
    "bmm": Entries.matmul,
    "linear_pointwise": Entries.linear,
    "addcmul": Entries.addcmul,
    "addmm": Entries.addmm,
    "addbmm": Entries.addbmm,
    "baddbmm": Entries.addmm,
    "col2im": Entries.col2im,
    "embedding_bag": Entries.bags,
    "embedding_bag_forward_only": Entries.bags,
}
