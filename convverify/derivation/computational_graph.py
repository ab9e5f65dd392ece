"""A computational graph of scalars: values forward, local derivatives on the links, products backward."""

from __future__ import annotations

from dataclasses import dataclass

import sympy
from sympy import Expr, Symbol

from convverify.derivation.drawing import Drawing


@dataclass(frozen=True)
class Operation:
    """One operation: the value that it defines, as an expression of the values that enter it."""

    result: Symbol
    name: str
    of: Expr

    @property
    def operands(self) -> tuple[Symbol, ...]:
        """The values that enter it."""
        return tuple(sorted(self.of.free_symbols, key=str))


@dataclass(frozen=True)
class ComputationalGraph:
    """Operations in an order in which every operand is known."""

    operations: tuple[Operation, ...]

    def values(self, leaves: dict[Symbol, int]) -> dict[Symbol, Expr]:
        """Forward: every value."""
        known: dict[Symbol, Expr] = {leaf: sympy.Integer(value) for leaf, value in leaves.items()}
        for operation in self.operations:
            known[operation.result] = operation.of.subs(known)
        return known

    def links(self) -> dict[tuple[Symbol, Symbol], Expr]:
        """The local derivative on every link, from operand to result."""
        return {
            (operand, operation.result): sympy.diff(operation.of, operand)
            for operation in self.operations
            for operand in operation.operands
        }

    def derivative(self, of: Symbol, by: Symbol) -> Expr:
        """The sum over all paths of the products of the local derivatives along the path."""
        if of == by:
            return sympy.Integer(1)
        return sympy.Add(
            *(local * self.derivative(of, result) for (operand, result), local in self.links().items()
              if operand == by)
        )  # fmt: skip

    def composed(self, of: Symbol, by: Symbol) -> Expr:
        """The value as an expression in which `by` stands for itself, everything else being inserted."""
        expression: Expr = of
        for operation in reversed(self.operations):
            if operation.result != by:
                expression = expression.subs(operation.result, operation.of)
        return expression

    def inserted(self, expression: Expr) -> Expr:
        """An expression in the leaves alone."""
        for operation in reversed(self.operations):
            expression = expression.subs(operation.result, operation.of)
        return sympy.expand(expression)

    def drawing(self, leaves: dict[Symbol, int], of: Symbol) -> Drawing:
        """Values and local derivatives at given leaves, with the derivative of `of` under each value."""
        values, drawn = self.values(leaves), Drawing()
        for value, number in values.items():
            slope = self.derivative(of, value).subs(values)
            drawn.value(str(value), f"{value} = {number}\n∂{of}/∂{value} = {slope}")
        for operation in self.operations:
            drawn.operation(operation.name, operation.name)
            for operand in operation.operands:
                local = sympy.diff(operation.of, operand)
                label = f"∂{operation.result}/∂{operand} = {local}"
                label += "" if local.is_number else f" = {local.subs(values)}"
                drawn.edge(str(operand), operation.name, label)
            drawn.edge(operation.name, str(operation.result))
        return drawn


X, Y, A, B, C = sympy.symbols("x y a b c")
LEAVES = {X: 3, Y: 2}


def article_example() -> ComputationalGraph:
    """c = (3 * x^2) * y, in the three steps of the article."""
    return ComputationalGraph(
        (Operation(A, "square", X**2), Operation(B, "times 3", 3 * A), Operation(C, "product", B * Y))
    )
