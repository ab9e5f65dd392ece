"""What several theorems share: the proof for every size with its controls, and witnesses by instances."""

from __future__ import annotations

from functools import partial

from convverify.derivation.forms import (
    CROPPED_IN_FRONT,
    GROUPS_TRANSPOSED,
    NO_REMAINDER,
    NO_ROTATION,
    NO_ZEROS,
    PAD_BEHIND,
    PAD_UNDILATED,
    REMAINDER_IN_FRONT,
    TURNED_FORWARD,
    UNCROPPED,
    UNEXCHANGED,
    WrongForm,
    shipped,
)
from convverify.derivation.general import Step, derivative_steps
from convverify.derivation.index_sum import ProofError
from convverify.derivation.instances import witness
from convverify.derivation.theorem import Check, Control

WRONG: dict[str, tuple[WrongForm, ...]] = {
    "g": (PAD_BEHIND, TURNED_FORWARD, GROUPS_TRANSPOSED),
    "x": (NO_ROTATION, PAD_UNDILATED, NO_REMAINDER, REMAINDER_IN_FRONT, NO_ZEROS),
    "k": (UNCROPPED, UNEXCHANGED, CROPPED_IN_FRONT),
}
DIMENSIONS = (1, 2, 3)


def every_size(role: str, dimensions: int) -> list[Step]:
    """The steps of FW-ALL, GI-ALL or GW-ALL, about the shipped formulas."""
    return derivative_steps(shipped(), role, dimensions)


def refuted_everywhere(role: str) -> tuple[tuple[Check, ...], tuple[Control, ...]]:
    """The checks and the controls of a theorem about every size."""
    checks = tuple(
        Check(
            f"{dims} spatial {'axis' if dims == 1 else 'axes'}, all sizes symbols",
            partial(_equal, role, dims),
        )
        for dims in DIMENSIONS
    )
    controls = tuple(Control(wrong.fault, partial(_refuted, wrong, role)) for wrong in WRONG[role])
    return checks, controls


def _equal(role: str, dimensions: int) -> str:
    steps = every_size(role, dimensions)
    return f"the derivative and the formula have one normal form, after {len(steps)} steps"


def _refuted(wrong: WrongForm, role: str) -> str | None:
    try:
        derivative_steps(wrong.forms, role, 1)
    except ProofError:
        return smallest(wrong)
    return None


def smallest(wrong: WrongForm, order: int = 1) -> str | None:
    """The smallest geometry on which the polynomials differ, and how."""
    found = witness(wrong.forms, order)
    return None if found is None else f"`{found[0]}`: {found[1]}"
