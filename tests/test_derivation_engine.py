"""The machinery under the theorems, checked against plain numbers and against SymPy's own derivatives."""

from __future__ import annotations

import itertools
import random
from fractions import Fraction

import pytest
import sympy

from convverify import definition
from convverify.derivation import forms
from convverify.derivation.general import General, differentiated, digitwise, places
from convverify.derivation.general import definition as trilinear_sum
from convverify.derivation.geometries import CHOSEN, sampled, small_first
from convverify.derivation.incidence import relation
from convverify.derivation.index_sum import IndexSum, ProofError, eliminated, nonnegative, reflected
from convverify.derivation.instances import first_order, trilinear, witness
from convverify.derivation.logic import eq, le, lt, smt
from convverify.derivation.ring_arrays import named, partials
from convverify.derivation.rounding import rounded, sums
from convverify.derivation.solvers import answer, available
from convverify.derivation.symbolic_geometry import SymbolicGeometry, symbol, symbols
from convverify.geometry import ConvGeometry

NUMBERS = [
    ConvGeometry.parse(text)
    for text in (
        "n1 c2->2 i4 k2 s2 p1 d1 g1",
        "n2 c2->2 i5 k2 s2 p0 d2 g2",
        "n1 c1->2 i3 k3 s3 p2 d1 g1",
        "n1 c1->1 i7 k2 s3 p0 d2 g1",
    )
]


def _sizes(geometry: ConvGeometry) -> dict[sympy.Symbol, int]:
    axis = geometry.axes[0]
    values = {
        "N": geometry.batch, "G": geometry.groups, "I": geometry.in_channels // geometry.groups,
        "J": geometry.out_channels // geometry.groups, "H": axis.input, "K": axis.kernel, "S": axis.stride,
        "P": axis.before, "Q": axis.after, "D": axis.dilation, "O": axis.output, "r": axis.remainder,
    }  # fmt: skip
    return {symbol(name): value for name, value in values.items()}


def _value(
    total: IndexSum, known: dict[sympy.Symbol, int], arrays: dict[str, dict[tuple[int, ...], int]]
) -> int:
    """The number that an index sum stands for, by going through all of its bound indices."""
    letters = [index for index, _ in total.bound]
    sizes = [int(size.subs(known)) for _, size in total.bound]
    result = 0
    for place in itertools.product(*map(range, sizes)):
        at = {**known, **dict(zip(letters, place, strict=True))}
        if all(equation.subs(at) == 0 for equation in total.equations):
            product = 1
            for name, indices in total.reads:
                product *= arrays[name][tuple(int(index.subs(at)) for index in indices)]
            result += product
    return result


def _arrays(geometry: ConvGeometry) -> dict[str, dict[tuple[int, ...], int]]:
    draw = random.Random(str(geometry))
    shapes = {"x": geometry.input_shape, "k": geometry.weight_shape, "g": geometry.output_shape}
    return {
        name: {index: draw.randint(-5, 5) for index in definition.indices(shape)}
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize("geometry", NUMBERS, ids=str)
@pytest.mark.parametrize("role", ["x", "k", "g"])
def test_every_rewriting_keeps_the_number(geometry: ConvGeometry, role: str) -> None:
    general = General(forms.shipped(), 1)
    arrays, known = _arrays(geometry), _sizes(geometry)
    compute = {"x": definition.grad_input, "k": definition.grad_weight, "g": definition.forward}[role]
    arguments = {"x": ("g", "k"), "k": ("x", "g"), "g": ("x", "k")}[role]
    expected = compute(geometry, *(arrays[name] for name in arguments))
    formula = general.closed_form(role, *arguments).at(general.free[role])
    derivative = differentiated(trilinear_sum(general.geometry), role, general.free[role])
    ranges, solved = general.xp.ranges, general.geometry.solved
    apart = digitwise(derivative, ranges)
    forms_of_it = [eliminated(apart, ranges, solved), formula, eliminated(formula, ranges, solved)]
    forms_of_it += [reflected(forms_of_it[-1]), general.normal(formula)]
    letters = sorted(set().union(*(index.free_symbols for index in general.free[role])) - set(known), key=str)
    for index in list(expected)[:: max(1, len(expected) // 4)]:
        at = _letters_of(general, role, letters, index, known)
        assert {_value(form, {**known, **at}, arrays) for form in forms_of_it} == {expected[index]}


def _letters_of(
    general: General,
    role: str,
    letters: list[sympy.Symbol],
    index: tuple[int, ...],
    known: dict[sympy.Symbol, int],
) -> dict[sympy.Symbol, int]:
    """Numbers for the free letters that address one element."""
    sizes = [int(general.xp.ranges[letter].subs(known)) for letter in letters]
    for place in itertools.product(*map(range, sizes)):
        at = dict(zip(letters, place, strict=True))
        if tuple(int(term.subs({**known, **at})) for term in general.free[role]) == index:
            return at
    raise AssertionError(f"{index} is not addressed")


def test_the_symbolic_definition_has_the_taps_of_the_definition() -> None:
    geometry = SymbolicGeometry.of(1)
    total = trilinear_sum(geometry)
    for numbers in NUMBERS[:2]:
        known, where = _sizes(numbers), places(geometry)[0]
        found = set()
        letters = [index for index, _ in total.bound]
        for place in itertools.product(*(range(int(size.subs(known))) for _, size in total.bound)):
            at = {**known, **dict(zip(letters, place, strict=True))}
            if total.equations[0].subs(at) == 0:
                found.add(tuple(tuple(int(term.subs(at)) for term in where[name]) for name in "gkx"))
        assert found == set(definition.taps(numbers))


def test_polynomial_derivatives_are_sympys() -> None:
    geometry = ConvGeometry.parse("n1 c1->1 i3x4 k2x2 s1x2 p0x1 d1x1 g1")
    symbols_ = {
        name: {index: sympy.Symbol(f"{name}{index}") for index in definition.indices(shape)}
        for name, shape in (
            ("x", geometry.input_shape),
            ("k", geometry.weight_shape),
            ("g", geometry.output_shape),
        )
    }
    total = sum(
        symbols_["x"][u] * symbols_["k"][a] * symbols_["g"][o] for o, a, u in definition.taps(geometry)
    )
    ours = partials(trilinear(geometry), "x", geometry.input_shape)
    flat = {name: list(values.values()) for name, values in symbols_.items()}
    for index, by in symbols_["x"].items():
        expected = sympy.diff(total, by)
        found = sum(
            coefficient * flat["k"][exponents[2]] ** exponents[3] * flat["g"][exponents[4]] ** exponents[5]
            for exponents, coefficient in ours[index].items()
        )
        assert sympy.expand(expected - found) == 0


def test_derivative_refuses_what_is_not_linear() -> None:
    x = named("x", (2,))
    with pytest.raises(ValueError, match="degree 2"):
        partials(x[(0,)] * x[(1,)], "x", (2,))


def test_derivative_refuses_a_captured_index() -> None:
    geometry = SymbolicGeometry.of(1)
    with pytest.raises(ProofError, match="bound"):
        differentiated(trilinear_sum(geometry), "x", places(geometry)[0]["x"])


def test_nothing_is_eliminated_that_may_be_out_of_range_or_not_divisible() -> None:
    o, t, size, step = symbols("o t O S")
    beyond = IndexSum(((t, size),), (t - o,), (("g", (t,)),))
    assert eliminated(beyond, {o: size + 1}, sympy.expand) == beyond
    assert eliminated(beyond, {o: size}, sympy.expand).bound == ()
    divided = IndexSum(((t, size),), (step * t - o,), (("g", (t,)),))
    assert eliminated(divided, {o: size}, sympy.expand) == divided


def test_certainly_nonnegative() -> None:
    o, size, step = symbols("o O S")
    assert nonnegative(step * (size - 1) - step * o, {o: size})
    assert not nonnegative(step * (size - 1) - step * o - 1, {o: size})
    assert not nonnegative(size - 2, {})


def test_geometries_are_many_different_and_demanding() -> None:
    found = sampled(200, seed=1, products=3000)
    assert len(set(found)) == 200
    assert sum(all(axis.remainder for axis in geometry.axes) for geometry in found) >= 10
    assert sum(geometry.groups > 1 for geometry in found) >= 20
    first = CHOSEN[0].axes
    assert all(axis.kernel >= 2 and axis.remainder for axis in first)
    assert first[1].dilation >= 2


def test_no_smaller_witness_was_passed_over() -> None:
    found = witness(forms.NO_REMAINDER.forms)
    assert found is not None
    for geometry in itertools.takewhile(lambda other: other != found[0], small_first(3)):
        assert not list(first_order(geometry, forms.NO_REMAINDER.forms))


def test_the_relation_is_read_off_the_text() -> None:
    found = relation(forms.shipped(), "x")
    turned = {str(at) for at in found.read_at.values()}
    assert any("K" in text for text in turned)
    unturned = relation(forms.NO_ROTATION.forms, "x")
    assert not any("K" in str(at) for at in unturned.read_at.values())


def test_statements_in_smt_lib_and_python_agree() -> None:
    a, b = symbols("a b")
    assert smt(2 * a**2 - b - 3).count("(") == smt(2 * a**2 - b - 3).count(")")
    with pytest.raises(TypeError, match="integer coefficients"):
        smt(a / 2)
    for statement in (eq(a * b, 6), ~le(a, b), lt(a, b) | le(b, 0), le(a, 2) >> lt(b, 1)):
        for x, y in itertools.product(range(-2, 4), repeat=2):
            truth = eval(statement.python(), {"a": x, "b": y})
            for solver in available()[:1]:
                if (x + y) % 3:
                    continue
                text = "\n".join([
                    "(set-logic QF_NIA)", "(declare-const a Int)", "(declare-const b Int)",
                    f"(assert {eq(a, x).smt()})", f"(assert {eq(b, y).smt()})", f"(assert {statement.smt()})",
                    "(check-sat)",
                ])  # fmt: skip
                assert answer(solver, text) == ("sat" if truth else "unsat")


def test_rounding_to_few_bits() -> None:
    half = Fraction(1, 2)
    assert [rounded(Fraction(value), 2) for value in (3, 5, 7, 9, 10, -5)] == [3, 4, 8, 8, 8, -4]
    assert rounded(half, 1) == half
    assert sums((Fraction(1), Fraction(2), Fraction(4)), 2) == {6, 8}
