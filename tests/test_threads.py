"""Other threads have this one's settings; two calls that share memory meet in it, every time."""

import contextvars
import sys
import threading
import time
from collections.abc import Callable

import pytest

from convverify import threads
from convverify.threads import Relay, pool

shared: list[int] = [0]


def by_line(number: int) -> int:
    shared[0] = number
    return shared[0]


def within_a_line(number: int) -> int:
    return shared.__setitem__(0, number) or shared[0]


def alone(number: int) -> int:
    mine = [0]
    mine[0] = number
    return mine[0]


def test_a_setting_of_this_thread_is_one_of_the_others():
    setting = contextvars.ContextVar("setting", default=1)
    setting.set(2)
    with pool(1) as other:
        assert other.submit(setting.get).result() == 2


def both(event: str, function: Callable[[int], int]) -> list[int]:
    relay, calls = Relay(2, event), [0, 1]

    def runner(number: int) -> int:
        with relay.running(number):
            return function(number)

    with pool(2) as callers:
        return list(callers.map(runner, calls))


@pytest.mark.parametrize("time_of_asking", range(20))
@pytest.mark.parametrize(("event", "function"), [("line", by_line), ("opcode", by_line), ("opcode", within_a_line)])
def test_what_is_shared_is_overwritten_before_it_is_read(
    event: str, function: Callable[[int], int], time_of_asking: int
):
    assert both(event, function) != [0, 1]


@pytest.mark.parametrize("event", ["line", "opcode"])
def test_what_is_not_shared_is_not(event: str):
    assert both(event, alone) == [0, 1]


def test_a_lock_is_respected_and_stops_nobody():
    lock = threading.Lock()

    def locked(number: int) -> int:
        with lock:
            return by_line(number)

    assert both("line", locked) == both("opcode", locked) == [0, 1]


def test_many_steps_are_not_all_taken_in_turn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(threads, "MOST_TURNS", 10)

    def long(number: int) -> int:
        for step in range(100_000):
            last = step
        return last + number

    assert both("line", long) == [99_999, 100_000]


def test_a_runner_that_fails_leaves_the_other_alone_and_no_trace():
    def failing(number: int) -> int:
        if number:
            raise ValueError("gone")
        time.sleep(0.01)
        return 7

    relay = Relay(2, "line")
    traces = []

    def runner(number: int) -> int:
        try:
            with relay.running(number):
                return failing(number)
        finally:
            traces.append(sys.gettrace())

    with pool(2) as callers:
        first, second = callers.submit(runner, 0), callers.submit(runner, 1)
        assert first.result() == 7
        with pytest.raises(ValueError, match="gone"):
            second.result()
    assert traces == [None, None]
