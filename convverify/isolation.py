"""Verification in a process of its own, which an operator may crash, hang or end without harm.

Only the worker needs torch. It sends one JSON object a line: the plan, the case in hand, each result. If
it dies or falls silent, the case in hand becomes a counterexample and a new worker goes on behind it.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from convverify import __version__
from convverify.results import Counterexample, Outcome, Result, Run, result_from
from convverify.workers import Process, Worker, exit_code, forked, spawned

RESTARTS = 3
START_SECONDS = 120.0
GRACE_SECONDS = 15.0
CLOSING_SECONDS = 10.0  # between the end of the messages and that of the process
SLEEPING = 3  # as in `examine.time_limit`, which is to come first

Progress = Callable[[Result, int], None]


class RequestError(Exception):
    """The worker refused the request: nothing can be verified."""


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


@dataclass
class _Progress:
    """What the workers have said so far."""

    blanks: list[Result] = field(default_factory=list)
    results: dict[tuple[str, str], Result] = field(default_factory=dict)
    coverage: Counter[tuple[str, str]] = field(default_factory=Counter)
    plan: dict[str, Any] = field(default_factory=dict)
    in_hand: tuple[str, str, str] | None = None
    done: bool = False
    interrupted: bool = False

    @property
    def left(self) -> list[Result]:
        return [blank for blank in self.blanks if (blank.property, blank.device) not in self.results]


Start = Callable[[list[list[str]]], contextlib.AbstractContextManager[Worker]]


def verify_isolated(request: Request, progress: Progress = lambda result, total: None) -> Run:
    """Verify a target in a new process; `progress` gets each result and the number there will be.

    Ctrl-C ends the run early: what was not checked is not run.

    Raises:
        RequestError: the worker refused, or could not even load the target.
    """
    state, started = _Progress(), time.perf_counter()
    try:
        _finish(lambda skip: spawned(json.dumps({**asdict(request), "skip": skip}).encode()), state, progress)
    except KeyboardInterrupt:
        state.interrupted = True
    if not state.plan:
        raise RequestError("interrupted before the first property")
    return _run(state, time.perf_counter() - started)


def verify_forked(serve: Callable[[list[list[str]], int], None], progress: Progress) -> Run:
    """Verify in forks of this process; `serve` is told what to skip and where its messages go.

    Raises:
        RequestError: the worker failed before it could begin.
    """
    state, started = _Progress(), time.perf_counter()
    _finish(lambda skip: forked(lambda channel: serve(skip, channel)), state, progress)
    return _run(state, time.perf_counter() - started)


def _finish(start: Start, state: _Progress, progress: Progress) -> None:
    """Let one worker after the other go through what is left."""
    for _ in range(RESTARTS + 1):
        with start([[result.property, result.device] for result in state.results.values()]) as worker:
            silent = False
            for message in _messages(worker.messages, lambda: _patience(state)):
                silent = _take(message, state, progress)
            if not state.done:
                _blame(state, _ending(worker.process, silent), worker.last_words(), progress)
        if state.done or not state.left:
            break


def _patience(state: _Progress) -> float:
    return SLEEPING * float(state.plan["case_seconds"]) + GRACE_SECONDS if state.plan else START_SECONDS


def _messages(read: int, patience: Callable[[], float]) -> Iterator[dict[str, Any]]:
    """The worker's messages, until it closes its end or is silent for too long (then an empty one)."""
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(read, selectors.EVENT_READ)
        while True:
            if not selector.select(patience()):
                yield {}
                return
            chunk = os.read(read, 1 << 16)
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield json.loads(line)


def _take(message: dict[str, Any], state: _Progress, progress: Progress) -> bool:
    """Record a message; whether it was none because the worker fell silent."""
    if not message:
        return True
    kind = message["kind"]
    if kind == "refused":
        raise RequestError(message["message"])
    if kind == "plan":
        state.plan = message
        state.blanks = state.blanks or [result_from(blank) for blank in message["blanks"]]
    elif kind == "case":
        state.in_hand = message["property"], message["device"], message["case"]
    elif kind == "result":
        result = result_from(message["result"])
        state.results[result.property, result.device] = result
        state.in_hand = None
        state.coverage.update({(name, value): count for name, value, count in message["coverage"]})
        progress(result, len(state.blanks))
    elif kind == "done":
        state.done = True
    return False


def _ending(process: Process, silent: bool) -> str:
    code = process.poll() if silent else exit_code(process, CLOSING_SECONDS)
    if code is None:
        what = "did not come back" if silent else "closed the channel to the verifier"
        return f"the operator {what}, and its process was ended"
    if code < 0:
        return f"the operator's process died of {signal.Signals(-code).name}"
    return f"the operator ended its process (exit code {code})"


def _blame(state: _Progress, why: str, noise: str, progress: Progress) -> None:
    """Make the case in hand a counterexample; without one the target could not be loaded."""
    if not state.plan:
        last = noise.splitlines()
        raise RequestError(f"while the target was loaded, {why}" + (f": {last[-1]}" if last else ""))
    if state.in_hand is None:  # between properties: blame the next one, so that a restart gets past it
        blank = state.left[0] if state.left else None
        line = ""
    else:
        name, device, line = state.in_hand
        blank = next(b for b in state.blanks if (b.property, b.device) == (name, device))
    if blank is None:
        return
    said = f"{why}; the last it printed: {noise.splitlines()[-1]}" if noise else why
    example = Counterexample(f"{blank.property}: {line}", said, first_line=f"{blank.property}: {line}")
    result = replace(blank, outcome=Outcome.ERRORED, reason=said, cases=1,
                     counterexample=example if line else None)  # fmt: skip
    state.results[blank.property, blank.device] = result
    state.in_hand = None
    progress(result, len(state.blanks))


def _run(state: _Progress, elapsed_seconds: float) -> Run:
    plan = state.plan
    why = "interrupted" if state.interrupted else "the operator ended its process too often"
    results = tuple(
        state.results.get((blank.property, blank.device), replace(blank, reason=why)) for blank in state.blanks
    )
    coverage: dict[str, dict[str, int]] = {}
    for (name, value), count in sorted(state.coverage.items()):
        coverage.setdefault(name, {})[value] = count
    return Run(
        plan["operator"], plan["budget"], tuple(plan["devices"]), plan["seed"], plan["secret_seed"],
        plan["domain"], results, elapsed_seconds, plan["environment"], coverage, __version__,
    )  # fmt: skip
