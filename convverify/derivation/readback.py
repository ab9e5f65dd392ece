"""Read back what an operator computes: its values on unit tensors, as polynomials, beside the definition's.

A bilinear map is determined by its values on pairs of unit tensors (BC-1), so this needs no trace and works
for any operator. Whether the operator is bilinear is then checked at one more point, and said.

Imports torch; nothing else of the derivation is needed, so that failure reports can use it.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from convverify import definition
from convverify.geometry import ConvGeometry

Index = tuple[int, ...]
Operator = Callable[..., Any]
Term = tuple[str, Index, str, Index]
Terms = dict[Term, float]
PARTS = ("output", "grad_input", "grad_weight")
ARGUMENTS = {"output": ("x", "k"), "grad_input": ("k", "g"), "grad_weight": ("x", "g")}
MOST_CALLS = 20_000


class ReadbackError(Exception):
    """The operator could not be read back: too large a geometry, a wrong shape, or it raised."""


@dataclass(frozen=True)
class Row:
    """One element of one part: its terms as computed and as they should be."""

    part: str
    index: Index
    computed: Terms
    expected: Terms

    @property
    def right(self) -> bool:
        """Whether it computes what it should."""
        return self.computed == self.expected


@dataclass
class Readback:
    """All elements of the output and of both gradients, and what else was noticed."""

    geometry: ConvGeometry
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> list[Row]:
        """The elements that are not as defined."""
        return [row for row in self.rows if not row.right]

    @property
    def right(self) -> bool:
        """Whether everything is as defined and nothing else was noticed."""
        return not self.wrong and not self.notes

    def lines(self, only_wrong: bool = False) -> Iterator[str]:
        """One line an element: `grad_weight[0,1] = x01·g00 (missing + x11·g10)`, then the notes."""
        for row in self.wrong if only_wrong else self.rows:
            yield _line(row, self.geometry)
        yield from self.notes


def readback(operator: Operator, geometry: ConvGeometry, dtype: Any = None) -> Readback:
    """What the operator computes on this geometry, called like `torch.nn.functional.conv2d` without bias.

    `dtype` is that of the tensors, float64 where it is None. A part that raises or has a wrong shape is noted
    and has no rows.

    Raises:
        ReadbackError: the geometry needs too many calls.
    """
    reader = _Reader(operator, geometry, dtype or torch.float64)
    if reader.calls > MOST_CALLS:
        raise ReadbackError(
            f"{geometry} needs {reader.calls} calls, more than {MOST_CALLS}; read back a smaller geometry"
        )
    result = Readback(geometry)
    expected = _expected(geometry)
    for part in PARTS:
        try:
            computed = reader.read(part)
        except ReadbackError as error:
            result.notes.append(f"{part}: {error}")
            continue
        result.rows += [
            Row(part, index, dict(computed.get(index, {})), dict(expected[part].get(index, {})))
            for index in definition.indices(_shapes(geometry)[part])
        ]
    result.notes += reader.bent(result)
    return result


class _Reader:
    """Calls the operator on unit tensors."""

    def __init__(self, operator: Operator, geometry: ConvGeometry, dtype: torch.dtype) -> None:
        self.operator, self.geometry, self.dtype = operator, geometry, dtype
        self.shapes = _shapes(geometry)

    @property
    def calls(self) -> int:
        x, k, g = (torch.Size(self.shapes[name]).numel() for name in ("grad_input", "grad_weight", "output"))
        return x * k + k * g + x * g

    def read(self, part: str) -> dict[Index, Terms]:
        """For each element of a part, the coefficients of all products of two arguments."""
        one, other = ARGUMENTS[part]
        terms: dict[Index, Terms] = defaultdict(dict)
        for (i, first), (j, second) in itertools.product(self._units(one), self._units(other)):
            value = self._value(part, {one: first, other: second})
            if tuple(value.shape) != self.shapes[part]:
                raise ReadbackError(f"has shape {list(value.shape)}, not {list(self.shapes[part])}")
            for place in value.nonzero().tolist():
                terms[tuple(place)][one, i, other, j] = value[tuple(place)].item()
        return terms

    def bent(self, result: Readback) -> Iterator[str]:
        """Parts whose value at one more point is not what their terms say there: no bilinear map."""
        for part in PARTS:
            rows = [row for row in result.rows if row.part == part]
            if not rows:
                continue
            names = ARGUMENTS[part]
            point = {name: _ramp(self._shape(name), self.dtype) for name in names}
            try:
                value = self._value(part, point)
            except ReadbackError as error:
                yield f"{part}: {error}"
                continue
            for row in rows:
                said = sum(
                    factor * point[one][i].item() * point[other][j].item()
                    for (one, i, other, j), factor in row.computed.items()
                )
                if value[row.index].item() != said:
                    place = ",".join(map(str, row.index))
                    yield (
                        f"{part} is not bilinear: [{place}] is {value[row.index].item():g} at small "
                        f"integers, where its values on unit tensors add up to {said:g}"
                    )
                    break

    def _value(self, part: str, given: dict[str, Tensor]) -> Tensor:
        # what a gradient's value does not depend on gets values that are not all equal
        tensors = {name: given.get(name, _ramp(self._shape(name), self.dtype)).clone() for name in "xkg"}
        x, k = tensors["x"].requires_grad_(), tensors["k"].requires_grad_()
        geometry = self.geometry
        try:
            output = self.operator(
                x, k, None, geometry.stride, geometry.padding, geometry.dilation, geometry.groups
            )
            if part == "output":
                return torch.as_tensor(output).detach()
            by = x if part == "grad_input" else k
            (gradient,) = torch.autograd.grad(output, by, tensors["g"])
        except Exception as error:
            raise ReadbackError(f"it raised {type(error).__name__}: {str(error).splitlines()[0]}") from error
        return torch.as_tensor(gradient)

    def _units(self, name: str) -> Iterator[tuple[Index, Tensor]]:
        for index in definition.indices(self._shape(name)):
            unit = torch.zeros(self._shape(name), dtype=self.dtype)
            unit[index] = 1
            yield index, unit

    def _shape(self, name: str) -> Index:
        return self.shapes[{"x": "grad_input", "k": "grad_weight", "g": "output"}[name]]


def _shapes(geometry: ConvGeometry) -> dict[str, Index]:
    return {
        "output": geometry.output_shape,
        "grad_input": geometry.input_shape,
        "grad_weight": geometry.weight_shape,
    }


def _ramp(shape: Index, dtype: torch.dtype) -> Tensor:
    """Small integers, not all equal and none of them 0."""
    count = torch.Size(shape).numel()
    return (torch.arange(count) % 3 + 2).reshape(shape).to(dtype)


def _expected(geometry: ConvGeometry) -> dict[str, dict[Index, Terms]]:
    """The terms of the definition and, by GI-ALL and GW-ALL, of its derivatives."""
    found: dict[str, dict[Index, Terms]] = {part: defaultdict(lambda: defaultdict(float)) for part in PARTS}
    for o, a, u in definition.taps(geometry):
        found["output"][o]["x", u, "k", a] += 1
        found["grad_input"][u]["k", a, "g", o] += 1
        found["grad_weight"][a]["x", u, "g", o] += 1
    return found


def _line(row: Row, geometry: ConvGeometry) -> str:
    shapes = _shapes(geometry)
    sizes = {"x": shapes["grad_input"], "k": shapes["grad_weight"], "g": shapes["output"]}

    def written(terms: Terms) -> str:
        return " + ".join(
            ("" if factor == 1 else f"{factor:g}·")
            + f"{one}{_short(i, sizes[one])}·{other}{_short(j, sizes[other])}"
            for (one, i, other, j), factor in sorted(terms.items())
        )

    difference = {
        term: row.computed.get(term, 0.0) - row.expected.get(term, 0.0)
        for term in {*row.computed, *row.expected}
    }
    missing = {term: -value for term, value in difference.items() if value < 0}
    extra = {term: value for term, value in difference.items() if not value <= 0}
    marks = [f"missing + {written(missing)}"] * bool(missing) + [f"too much: {written(extra)}"] * bool(extra)
    place = ",".join(map(str, _interesting(row.index, shapes[row.part])))
    return f"{row.part}[{place}] = {written(row.computed) or '0'}" + (
        f" ({'; '.join(marks)})" if marks else ""
    )


def _interesting(index: Index, shape: Index) -> Index:
    """The index without batch and channels where there is only one of them."""
    leading = tuple(place for place, size in zip(index[:2], shape[:2], strict=True) if size > 1)
    return (*leading, *index[2:])


def _short(index: Index, shape: Index) -> str:
    kept = _interesting(index, shape)
    return ("" if max(shape, default=0) <= 10 else ",").join(map(str, kept))
