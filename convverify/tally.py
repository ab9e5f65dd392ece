"""What one property has met so far, and the verdict that this makes."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace

from convverify.case import ConvCase
from convverify.coverage import features
from convverify.examine import Finding, How, Kind
from convverify.properties.base import Property
from convverify.results import Outcome, Result
from convverify.values import DISTRIBUTIONS


@dataclass
class Tally:
    """What one property has met so far."""

    cases: int = 0
    live: int = 0
    unsupported: Counter[str] = field(default_factory=Counter)
    known: Finding | None = None
    broken: Finding | None = None
    how: How = How.HELD
    rounded: Finding | None = None
    rounded_case: ConvCase | None = None
    failed: tuple[ConvCase, Finding] | None = None
    too_slow: int = 0
    log_miss: float = 0.0
    coverage: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def tried(self) -> int:
        """Cases that were checked, and those that the operator did not support."""
        return self.cases + sum(self.unsupported.values())

    def add(self, case: ConvCase, finding: Finding) -> None:
        """Count a case and what came of it."""
        if finding.kind is Kind.UNSUPPORTED:
            self.unsupported[finding.message] += 1
        if finding.kind is Kind.INAPPLICABLE:
            self.unsupported["it says nothing about this operator"] += 1
        if finding.kind in (Kind.UNSUPPORTED, Kind.INAPPLICABLE):
            return
        self.cases += 1
        self.coverage.update(features(case))
        if finding.kind not in (Kind.VACUOUS, Kind.BROKEN):
            self.live += 1
        if finding.kind is Kind.BROKEN:
            self.broken = finding
        self.how = max(self.how, finding.how)
        if finding.kind is Kind.KNOWN:
            self.known = finding
        if finding.kind is Kind.ROUNDED and self.rounded is None:
            self.rounded, self.rounded_case = finding, case
        if finding.kind.is_failure and self.failed is None:
            self.failed = case, finding
        entries = DISTRIBUTIONS[case.values].entries
        if finding.kind is Kind.EQUAL and entries is not None:
            self.log_miss += math.log10(min(1.0, 2 / entries(case.amplitude)))


def judged(unrun: Result, tally: Tally, prop: Property, inexact: bool) -> Result:
    """The result of a property from what it met; an `inexact` operator is not blamed where only direct sums hold.

    `unrun` is the result before the property was run.
    """
    unsupported = sum(tally.unsupported.values())
    counted = replace(unrun, cases=tally.cases, unsupported_cases=unsupported)
    reason = tally.unsupported.most_common(1)[0][0] if tally.unsupported else ""
    if tally.failed is not None:
        finding = tally.failed[1]
        broke = finding.kind is not Kind.UNEQUAL
        failed = replace(counted, outcome=Outcome.ERRORED if broke else Outcome.FALSIFIED, reason=finding.message)
        return failed.excused() if prop.direct and inexact else failed
    if not tally.cases and unsupported:
        return replace(counted, outcome=Outcome.UNSUPPORTED, reason=reason)
    if not tally.cases and not tally.too_slow:
        return replace(counted, outcome=Outcome.UNSUPPORTED, reason="no case of it lies in what the operator takes")
    if tally.broken is not None:
        return replace(counted, outcome=Outcome.INCONCLUSIVE, reason=tally.broken.message)
    if not tally.live:
        why = "every case compared zeros alone" if tally.cases else "every case would have taken too long"
        return replace(counted, outcome=Outcome.INCONCLUSIVE, reason=why)
    if tally.known is not None:
        return replace(counted, outcome=Outcome.KNOWN_FAILURE, reason=tally.known.message)
    if tally.rounded is not None:
        return replace(
            counted, outcome=Outcome.INEXACT, reason=f"{tally.rounded.message}, on {tally.rounded_case}",
            established=f"within the transform's rounding bound on {tally.live} cases",
        )  # fmt: skip
    miss = tally.log_miss if "SZ-1" in prop.cites and tally.log_miss else None
    return replace(
        counted, outcome=Outcome.PASSED, reason=reason, established=f"{tally.how} on {tally.live} cases",
        miss_probability=None if miss is None else 10.0 ** max(miss, -300.0),
    )  # fmt: skip
