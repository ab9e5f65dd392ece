"""What the strategies draw: corners, sizes within their bounds, and the simplest case at the end of shrinking."""

import hypothesis
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from convverify import corners, strategies
from convverify.case import ConvCase
from convverify.choices import Sampled
from convverify.demand import Demand
from convverify.domain import Domain
from convverify.geometry import ConvGeometry
from convverify.layouts import LAYOUTS
from convverify.strategies import cases, geometries, no_foreign_constants, sampled_cases, smaller_cases
from convverify.values import DISTRIBUTIONS

SIMPLEST = ConvGeometry.parse("n1 c1->1 i1x1 k1x1 s1x1 p0x0 d1x1 g1")
SEARCH = settings(max_examples=3000, phases=(Phase.generate,), derandomize=True, database=None)


def drawn(strategy: st.SearchStrategy, count: int = 400) -> list:
    found: list = []

    @settings(max_examples=count, phases=(Phase.generate,), suppress_health_check=list(hypothesis.HealthCheck))
    @given(strategy)
    def collect(value: object) -> None:
        found.append(value)

    collect()
    return found


@pytest.fixture(scope="module")
def sample() -> list[ConvGeometry]:
    return drawn(geometries(), 1500)


CORNERS = {
    "a remainder on both axes": lambda g: all(axis.remainder for axis in g.axes),
    "a remainder above the padding": lambda g: any(axis.remainder > axis.after > 0 for axis in g.axes),
    "a padding above the remainder": lambda g: any(axis.after > axis.remainder > 0 for axis in g.axes),
    "kernel = input": lambda g: g.kernel_size == g.input_size and g.kernel_size != (1, 1),
    "kernel over the input": lambda g: any(axis.kernel > axis.input for axis in g.axes),
    "one output position": lambda g: g.output_size == (1, 1),
    "padding over the kernel": lambda g: any(axis.before > axis.kernel for axis in g.axes),
    "stride over the kernel": lambda g: any(axis.stride > axis.reach + 1 for axis in g.axes),
    "stride and dilation share a factor": lambda g: any(a.stride % a.dilation == 0 != a.dilation - 1 for a in g.axes),
    "depthwise": lambda g: g.groups == g.in_channels == g.out_channels > 1,
    "depthwise with a multiplier": lambda g: g.groups == g.in_channels > 1 and g.out_channels > g.groups,
    "general groups": lambda g: 1 < g.groups < min(g.in_channels, g.out_channels),
    "1x1": lambda g: g.kernel_size == (1, 1) and g.input_size != (1, 1),
    "1x1 with padding and stride": lambda g: g.kernel_size == (1, 1) and min(g.stride) > 1 and any(g.padding),
    "H != W": lambda g: g.input_size[0] != g.input_size[1],
    "KH != KW": lambda g: g.kernel_size[0] != g.kernel_size[1],
    "unequal everything": lambda g: all(
        a != b for a, b in (g.input_size, g.kernel_size, g.stride, g.padding, g.dilation, g.output_size)
    ),
    "square": lambda g: all(a == b for a, b in (g.input_size, g.kernel_size, g.stride, g.padding, g.dilation)),
    "batch 1": lambda g: g.batch == 1,
    "a batch": lambda g: g.batch > 1,
    "height 1": lambda g: g.input_size[0] == 1 < g.input_size[1],
    "width 1": lambda g: g.input_size[1] == 1 < g.input_size[0],
    "around 8": lambda g: any(7 <= size <= 9 for size in g.input_size),
    "around 16": lambda g: any(15 <= size <= 17 for size in g.input_size),
    "around 32": lambda g: any(31 <= size <= 33 for size in g.input_size),
}  # fmt: skip


@pytest.mark.parametrize("name", CORNERS)
def test_corner_is_reached_by_draws(name: str, sample: list[ConvGeometry]):
    assert any(CORNERS[name](geometry) for geometry in sample)


@pytest.mark.parametrize("products", [1, 60, 200, 1500, 4000, 60_000])
def test_products_are_bounded(products: int):
    for geometry in drawn(geometries(products), 200):
        smallest = (geometry.batch, *geometry.output_size) == (1, 1, 1)
        one_channel = geometry.in_channels == geometry.out_channels == geometry.groups
        assert geometry.products <= products or (one_channel and (smallest or max(geometry.pads)[0]))


@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_every_number_of_dimensions_is_drawn_and_parses_back(spatial: int):
    for geometry in drawn(geometries(spatial=spatial), 100):
        assert geometry.spatial == spatial
        assert ConvGeometry.parse(str(geometry)) == geometry


@pytest.mark.parametrize(("products", "spatial"), [(0, 2), (-1, 2), (10, 0), (10, 4)])
def test_impossible_requests_are_refused(products: int, spatial: int):
    with pytest.raises(ValueError, match="must be at least 1"):
        hypothesis.find(geometries(products, spatial=spatial), lambda geometry: True, settings=SEARCH)


def test_padding_by_name_is_drawn_only_where_asked_for():
    named = {g.padding for g in drawn(geometries(strings=True), 200) if isinstance(g.padding, str)}
    assert named == {"same", "valid"}
    assert not [g for g in drawn(geometries(), 200) if isinstance(g.padding, str)]


def test_geometries_shrink_to_the_simplest():
    assert hypothesis.find(geometries(), lambda geometry: True, settings=settings(database=None)) == SIMPLEST


@pytest.mark.parametrize(
    ("condition", "smallest"),
    [
        (lambda g: g.kernel_size[0] != g.kernel_size[1], "n1 c1->1 i1x2 k1x2 s1x1 p0x0 d1x1 g1"),
        (lambda g: g.groups > 1, "n1 c2->2 i1x1 k1x1 s1x1 p0x0 d1x1 g2"),
        (lambda g: any(axis.remainder for axis in g.axes), "n1 c1->1 i1x2 k1x1 s1x2 p0x0 d1x1 g1"),
        (lambda g: g.padding != (0, 0), "n1 c1->1 i1x1 k1x1 s1x1 p0x1 d1x1 g1"),
    ],
)
def test_geometries_shrink_to_the_smallest_with_a_fault(condition, smallest: str):
    shrunken = settings(database=None, max_examples=2000, derandomize=True)
    assert hypothesis.find(geometries(), condition, settings=shrunken) == ConvGeometry.parse(smallest)


FULL = Demand(
    dtypes=("float64", "float32", "bfloat16", "float16"), values=tuple(DISTRIBUTIONS), strings=True,
    operand_layouts=("input", "weight", "bias", "grad_output"),
)  # fmt: skip


def test_cases_parse_back_and_are_what_was_asked_for():
    found = drawn(cases(FULL), 1500)
    assert all(ConvCase.parse(str(case)) == case for case in found)
    assert {case.dtype for case in found} == set(FULL.dtypes)
    assert {case.values for case in found} == set(DISTRIBUTIONS)
    assert {case.bias for case in found} == {True, False}
    assert {layout for case in found for layout in case.layouts.values()} >= set(LAYOUTS) - {"contiguous"}
    assert {role for case in found for role in case.layouts} == {"input", "weight", "bias", "grad_output"}
    assert all("bias" not in case.layouts for case in found if not case.bias)
    assert all(DISTRIBUTIONS[case.values].scaled for case in found if case.scale)
    assert not any(case.geometry.reads_nothing for case in found)


def test_cases_are_contiguous_and_without_bias_where_asked_for():
    found = drawn(cases(Demand(bias=False)), 100)
    assert {(case.bias, case.layout, case.scale) for case in found} == {(False, "contiguous", 0)}


def test_cases_stay_in_the_domain_and_satisfy_the_property():
    domain = Domain.parse("square, stride<=2, dilation=1, groups=1, kernel=1|3, no bias")
    demand = Demand(where=lambda case: case.geometry.batch > 1)
    found = drawn(cases(demand, domain), 200)
    assert len(found) > 100
    assert all(domain.allows(case) and case.geometry.batch > 1 for case in found)
    assert {case.geometry.kernel_size for case in found} == {(1, 1), (3, 3)}


def test_declared_dtype_replaces_ordinary_ones_but_no_special_one():
    domain = Domain.parse("dtype=bfloat16")
    assert {case.dtype for case in drawn(cases(Demand(), domain), 50)} == {"bfloat16"}
    with pytest.raises(hypothesis.errors.Unsatisfiable):
        drawn(cases(Demand(dtypes=("complex64",)), domain), 50)


def test_sampled_cases_are_as_the_strategy_draws_them():
    found = list(sampled_cases(FULL, None, "cpu", "some seed", 500))
    assert len(set(found)) == 500
    assert found == list(sampled_cases(FULL, None, "cpu", "some seed", 500))
    assert found[:20] != list(sampled_cases(FULL, None, "cpu", "another", 20))
    assert {case.dtype for case in found} == set(FULL.dtypes)
    assert {case.values for case in found} == set(DISTRIBUTIONS)
    assert {layout for case in found for layout in case.layouts.values()} >= set(LAYOUTS) - {"contiguous"}
    assert all(FULL.takes(case) for case in found)


def test_rows_of_the_same_options_are_dealt_apart():
    choices, options = Sampled("a seed"), (1, 2, 3)
    dealt = [(choices.dealt(options, "one"), choices.dealt(options, "other")) for _ in options]
    assert [sorted(row) for row in zip(*dealt, strict=True)] == [list(options)] * 2


def test_dtypes_and_values_are_dealt():
    choices = Sampled("any")
    for options in (("a", "b", "c"), ("d", "e")):
        for _ in range(5):
            assert sorted(choices.dealt(options) for _ in options) == list(options)


@pytest.mark.parametrize("name", CORNERS)
def test_corner_is_reached_by_sampling(name: str):
    assert any(CORNERS[name](case.geometry) for case in sampled_cases(Demand(), None, "cpu", "corners", 1500))


def test_sampling_stays_in_the_domain_and_ends_where_there_is_nothing():
    domain = Domain.parse("square, stride<=2, dilation=1, groups=1, kernel=1|3, no bias")
    found = list(sampled_cases(Demand(where=lambda case: case.geometry.batch > 1), domain, "cpu", "", 100))
    assert len(found) == 100
    assert all(domain.allows(case) and case.geometry.batch > 1 for case in found)
    assert not list(sampled_cases(Demand(where=lambda case: False), None, "cpu", "", 100))


BIG = ConvCase.parse(
    "n3 c8->12 i9x14 k3x2 s3x2 p4x1 d2x3 g4 bias float32 cpu layout=input:sliced,bias:offset values=bell^7 seed=99"
)


def test_smaller_cases_are_no_larger_and_reach_the_simplest():
    for case in drawn(smaller_cases(BIG), 300):
        g, big = case.geometry, BIG.geometry
        assert g.batch <= big.batch
        assert g.in_channels <= big.in_channels
        assert g.out_channels <= big.out_channels
        assert all(map(int.__le__, g.kernel_size, big.kernel_size))
        assert all(map(int.__le__, g.stride, big.stride))
        assert all(map(int.__le__, g.dilation, big.dilation))
        assert ConvCase.parse(str(case)) == case
    assert hypothesis.find(smaller_cases(BIG), lambda case: True, settings=SEARCH) == ConvCase(SIMPLEST)


@pytest.mark.parametrize(
    ("condition", "smallest"),
    [
        (lambda c: max(c.geometry.dilation) > 1 and max(c.geometry.kernel_size) > 1, ((1, 1), 2)),
        (lambda c: any(a.remainder for a in c.geometry.axes), ((1, 1), 1)),
    ],
)
def test_smaller_cases_shrink_past_images_too_small_for_the_kernel(condition, smallest):
    search = settings(max_examples=3000, derandomize=True, database=None)
    case = hypothesis.find(smaller_cases(BIG), condition, settings=search)
    channels, kernel = smallest
    assert (case.geometry.in_channels, case.geometry.out_channels) == channels
    assert max(case.geometry.kernel_size) == kernel
    assert case.layout == "contiguous"


def test_smaller_cases_keep_padding_by_name():
    case = ConvCase(ConvGeometry.parse("n1 c1->1 i4x5 k3x2 s1x1 psame d1x2 g1"))
    assert {smaller.geometry.padding for smaller in drawn(smaller_cases(case), 50)} == {"same"}


def test_draws_do_not_depend_on_what_else_is_imported(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    from hypothesis.internal.conjecture import providers

    if not hasattr(providers, "_get_local_constants"):
        pytest.skip("this version of Hypothesis collects no constants")
    before = providers._get_local_constants, providers.CONSTANTS_CACHE
    with no_foreign_constants():
        assert not len(providers._get_local_constants())
        assert providers.CONSTANTS_CACHE is not before[1]
        drawn(geometries(), 50)
    assert (providers._get_local_constants, providers.CONSTANTS_CACHE) == before
    assert not list(tmp_path.iterdir())


def test_scales_stay_in_the_range_of_the_dtype():
    for dtype, limit in strategies._SCALES.items():
        demand = Demand(dtypes=(dtype,), values=("bell",))
        found = {case.scale for case in sampled_cases(demand, None, "cpu", "scales", 200)}
        assert max(map(abs, found)) <= limit
        assert 0 in found
        assert min(found) < 0 < max(found)


@pytest.mark.parametrize("name", CORNERS)
def test_listed_corners_cover_the_named_ones(name: str):
    if name not in ("around 32", "depthwise with a multiplier"):
        assert any(CORNERS[name](g) for g in (*corners.CORNERS, *corners.LARGE))


def test_scales_are_those_of_the_dtype_that_the_domain_allows():
    found = drawn(cases(Demand(values=("bell",)), Domain.parse("dtype=float32")), 200)
    assert {case.dtype for case in found} == {"float32"}
    assert max(abs(case.scale) for case in found) <= 30
    assert any(case.scale for case in found)
