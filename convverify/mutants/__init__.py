"""Operators that are wrong on purpose (mutants) and operators that are right (controls)."""

from __future__ import annotations

from convverify.mutants import base, forward, gradients, groups, second_order

FAMILIES = (forward, gradients, second_order, groups)
MUTANTS: tuple[base.Mutant, ...] = tuple(m for family in FAMILIES for m in base.declared(family, base.Mutant))
CONTROLS: tuple[base.Control, ...] = ()
