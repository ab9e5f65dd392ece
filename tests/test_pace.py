import pytest

from convverify.case import ConvCase
from convverify.pace import Pace

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
