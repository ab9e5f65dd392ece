"""Operators that are wrong on purpose (mutants) and operators that are right (controls)."""

from __future__ import annotations

from convverify.mutants import (
    base,
    controls,
    controls_fast,
    controls_functions,
    controls_restricted,
    forward,
    gradients,
    groups,
    second_order,
)

FAMILIES = (forward, gradients, second_order, groups)
STYLES = (controls, controls_functions, controls_fast, controls_restricted)
MUTANTS: tuple[base.Mutant, ...] = tuple(m for f in FAMILIES for m in base.declared(f, base.Mutant))
CONTROLS: tuple[base.Control, ...] = tuple(c for s in STYLES for c in base.declared(s, base.Control))
