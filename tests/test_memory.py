"""What an operator may allocate."""

import multiprocessing

import pytest
import torch

import convverify
from convverify import memory
from convverify.results import Outcome


def greedy(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    if input.numel() > 200:
        torch.ones(2 * memory.ROOM, dtype=torch.uint8)
    return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)


def _allocates(room: int, size: int) -> bool:
    memory.limit(room)
    try:
        torch.ones(size, dtype=torch.uint8)
    except RuntimeError:
        return False
    return True


@pytest.mark.skipif(not memory._STATUS.exists(), reason="only Linux says what a process holds")
@pytest.mark.parametrize(("size", "fits"), [(2**20, True), (2**31, False)])
def test_beyond_the_room_an_allocation_fails(size: int, fits: bool):
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(_allocates, (2**29, size)) is fits


def test_what_needs_too_much_memory_is_not_supported_there_and_judged_elsewhere():
    run = convverify.verify(greedy, "quick", properties=["unbatched_input_is_right"], seed=1, secret_seed=1)
    assert run.outcome is Outcome.PASSED
    run = convverify.verify(greedy, "quick", properties=["every_operand_bit_counts_in_long_sums"], secret_seed=1)
    assert run.results[0].outcome is Outcome.UNSUPPORTED
    assert "can't allocate memory" in run.results[0].reason
