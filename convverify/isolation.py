"""Verification in processes of their own, which an operator may crash, hang or end without harm.

Only the worker needs torch.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

from convverify import __version__
from convverify.messages import Message, PlanMessage
from convverify.results import Result, Run, result_from
from convverify.supervision import GRACE_SECONDS, Record, RequestError, Supervisor
from convverify.workers import Turns, forked, spawned

RESTARTS = 3  # of a process that loads torch and the target
REFORKS = 12

Progress = Callable[[Result, int], None]
Serve = Callable[[Turns, int], None]


@dataclass(frozen=True)
class Request:
    """What `convverify verify` is asked for, as plain values."""

    target: str
    budget: str = "standard"
    device: str = "cpu"
    seed: int = 0
    secret_seed: int | None = None
    domain: str = ""
    properties: tuple[str, ...] = ()
    shapes: str = ""
    fail_fast: bool = False
    case: str = ""
    jobs: int | None = None


def verify_isolated(request: Request, progress: Progress = lambda result, total: None) -> Run:
    """Verify a target in a new process; `progress` gets each result and the number there will be.

    Ctrl-C ends the run early: what was not checked is not run.

    Raises:
        RequestError: the worker refused, or could not even load the target.
    """
    started = time.perf_counter()
    asked = asdict(request)
    supervisor = Supervisor(
        lambda record: spawned(json.dumps({**asked, "skip": list(record.results)}).encode()),
        lambda message: _tell(message, len(supervisor.record.blanks), progress),
        extra_seconds=GRACE_SECONDS,
    )
    try:
        supervisor.run(RESTARTS)
    except KeyboardInterrupt:
        supervisor.record.stopped = "interrupted"
    return _run(supervisor.record, started)


def verify_forked(serve: Serve, plan: PlanMessage, jobs: int, progress: Progress) -> Run:
    """Carry out a plan in forks of this process, side by side; `serve` is told where turns and messages go."""
    started = time.perf_counter()
    total = len(plan["blanks"])
    record = in_forks(serve, plan, range(total), jobs, lambda message: _tell(message, total, progress))
    return _run(record, started)


def in_forks(
    serve: Serve, plan: PlanMessage, turns: Iterable[int], jobs: int, heard: Callable[[Message], object]
) -> Record:
    """What forks of this process, `jobs` at a time, say of a plan of which they take these turns."""
    with contextlib.closing(Turns(turns)) as shared:

        def begin(channel: int) -> None:
            for sibling in supervisor.conversations:
                os.close(sibling.worker.messages)  # whose end is for this process's parent to see
            serve(shared, channel)

        supervisor = Supervisor(lambda record: forked(begin), heard, plan)
        return supervisor.run(REFORKS, jobs)


def _tell(message: Message, total: int, progress: Progress) -> None:
    if message["kind"] == "result":
        progress(result_from(message["result"]), total)


def _run(record: Record, started: float) -> Run:
    if not record.plan:
        raise RequestError("interrupted before the first property")
    return run_of(record.plan, record.whole(), record.coverage, time.perf_counter() - started)


def run_of(plan: PlanMessage, results: Sequence[Result], coverage: Counter[tuple[str, str]],
           elapsed_seconds: float) -> Run:  # fmt: skip
    """The run that these results of a plan make up."""
    table: dict[str, dict[str, int]] = {}
    for (name, value), count in sorted(coverage.items()):
        table.setdefault(name, {})[value] = count
    return Run(
        plan["operator"], plan["budget"], tuple(plan["devices"]), plan["seed"], plan["secret_seed"],
        plan["domain"], tuple(results), elapsed_seconds, plan["environment"], table, __version__,
    )  # fmt: skip
