import itertools
import random

import pytest

from convverify import combinations
from convverify.combinations import OPTIONS, geometries, meetings


def rows(seed: int, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    monkeypatch.setattr(combinations, "_geometry", lambda row: row)
    return list(geometries(random.Random(seed)))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_three_kinds_of_options_meet(seed: int, monkeypatch: pytest.MonkeyPatch):
    met = set().union(*map(meetings, rows(seed, monkeypatch)))
    kinds = [range(len(of)) for of in OPTIONS.values()]
    for places in itertools.combinations(range(len(kinds)), 3):
        wanted = itertools.product(*(kinds[place] for place in places))
        assert {(places, each) for each in wanted} <= met, places


def test_the_first_geometries_meet_most(monkeypatch: pytest.MonkeyPatch):
    found = rows(3, monkeypatch)
    early = set().union(*map(meetings, found[:150]))
    assert len(early) > 0.7 * len(set().union(*map(meetings, found)))
    assert len(found) < 450


def test_geometries_are_nearly_all_distinct_and_small_and_another_order_with_another_seed():
    found = list(geometries(random.Random(5)))
    assert len(set(found)) > 0.9 * len(found)
    assert max(geometry.products for geometry in found) < 260_000
    assert list(geometries(random.Random(5))) == found
    assert list(geometries(random.Random(6))) != found


def test_windows_meet_that_do_not_overlap_and_an_image_of_whole_kernels():
    found = list(geometries(random.Random(8)))
    assert sum(g.stride == g.kernel_size != (1, 1) and g.dilation == (1, 1) for g in found) > 20
    assert sum(all(n % k == 0 for n, k in zip(g.input_size, g.kernel_size, strict=True)) for g in found) > 50


def test_half_of_the_options_are_plain_where_nothing_else_is_asked():
    found = list(geometries(random.Random(9)))
    assert sum(g.dilation == (1, 1) for g in found) > 0.35 * len(found)


def test_pointwise_strided_and_unpadded_meet():
    assert any(
        g.kernel_size == (1, 1) and g.padding == (0, 0) and g.stride[0] != g.stride[1]
        for g in geometries(random.Random(7))
    )
