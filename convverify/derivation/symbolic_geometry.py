"""A convolution whose every size is a symbol: on it the closed forms are proved for all sizes."""



from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy
from sympy import Expr, Symbol

from convverify.derivation.logic import Statement, eq, le, within


def symbol(name: str) -> Symbol:
    """An integer."""
    return Symbol(name, integer=True)


def symbols(names: str) -> tuple[Symbol, ...]:
    """Integers, from their names with spaces between."""
    return tuple(symbol(name) for name in names.split())


@dataclass(frozen=True)
class SymbolicAxis:
    """One spatial axis. Output size O and remainder r are given by S(O-1) + r, not by a division."""

    mark: str = ""

    def __getattr__(self, name: str) -> Symbol:
        letters = {
            "input": "H", "kernel": "K", "stride": "S", "before": "P", "after": "Q",
            "dilation": "D", "output": "O", "remainder": "r",
        }  # fmt: skip
        if name not in letters:
            raise AttributeError(name)
        return symbol(letters[name] + self.mark)

    @property
    def reach(self) -> Expr:
        return self.dilation * (self.kernel - 1)

    @property
    def slack(self) -> Expr:
        return self.stride * (self.output - 1) + self.remainder

    @property
    def solved_input(self) -> Expr:
        """The input size in terms of the others."""
        return self.slack + self.reach + 1 - self.before - self.after

    @property
    def sizes(self) -> tuple[Symbol, ...]:
        """All sizes, in an order in which the last is determined by those before."""
        return (self.kernel, self.stride, self.dilation, self.before, self.after, self.output,
                self.remainder, self.input)  # fmt: skip

    @property
    def hypotheses(self) -> tuple[Statement, ...]:
        """What makes it the geometry of a convolution."""
        return (
            *(le(1, size) for size in (self.input, self.kernel, self.stride, self.dilation, self.output)),
            le(0, self.before),
            le(0, self.after),
            within(self.remainder, self.stride),
            eq(self.input + self.before + self.after - self.reach - 1, self.slack),
        )


@dataclass(frozen=True)
class SymbolicGeometry:
    """Stands in for a `ConvGeometry` wherever a closed form asks for sizes."""

    axes: tuple[SymbolicAxis, ...]

    @classmethod
    def of(cls, dimensions: int) -> SymbolicGeometry:
        """One axis has plain letters; of several, each has a mark."""
        marks = [""] if dimensions == 1 else [str(dim + 1) for dim in range(dimensions)]
        return cls(tuple(map(SymbolicAxis, marks)))

    @property
    def spatial(self) -> int:
        return len(self.axes)

    def __getattr__(self, name: str) -> Any:
        letters = {"batch": "N", "groups": "G"}
        if name in letters:
            return symbol(letters[name])
        of_axis = {"kernel_size": "kernel", "stride": "stride", "dilation": "dilation",
                   "output_size": "output", "input_size": "input"}  # fmt: skip
        if name not in of_axis:
            raise AttributeError(name)
        return tuple(getattr(axis, of_axis[name]) for axis in self.axes)

    @property
    def pads(self) -> tuple[tuple[Expr, Expr], ...]:
        return tuple((axis.before, axis.after) for axis in self.axes)

    @property
    def in_group(self) -> Symbol:
        """Input channels of a group."""
        return symbol("I")

    @property
    def out_group(self) -> Symbol:
        """Output channels of a group."""
        return symbol("J")

    @property
    def in_channels(self) -> Expr:
        return self.groups * self.in_group

    @property
    def out_channels(self) -> Expr:
        return self.groups * self.out_group

    @property
    def input_shape(self) -> tuple[Expr, ...]:
        return (self.batch, self.in_channels, *self.input_size)

    @property
    def weight_shape(self) -> tuple[Expr, ...]:
        return (self.out_channels, self.in_group, *self.kernel_size)

    @property
    def output_shape(self) -> tuple[Expr, ...]:
        return (self.batch, self.out_channels, *self.output_size)

    def solved(self, term: Any) -> Expr:
        """The term, with the input sizes written in terms of the others."""
        return sympy.expand(sympy.sympify(term).subs([(axis.input, axis.solved_input) for axis in self.axes]))
