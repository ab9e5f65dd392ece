"""Every second element, taken and put back: not a bit may change, whatever the memory looks like."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convverify.operator.kernels import seconds

torch.set_num_threads(1)
DTYPES = (torch.float32, torch.float64)


@st.composite
def planes(draw):
    """Arrays of any bits, NaN among them, some of them a part of a larger one."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = [draw(st.integers(1, n)) for n in (3, 4, 9)]
    seed = torch.Generator().manual_seed(draw(st.integers(0, 1 << 30)))
    bits = torch.int32 if dtype is torch.float32 else torch.int64
    margin = draw(st.sampled_from((0, 0, 1, 2)))
    whole = torch.randint(-(1 << 31), 1 << 31, (*shape[:-1], shape[-1] + 2 * margin), generator=seed)
    if bits is torch.int64:
        whole = whole * (1 << 32) + whole.flip(-1)
    array = whole.to(bits).view(dtype)
    array = array[..., margin : margin + shape[-1]]
    return array.transpose(0, 1) if draw(st.integers(0, 3)) == 0 else array


def same_bits(one, other):
    as_integers = {torch.float32: torch.int32, torch.float64: torch.int64}[one.dtype]
    return torch.equal(one.contiguous().view(as_integers), other.contiguous().view(as_integers))


@given(planes(), st.integers(0, 1), st.integers(1, 2))
def test_what_is_taken_are_the_elements_at_even_and_odd_places(x, top, step):
    for first, part in enumerate(seconds.seconds(x)):
        found = seconds.dense(part[:, top::step], x.dtype)
        assert found.is_contiguous()
        assert same_bits(found, x[:, top::step, first::2])
        target = torch.full_like(found, -1.0)
        seconds.copy(target, part[:, top::step])
        assert same_bits(target, found)


def test_integers_are_no_words():
    x = torch.arange(24).view(2, 3, 4) << 33
    for first, part in enumerate(seconds.seconds(x)):
        assert torch.equal(seconds.dense(part, x.dtype), x[..., first::2])


@given(planes())
def test_what_is_put_lies_in_turns_and_nowhere_else(x):
    room = x.new_zeros((*x.shape[:-1], x.shape[-1] + 2))
    target = room[..., : x.shape[-1]]
    seconds.put(target, x[..., ::2], x[..., 1::2])
    assert same_bits(target, x)
    assert not room[..., x.shape[-1] :].any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_taking_leaves_the_array_as_it_was(dtype):
    x = torch.arange(24.0, dtype=dtype).view(2, 3, 4)
    kept = x.clone()
    even, odd = seconds.seconds(x)
    seconds.dense(even, dtype).fill_(-1)
    seconds.dense(odd, dtype).fill_(-1)
    assert torch.equal(x, kept)
