"""What is shown of a failure: the smallest case near it that fails, too, and what is behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from convverify.case import ConvCase
from convverify.counterexample import counterexample
from convverify.diagnosis import behaves_like, read_back
from convverify.examine import Finding, Kind, examine
from convverify.geometry import ConvGeometry
from convverify.pace import Clock
from convverify.plan import Plan
from convverify.properties.base import Property
from convverify.results import Counterexample
from convverify.shrinking import shrink

SHRINKINGS = 2  # whole ones in a run; other properties mostly fail at the geometries that these have found
MOST_DIAGNOSED = 3

Judge = Callable[[Property, ConvCase, Finding], Finding]


class Explainer:
    """Makes the counterexamples of a run, of which the first ones get most of the time.

    `judge` turns a failure into another finding where torch fails, too: to that nothing is shrunken.
    """

    def __init__(self, plan: Plan, judge: Judge) -> None:
        self.op, self.budget, self.asked_for = plan.op, plan.budget, plan.case
        self.judge = judge
        self.failures = self.diagnosed = 0
        self.small: list[ConvGeometry] = []
        self.shrinking_left = SHRINKINGS * self.budget.shrink_seconds

    def explained(self, prop: Property, case: ConvCase, finding: Finding) -> Counterexample:
        """The smallest failing case near this one, explained."""
        self.failures += 1
        if finding.kind is Kind.HANG or case == self.asked_for:
            return counterexample(prop, self.op, case, finding, case, True)
        again = examine(prop, self.op, case, self.budget.case_seconds)
        if not again.kind.is_failure:
            return counterexample(prop, self.op, case, finding, case, False)
        smallest, found = self._smallest(prop, case, again)
        example = counterexample(prop, self.op, smallest, found, case, True)
        if found.kind is not Kind.UNEQUAL or self.diagnosed >= MOST_DIAGNOSED:
            return example
        self.diagnosed += 1
        causes = behaves_like(prop, self.op, smallest, case, self.budget.shrink_seconds)
        formula = read_back(self.op, smallest) if self.diagnosed == 1 else ""
        return replace(example, behaves_like=causes, readback=formula)

    def _smallest(self, prop: Property, case: ConvCase, finding: Finding) -> tuple[ConvCase, Finding]:
        """The case at the geometry of an earlier counterexample where it fails there, too; else shrunken."""
        for geometry in self.small:
            smaller = replace(case, geometry=geometry)
            if smaller.size < case.size and self.op.domain.allows(smaller) and prop.demand.takes(smaller):
                found = examine(prop, self.op, smaller, self.budget.case_seconds)
                if self.judge(prop, smaller, found).kind is finding.kind:
                    return smaller, found
        share = self.budget.shrink_seconds / (1 if self.failures == 1 else 4)
        clock = Clock()
        smallest, found = shrink(prop, self.op, case, finding, min(share, self.shrinking_left))
        self.shrinking_left = max(0.0, self.shrinking_left - clock())
        if self.judge(prop, smallest, found) is not found:
            return case, finding
        self.small.append(smallest.geometry)
        return smallest, found
