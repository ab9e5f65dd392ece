"""What a theorem is, and what it takes to call it proved."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from convverify.derivation.claims import Claim
from convverify.derivation.index_sum import ProofError
from convverify.derivation.solvers import SOLVERS, answer


@dataclass(frozen=True)
class Check:
    """A computation that shows part of a theorem.

    `run` returns what was found, in words that are the same on every run, and raises ProofError where
    the theorem does not hold.
    """

    what: str
    run: Callable[[], str]


@dataclass(frozen=True)
class Control:
    """A wrong variant: `run` puts it to the same machinery and returns the smallest witness.

    It returns None where the machinery let the variant pass, which makes the theorem worth nothing.
    """

    fault: str
    run: Callable[[], str | None]


@dataclass(frozen=True)
class Theorem:
    """One entry of the table. `derivation` returns Markdown; `claims` and `wrong_claims` go to solvers.

    `statement` is the mathematics of what `convverify.theorem_ids` says in words.
    """

    id: str
    title: str
    statement: str
    method: str
    derivation: Callable[[], str]
    hypotheses: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    claims: Callable[[], tuple[Claim, ...]] = tuple
    wrong_claims: Callable[[], tuple[tuple[str, Claim], ...]] = tuple
    controls: tuple[Control, ...] = ()


@dataclass
class Verdict:
    """What became of one theorem: proved where nothing failed, as far as `unchecked` does not limit it."""

    theorem: Theorem
    failures: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    findings: list[tuple[str, str]] = field(default_factory=list)
    witnesses: list[tuple[str, str]] = field(default_factory=list)
    problems: list[tuple[str, str, str]] = field(default_factory=list)  # name, expected answer, SMT-LIB
    seconds: float = 0.0

    @property
    def proved(self) -> bool:
        """Whether nothing failed."""
        return not self.failures


LARGEST_WITNESS = 6


def check(theorem: Theorem, solvers: Sequence[str]) -> Verdict:
    """Check a theorem and refute its wrong variants, with the solvers that are at hand."""
    start = time.perf_counter()
    verdict = Verdict(theorem)
    for part in (_checks, _claims, _wrong_claims, _controls):
        try:
            part(theorem, solvers, verdict)
        except Exception as error:  # a wrong closed form may break anything; that refutes it too
            kind = "" if isinstance(error, ProofError) else f"{type(error).__name__}: "
            verdict.failures.append(f"{kind}{error}")
    if not verdict.witnesses and not verdict.failures:
        verdict.failures.append("it has no negative control")
    verdict.seconds = time.perf_counter() - start
    return verdict


def _checks(theorem: Theorem, solvers: Sequence[str], verdict: Verdict) -> None:
    for part in theorem.checks:
        try:
            verdict.findings.append((part.what, part.run()))
        except ProofError as error:
            verdict.failures.append(f"{part.what}: {error}")


def _claims(theorem: Theorem, solvers: Sequence[str], verdict: Verdict) -> None:
    claims = theorem.claims()
    for claim in claims:
        possible = claim.possible()
        _ask(claim, "unsat", solvers, verdict)
        _ask(possible, "sat", solvers, verdict)
        found = claim.counterexample(claim.small)
        if found is not None:
            verdict.failures.append(f"{claim.name} is false for {numbers(found)}")
        example = possible.counterexample(LARGEST_WITNESS)
        if example is None:
            verdict.failures.append(f"{claim.name}: no example of its hypotheses was found")
        else:
            verdict.findings.append(
                (f"`{claim.name}`: {claim.words}", (f"hypotheses hold for {numbers(example)}"))
            )
    missing = [name for name in SOLVERS if name not in solvers]
    if claims and missing:
        without = "only small numbers were tried" if len(missing) == len(SOLVERS) else "one solver less"
        verdict.unchecked.append(f"{len(claims)} claims not put to {' and '.join(missing)}: {without}")


def _wrong_claims(theorem: Theorem, solvers: Sequence[str], verdict: Verdict) -> None:
    for fault, claim in theorem.wrong_claims():
        _ask(claim, "sat", solvers, verdict)
        witness = claim.counterexample(LARGEST_WITNESS)
        if witness is None:
            verdict.failures.append(f"control not refuted: {fault}")
        else:
            verdict.witnesses.append((fault, numbers(witness)))


def _controls(theorem: Theorem, solvers: Sequence[str], verdict: Verdict) -> None:
    for control in theorem.controls:
        witness = control.run()
        if witness is None:
            verdict.failures.append(f"control not refuted: {control.fault}")
        else:
            verdict.witnesses.append((control.fault, witness))


def _ask(claim: Claim, expected: str, solvers: Sequence[str], verdict: Verdict) -> None:
    problem = claim.smt2(expected)
    verdict.problems.append((claim.name, expected, problem))
    for solver in solvers:
        said = answer(solver, problem)
        if said != expected:
            verdict.failures.append(f"{claim.name}: {solver} says {said}, not {expected}")


def numbers(values: dict[str, int]) -> str:
    """H=2 K=1, without what is not of interest."""
    return " ".join(f"{name}={value}" for name, value in values.items())
