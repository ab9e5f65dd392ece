"""Operators that are wrong on purpose (mutants) and operators that are right (controls)."""

from __future__ import annotations

from convverify.mutants import (
    adversarial,
    base,
    circumstances,
    contract,
    controls,
    controls_fast,
    controls_functions,
    controls_restricted,
    controls_wrapped,
    forward,
    geometry,
    gradients,
    groups,
    halves,
    histories,
    layout,
    memory,
    modules,
    narrow,
    overlooked,
    precision,
    process,
    refusals,
    second_order,
    shortcuts,
    special_values,
    state,
    thresholds,
    transforms,
)

FAMILIES = (
    forward, gradients, second_order, geometry, thresholds, groups, layout, contract, state, histories, process, memory,
    precision, halves, special_values, refusals, adversarial, shortcuts, circumstances, transforms, narrow, modules,
    overlooked,
)  # fmt: skip
STYLES = (controls, controls_functions, controls_fast, controls_restricted, controls_wrapped)
MUTANTS: tuple[base.Mutant, ...] = tuple(m for f in FAMILIES for m in base.declared(f, base.Mutant))
CONTROLS: tuple[base.Control, ...] = tuple(c for s in STYLES for c in base.declared(s, base.Control))
