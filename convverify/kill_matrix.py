"""Which property catches which mutant, and whether any blames a control: the checker, checked."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import signal
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from convverify.results import Outcome, Run


@dataclass(frozen=True)
class Entry:
    """What one mutant or control met.

    `seconds_to_kill` is the time until the first property failed, its shrinking included.
    """

    name: str
    description: str
    outcome: str
    caught_by: tuple[str, ...]
    seconds: float
    seconds_to_kill: float | None


def measure(
    names: Sequence[str], kind: str, budget: str, seed: int, jobs: int, fail_fast: bool = False
) -> Iterator[Entry]:
    """The entries of the named mutants (or controls), as they are done."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, context, _started) as pool:
        waiting = [pool.submit(entry, name, kind, budget, seed, fail_fast) for name in names]
        try:
            for done in concurrent.futures.as_completed(waiting):
                yield done.result()
        finally:
            for future in waiting:
                future.cancel()


def entry(name: str, kind: str, budget: str, seed: int, fail_fast: bool) -> Entry:
    """Verify one mutant or control with the whole catalogue."""
    from convverify.mutants import CONTROLS, MUTANTS  # noqa: PLC0415 - in the worker
    from convverify.verification import verify  # noqa: PLC0415

    if kind == "mutant":
        mutant = next(m for m in MUTANTS if m.name == name)
        operator, domain, description = mutant.make(), mutant.domain, mutant.fault
    else:
        control = next(c for c in CONTROLS if c.name == name)
        operator, domain, description = control.make(), control.domain, control.style
    run = verify(operator, budget, seed=seed, domain=domain, name=name, secret_seed=seed, fail_fast=fail_fast, jobs=1)
    return _entry(name, description, run)


def _entry(name: str, description: str, run: Run) -> Entry:
    failed = [result for result in run.results if result.outcome.is_failure]
    until = None
    if failed:
        place = run.results.index(failed[0])
        until = round(sum(result.elapsed_seconds for result in run.results[: place + 1]), 2)
    caught_by = tuple(result.property for result in failed)
    return Entry(name, description, run.outcome, caught_by, round(run.elapsed_seconds, 2), until)


def table(
    mutants: Sequence[Entry], controls: Sequence[Entry], properties: Sequence[str], budget: str, version: str
) -> dict[str, Any]:
    """The matrix as the package keeps it: what `convverify.report` shows."""
    return {
        "version": version,
        "budget": budget,
        "properties": list(properties),
        "mutants": {
            e.name: {
                "fault": e.description,
                "caught_by": list(e.caught_by),
                "seconds_to_kill": e.seconds_to_kill,
            }
            for e in sorted(mutants, key=lambda e: e.name)
        },
        "controls": {
            e.name: {key: value for key, value in asdict(e).items() if key in ("description", "outcome", "caught_by")}
            for e in sorted(controls, key=lambda e: e.name)
        },
    }


def merged(matrix: dict[str, Any], part: dict[str, Any], known: Collection[str]) -> dict[str, Any]:
    """A matrix with the rows of a part that was measured since, and without what is no longer known."""
    rows = {kind: {**matrix[kind], **part[kind]} for kind in ("mutants", "controls")}
    return part | {kind: {name: row for name, row in sorted(of_kind.items()) if name in known}
                   for kind, of_kind in rows.items()}  # fmt: skip


def survivors(mutants: Sequence[Entry]) -> list[str]:
    """The mutants that no property caught."""
    return sorted(e.name for e in mutants if not e.caught_by)


def blamed(controls: Sequence[Entry]) -> list[str]:
    """The controls that some property blamed."""
    return sorted(e.name for e in controls if Outcome(e.outcome).is_failure)


def catching_nothing(mutants: Sequence[Entry], properties: Sequence[str]) -> list[str]:
    """The properties that caught no mutant."""
    caught = {name for e in mutants for name in e.caught_by}
    return [name for name in properties if name not in caught]


def caught_alone(mutants: Sequence[Entry]) -> dict[str, list[str]]:
    """By property, the mutants that it alone caught."""
    alone: dict[str, list[str]] = {}
    for e in mutants:
        if len(e.caught_by) == 1:
            alone.setdefault(e.caught_by[0], []).append(e.name)
    return alone


def _started() -> None:
    """A worker has one thread, and leaves Ctrl-C to who waits for it: what it is at is finished first."""
    import torch  # noqa: PLC0415

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
