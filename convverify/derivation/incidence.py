"""Claims, index by index, about one axis of a closed form: read off its text, put to an SMT solver."""

from __future__ import annotations

from dataclasses import dataclass

import sympy
from sympy import Expr, Symbol

from convverify.derivation.claims import Claim
from convverify.derivation.forms import Form, Forms
from convverify.derivation.general import ARGUMENTS, General, places
from convverify.derivation.index_sum import ProofError
from convverify.derivation.logic import All, Statement, eq, within
from convverify.derivation.symbolic_geometry import SymbolicAxis, symbol

AXIS = SymbolicAxis()
U, A, O = symbol("u"), symbol("a"), symbol("o")  # noqa: E741  the letters of the page


def meet(u: Expr = U, a: Expr = A, o: Expr = O) -> Statement:
    """The relation of the definition, ranges included."""
    axis = AXIS
    return All(
        (
            eq(u, axis.stride * o + axis.dilation * a - axis.before),
            within(u, axis.input),
            within(a, axis.kernel),
            within(o, axis.output),
        )
    )


@dataclass(frozen=True)
class Relation:
    """The meetings of one axis that a closed form counts: one for each value of the bound indices."""

    bound: tuple[tuple[Symbol, Expr], ...]
    equations: tuple[Expr, ...]
    read_at: dict[str, Expr]
    accesses: tuple[tuple[Expr, Expr], ...]
    size: Expr

    def holds(self, mark: str = "") -> Statement:
        """The condition under which a value of the bound indices counts."""
        new = {index: symbol(index.name + mark) for index, _ in self.bound}
        ranges = tuple(within(new[index], size) for index, size in self.bound)
        return All((*ranges, *(eq(equation.subs(new), 0) for equation in self.equations)))

    def determined(self) -> list[tuple[Symbol, Expr]]:
        """Each bound index as a function of u, a and o, in an order for substitution."""
        known = {U, A, O}
        open_ = [index for index, _ in self.bound]
        equations = [*self.equations, *(self._letter(name) - at for name, at in self.read_at.items())]
        found: list[tuple[Symbol, Expr]] = []
        while open_:
            index, value = self._next(open_, equations, known)
            found.append((index, value))
            open_.remove(index)
            known.add(index)
        return found

    @staticmethod
    def _next(open_: list[Symbol], equations: list[Expr], known: set[Symbol]) -> tuple[Symbol, Expr]:
        for index in open_:
            for equation in map(sympy.expand, equations):
                slope = equation.coeff(index, 1)
                rest = sympy.expand(equation - slope * index)
                others = set(open_) - {index}
                if slope in (1, -1) and not rest.has(index) and not rest.free_symbols & others:
                    return index, sympy.expand(-rest / slope)
        raise ProofError(f"nothing determines {open_} from u, a and o")

    @staticmethod
    def _letter(name: str) -> Symbol:
        return {"x": U, "k": A, "g": O}[name]


def relation(forms: Forms, role: str) -> Relation:
    """The relation of the closed form whose values are shaped like x, k or g, on one axis."""
    general = General(forms, 1)
    at, ranges = places(general.geometry)
    general.xp.ranges.update(ranges)
    one, other = ARGUMENTS[role]
    form: Form = {"g": forms.forward, "x": forms.grad_input, "k": forms.grad_weight}[role]
    shaped = {"x": "x", "k": "k", "g": "g"}
    result = form(
        general.xp, general.geometry, general.named(one, shaped[one]), general.named(other, shaped[other])
    )
    total = result.at(at[role])
    axis_equations = tuple(total.equations)
    spatial = set().union(*(term.free_symbols for term in axis_equations)) | set().union(
        *(indices[2].free_symbols for _, indices in total.reads)
    )
    return Relation(
        tuple((index, size) for index, size in total.bound if index in spatial),
        axis_equations,
        {name: indices[2] for name, indices in total.reads},
        tuple(general.xp.accesses),
        result.shape[2],
    )


def same_meetings(forms: Forms, role: str, theorem: str) -> tuple[Claim, Claim, Claim]:
    """Definition implies formula, formula implies definition, and no meeting is counted twice."""
    found = relation(forms, role)
    own = {"x": U, "k": A, "g": O}[role]
    own_size = {"x": AXIS.input, "k": AXIS.kernel, "g": AXIS.output}[role]
    reads = tuple(eq(Relation._letter(name), at) for name, at in found.read_at.items())
    indices = tuple(index for index, _ in found.bound)
    solved = found.determined()
    second = tuple(symbol(index.name + "b") for index in indices)
    renamed = dict(zip(indices, second, strict=True))
    reads_again = tuple(eq(Relation._letter(name), at.subs(renamed)) for name, at in found.read_at.items())
    sizes = AXIS.sizes
    others = tuple(letter for letter in (U, A, O) if letter != own)
    return (
        Claim(
            f"{theorem}-forth", (*sizes, A, O, U, *(index for index, _ in solved)),
            (*AXIS.hypotheses, meet(), *(eq(index, value) for index, value in solved)),
            All((found.holds(), *reads)), 2,
            "what meets under the definition meets under the formula",
        ),
        Claim(
            f"{theorem}-back", (*sizes, own, *indices, *others),
            (*AXIS.hypotheses, within(own, own_size), found.holds(), *reads), meet(), 2,
            "what meets under the formula meets under the definition",
        ),
        Claim(
            f"{theorem}-once", (*sizes, own, *indices, *others, *second),
            (*AXIS.hypotheses, within(own, own_size), found.holds(), *reads, found.holds("b"), *reads_again),
            All(tuple(eq(index, again) for index, again in renamed.items())), 2,
            "each meeting is counted once",
        ),
    )  # fmt: skip


def in_bounds(forms: Forms, role: str, theorem: str) -> tuple[Claim, ...]:
    """Every index at which a window reads its array is inside it."""
    found = relation(forms, role)
    claims = []
    for number, (index, length) in enumerate(found.accesses, start=1):
        letters = sorted(index.free_symbols - set(AXIS.sizes), key=str)
        sizes = {**dict(found.bound), U: AXIS.input, A: AXIS.kernel, O: AXIS.output}
        claims.append(
            Claim(
                f"{theorem}-read-{number}", (*AXIS.sizes, *letters),
                (*AXIS.hypotheses, *(within(letter, sizes[letter]) for letter in letters)),
                within(index, length), 3, "every read is inside",
            )
        )  # fmt: skip
    return tuple(claims)


def right_size(forms: Forms, role: str, theorem: str) -> Claim:
    """The size of the closed form is that of what it is the derivative by."""
    size = {"x": AXIS.input, "k": AXIS.kernel, "g": AXIS.output}[role]
    return Claim(
        f"{theorem}-size", AXIS.sizes, AXIS.hypotheses, eq(relation(forms, role).size, size), 3,
        "the size is right",
    )  # fmt: skip
