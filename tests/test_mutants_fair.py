"""Every mutant is wrong somewhere and, unless it is blatant, right on an ordinary call."""

import pytest
import torch
from test_mutants_cases import ORDINARY, agrees
from test_mutants_witnesses import WITNESSES

from convverify.mutants import MUTANTS
from convverify.mutants.base import Mutant

pytestmark = pytest.mark.filterwarnings("ignore")
BLATANT = {"returns_zeros", "relative_error_1e4", "absolute_error_1e6", "neighbour_channel_leaks"} | {
    "last_tap_dropped",
    "corner_doubled",
}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_mutant_is_wrong_in_its_circumstance(mutant: Mutant):
    assert WITNESSES[mutant.name](mutant.make())


@pytest.mark.parametrize("mutant", [m for m in MUTANTS if m.name not in BLATANT], ids=lambda m: m.name)
def test_mutant_is_right_on_an_ordinary_call(mutant: Mutant):
    assert any(agrees(mutant.make(), text, 0, bias=bias) for text in ORDINARY for bias in (False, True))


def test_every_witness_belongs_to_a_mutant():
    assert sorted(WITNESSES) == sorted(m.name for m in MUTANTS)


def test_names_are_unique_and_faults_are_named():
    assert len({m.name for m in MUTANTS}) == len(MUTANTS)
    assert all(m.fault for m in MUTANTS)
