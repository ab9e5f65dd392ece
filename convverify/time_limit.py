"""A limit of the time that an operator may take, which ends it where it does not come back."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from convverify.answers import OperatorHang
from convverify.budget import SLEEPING


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise OperatorHang inside after so many seconds of processor time, or `SLEEPING` times as many in all.

    On the main thread, where signals can be had. A timer fires again and again, since a destructor in which it
    happens to fire swallows exceptions.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(signum: int, frame: FrameType | None) -> None:
        raise OperatorHang

    timers = ((signal.ITIMER_PROF, signal.SIGPROF, seconds), (signal.ITIMER_REAL, signal.SIGALRM, SLEEPING * seconds))
    before = [signal.signal(number, stop) for _, number, _ in timers]
    for timer, _, limit in timers:
        signal.setitimer(timer, limit, 1.0)
    try:
        yield
    finally:
        for timer, _, _ in timers:
            signal.setitimer(timer, 0)
        for (_, number, _), handler in zip(timers, before, strict=True):
            signal.signal(number, handler)
