"""Hypothesis at work: a failing case shrunken."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.strategies import SearchStrategy

from convverify.case import ConvCase
from convverify.examine import Finding, examine
from convverify.pace import Clock
from convverify.properties.base import Property
from convverify.strategies import no_foreign_constants, smaller_cases
from convverify.target import Target

LEAST_TRIED = 60  # even where the time is up: a slow machine is no reason to shrink nothing
_SETTINGS = settings(
    database=None, deadline=None, suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
)  # fmt: skip


class _Stop(Exception):  # noqa: N818 - ends a Hypothesis run early
    pass


def shrink(prop: Property, op: Target, case: ConvCase, finding: Finding, seconds: float) -> tuple[ConvCase, Finding]:
    """The smallest case of the operator's domain found in the time on which the property fails as well."""
    clock, tried = Clock(), 0
    best = [(case, finding)]

    def over() -> bool:
        return clock() > seconds * (1 if tried >= LEAST_TRIED else 3)

    def check(smaller: ConvCase) -> bool:
        nonlocal tried
        tried += 1
        if over():
            raise _Stop
        if smaller.size >= before.size or not op.domain.allows(smaller) or not prop.demand.takes(smaller):
            return True
        found = examine(prop, op, smaller, max(0.1, seconds))
        if found.kind is not finding.kind:  # a wrong result is not exchanged for an error, nor the reverse
            return True
        if smaller.size < best[0][0].size:
            best[0] = smaller, found
        return False

    while True:  # from each smallest one on, until none is found that is smaller still
        before = best[0][0]
        _draw(smaller_cases(before), 150, f"shrink {case}", check)
        if best[0][0] is before or over():
            break
    return best[0]


def _draw(strategy: SearchStrategy[ConvCase], examples: int, seed: str, check: Callable[[ConvCase], bool]) -> None:
    """Draw cases until `check` says no, and then ever simpler ones."""
    stopped = False

    @hypothesis.seed(seed)
    @settings(_SETTINGS, max_examples=examples, phases=(Phase.generate, Phase.shrink))
    @hypothesis.given(strategy)
    def trial(case: ConvCase) -> None:
        nonlocal stopped
        if stopped:
            raise _Stop
        try:
            going_on = check(case)
        except _Stop:
            stopped = True
            raise
        if not going_on:
            raise _Stop

    with no_foreign_constants(), contextlib.suppress(Exception):  # what was found is in `check`'s own record
        trial()
