"""Measuring the kill matrix: each mutant and each control verified with the whole catalogue, several at once."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from convverify.kill_matrix import Entry
from convverify.results import Run

Answer = TypeVar("Answer")


def measure(
    names: Sequence[str], kind: str, budget: str, seed: int, jobs: int, fail_fast: bool = False
) -> Iterator[Entry]:
    """The entries of the named mutants (or controls), as they are done."""
    return as_done(entry, [(name, kind, budget, seed, fail_fast) for name in names], jobs, _started)


def as_done(
    function: Callable[..., Answer], calls: Iterable[tuple[Any, ...]], jobs: int, prepare: Callable[[], None]
) -> Iterator[Answer]:
    """What a function answers to each of these calls, as they are done, by so many fresh processes.

    What has not begun when nobody listens any more is not begun.
    """
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, context, prepare) as pool:
        waiting = [pool.submit(function, *call) for call in calls]
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


def _started() -> None:
    """A worker has one thread, and leaves Ctrl-C to who waits for it: what it is at is finished first."""
    import torch  # noqa: PLC0415

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
