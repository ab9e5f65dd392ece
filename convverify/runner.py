"""From an operator and the catalogue to results: draws cases, checks them, shrinks what fails."""

from __future__ import annotations

import contextlib
import math
import random
import secrets
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field, replace

import hypothesis
import torch
from hypothesis import HealthCheck, Phase, settings

from convverify import corners, process_state
from convverify.budget import BUDGETS, Budget
from convverify.case import ConvCase
from convverify.counterexample import counterexample
from convverify.coverage import features
from convverify.diagnosis import behaves_like, read_back
from convverify.examine import Finding, Kind, examine
from convverify.geometry import ConvGeometry
from convverify.pace import Clock, Pace
from convverify.properties import CATALOGUE, named
from convverify.properties.base import Property
from convverify.results import Counterexample, Outcome, Result
from convverify.strategies import cases, no_foreign_constants, smaller_cases, some_layout
from convverify.target import Target, load
from convverify.values import DISTRIBUTIONS

LEAST_CASES = 5  # even where the time is up: a slow machine is no reason to know nothing
MOST_REFUSED = 2 * LEAST_CASES  # tries after which, the time being up, no further case is looked for
LEAST_TRIED = 60  # likewise for what a counterexample is shrunken to
SHRINKINGS = 2  # whole ones in a run; other properties mostly fail at the geometries that these have found
MOST_SUPPORTED = 300
LAYER_PRODUCTS = 50_000
MOST_DIAGNOSED = 3
MOST_GROWN = 8  # times, where a listed geometry is made to fit a domain: a long image squared is another case
Progress = Callable[[Result], None]
_SETTINGS = settings(
    database=None, deadline=None, suppress_health_check=list(HealthCheck), report_multiple_bugs=False,
)  # fmt: skip


@dataclass
class Plan:
    """Everything that a verification is told, before it starts."""

    op: Target
    budget: Budget
    devices: tuple[str, ...] = ("cpu",)
    seed: int = 0
    secret_seed: int = 0
    properties: tuple[Property, ...] = CATALOGUE
    shapes: tuple[ConvGeometry, ...] = ()
    fail_fast: bool = False
    case: ConvCase | None = None
    watch: Callable[[Property, ConvCase], None] = lambda prop, case: None


class ChoiceError(ValueError):
    """A budget or a device that is none."""


@dataclass
class _Tally:
    """What one property has met so far."""

    cases: int = 0
    live: int = 0
    unsupported: Counter[str] = field(default_factory=Counter)
    known: Finding | None = None
    rounded: Finding | None = None
    rounded_case: ConvCase | None = None
    failed: tuple[ConvCase, Finding] | None = None
    too_slow: int = 0
    log_miss: float = 0.0
    coverage: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, case: ConvCase, finding: Finding) -> None:
        if finding.kind is Kind.UNSUPPORTED:
            self.unsupported[finding.message] += 1
        if finding.kind is Kind.INAPPLICABLE:
            self.unsupported["it says nothing about this operator"] += 1
        if finding.kind in (Kind.UNSUPPORTED, Kind.INAPPLICABLE):
            return
        self.cases += 1
        self.coverage.update(features(case))
        if finding.kind is not Kind.VACUOUS:
            self.live += 1
        if finding.kind is Kind.KNOWN:
            self.known = finding
        if finding.kind is Kind.ROUNDED and self.rounded is None:
            self.rounded, self.rounded_case = finding, case
        if finding.kind.is_failure and self.failed is None:
            self.failed = case, finding
        if finding.kind is Kind.EQUAL and case.values in ("integers", "large"):
            values = 2 * min(case.amplitude, 9 if case.values == "integers" else case.amplitude) + 1
            self.log_miss += math.log10(min(1.0, 2 / values))


class _Stop(Exception):  # noqa: N818 - ends a Hypothesis run early
    pass


def plan_of(
    operator: object,
    budget: str = "standard",
    device: str = "cpu",
    seed: int = 0,
    domain: str | None = None,
    name: str = "",
    properties: Sequence[str] = (),
    shapes: Sequence[ConvGeometry] = (),
    secret_seed: int | None = None,
    fail_fast: bool = False,
    case: str = "",
) -> Plan:
    """The plan that these choices mean; `case` is the line of a single one to check.

    Raises:
        TargetError, DomainError, UnknownPropertyError, ChoiceError: what is asked for cannot be done.
    """
    if budget not in BUDGETS:
        raise ChoiceError(f"budget {budget!r} is not one of {', '.join(BUDGETS)}")
    if isinstance(operator, str):
        op = load(operator, domain or "")
    else:
        op = operator if isinstance(operator, Target) else Target(operator, name, domain or "")
    secret = secrets.randbits(31) if secret_seed is None else secret_seed
    return Plan(
        op, BUDGETS[budget], devices(device), seed, secret,
        tuple(map(named, properties)) or catalogue(BUDGETS[budget], bool(shapes)), tuple(shapes), fail_fast,
        ConvCase.parse(case) if case else None,
    )  # fmt: skip


def catalogue(budget: Budget, layers: bool = False) -> tuple[Property, ...]:
    """The properties that a budget has room for; for whole layers, those whose reference is fast enough."""
    return tuple(
        prop for prop in CATALOGUE
        if (budget.costly or not prop.demand.costly) and (not layers or prop.demand.products >= LAYER_PRODUCTS)
    )  # fmt: skip


def devices(device: str) -> tuple[str, ...]:
    """The devices that a choice means, absent ones included.

    Raises:
        ChoiceError: the choice is none of cpu, cuda and auto.
    """
    known = {"cpu": ("cpu",), "cuda": ("cuda",), "auto": ("cpu", "cuda")}
    if device not in known:
        raise ChoiceError(f"device {device!r} is not one of {', '.join(known)}")
    return known[device]


def execute(
    plan: Plan, coverage: Counter[tuple[str, str]], skip: Set[tuple[str, str]] = frozenset()
) -> Iterator[Result]:
    """The results of a plan, one by one, but for the (property, device) pairs in `skip`."""
    verifier = _Verifier(plan, coverage)
    with process_state.kept(), _quiet():
        torch.set_num_threads(1)  # several threads on shared cores make small convolutions many times slower
        pristine = process_state.process_state()
        for device in plan.devices:
            for prop in plan.properties:
                process_state.restore(pristine)
                if (prop.name, device) not in skip:
                    yield verifier.result(prop, device)


def blank(prop: Property, device: str) -> Result:
    """The result of a property that was not run."""
    return Result(prop.name, prop.family, prop.statement, prop.cites, device, Outcome.NOT_RUN)


class _Verifier:
    """Runs the properties of a plan in turn, within its time."""

    def __init__(self, plan: Plan, coverage: Counter[tuple[str, str]]) -> None:
        self.plan, self.coverage = plan, coverage
        self.budget = plan.budget
        self.clock = Clock()
        self.finish = plan.budget.seconds * len(plan.devices)
        self.weight_left = sum(p.demand.weight for p in plan.properties) * len(plan.devices)
        self.failed = self.stopped = ""
        self.inexact = False
        self.diagnosed = 0
        self.small: list[ConvGeometry] = []
        self.shrinking_left = SHRINKINGS * self.budget.shrink_seconds
        self.pace = Pace()
        self.supported: dict[ConvGeometry, None] = {}

    def result(self, prop: Property, device: str) -> Result:
        """The result of one property; NOT_RUN where the device is absent or the run was stopped."""
        unrun = blank(prop, device)
        reason = self.stopped or ("" if _present(device) else f"there is no {device} device here")
        if reason:
            return replace(unrun, reason=reason)
        started, begun = self.clock(), time.perf_counter()
        share = max(0.02, 1.5 * (self.finish - started) * prop.demand.weight / self.weight_left)
        self.weight_left = max(1e-9, self.weight_left - prop.demand.weight)
        tally = self._run(prop, device, started + share)
        self.coverage.update(tally.coverage)
        result = _judged(unrun, tally, prop, self)
        if tally.failed and result.outcome.is_failure:
            example = self._explained(prop, *tally.failed)
            result = replace(result, counterexample=example, reason=example.message)
            self.failed = self.failed or prop.name
            if tally.failed[1].kind is Kind.HANG:
                self.stopped = f"the operator hung in {prop.name}"
            elif self.plan.fail_fast:
                self.stopped = f"{prop.name} failed first"
        self.inexact = self.inexact or (result.outcome is Outcome.INEXACT and not prop.direct)
        return replace(result, elapsed_seconds=time.perf_counter() - begun)

    def _run(self, prop: Property, device: str, deadline: float) -> _Tally:
        tally = _Tally()
        if self.plan.shapes or self.plan.case:
            deadline = math.inf  # what was asked for by name is checked, however long it takes
        budget, domain = self.budget, self.plan.op.domain
        if not prop.demand.reaches(domain.dtypes):
            return tally

        def check(case: ConvCase) -> bool:
            """Whether to go on."""
            self.plan.watch(prop, case)
            case_started = self.clock()
            finding = examine(prop, self.plan.op, case, budget.case_seconds)
            tally.add(case, finding)
            self.pace.note(case, self.clock() - case_started)
            if finding.kind is Kind.EQUAL and len(self.supported) < MOST_SUPPORTED:
                self.supported[case.geometry] = None
            tried = tally.cases + sum(tally.unsupported.values())
            wanting = tally.live < LEAST_CASES and tried < MOST_REFUSED
            return tally.failed is None and (wanting or self.clock() < deadline)

        for case in self._given(prop, device):
            left = deadline - self.clock() if tally.cases else budget.case_seconds / 2
            if self.pace.predict(case) > left:
                tally.too_slow += 1
            elif not check(case):
                return tally
        if self.plan.case or self.plan.shapes or not prop.demand.products or prop.demand.large:
            return tally
        examples = budget.examples * prop.demand.weight / (4 if self.failed else 1)
        for seed in (self.plan.seed, self.plan.secret_seed):
            strategy = cases(prop.demand, domain, device)
            _draw(strategy, math.ceil(examples / 2), f"{prop.name} {seed}", check, (Phase.generate,))
            enough = tally.live >= LEAST_CASES or not tally.cases  # where all were rejected, more would be
            if tally.failed or (enough and self.clock() >= deadline):
                break
        if tally.live < LEAST_CASES and not tally.failed:
            for case in self._known_supported(prop, device):
                if not check(case) and (tally.failed or tally.live >= LEAST_CASES):
                    break
        return tally

    def _known_supported(self, prop: Property, device: str) -> Iterator[ConvCase]:
        """Cases of geometries that the operator did support, for one that supports few."""
        rng = random.Random(f"{prop.name} supported")
        fitting = [
            g for g in self.supported
            if g.products <= max(prop.demand.products, 1500) and (prop.demand.strings or not isinstance(g.padding, str))
        ]  # fmt: skip
        for geometry in rng.sample(fitting, min(len(fitting), 2 * LEAST_CASES)):
            case = self._case(prop, geometry, device, rng)
            if case is not None:
                yield case

    def _given(self, prop: Property, device: str) -> Iterator[ConvCase]:
        """The cases that are not drawn: the one asked for, the shapes asked for, or those listed."""
        if self.plan.case is not None:
            return iter([self.plan.case])
        return self._shapes(prop, device) if self.plan.shapes else self._listed(prop, device)

    def _listed(self, prop: Property, device: str) -> Iterator[ConvCase]:
        """The corner, sweep and layer cases that the property asks for, in the operator's domain."""
        demand, rng = prop.demand, random.Random(f"{prop.name} {self.plan.seed}")
        geometries: list[ConvGeometry] = []
        if demand.corners:
            listed = corners.NAMED if demand.strings else corners.CORNERS
            fitting = [g for g in listed if g.products <= max(demand.products, 1500)]
            geometries += rng.sample(fitting, math.ceil(len(fitting) * self.budget.corners))
        if demand.thresholds:
            sweep = list(corners.sweep())
            geometries += corners.milestones()
            geometries += rng.sample(sweep, math.ceil(len(sweep) * self.budget.corners))
        if demand.large:
            geometries += rng.sample(corners.LAYERS, math.ceil(len(corners.LAYERS) * self.budget.corners))
        for geometry in dict.fromkeys(geometries):
            case = self._case(prop, geometry, device, rng)
            if case is not None:
                yield case

    def _shapes(self, prop: Property, device: str) -> Iterator[ConvCase]:
        rng = random.Random(f"{prop.name} {self.plan.seed}")
        for geometry in self.plan.shapes:
            case = self._case(prop, geometry, device, rng)
            if case is not None:
                yield case

    def _case(self, prop: Property, geometry: ConvGeometry, device: str, rng: random.Random) -> ConvCase | None:
        demand = prop.demand
        values = rng.choice(demand.values)
        case = ConvCase(
            geometry, demand.bias and rng.random() < 0.5, rng.choice(demand.dtypes), device,
            values=values, scale=rng.randint(-2, 2) if DISTRIBUTIONS[values].scaled else 0,
            seed=rng.randrange(2**20),
        )  # fmt: skip
        if demand.operand_layouts:
            case = replace(case, layout=some_layout(demand.operand_layouts, case.bias, rng))
        fitted = self.plan.op.domain.fit(case)
        if fitted is None or Pace.size(fitted.geometry) > MOST_GROWN * Pace.size(geometry):
            return None
        return fitted if demand.takes(fitted) else None

    def _explained(self, prop: Property, case: ConvCase, finding: Finding) -> Counterexample:
        """The smallest failing case near this one, explained."""
        if finding.kind is Kind.HANG or case == self.plan.case:
            return counterexample(prop, self.plan.op, case, finding, case, True)
        again = examine(prop, self.plan.op, case, self.budget.case_seconds)
        if not again.kind.is_failure:
            return counterexample(prop, self.plan.op, case, finding, case, False)
        smallest, found = self._smallest(prop, case, again)
        example = counterexample(prop, self.plan.op, smallest, found, case, True)
        if found.kind is not Kind.UNEQUAL or self.diagnosed >= MOST_DIAGNOSED:
            return example
        self.diagnosed += 1
        causes = behaves_like(prop, self.plan.op, smallest, case, self.budget.shrink_seconds)
        formula = read_back(self.plan.op, smallest) if self.diagnosed == 1 else ""
        return replace(example, behaves_like=causes, readback=formula)

    def _smallest(self, prop: Property, case: ConvCase, finding: Finding) -> tuple[ConvCase, Finding]:
        """The case at the geometry of an earlier counterexample where it fails there, too; else shrunken."""
        for geometry in self.small:
            smaller = replace(case, geometry=geometry)
            if smaller.size < case.size and self.plan.op.domain.allows(smaller) and prop.demand.takes(smaller):
                found = examine(prop, self.plan.op, smaller, self.budget.case_seconds)
                if found.kind is finding.kind:
                    return smaller, found
        share = self.budget.shrink_seconds / (4 if self.failed else 1)
        started = self.clock()
        smallest, found = shrink(prop, self.plan.op, case, finding, min(share, self.shrinking_left))
        self.shrinking_left = max(0.0, self.shrinking_left - (self.clock() - started))
        self.small.append(smallest.geometry)
        return smallest, found


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
        _draw(smaller_cases(before), 150, f"shrink {case}", check, (Phase.generate, Phase.shrink))
        if best[0][0] is before or over():
            break
    return best[0]


def _draw(
    strategy: hypothesis.strategies.SearchStrategy[ConvCase], examples: int, seed: str,
    check: Callable[[ConvCase], bool], phases: Sequence[Phase],
) -> None:  # fmt: skip
    """Draw cases until `check` says no; with the shrink phase, Hypothesis then draws ever simpler ones."""
    stopped = False

    @hypothesis.seed(seed)
    @settings(_SETTINGS, max_examples=max(1, examples), phases=phases)
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
            stopped = Phase.shrink not in phases
            raise _Stop

    with no_foreign_constants(), contextlib.suppress(Exception):  # what was found is in `check`'s own record
        trial()


def _judged(unrun: Result, tally: _Tally, prop: Property, verifier: _Verifier) -> Result:
    unsupported = sum(tally.unsupported.values())
    counted = replace(unrun, cases=tally.cases, unsupported_cases=unsupported)
    reason = tally.unsupported.most_common(1)[0][0] if tally.unsupported else ""
    if tally.failed is not None:
        finding = tally.failed[1]
        if prop.direct and verifier.inexact:
            why = f"holds for direct summation only, and this operator rounds elsewhere: {finding.message}"
            return replace(counted, outcome=Outcome.INEXACT, reason=why)
        broke = finding.kind in (Kind.ERROR, Kind.HANG)
        return replace(counted, outcome=Outcome.ERRORED if broke else Outcome.FALSIFIED, reason=finding.message)
    if not tally.cases and unsupported:
        return replace(counted, outcome=Outcome.UNSUPPORTED, reason=reason)
    if not tally.cases and not tally.too_slow:
        return replace(counted, outcome=Outcome.UNSUPPORTED, reason="no case of it lies in what the operator takes")
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
        counted, outcome=Outcome.PASSED, reason=reason, established=_established(prop, tally),
        miss_probability=None if miss is None else 10.0 ** max(miss, -300.0),
    )  # fmt: skip


def _established(prop: Property, tally: _Tally) -> str:
    exact = all(DISTRIBUTIONS[values].exact for values in prop.demand.values)
    how = "exact" if exact else "within the rounding bound"
    return f"{how} on {tally.live} cases"


def _present(device: str) -> bool:
    return device != "cuda" or torch.cuda.is_available()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """An operator's warnings are not the reader's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
