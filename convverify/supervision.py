"""Workers that go through a plan side by side: what they say is recorded, and one that dies is replaced.

A worker sends one JSON object a line: the plan, the property whose turn it is, the case in hand, each result. If it
dies or falls silent, the case in hand becomes a counterexample and a new worker goes on behind it.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import cast

from convverify.budget import SLEEPING
from convverify.messages import Message, PlanMessage
from convverify.results import Counterexample, Outcome, Result, result_from
from convverify.workers import Process, Worker, exit_code

START_SECONDS = 120.0
GRACE_SECONDS = 15.0
CLOSING_SECONDS = 10.0  # between the end of the messages and that of the process

Pair = tuple[str, str]  # a property and a device


class RequestError(Exception):
    """The worker refused the request: nothing can be verified."""


@dataclass
class Record:
    """What the workers have said so far: the plan, and what became of each of its properties on each device."""

    plan: PlanMessage | None = None
    results: dict[Pair, Result] = field(default_factory=dict)
    direct: set[Pair] = field(default_factory=set)
    coverage: Counter[tuple[str, str]] = field(default_factory=Counter)
    stopped: str = ""

    def __post_init__(self) -> None:
        blanks = map(result_from, self.plan["blanks"] if self.plan else ())
        self.blanks = {(blank.property, blank.device): blank for blank in blanks}

    @property
    def left(self) -> list[Pair]:
        """What has no result yet, in order."""
        return [pair for pair in self.blanks if pair not in self.results]

    def add(self, message: Message) -> Result:
        """Record a result, and whether it is of a property that only direct sums need to have."""
        result = result_from(message["result"])
        pair = result.property, result.device
        self.results[pair] = result
        if message["direct"]:
            self.direct.add(pair)
        self.coverage.update({(name, value): count for name, value, count in message["coverage"]})
        return result

    def whole(self) -> tuple[Result, ...]:
        """A result for each property on each device; what was not run says why.

        What holds for direct sums only is not held against an operator that another property has found to round,
        whichever of the two came first.
        """
        inexact = any(
            result.outcome is Outcome.INEXACT and pair not in self.direct for pair, result in self.results.items()
        )
        why = self.stopped or "the operator ended its process too often"
        found = []
        for pair, blank in self.blanks.items():
            result = self.results.get(pair, replace(blank, reason=why))
            excused = inexact and pair in self.direct and result.outcome.is_failure
            found.append(result.excused() if excused else result)
        return tuple(found)


@dataclass
class _Conversation:
    """A running worker, the property and the case that it is at, and the end that takes it away."""

    worker: Worker
    leave: Callable[[], object]
    heard: float = field(default_factory=time.monotonic)
    rest: bytes = b""
    pair: Pair | None = None
    case: str = ""
    done: bool = False


Start = Callable[[Record], contextlib.AbstractContextManager[Worker]]


class Supervisor:
    """Lets workers, each made by `start`, go through what is left; `heard` gets every message that tells of progress.

    What a worker is to do it finds in the record that `start` is called with, or takes from what all were handed
    together: a worker that fails gives nothing back but the blame. One that supervises others itself may be silent
    for as long as these, and `extra_seconds` longer.
    """

    def __init__(
        self,
        start: Start,
        heard: Callable[[Message], object],
        plan: PlanMessage | None = None,
        extra_seconds: float = 0.0,
    ) -> None:
        self.start, self.heard, self.extra_seconds = start, heard, extra_seconds
        self.record = Record(plan)
        self.conversations: list[_Conversation] = []

    def run(self, restarts: int, jobs: int = 1) -> Record:
        """Have `jobs` workers side by side until all is done, or more have died than there may be `restarts`.

        Raises:
            RequestError: a worker refused, or ended before it could begin.
        """
        try:
            for _ in range(jobs):
                self._begin()
            while self.conversations and not self.record.stopped:
                for conversation, silent in self._ended():
                    self._close(conversation, silent)
                    if not conversation.done and restarts and self._more():
                        restarts -= 1
                        self._begin()
        finally:
            for conversation in self.conversations:
                conversation.leave()
        return self.record

    def _more(self) -> bool:
        at_it = {conversation.pair for conversation in self.conversations}
        return not self.record.stopped and not at_it.issuperset(self.record.left)

    def _begin(self) -> None:
        stack = contextlib.ExitStack()
        self.conversations.append(_Conversation(stack.enter_context(self.start(self.record)), stack.close))

    def _ended(self) -> list[tuple[_Conversation, bool]]:
        """Listen for a while: the workers that have closed their end, and those silent for too long (True)."""
        limit = self._patience()
        with selectors.DefaultSelector() as selector:
            for conversation in self.conversations:
                selector.register(conversation.worker.messages, selectors.EVENT_READ, conversation)
            due = min(conversation.heard for conversation in self.conversations) + limit
            ready = [key.data for key, _ in selector.select(max(0.0, due - time.monotonic()))]
        closed = [conversation for conversation in ready if not self._listen(conversation)]
        silent = [one for one in self.conversations if one not in ready and time.monotonic() - one.heard >= limit]
        return [*((one, False) for one in closed), *((one, True) for one in silent)]

    def _patience(self) -> float:
        """Seconds for which a worker may be silent; the time limit of its case, as long a sleeper's, comes first."""
        plan = self.record.plan
        return self.extra_seconds + (SLEEPING * plan["case_seconds"] + GRACE_SECONDS if plan else START_SECONDS)

    def _listen(self, conversation: _Conversation) -> bool:
        """Take what a worker has said; whether it can say more."""
        chunk = os.read(conversation.worker.messages, 1 << 16)
        conversation.heard = time.monotonic()
        *lines, conversation.rest = (conversation.rest + chunk).split(b"\n")
        for line in lines:
            self._take(json.loads(line), conversation)
        return bool(chunk)

    def _take(self, message: Message, conversation: _Conversation) -> None:
        kind = message["kind"]
        if kind == "refused":
            raise RequestError(message["message"])
        if kind == "plan":
            if not self.record.plan:
                self.record = Record(cast(PlanMessage, message))
        elif kind == "done":
            conversation.done = True
            self.record.stopped = self.record.stopped or message["stopped"]
        elif kind == "result":
            conversation.pair = None
            self._settle(message)
        else:
            conversation.pair = message["property"], message["device"]
            conversation.case = message["case"]
            self.heard(message)

    def _settle(self, message: Message) -> None:
        result, plan = self.record.add(message), self.record.plan
        if result.outcome.is_failure and not message["direct"] and plan and plan["fail_fast"]:
            self.record.stopped = f"{result.property} failed first"
        self.heard(message)

    def _close(self, conversation: _Conversation, silent: bool) -> None:
        """Take a worker away; one that was not done has failed at the case in hand."""
        try:
            if not conversation.done:
                worker = conversation.worker
                self._blame(conversation, _ending(worker.process, silent), worker.last_words().splitlines())
            if silent and conversation.pair:
                self.record.stopped = f"the operator hung in {conversation.pair[0]}"
        finally:
            self.conversations.remove(conversation)
            conversation.leave()

    def _blame(self, conversation: _Conversation, why: str, noise: list[str]) -> None:
        """Make the case in hand a counterexample; before there is a plan, the target could not be loaded."""
        record = self.record
        if not record.plan:
            raise RequestError(f"while the target was loaded, {why}" + (f": {noise[-1]}" if noise else ""))
        pair = conversation.pair or next(iter(record.left), None)
        if pair is None:
            return
        said = f"{why}; the last it printed: {noise[-1]}" if noise else why
        line = f"{pair[0]}: {conversation.case}"
        example = Counterexample(line, said, first_line=line) if conversation.case else None
        result = replace(record.blanks[pair], outcome=Outcome.ERRORED, reason=said, cases=1, counterexample=example)
        self._settle({"kind": "result", "result": asdict(result), "direct": False, "coverage": []})


def _ending(process: Process, silent: bool) -> str:
    code = process.poll() if silent else exit_code(process, CLOSING_SECONDS)
    if code is None:
        what = "did not come back" if silent else "closed the channel to the verifier"
        return f"the operator {what}, and its process was ended"
    if code < 0:
        return f"the operator's process died of {signal.Signals(-code).name}"
    return f"the operator ended its process (exit code {code})"

