"""Every mutant is wrong somewhere and, unless it is blatant, right on an ordinary call."""

import warnings
from typing import Any

import pytest
import torch
from test_mutants_cases import ORDINARY, operands, same, torch_conv2d
from test_mutants_witnesses import TABLES as FORMULAS
from test_mutants_witnesses_behaviour import TABLES as BEHAVIOUR
from test_mutants_witnesses_overlooked import TABLES as OVERLOOKED
from test_mutants_witnesses_state import TABLES as STATE
from test_mutants_witnesses_values import TABLES as VALUES
from torch import nn

from convverify.mutants import MUTANTS
from convverify.mutants.base import Mutant

pytestmark = pytest.mark.filterwarnings("ignore")
WITNESSES = FORMULAS | BEHAVIOUR | OVERLOOKED | STATE | VALUES
BLATANT = {"returns_zeros", "relative_error_1e4", "absolute_error_1e6", "neighbour_channel_leaks"} | {
    "last_tap_dropped",
    "corner_doubled",
    "slightly_nonlinear",
}


@pytest.fixture(autouse=True)
def _process_restored():
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        yield
    torch.set_grad_enabled(True)
    torch.set_default_dtype(torch.float32)
    torch.use_deterministic_algorithms(False)
    torch.set_flush_denormal(False)
    torch.autograd.set_detect_anomaly(False)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_mutant_is_wrong_in_its_circumstance(mutant: Mutant):
    assert WITNESSES[mutant.name](mutant.make())


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.name not in BLATANT], ids=lambda m: m.name)
def test_mutant_is_right_on_an_ordinary_call(mutant: Mutant):
    op = mutant.make()
    if isinstance(op, type) and issubclass(op, nn.Module):
        assert op(1, 1, 2, bias=False)(torch.ones(1, 1, 3, 3)).shape == (1, 1, 2, 2)
        return
    if isinstance(op, type):  # an autograd.Function of input and weight
        x, w = torch.randn(2, 2, 4, 4), torch.randn(3, 2, 1, 1)
        torch.testing.assert_close(op.apply(x, w), torch_conv2d(x, w))
        return
    assert any(
        _right(op, text, bias, integers)
        for text in ORDINARY
        for bias in (True, False)
        for integers in (False, True)
    )


def _right(op: Any, text: str, bias: bool, integers: bool) -> bool:
    tensors, options = operands(text, bias=bias)
    tensors = [t.round() if integers else t for t in tensors]
    expected = torch_conv2d(*[t.clone() for t in tensors], **options)
    if op.__name__ == "stride_rounded_down":
        options = {"stride": options["stride"]}
    return same([op(*tensors, **options)], [expected])


def test_every_witness_belongs_to_a_mutant():
    assert sorted(WITNESSES) == sorted(m.name for m in MUTANTS)


def test_names_are_unique_and_faults_are_named():
    assert len({m.name for m in MUTANTS}) == len(MUTANTS)
    assert all(m.fault for m in MUTANTS)
