"""The double backward: DB-1 to DB-3."""

from __future__ import annotations

from functools import partial

from convverify.derivation.forms import CROPPED_IN_FRONT, NO_ROTATION, TURNED_FORWARD, WrongForm, shipped
from convverify.derivation.general import second_order_steps
from convverify.derivation.index_sum import ProofError
from convverify.derivation.markdown import GEOMETRY, MACHINE, display, numbered
from convverify.derivation.theorem import Check, Control, Theorem
from convverify.derivation.theorems.common import smallest

WHY = (
    "Second-order derivatives are asked for as follows: a loss depends on grad_input and grad_weight through "
    "their cotangents $`u`$ (shaped like the input) and $`v`$ (shaped like the weight). By GI-ALL and "
    "GW-ALL,\n\n"
    + display(
        r"\langle u, \text{grad\_input}(g, k)\rangle = T(u, k, g), \qquad "
        r"\langle v, \text{grad\_weight}(x, g)\rangle = T(x, v, g) ,"
    )
    + "\n\nthe same trilinear form with one argument replaced. Its partial derivatives are known: by $`g`$ "
    "the convolution (FW-ALL), by its kernel argument grad_weight (GW-ALL), by its input argument grad_input "
    "(GI-ALL). There is nothing new to differentiate, and no order of derivative ever brings anything new."
)


def _theorem(identifier: str, title: str, statement: str, wrong: WrongForm) -> Theorem:
    def proved(dimensions: int) -> str:
        steps = second_order_steps(shipped(), identifier, dimensions)
        return f"one normal form, after {len(steps)} steps"

    def refuted() -> str | None:
        try:
            second_order_steps(wrong.forms, identifier, 1)
        except ProofError:
            return smallest(wrong, order=2)
        return None

    return Theorem(
        id=identifier, title=title, statement=display(statement), hypotheses=GEOMETRY,
        method="SymPy in index notation: the gradient formula is paired with its cotangent, differentiated, "
        "and compared with the closed form. FIN-2 repeats it with polynomials.",
        derivation=lambda: WHY + "\n\n" + MACHINE + "\n\n"
        + numbered(second_order_steps(shipped(), identifier, 1)),
        checks=tuple(
            Check(f"{dims} spatial {'axis' if dims == 1 else 'axes'}, all sizes symbols",
                  partial(proved, dims))
            for dims in (1, 2)
        ),
        controls=(Control(f"{wrong.slot}: {wrong.fault}", refuted),),
    )  # fmt: skip


SECOND_ORDER = (
    _theorem(
        "DB-1", "Double backward by grad_output",
        r"\frac{\partial}{\partial g}\big(\langle u, \text{grad\_input}(g,k)\rangle + "
        r"\langle v, \text{grad\_weight}(x,g)\rangle\big) = \text{conv}(u, k) + \text{conv}(x, v)",
        TURNED_FORWARD,
    ),
    _theorem(
        "DB-2", "Double backward by the weight",
        r"\frac{\partial}{\partial k}\langle u, \text{grad\_input}(g,k)\rangle = \text{grad\_weight}(u, g)",
        CROPPED_IN_FRONT,
    ),
    _theorem(
        "DB-3", "Double backward by the input",
        r"\frac{\partial}{\partial x}\langle v, \text{grad\_weight}(x,g)\rangle = \text{grad\_input}(g, v)",
        NO_ROTATION,
    ),
)  # fmt: skip
