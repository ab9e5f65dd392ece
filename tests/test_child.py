"""Computations that may end their process, in a child."""

import itertools
import os
import signal
import threading

import pytest
import torch

from convverify import child
from convverify.answers import OperatorError, OperatorHang, Unsupported
from convverify.child import ProcessDied, Waited, in_a_child
from convverify.time_limit import time_limit


def test_results_come_back_as_they_were():
    value = torch.randn(2, 3).t()
    found = in_a_child(lambda: {"output": value.requires_grad_()})
    assert torch.equal(found["output"], value)
    assert not found["output"].requires_grad


@pytest.mark.parametrize("error", [Unsupported, OperatorError])
def test_what_the_operator_says_comes_back_as_an_error(error: type[Exception]):
    def compute() -> dict[str, torch.Tensor]:
        raise error("not on this axis")

    with pytest.raises(error, match="not on this axis"):
        in_a_child(compute)


@pytest.mark.parametrize(
    ("end", "how"), [(lambda: os.kill(os.getpid(), signal.SIGSEGV), "SIGSEGV"), (lambda: os._exit(3), "exit code 3")]
)
def test_the_end_of_the_child_is_told_and_survived(end, how: str):
    with pytest.raises(ProcessDied, match=how):
        in_a_child(lambda: end() or {})


@pytest.mark.parametrize(
    ("endless", "answer"),
    [
        (lambda: threading.Event().wait(), Waited),  # nobody will set it
        (lambda: next(number for number in itertools.count() if number < 0), OperatorHang),
    ],
)
def test_one_that_waits_is_told_from_one_that_computes(monkeypatch: pytest.MonkeyPatch, endless, answer: type):
    monkeypatch.setattr(child, "LOOKED_AT_SECONDS", 1.0)
    with pytest.raises(answer), time_limit(1.0):
        in_a_child(endless)
