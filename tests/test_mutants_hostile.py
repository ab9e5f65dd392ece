"""The hostile operators behave on a plain call and do what they say on another, in a child process."""

import os
import signal
import time

import pytest
import torch
from test_mutants_cases import torch_conv2d

from convverify.mutants import MUTANTS
from convverify.mutants.base import Mutant
from convverify.mutants.hostile import HOSTILE

PLAIN = torch.ones(1, 1, 3, 3), torch.ones(1, 1, 1, 1)
SEVERAL_TAPS = torch.arange(9.0).reshape(1, 1, 3, 3), torch.arange(4.0).reshape(1, 1, 2, 2)
RAISING = {
    "raises_system_exit": SystemExit,
    "raises_keyboard_interrupt": KeyboardInterrupt,
    "raises_beyond_exception": BaseException,
    "recurses": RecursionError,
}
ENDING = {"exits": 0, "crashes": signal.SIGSEGV, "hangs": None, "spins": None}


def by_name(name: str) -> Mutant:
    return next(m for m in HOSTILE if m.name == name)


def test_no_hostile_operator_is_in_the_default_tables():
    assert not {m.name for m in HOSTILE} & {m.name for m in MUTANTS}


@pytest.mark.parametrize("mutant", HOSTILE, ids=lambda m: m.name)
def test_hostile_operator_answers_a_plain_call(mutant: Mutant):
    torch.testing.assert_close(mutant.make()(*PLAIN), torch_conv2d(*PLAIN))


@pytest.mark.parametrize("name", RAISING)
def test_hostile_operator_raises(name: str):
    with pytest.raises(RAISING[name]):
        by_name(name).make()(*SEVERAL_TAPS)


@pytest.mark.parametrize("name", ENDING)
def test_hostile_operator_ends_its_process_or_never_returns(name: str):
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        by_name(name).make()(*SEVERAL_TAPS)
        os._exit(7)
    time.sleep(0.3)
    if ENDING[name] is None:
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == (-signal.SIGKILL if ENDING[name] is None else -ENDING[name])


def test_hidden_operator_is_wrong_when_this_package_is_not_on_the_stack():
    assert not torch.equal(
        by_name("hides_from_the_verifier").make()(*SEVERAL_TAPS), torch_conv2d(*SEVERAL_TAPS)
    )


def test_printing_operator_prints(capsys: pytest.CaptureFixture[str]):
    by_name("prints_without_end").make()(*SEVERAL_TAPS)
    assert len(capsys.readouterr().out) > 10_000_000
