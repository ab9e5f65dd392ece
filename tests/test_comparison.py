import math

import pytest
import torch

from convverify.comparison import EXACT_BITS, Equation, Verdict, compare, gamma, unit_roundoff

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
NAN, INF = float("nan"), float("inf")


def verdict(actual: object, expected: object, **options: object) -> Verdict:
    return compare(Equation("value", actual, expected, **options))[0]


def message(actual: object, expected: object, **options: object) -> str:
    return compare(Equation("value", actual, expected, **options))[1]


@pytest.mark.parametrize("dtype", FLOATS)
def test_unit_roundoff_is_half_an_epsilon_and_integers_are_exact_up_to_its_inverse(dtype: torch.dtype):
    assert unit_roundoff(dtype) == torch.finfo(dtype).eps / 2
    top = torch.tensor(2.0 ** EXACT_BITS[dtype], dtype=dtype)
    assert (top - 1) + 1 == top
    assert top + 1 == top


@pytest.mark.parametrize("dtype", FLOATS)
def test_gamma_is_the_textbook_bound_and_grows(dtype: torch.dtype):
    u = unit_roundoff(dtype)
    assert gamma(10, dtype) == pytest.approx(10 * u / (1 - 10 * u))
    values = [gamma(n, dtype) for n in (0, 1, 2, 100, 1000, 10**9)]
    assert values == sorted(values)
    assert values[0] == 0
    assert all(map(math.isfinite, values))


def test_gamma_bounds_sums_that_round_worst():
    """1 + u + u + ... in float32 loses every u: the error is n*u, as much as the bound allows to first order."""
    u = unit_roundoff(torch.float32)
    terms = 1000
    total = torch.tensor(1.0)
    for _ in range(terms - 1):
        total = total + u
    exact = 1 + (terms - 1) * u
    assert 0.9 * gamma(terms, torch.float32) <= abs(float(total) - exact) <= gamma(terms, torch.float32) * exact


def test_equal_tensors_are_equal_and_zeros_have_no_sign():
    assert verdict(torch.tensor([1.0, -0.0]), torch.tensor([1.0, 0.0])) is Verdict.EQUAL
    assert verdict(torch.empty(0, 3), torch.empty(0, 3)) is Verdict.EQUAL


def test_nan_equals_nan_alone_and_infinities_keep_their_sign():
    assert verdict(torch.tensor([NAN, INF]), torch.tensor([NAN, INF])) is Verdict.EQUAL
    for actual, expected in ((NAN, 1.0), (1.0, NAN), (INF, -INF), (INF, 1.0), (1.0, INF), (NAN, INF)):
        for magnitude in (None, 1.0):
            for exact in (True, False):
                pair = torch.tensor([actual]), torch.tensor([expected])
                assert verdict(*pair, exact=exact, magnitude=magnitude) is Verdict.UNEQUAL, (actual, expected)


def test_exact_equality_forgives_nothing():
    pair = torch.tensor([1.0]), torch.nextafter(torch.tensor([1.0]), torch.tensor([2.0]))
    assert verdict(*pair) is Verdict.UNEQUAL


def test_within_the_bound_of_its_own_sum_is_equal_only_where_rounding_is_allowed():
    expected = torch.tensor([1.0])
    near = expected + 4 * unit_roundoff(torch.float32)
    assert verdict(near, expected, exact=False, terms=4, magnitude=1.0) is Verdict.EQUAL
    assert verdict(near, expected, exact=True, terms=4, magnitude=1.0) is Verdict.ROUNDED
    assert verdict(near, expected, exact=False, terms=4) is Verdict.UNEQUAL


def test_bound_is_element_by_element_and_beyond_it_only_norms_help():
    expected, off = torch.tensor([1000.0, 1.0]), torch.tensor([0.0, 20 * unit_roundoff(torch.float32)])
    magnitude = torch.tensor([1000.0, 1.0])
    assert verdict(expected + off, expected, exact=False, terms=4, magnitude=magnitude) is Verdict.ROUNDED
    assert verdict(expected + 8000 * off, expected, exact=False, terms=4, magnitude=magnitude) is Verdict.UNEQUAL


def test_a_dropped_term_is_not_rounding():
    """However long the sum: the bound of a transform does not grow with the number of terms."""
    data = torch.ones(100_000)
    for terms in (100_000, 10):
        pair = (data.sum() - 1).reshape(1), data.sum().reshape(1)
        assert verdict(*pair, exact=True, terms=terms, magnitude=float(data.sum())) is Verdict.UNEQUAL


def test_integers_never_round():
    pair = torch.tensor([2**40 + 1]), torch.tensor([2**40])
    assert verdict(*pair, exact=False, terms=9, magnitude=2.0**60) is Verdict.UNEQUAL


def test_complex_numbers_compare_by_distance():
    expected = torch.tensor([3 + 4j])
    assert verdict(expected + 1e-7j, expected, exact=False, terms=4, magnitude=5.0) is Verdict.EQUAL
    assert verdict(expected.conj().resolve_conj(), expected, exact=False, terms=4, magnitude=5.0) is Verdict.UNEQUAL
    assert verdict(torch.tensor([3 - 4j]).conj(), expected) is Verdict.EQUAL


@pytest.mark.parametrize(
    ("actual", "expected", "text"),
    [
        (torch.ones(2, 3), torch.ones(3, 2), "value has shape [2, 3], not [3, 2]"),
        (torch.ones(2), torch.ones(2, dtype=torch.float64), "value has dtype torch.float32, not torch.float64"),
        (torch.ones(2, device="meta"), torch.ones(2), "value has device meta, not cpu"),
        (None, torch.ones(2), "value is None, not a tensor"),
        ([1.0], torch.ones(1), "value is a list, not a tensor"),
        (torch.tensor([1.0, 5.0]), torch.tensor([1.0, 2.0]), "value[1] is 5.0, not 2.0 (1 of 2 elements differ)"),
        (torch.tensor(5.0), torch.tensor(2.0), "value is 5.0, not 2.0"),
        (torch.zeros(1, 2, 2), torch.ones(1, 2, 2), "value[0, 0, 0] is 0.0, not 1.0 (4 of 4 elements differ)"),
        ((1, 2), (1, 3), "value is (1, 2), not (1, 3)"),
        (1, True, "value is 1, not True"),
        ("a", None, "value is 'a', not None"),
    ],
)
def test_difference_is_told_with_place_and_values(actual: object, expected: object, text: str):
    found, told = compare(Equation("value", actual, expected))
    assert found is Verdict.UNEQUAL
    assert told == text


def test_plain_values_must_be_of_one_type():
    assert verdict(1, 1) is Verdict.EQUAL
    assert verdict(1, 1.0) is Verdict.UNEQUAL
    assert verdict((1, 2), [1, 2]) is Verdict.UNEQUAL
    assert message(3, 3) == ""


def test_gradients_and_views_compare_by_value():
    assert verdict(torch.ones(2, requires_grad=True), torch.ones(1).expand(2)) is Verdict.EQUAL
