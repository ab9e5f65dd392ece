"""Proofs for every size: SymPy differentiates the definition, and the closed form has the same index sum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sympy
from sympy import Expr, Symbol

from convverify.derivation.forms import Forms
from convverify.derivation.index_arrays import IndexArray, IndexArrays, array
from convverify.derivation.index_sum import (
    IndexSum,
    ProofError,
    Ranges,
    canonical,
    eliminated,
    reflected,
)
from convverify.derivation.symbolic_geometry import SymbolicGeometry, symbol

Places = dict[str, tuple[Expr, ...]]
# which arrays the closed form with values shaped like x, k or g takes
ARGUMENTS = {"g": ("x", "k"), "x": ("g", "k"), "k": ("x", "g")}


@dataclass(frozen=True)
class Step:
    """One line of a derivation: why it follows, and what then stands there."""

    why: str
    latex: str


def places(geometry: SymbolicGeometry, hat: str = "") -> tuple[Places, Ranges]:
    """The index of an element of x, k and g in letters, and the range of every letter."""
    dims = [axis.mark for axis in geometry.axes]
    n, group, c, i = (symbol(letter + hat) for letter in ("n", "gamma", "c", "i"))
    u, a, o = (tuple(symbol(letter + hat + dim) for dim in dims) for letter in ("u", "a", "o"))
    ranges: Ranges = {n: geometry.batch, group: geometry.groups, c: geometry.out_group, i: geometry.in_group}
    for indices, sizes in ((u, geometry.input_size), (a, geometry.kernel_size), (o, geometry.output_size)):
        ranges.update(zip(indices, sizes, strict=True))
    flat_in, flat_out = group * geometry.in_group + i, group * geometry.out_group + c
    return {"x": (n, flat_in, *u), "k": (flat_out, i, *a), "g": (n, flat_out, *o)}, ranges


def definition(geometry: SymbolicGeometry, names: str = "xkg") -> IndexSum:
    """The trilinear form T(x, k, g): every product of the convolution, paired with g."""
    where, ranges = places(geometry)
    dims = zip(geometry.axes, where["g"][2:], where["k"][2:], where["x"][2:], strict=True)
    equations = tuple(
        sympy.expand(u - axis.stride * o - axis.dilation * a + axis.before) for axis, o, a, u in dims
    )
    reads = tuple((name, where[role]) for name, role in zip(names, "xkg", strict=True))
    return IndexSum(tuple(ranges.items()), equations, reads)


def differentiated(total: IndexSum, name: str, at: tuple[Expr, ...]) -> IndexSum:
    """The derivative by one element of one array; SymPy differentiates the product of the reads.

    The element's indices must not be bound in the sum: SymPy would capture them.
    """
    if {index for index, _ in total.bound} & set().union(*(index.free_symbols for index in at)):
        raise ProofError(f"the indices {at} are bound in the sum")
    base = {read: sympy.IndexedBase(read, shape=None) for read, _ in total.reads}
    product = sympy.Mul(*(base[read][indices] for read, indices in total.reads))
    derivative = sympy.expand(product.diff(base[name][at]))
    equations, reads = [], []
    for factor in sympy.Mul.make_args(derivative):
        if isinstance(factor, sympy.KroneckerDelta):
            equations.append(sympy.expand(factor.args[0] - factor.args[1]))
        elif isinstance(factor, sympy.Indexed):
            reads.append((str(factor.base.label), tuple(factor.indices)))
        else:
            raise ProofError(f"the derivative has a factor {factor}")
    return IndexSum(total.bound, (*total.equations, *equations), tuple(reads))


def digitwise(total: IndexSum, ranges: Ranges) -> IndexSum:
    """Theorem GR-1 on equations: gamma*I + i = gamma'*I + i' says gamma = gamma' and i = i'."""
    known = {**ranges, **dict(total.bound)}
    equations: list[Expr] = []
    for equation in total.equations:
        size = next((size for size in {*known.values()} if equation.coeff(size, 1) != 0
                     and _two_digits(equation, size, known)), None)  # fmt: skip
        if size is None:
            equations.append(equation)
        else:
            quotient = equation.coeff(size, 1)
            equations += [quotient, sympy.expand(equation - quotient * size)]
    return IndexSum(total.bound, tuple(equation for equation in equations if equation != 0), total.reads)


def _two_digits(equation: Expr, size: Expr, ranges: Ranges) -> bool:
    rest = sympy.expand(equation - equation.coeff(size, 1) * size)
    terms = sympy.Add.make_args(rest)
    signs = sorted(term.as_coeff_Mul()[0] for term in terms)
    return signs == [-1, 1] and all(ranges.get(term.as_coeff_Mul()[1]) == size for term in terms)


class General:
    """One symbolic convolution, its closed forms as index sums, and the comparison."""

    def __init__(self, forms: Forms, dimensions: int) -> None:
        self.forms = forms
        self.geometry = SymbolicGeometry.of(dimensions)
        self.xp = IndexArrays(self.geometry)
        self.free, ranges = places(self.geometry, "hat")
        self.xp.ranges.update(ranges)
        self.shapes = {
            "x": self.geometry.input_shape, "k": self.geometry.weight_shape, "g": self.geometry.output_shape
        }  # fmt: skip

    def named(self, name: str, role: str) -> IndexArray:
        """An array with the shape of x, k or g."""
        return array(name, self.shapes[role])

    def closed_form(self, role: str, one: str, other: str) -> IndexArray:
        """The partial map with values shaped like `role`: the output for g, grad_input for x, ..."""
        form, first, second = {
            "g": (self.forms.forward, "x", "k"),
            "x": (self.forms.grad_input, "g", "k"),
            "k": (self.forms.grad_weight, "x", "g"),
        }[role]
        result: IndexArray = form(self.xp, self.geometry, self.named(one, first), self.named(other, second))
        self.same_shape(result, self.shapes[role])
        return result

    def same_shape(self, result: IndexArray, shape: tuple[Expr, ...]) -> None:
        """Raises ProofError where a closed form has another size than what it is the derivative by."""
        for have, want in zip(result.shape, shape, strict=True):
            if self.geometry.solved(have - want) != 0:
                raise ProofError(f"a size is {have}, and must be {want}")

    def normal(self, total: IndexSum) -> IndexSum:
        """The form in which equal sums look the same."""
        split = digitwise(total, self.xp.ranges)
        done = reflected(eliminated(split, self.xp.ranges, self.geometry.solved))
        return canonical(done)

    def equal(self, one: IndexSum, other: IndexSum) -> None:
        """Raises ProofError where two index sums differ."""
        left, right = self.normal(one), self.normal(other)
        if left != right:
            raise ProofError(f"{left.latex()} is not {right.latex()}")

    def steps(self, role: str, one: str, other: str, names: str = "xkg") -> list[Step]:
        """The proof that one closed form is the derivative of the definition, line by line."""
        name = names["xkg".index(role)]
        at = self.free[role]
        total = definition(self.geometry, names)
        derivative = differentiated(total, name, at)
        apart = digitwise(derivative, self.xp.ranges)
        formula = self.closed_form(role, one, other).at(at)
        merged = eliminated(formula, self.xp.ranges, self.geometry.solved)
        self.equal(derivative, formula)
        return [
            Step("the definition, paired with the cotangent", total.latex()),
            Step("differentiate: a product of array elements has Kronecker deltas as its derivative",
                 derivative.latex()),
            Step("a flat channel index fixes its group and its place in the group (GR-1)", apart.latex()),
            Step("sum over the indices that a delta fixes",
                 self._settled(apart).latex()),
            Step("the closed form, read off the text that the operator runs", formula.latex()),
            Step("sum over the position in the padded array where a delta fixes it", merged.latex()),
            Step("sum over the kernel backwards where it was turned: the same sum as above",
                 reflected(merged).latex()),
        ]  # fmt: skip

    def _settled(self, total: IndexSum) -> IndexSum:
        return eliminated(total, self.xp.ranges, self.geometry.solved)


def derivative_steps(forms: Forms, role: str, dimensions: int) -> list[Step]:
    """FW-ALL (role g), GI-ALL (role x) and GW-ALL (role k)."""
    one, other = ARGUMENTS[role]
    return General(forms, dimensions).steps(role, one, other)


def bias_steps(forms: Forms, dimensions: int) -> list[Step]:
    """GB-1: the bias b adds sum of g[n, c, o] * b[c] to the trilinear form."""
    general = General(forms, dimensions)
    _n, _c, *_o = general.free["g"]
    flat = symbol("m")
    places_ = tuple(zip((symbol("n"), *(symbol(f"o{dim}") for dim in range(dimensions))),
                        (general.geometry.batch, *general.geometry.output_size), strict=True))  # fmt: skip
    channels = general.geometry.out_channels
    index = (places_[0][0], flat, *(place for place, _ in places_[1:]))
    total = IndexSum((*places_, (flat, channels)), (), (("b", (flat,)), ("g", index)))
    wanted: Symbol = symbol("mhat")
    general.xp.ranges[wanted] = channels
    derivative = differentiated(total, "b", (wanted,))
    result = general.forms.grad_bias(general.xp, general.geometry, general.named("g", "g"))
    general.same_shape(result, (channels,))
    formula = result.at((wanted,))
    general.equal(derivative, formula)
    return [
        Step(
            "the bias of a channel is added to each of its outputs; paired with the cotangent", total.latex()
        ),
        Step("differentiate", derivative.latex()),
        Step("the closed form, read off the text that the operator runs", formula.latex()),
    ]


def second_order_steps(forms: Forms, theorem: str, dimensions: int) -> list[Step]:
    """DB-1..3: gradients paired with cotangents u, v and differentiated again."""
    general = General(forms, dimensions)
    pairs: list[tuple[str, str, str, str, Callable[[], Any]]] = {
        "DB-1": [("x", "u", "gk", "g", lambda: general.closed_form("g", "u", "k")),
                 ("k", "v", "xg", "g", lambda: general.closed_form("g", "x", "v"))],
        "DB-2": [("x", "u", "gk", "k", lambda: general.closed_form("k", "u", "g"))],
        "DB-3": [("k", "v", "xg", "x", lambda: general.closed_form("x", "g", "v"))],
    }[theorem]  # fmt: skip
    steps: list[Step] = []
    for role, cotangent, arguments, by, formula in pairs:
        at, ranges = places(general.geometry)
        general.xp.ranges.update(ranges)
        letters = {letter for index in at[role] for letter in index.free_symbols} & set(ranges)
        bound = tuple((letter, ranges[letter]) for letter in sorted(letters, key=str))
        inner = general.closed_form(role, *arguments).at(at[role])
        paired = IndexSum(bound, (), ((cotangent, at[role]),)).times(inner)
        derivative = differentiated(paired, by, general.free[by])
        expected = formula().at(general.free[by])
        general.equal(derivative, expected)
        steps += [
            Step(f"the gradient shaped like {role}, paired with its cotangent {cotangent}", paired.latex()),
            Step(f"differentiate by {by}", derivative.latex()),
            Step("the closed form: the same sum", expected.latex()),
        ]
    return steps
