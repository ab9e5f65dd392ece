"""The Python face: operators at hand as objects, verified in forks of this process."""

import os
import signal
import sys
import time
from dataclasses import asdict

import operators
import pytest
import torch

from convverify import isolation
from convverify.results import Outcome, Result
from convverify.supervision import Record, Supervisor
from convverify.verification import verify

PROPERTIES = ("forward_equals_definition", "zero_steps_are_refused")


def ending(end) -> object:
    """An operator that computes as torch does, and ends its process where a kernel has several taps."""

    def conv(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        if weight[0, 0].numel() > 1:
            end()
        return torch.nn.functional.conv2d(input, weight, bias, stride, padding, dilation, groups)

    return conv


@pytest.mark.parametrize(
    ("end", "how"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "the operator's process died of SIGSEGV"),
        (lambda: os._exit(0), "the operator ended its process (exit code 0)"),
    ],
)
def test_an_operator_that_ends_its_process_does_not_end_this_one(end, how: str):
    results = verify(ending(end), "quick", properties=PROPERTIES).results
    assert [result.outcome for result in results] == [Outcome.ERRORED] * 2  # it went on after the first
    assert all(how in result.reason and result.counterexample for result in results)


def test_an_operator_that_always_dies_leaves_the_rest_not_run(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(isolation, "REFORKS", 0)
    run = verify(lambda *args, **options: os._exit(1), "quick", properties=PROPERTIES, jobs=1)
    assert [result.outcome for result in run.results] == [Outcome.ERRORED, Outcome.NOT_RUN]
    assert "too often" in run.results[1].reason
    assert run.outcome is Outcome.ERRORED


def test_a_hang_that_no_signal_ends_is_survived(monkeypatch: pytest.MonkeyPatch):
    def sleep(*args: object, **options: object) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        time.sleep(120)

    monkeypatch.setattr(Supervisor, "_patience", lambda self: 4.0)
    started = time.perf_counter()
    run = verify(sleep, "quick", properties=PROPERTIES, jobs=1)
    assert time.perf_counter() - started < 60
    assert [result.outcome for result in run.results] == [Outcome.ERRORED, Outcome.NOT_RUN]
    assert "did not come back" in run.results[0].reason
    assert run.results[0].counterexample is not None
    assert run.results[1].reason == f"the operator hung in {PROPERTIES[0]}"


def test_a_crash_ends_a_run_that_is_to_fail_fast():
    run = verify(ending(os.abort), "quick", properties=PROPERTIES, fail_fast=True, jobs=1)
    assert [result.outcome for result in run.results] == [Outcome.ERRORED, Outcome.NOT_RUN]
    assert run.results[1].reason == f"{PROPERTIES[0]} failed first"


def test_what_holds_for_direct_sums_only_waits_for_what_another_worker_finds():
    """Whichever of two workers comes first, an operator that rounds is not blamed for what only direct sums hold."""
    blanks = [asdict(Result(name, "", "", (), "cpu", Outcome.NOT_RUN)) for name in ("direct", "rounds")]
    record = Record({"blanks": blanks})
    failed = {**blanks[0], "outcome": "falsified", "reason": "too much"}
    record.add({"result": failed, "direct": True, "coverage": []})
    assert record.whole()[0].outcome is Outcome.FALSIFIED
    record.add({"result": {**blanks[1], "outcome": "inexact"}, "direct": False, "coverage": [["dtype", "float32", 2]]})
    assert [result.outcome for result in record.whole()] == [Outcome.INEXACT, Outcome.INEXACT]
    assert record.whole()[0].reason.endswith("rounds elsewhere: too much")
    assert record.coverage == {("dtype", "float32"): 2}


def test_what_an_operator_changes_is_changed_in_its_own_process_only():
    calls: list[dict[str, object]] = []
    verify(operators.recording(calls), "quick", properties=PROPERTIES)
    assert not calls
    verify(operators.recording(calls), "quick", properties=PROPERTIES, isolated=False)
    assert calls


def test_a_fork_finds_what_this_process_finds():
    def found(isolated: bool) -> list[tuple[str, Outcome, str]]:
        run = verify(operators.kernel_turned, "quick", properties=PROPERTIES, secret_seed=3, isolated=isolated)
        return [(r.property, r.outcome, r.counterexample.line if r.counterexample else "") for r in run.results]

    assert found(isolated=True) == found(isolated=False)


def test_ctrl_c_is_the_callers():
    def interrupt(result: Result) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(operators.torch_conv2d, "quick", properties=PROPERTIES, progress=interrupt)


def test_output_of_the_operator_is_its_own(capfd: pytest.CaptureFixture[str]):
    run = verify(ending(lambda: sys.stdout.write("noise")), "quick", properties=PROPERTIES)
    assert run.outcome is Outcome.PASSED
    assert "noise" not in capfd.readouterr().out


def test_an_operator_that_closes_every_descriptor_is_told_from_one_that_ends(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("convverify.supervision.CLOSING_SECONDS", 0.2)

    def close_all() -> None:
        os.closerange(3, 256)
        time.sleep(30)

    result = verify(ending(close_all), "quick", properties=PROPERTIES[:1]).results[0]
    assert result.outcome is Outcome.ERRORED
    assert "closed the channel to the verifier" in result.reason
