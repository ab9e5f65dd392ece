import time

import pytest

from convverify.case import ConvCase
from convverify.pace import SHORTER, Clock, Pace, shortened

LINE = " k2x1 s1x1 p0x0 d1x1 g1 float64 cpu layout=contiguous values=integers seed=0"
SMALL = ConvCase.parse("n50 c1->1 i2x2" + LINE)
LARGE = ConvCase.parse("n66000 c1->1 i2x2" + LINE)


def test_nothing_is_predicted_before_anything_is_known_nor_for_what_is_small():
    pace = Pace()
    assert pace.predict(LARGE) == 0
    pace.note(SMALL, 1.0)
    assert pace.predict(SMALL) == 0


def test_the_least_pace_of_a_sample_bounds_a_large_batch():
    pace = Pace()
    pace.note(SMALL, 0.1)
    pace.note(SMALL, 0.05)
    pace.note(SMALL, 0.2)
    assert pace.predict(LARGE) == pytest.approx(66000 * 0.001)


def test_a_case_that_took_no_time_teaches_nothing():
    pace = Pace()
    pace.note(SMALL, 0.05)
    pace.note(SMALL, 0.0)
    assert pace.predict(LARGE) > 60


@pytest.mark.parametrize(
    ("known", "fast"),
    [
        ("n1 c1->1 i9x9", "n66000 c1->1 i3x2"),  # loops over the positions of all samples at once
        ("n1 c1->4 i9x9", "n9000 c1->1 i3x2"),  # and over output channels
    ],
)
def test_a_fast_large_batch_does_not_hide_that_positions_are_slow(known: str, fast: str):
    pace = Pace()
    pace.note(ConvCase.parse(known + LINE), 0.01)
    pace.note(ConvCase.parse(fast + LINE), 0.001)
    assert pace.predict(ConvCase.parse("n1 c1->4 i300x300" + LINE)) > 1


def test_an_eighth_of_the_longest_axis_is_left():
    assert shortened(LARGE).geometry.batch == 66000 // SHORTER
    rows = shortened(ConvCase.parse("n2 c1->1 i66001x2" + LINE))
    assert rows.geometry.input_size == (66001 // SHORTER, 2)
    assert shortened(SMALL) is None
    assert shortened(ConvCase.parse("n2 c99->99 i2x2" + LINE)) is None  # many products, but no axis to shorten


def test_beside_a_case_given_up_only_much_smaller_ones_are_begun():
    pace = Pace()
    pace.note(SMALL, 0.001)
    pace.gave_up(LARGE)
    assert pace.predict(ConvCase.parse("n20000 c1->1 i2x2" + LINE)) == float("inf")
    assert pace.predict(ConvCase.parse("n5000 c1->1 i2x2" + LINE)) == pytest.approx(0.1)


def test_a_clock_counts_what_sleeps_and_what_computes():
    clock = Clock()
    time.sleep(0.05)
    asleep = clock()
    assert asleep >= 0.02
    began = time.process_time()
    while time.process_time() - began < 0.05:
        pass
    assert clock() >= max(asleep, 0.05)
