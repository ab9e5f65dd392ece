"""A property goes on while it has time, or knows too little and its cases are short."""

import pytest

from convverify.case import ConvCase
from convverify.examine import Finding, Kind
from convverify.stint import AT_ONCE, MOST_REFUSED, Stint

CASE = ConvCase.parse("n1 c1->1 i1x1 k1x1 s1x1 p0x0 d1x1 g1 float64 cpu layout=contiguous values=integers seed=0")
EARLY, DEADLINE, LATE = 1.0, 2.0, 3.0


def stint_of(*kinds: Kind, seconds: tuple[float, ...] = (), least: int = 2) -> Stint:
    stint = Stint(least, DEADLINE, seconds=list(seconds))
    for kind in kinds:
        stint.tally.add(CASE, Finding(kind))
    return stint


@pytest.mark.parametrize("now", [EARLY, LATE])
def test_with_enough_cases_it_goes_on_until_the_deadline(now: float):
    assert stint_of(Kind.EQUAL, Kind.EQUAL).goes_on(now) is (now == EARLY)


def test_with_too_few_it_goes_on_beyond_the_deadline():
    assert stint_of(Kind.EQUAL).goes_on(LATE)
    assert stint_of(Kind.EQUAL, Kind.VACUOUS).goes_on(LATE)


def test_not_where_almost_everything_is_refused():
    assert stint_of(*[Kind.UNSUPPORTED] * MOST_REFUSED).goes_on(LATE)
    assert not stint_of(*[Kind.UNSUPPORTED] * (MOST_REFUSED + 2)).goes_on(LATE)


@pytest.mark.parametrize(("seconds", "goes_on"), [((0.5,), True), ((0.6, 0.6), False), ((5.0, 0.01), True)])
def test_not_where_single_cases_take_long_but_for_the_first_ones(seconds: tuple[float, ...], goes_on: bool):
    assert stint_of(Kind.EQUAL, seconds=seconds).goes_on(LATE) is goes_on


@pytest.mark.parametrize("kind", [Kind.UNEQUAL, Kind.ERROR, Kind.HANG])
def test_a_failure_ends_it(kind: Kind):
    assert not stint_of(kind).goes_on(EARLY)


def test_what_a_case_may_take():
    assert stint_of().affords(EARLY, 10.0) == 10.0
    assert stint_of(Kind.EQUAL).affords(EARLY, 10.0) == DEADLINE - EARLY
    assert stint_of(Kind.EQUAL).affords(LATE, 10.0) == AT_ONCE
    assert stint_of(Kind.EQUAL, Kind.EQUAL).affords(LATE, 10.0) < 0
