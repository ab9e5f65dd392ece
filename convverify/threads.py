"""Other threads to call an operator on: with the settings of this one, and in turn.

In turn, so that what two calls do to each other does not hang on chance.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import sys
import sysconfig
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

import torch

MOST_TURNS = 4000  # after which threads run as they come: an operator in plain loops has many lines
MOST_VAIN = 20  # waits for a thread that does not give the turn back: one may hold a lock that the other wants
VAIN_SECONDS = 0.01
START_SECONDS = 1.0  # until which a runner waits for those that may have failed before
_TORCH, _STANDARD, _OURS = Path(torch.__file__).parent, Path(sysconfig.get_path("stdlib")), Path(__file__).parent


@functools.cache
def _may_be_an_operators(file: str) -> bool:
    """Whether a source file may be an operator's, not torch's, the standard library's or the verifier's."""
    path = Path(file)
    standard = path.is_relative_to(_STANDARD) and "site-packages" not in path.parts
    verifiers = path.parent in (_OURS, _OURS / "properties")
    return not (standard or verifiers or path.is_relative_to(_TORCH) or file.startswith("<frozen"))


def pool(threads: int) -> ThreadPoolExecutor:
    """A pool of threads that have this one's context variables, in which torch keeps settings of its compiler."""
    settings = contextvars.copy_context()

    def take_over() -> None:
        for variable, value in settings.items():
            variable.set(value)

    return ThreadPoolExecutor(threads, initializer=take_over)


class Relay:
    """So many runners, threads that each do one step of an operator's Python and then let the next one do one.

    A step is what lies between two events of a trace: `line` or `opcode`. Where runners do the same, whatever one
    leaves in memory that they share, the next one overwrites before the first comes back to it.
    """

    def __init__(self, runners: int, event: str) -> None:
        self.event, self.turn = event, 0
        self.started = threading.Barrier(runners)
        self.condition = threading.Condition()
        self.at_it = list(range(runners))
        self.turns_left, self.vain_left = MOST_TURNS, MOST_VAIN

    @contextlib.contextmanager
    def running(self, number: int) -> Iterator[None]:
        """Inside, this thread is runner `number`; it begins when all others have come, if they do."""
        with contextlib.suppress(threading.BrokenBarrierError):
            self.started.wait(START_SECONDS)
        before = sys.gettrace()
        sys.settrace(lambda frame, event, argument: self._traced(number, frame, event))
        try:
            yield
        finally:
            sys.settrace(before)
            with self.condition:
                self.at_it.remove(number)
                self._pass_on(number)

    def _traced(self, number: int, frame: FrameType, event: str) -> Any:
        if not _may_be_an_operators(frame.f_code.co_filename):
            return None
        frame.f_trace_opcodes = self.event == "opcode"
        if event == self.event:
            self._step(number)
        return lambda frame, event, argument: self._traced(number, frame, event)

    def _step(self, number: int) -> None:
        with self.condition:
            if self.turns_left <= 0 or self.vain_left <= 0 or len(self.at_it) < 2:
                return
            self.turns_left -= 1
            self._pass_on(number)
            if not self.condition.wait_for(lambda: self.turn == number, VAIN_SECONDS):
                self.vain_left -= 1

    def _pass_on(self, number: int) -> None:
        later = [runner for runner in self.at_it if runner > number]
        self.turn = (later or self.at_it or [number])[0]
        self.condition.notify_all()
