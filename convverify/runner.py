"""From an operator and the catalogue to results: property by property, within the time of the budget."""

from __future__ import annotations

import contextlib
import functools
import math
import random
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import accumulate

import torch
import torch._functorch.config as functorch_config

from convverify import process_state
from convverify.adapting import adapt
from convverify.answers import OperatorHang
from convverify.case import ConvCase
from convverify.examine import Finding, Kind, examine, excused
from convverify.explaining import Explainer
from convverify.geometry import ConvGeometry
from convverify.listing import at, given
from convverify.pace import SHORTER, Clock, Pace, shortened
from convverify.plan import Plan
from convverify.properties.base import Property
from convverify.results import Outcome, Result
from convverify.stint import MOST_REFUSED, Stint
from convverify.strategies import sampled_cases
from convverify.tally import Tally, judged
from convverify.time_limit import time_limit

MOST_SUPPORTED = 300

Check = Callable[[ConvCase], bool]  # whether to go on


def execute(
    plan: Plan, coverage: Counter[tuple[str, str]], turns: Iterable[int] | None = None
) -> Iterator[Result]:
    """The results of a plan, one by one: all of them, or those whose numbers among `plan.turns` come along."""
    with process_state.kept(), _quiet(), _retaining():
        torch.set_num_threads(1)  # several threads on shared cores make small convolutions many times slower
        verifier = _Verifier(plan, coverage)
        for turn in range(len(plan.turns)) if turns is None else turns:
            process_state.restore(verifier.pristine)
            yield verifier.result(turn)


def blank(prop: Property, device: str) -> Result:
    """The result of a property that was not run."""
    return Result(prop.name, prop.family, prop.statement, prop.cites, device, Outcome.NOT_RUN)


class _Verifier:
    """Runs the properties of a plan in turn, within its time."""

    def __init__(self, plan: Plan, coverage: Counter[tuple[str, str]]) -> None:
        self.plan, self.coverage = plan, coverage
        self.budget = plan.budget
        self.clock = Clock()
        saved = (1 + 1 / plan.jobs) / 2  # what several jobs gain is half of it time, and half of it cases
        self.finish = saved * plan.budget.seconds * len(plan.devices)
        weights = [prop.demand.weight for prop, _ in plan.turns]
        self.weights_left = list(accumulate(reversed(weights)))[::-1]  # of each turn, and all that follow
        self.stopped = ""
        self.inexact = self.asked = False
        self.explainer = Explainer(plan, self._beside_torch)
        self.pace = Pace()
        self.pristine = process_state.process_state()
        self.supported: dict[ConvGeometry, None] = {}

    def result(self, turn: int) -> Result:
        """The result of one property; NOT_RUN where the device is absent or the run was stopped."""
        prop, device = self.plan.turns[turn]
        unrun = blank(prop, device)
        reason = self.stopped or ("" if _present(device) else f"there is no {device} device here")
        if reason:
            return replace(unrun, reason=reason)
        started, begun = self.clock(), time.perf_counter()
        left = self.plan.jobs * (self.finish - started)
        share = max(0.02, 1.5 * left * prop.demand.weight / self.weights_left[turn])
        tally = self._run(prop, device, started + share)
        self.coverage.update(tally.coverage)
        result = judged(unrun, tally, prop, self.inexact)
        if tally.failed and result.outcome.is_failure:
            example = self.explainer.explained(prop, *tally.failed)
            result = replace(result, counterexample=example, reason=example.message)
            if tally.failed[1].kind is Kind.HANG:
                self.stopped = f"the operator hung in {prop.name}"
            elif self.plan.fail_fast:
                self.stopped = f"{prop.name} failed first"
        self.inexact = self.inexact or (result.outcome is Outcome.INEXACT and not prop.direct)
        return replace(result, elapsed_seconds=time.perf_counter() - begun)

    def _run(self, prop: Property, device: str, deadline: float) -> Tally:
        by_name = bool(self.plan.case or self.plan.shapes)  # what was asked for is checked, however long it takes
        stint = Stint(prop.demand.least, math.inf if by_name else deadline)
        if prop.demand.reaches(self.plan.op.domain.dtypes):
            check = functools.partial(self._check, prop, stint)
            listed_only = by_name or not prop.demand.products or prop.demand.large
            if self._go_through_listed(prop, device, stint, check) and not listed_only:
                self._go_through_drawn(prop, device, stint, check)
        return stint.tally

    def _check(self, prop: Property, stint: Stint, case: ConvCase) -> bool:
        """Check the property on a case; whether to go on."""
        if not (self.plan.case or self.plan.op.domain.allows(case)):  # as it has turned out since
            return True
        self.plan.watch(prop, case)
        spent = Clock()  # of this case alone: the run's own may stand still while one sleeps
        finding = examine(prop, self.plan.op, case, self.budget.case_seconds)
        if finding.kind is Kind.ERROR and self._called_otherwise():
            finding = Finding(Kind.UNSUPPORTED, f"called otherwise: {finding.message}")
        if finding.kind is Kind.HANG and case != self.plan.case and self._is_slow(prop, case):
            self.pace.gave_up(case)
            stint.tally.too_slow += 1
            return stint.goes_on(self.clock())
        finding = self._beside_torch(prop, case, finding)
        stint.tally.add(case, finding)
        if finding.kind not in (Kind.UNSUPPORTED, Kind.INAPPLICABLE):  # what is refused takes no time
            stint.seconds.append(spent())
            self.pace.note(case, stint.seconds[-1])
        if finding.kind is Kind.EQUAL and len(self.supported) < MOST_SUPPORTED:
            self.supported[case.geometry] = None
        return stint.goes_on(self.clock())

    def _is_slow(self, prop: Property, case: ConvCase) -> bool:
        """Whether an operator that has not come back may only be slow: by what it takes for an eighth of the case.

        Where every one of so many steps takes as long as there are steps, the whole takes 64 times as long.
        """
        part = shortened(case)
        if part is None or not self.plan.op.domain.allows(part):
            return False
        self.plan.watch(prop, part)
        spent = Clock()
        finding = examine(prop, self.plan.op, part, self.budget.case_seconds)
        expected = SHORTER**2 * spent()
        return finding.kind is not Kind.HANG and expected >= self.budget.case_seconds

    def _go_through_listed(self, prop: Property, device: str, stint: Stint, check: Check) -> bool:
        for case in given(self.plan, prop, device):
            if self.pace.predict(case) > stint.affords(self.clock(), self.budget.case_seconds / 8):
                stint.tally.too_slow += 1
            elif not check(case):
                return False
        return True

    def _go_through_drawn(self, prop: Property, device: str, stint: Stint, check: Check) -> None:
        """Cases from either half of the seed; where too few of them say anything, some of supported geometries."""
        tally = stint.tally
        for half in (f"{self.plan.seed}", f"secret {self.plan.secret_seed}"):
            all(map(check, self._drawn(prop, device, half)))  # until one says no
            enough = not stint.has_too_few or not tally.cases  # where all were rejected, more would be
            if tally.failed or (enough and self.clock() >= stint.deadline):
                break
        for case in self._known_supported(prop, device) if stint.has_too_few else ():
            if tally.failed or (not check(case) and not stint.has_too_few):
                return

    def _drawn(self, prop: Property, device: str, half: str) -> Iterator[ConvCase]:
        """Drawn cases, as many as the budget has for one half of the seed."""
        examples = self.budget.examples * prop.demand.weight / (4 if self.explainer.failures else 1)
        most = max(1, math.ceil(examples / 2))
        return sampled_cases(prop.demand, self.plan.op.domain, device, f"{prop.name} {half}", most)

    def _called_otherwise(self) -> bool:
        """Whether it turns out now, after an error, how the operator is to be called; so it is from now on."""
        if self.asked:
            return False
        self.asked = True
        with contextlib.suppress(OperatorHang), time_limit(self.budget.case_seconds):
            return adapt(self.plan.op)
        return False

    def _known_supported(self, prop: Property, device: str) -> Iterator[ConvCase]:
        """Cases of geometries that the operator did support, for one that supports few."""
        rng, demand = random.Random(f"{prop.name} supported"), prop.demand
        fitting = [
            g for g in self.supported
            if g.products <= max(demand.products, 1500) and (demand.strings or not isinstance(g.padding, str))
        ]  # fmt: skip
        return at(rng.sample(fitting, min(len(fitting), 2 * MOST_REFUSED)), self.plan, prop, device, rng)

    def _beside_torch(self, prop: Property, case: ConvCase, finding: Finding) -> Finding:
        """The finding, if torch does not fail there, too, in a process as it was before the operator was called."""
        if finding.kind.is_failure:
            process_state.restore(self.pristine)
        return excused(prop, self.plan.op, case, finding, self.budget.case_seconds)


def _present(device: str) -> bool:
    return device != "cuda" or torch.cuda.is_available()


@contextlib.contextmanager
def _retaining() -> Iterator[None]:
    """Inside, `torch.compile` makes backward passes that may be run twice, as several properties do."""
    before, functorch_config.donated_buffer = functorch_config.donated_buffer, False
    try:
        yield
    finally:
        functorch_config.donated_buffer = before


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """An operator's warnings are not the reader's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
