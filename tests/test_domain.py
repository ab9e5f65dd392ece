from dataclasses import replace

import pytest
from hypothesis import given

from convverify.case import ConvCase
from convverify.demand import Demand
from convverify.domain import Domain, DomainError
from convverify.strategies import cases

CASE = ConvCase.parse(
    "n2 c4->6 i5x7 k3x2 s2x1 p1x0 d1x2 g2 bias float32 cpu layout=input:sliced values=integers seed=1"
)
PLAIN = ConvCase.parse("n1 c1->1 i5x5 k3x3 s1x1 p0x0 d1x1 g1 float64 cpu layout=contiguous values=integers seed=1")


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("", True),
        ("batch=2", True),
        ("batch<2", False),
        ("in_channels=4, out_channels=6", True),
        ("groups=1", False),
        ("groups=1|2", True),
        ("groups!=2", False),
        ("groups!=1|2", False),
        ("groups!=1|3", True),
        ("dilation!=1|3", False),
        ("stride<=2", True),
        ("stride=2", False),
        ("stride=1|2", True),
        ("kernel>=2", True),
        ("kernel_size>2", False),
        ("padding<2", True),
        ("dilation=1", False),
        ("input_size>4", True),
        ("square", False),
        ("no bias", False),
        ("contiguous", False),
        ("dtype=float32", True),
        ("dtype=float64|float32", True),
        ("dtype=float64", False),
    ],
)
def test_domain_allows_what_its_text_says(text: str, allowed: bool):
    assert Domain.parse(text).allows(CASE) is allowed


@pytest.mark.parametrize("text", ["square", "no bias", "contiguous", "stride=1, padding=0, dilation=1, groups=1"])
def test_plain_case_is_in_every_narrow_domain(text: str):
    assert Domain.parse(text).allows(PLAIN)


def test_square_means_every_axis_alike():
    square = Domain.parse("square")
    assert not square.allows(PLAIN.with_geometry(input_size=(5, 6)))
    assert not square.allows(PLAIN.with_geometry(kernel_size=(3, 2)))
    assert not square.allows(PLAIN.with_geometry(stride=(1, 2)))
    assert not square.allows(PLAIN.with_geometry(padding=(1, 0)))
    assert square.allows(PLAIN.with_geometry(padding="same"))


def test_isotropic_means_options_alike_on_both_axes_and_any_image_and_kernel():
    domain = Domain.parse("isotropic")
    assert not domain.allows(CASE)
    fitted = domain.fit(CASE)
    assert fitted is not None
    assert str(fitted.geometry) == "n2 c4->6 i5x7 k3x2 s2x2 p1x1 d1x1 g2"
    assert domain.allows(fitted)
    assert domain.allows(PLAIN.with_geometry(padding="same"))
    assert Domain().with_words("isotropic").alike == {"stride", "padding", "dilation"}
    assert not Domain().with_words("isotropic").declared


def test_padding_by_name_is_allowed_only_as_no_padding():
    none = Domain.parse("padding=0")
    assert none.allows(PLAIN.with_geometry(padding="valid"))
    assert not none.allows(PLAIN.with_geometry(padding="same"))


def test_only_a_text_declares_something():
    assert not Domain().declared
    assert not Domain.parse("").declared
    assert Domain.parse("square").declared


DOMAINS = (
    "square, stride=1, padding=0, dilation=1, groups=1",
    "stride=1|2, kernel=1|3|5",
    "no bias, contiguous",
    "dtype=bfloat16",
    "in_channels=3, out_channels>=8",
    "batch=1, groups=2",
    "dilation>=2, padding<=1",
    "input_size<=6",
    "kernel=7, stride=2, padding=3",
)


@pytest.mark.parametrize("text", DOMAINS)
def test_fitted_cases_lie_in_the_domain_and_there_are_some(text: str):
    domain = Domain.parse(text)
    found: list[ConvCase] = []

    @given(cases(Demand(operand_layouts=("input",), strings=True)))
    def check(case: ConvCase) -> None:
        fitted = domain.fit(case)
        if fitted is not None:
            assert domain.allows(fitted)
            found.append(fitted)

    check()
    assert found


def test_a_case_inside_stays_as_it_is():
    assert Domain.parse("batch=2, stride<=2").fit(CASE) is CASE


def test_fitting_moves_as_little_as_it_can():
    fitted = Domain.parse("groups=1, no bias").fit(CASE)
    assert fitted is not None
    assert fitted == replace(CASE.with_geometry(in_channels=2, out_channels=3, groups=1), bias=False)


@pytest.mark.parametrize("text", ["kernel=0", "stride<1", "batch>7, batch<8"])
def test_an_empty_domain_fits_nothing(text: str):
    assert Domain.parse(text).fit(CASE) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("round", "domain part 'round' is none of square, isotropic, pairs, bias, no bias, contiguous"),
        ("colour=1", "domain part 'colour=1' is none of"),
        ("stride~1", "domain part 'stride~1'"),
        ("stride=one", "compares with 'one', not with integers"),
        ("stride=1||2", "not with integers"),
        ("dtype=float8", "dtype 'float8' is not one of float64"),
        ("square; stride=1", "domain part 'square; stride=1'"),
        ("stride<1|2", r"domain part 'stride<1\|2' compares by < with 2 values, must be one"),
        ("kernel>=1|3", "compares by >= with 2 values"),
        ("dtype=float32, dtype=float64", "names dtypes twice"),
        ("bias, no bias", "has both 'bias' and 'no bias'"),
        ("stride=1, stride=2", r"says twice what stride is; stride=1\|2 allows several"),
        ("kernel=3, kernel_size=3", "says twice what kernel_size is"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_part(text: str, message: str):
    with pytest.raises(DomainError, match=message):
        Domain.parse(text)


def test_spaces_do_not_matter():
    spaced, dense = Domain.parse(" square ,stride <= 2 , ,no bias"), Domain.parse("square,stride<=2,no bias")
    assert (spaced.words, spaced.constraints) == (dense.words, dense.constraints)
