import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings

from convverify import corners
from convverify.case import DTYPES, CaseError, ConvCase, Operands
from convverify.comparison import EXACT_BITS
from convverify.demand import Demand
from convverify.geometry import ConvGeometry
from convverify.reference import Maps
from convverify.strategies import cases
from convverify.values import DISTRIBUTIONS

LINE = (
    "n2 c4->6 i5x7 k3x2 s2x1 p1x0 d1x2 g2 bias float32 cpu layout=input:channels_last,grad_output:expanded "
    "values=dyadic^-3 seed=77"
)
EXACT = tuple(name for name, distribution in DISTRIBUTIONS.items() if distribution.exact)
FULL = Demand(
    dtypes=DTYPES, values=tuple(DISTRIBUTIONS), strings=True, operand_layouts=("input", "weight", "bias", "grad_output")
)


def test_line_holds_everything():
    case = ConvCase.parse(LINE)
    assert str(case) == LINE
    assert case.bias
    assert case.torch_dtype is torch.float32
    assert case.layouts == {"input": "channels_last", "grad_output": "expanded"}
    assert (case.values, case.scale, case.seed) == ("dyadic", -3, 77)
    assert case.exact
    assert not replace(case, values="normal").exact


@settings(max_examples=200)
@given(cases(replace(FULL, dtypes=("float64", "float32", "bfloat16", "float16"))))
def test_any_case_reads_back(case: ConvCase):
    assert ConvCase.parse(f" {case} ") == case


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("n2 ", ""), "is not a case such as"),
        ((" seed=77", ""), "is not a case such as"),
        (("seed=77", "seed=-1"), "is not a case such as"),
        (("float32", "float8"), "dtype 'float8' is not one of float64"),
        (("values=dyadic", "values=lucky"), "values 'lucky' is not one of integers"),
        (("channels_last", "sideways"), "'sideways' is neither a layout nor an operand"),
        (("input:", "output:"), "'output' is neither a layout nor an operand"),
        (("input:channels_last", "input"), "'input' must be an operand and its layout, such as input:channels_last"),
        (("grad_output:expanded", "input:sliced"), "names input twice"),
        (("cpu", "tpu"), "device 'tpu' is not one of cpu, cuda"),
        (("i5x7", "i5x"), "geometry .* is not of the form"),
        (("k3x2", "k9x2"), "the kernel reaches over 9 elements"),
        (("g2", "g3"), "groups=3 must divide in_channels=4"),
    ],
)
def test_what_is_no_case_is_refused(change: tuple[str, str], message: str):
    with pytest.raises(CaseError, match=message):
        ConvCase.parse(LINE.replace(*change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"geometry": "n1"}, "geometry='n1' must be a ConvGeometry"),
        ({"bias": "float32"}, "bias='float32' must be True or False"),
        ({"dtype": "float8"}, "dtype 'float8' is not one of float64"),
        ({"dtype": torch.float32}, "dtype torch.float32 is not one of float64"),
        ({"device": "cuda:7"}, "device 'cuda:7' is not one of cpu, cuda"),
        ({"values": "lucky"}, "values 'lucky' is not one of integers"),
        ({"layout": "input"}, "'input' must be an operand and its layout"),
        ({"layout": ["input:sliced"]}, "must be a text such as"),
        ({"scale": 0.5}, "scale=0.5 must be an integer"),
        ({"seed": "7"}, "seed='7' must be an integer"),
        ({"seed": -1}, "seed=-1 must be at least 0"),
    ],
)
def test_what_no_case_can_have_is_refused_with_the_value(change: dict[str, object], message: str):
    with pytest.raises(CaseError, match=message):
        replace(ConvCase.parse(LINE), **change)


def all_operands(case: ConvCase) -> list[torch.Tensor]:
    made = Operands(case)
    return [t for t in (made.input, made.weight, made.bias, made.grad_output) if t is not None]


def test_same_case_gives_the_same_tensors_whatever_the_global_generator():
    case = ConvCase.parse(LINE)
    torch.manual_seed(1)
    first = all_operands(case)
    torch.manual_seed(2)
    for one, other in zip(first, all_operands(case), strict=True):
        assert torch.equal(one, other)
        assert one.stride() == other.stride()


def test_drawing_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    all_operands(ConvCase.parse(LINE))
    assert torch.equal(before, torch.get_rng_state())


def test_seeds_and_roles_give_different_tensors():
    case = ConvCase(ConvGeometry.parse("n2 c3->3 i4x4 k4x4 s1x1 p0x0 d1x1 g1"))
    other = replace(case, seed=1)
    assert not torch.equal(Operands(case).input, Operands(other).input)
    made = Operands(case)
    assert not torch.equal(made.draw("input", (3, 3, 4, 4)), made.draw("weight", (3, 3, 4, 4)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_operands_have_shape_and_dtype(dtype: str):
    made = Operands(replace(ConvCase.parse(LINE), dtype=dtype, scale=0, values="integers"))
    assert tuple(made.input.shape) == made.case.geometry.input_shape
    assert tuple(made.weight.shape) == made.case.geometry.weight_shape
    assert tuple(made.grad_output.shape) == made.case.geometry.output_shape
    assert made.bias is not None
    assert tuple(made.bias.shape) == (6,)
    assert {t.dtype for t in all_operands(made.case)} == {getattr(torch, dtype)}


def test_without_bias_there_is_none():
    assert Operands(replace(ConvCase.parse(LINE), bias=False)).bias is None


GEOMETRIES = tuple(
    map(
        ConvGeometry.parse,
        (
            "n2 c4->6 i5x7 k3x2 s2x1 p1x0 d1x2 g2",
            "n1 c64->2 i3x3 k3x3 s1x1 p1x1 d1x1 g1",  # many terms an output
            "n1 c2->64 i3x3 k3x3 s1x1 p1x1 d1x1 g1",  # many terms of grad_input
            "n9 c1->1 i17x19 k1x1 s1x1 p0x0 d1x1 g1",  # many terms of grad_weight: more than bfloat16 counts to
            "n1 c1->1 i1x1 k1x1 s1x1 p0x0 d1x1 g1",
        ),
    )
)


def absolute(operand: torch.Tensor) -> torch.Tensor:
    """At least the absolute value of whatever real products an element enters into."""
    if operand.is_complex():
        return operand.real.abs().double() + operand.imag.abs().double()
    return operand.abs().double()


def largest_sums(case: ConvCase) -> dict[str, float]:
    """The largest sum of absolute products behind an element of each result, bias included."""
    made, maps = Operands(case), Maps(case)
    x, k, g = absolute(made.input), absolute(made.weight), absolute(made.grad_output)
    assert made.bias is not None
    output = maps.forward(x, k) + absolute(made.bias).view(-1, *[1] * case.geometry.spatial)
    sums = {
        "output": output, "grad_input": maps.grad_input(g, k), "grad_weight": maps.grad_weight(x, g),
        "grad_bias": maps.grad_bias(g),
    }  # fmt: skip
    return {name: float(value.max()) for name, value in sums.items()}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("values", EXACT)
def test_sums_of_absolute_products_stay_in_the_exact_range(values: str, dtype: str):
    """Theorem EX-1 asks that they be at most 2^p; then every order of summation is exact."""
    limit = 2.0 ** EXACT_BITS[getattr(torch, dtype)]
    for geometry, seed in itertools.product(GEOMETRIES, range(3)):
        case = ConvCase(geometry, True, dtype, values=values, seed=seed)
        for name, largest in largest_sums(case).items():
            assert largest <= limit, f"{name} on {case}"


@pytest.mark.parametrize("values", [name for name in EXACT if DISTRIBUTIONS[name].scaled])
@pytest.mark.parametrize("scale", [-2, 2])
def test_scaled_operands_are_integers_times_one_power_of_two(values: str, scale: int):
    plain = ConvCase(GEOMETRIES[0], True, "float32", values=values, seed=3)
    scaled = replace(plain, scale=scale)
    for role in ("input", "weight", "grad_output"):
        one, other = getattr(Operands(plain), role), getattr(Operands(scaled), role)
        assert torch.equal(one, one.round())
        assert torch.equal(other, one * 2.0**scale)
    first, second = Operands(plain).bias, Operands(scaled).bias
    assert first is not None
    assert second is not None
    assert torch.equal(second, first * 4.0**scale)


@pytest.mark.parametrize("values", [name for name in EXACT if name != "zeros"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_exact_operands_are_not_all_zero(values: str, dtype: str):
    made = [Operands(ConvCase(GEOMETRIES[0], dtype=dtype, values=values, seed=seed)) for seed in range(8)]
    assert any(bool((operands.input != 0).any()) for operands in made)
    assert any(bool((operands.weight != 0).any()) for operands in made)


def test_large_integers_use_the_range():
    """Otherwise faults that depend on magnitude would stay unseen."""
    case = ConvCase(GEOMETRIES[4], dtype="float32", values="large")
    largest = max(float(Operands(replace(case, seed=seed)).input.abs().max()) for seed in range(20))
    assert largest > case.amplitude / 2 > 2**9


@pytest.mark.parametrize("geometry", corners.CORNERS, ids=str)
def test_amplitude_leaves_room_for_every_sum(geometry: ConvGeometry):
    terms = max(geometry.terms_per_output, geometry.terms_per_grad_input, geometry.terms_per_grad_weight)
    for dtype in ("float64", "float32", "float16"):
        case = ConvCase(geometry, dtype=dtype)
        assert case.amplitude >= 1
        if case.amplitude > 1:
            assert 4 * terms * case.amplitude**2 <= 2 ** EXACT_BITS[case.torch_dtype]


@pytest.mark.parametrize(
    "change", [{"bias": False}, {"layout": "contiguous"}, {"dtype": "float64"}, {"values": "integers"}]
)
def test_plainer_cases_are_smaller(change: dict[str, object]):
    case = ConvCase.parse(LINE)
    assert replace(case, **change).size < case.size


def test_fewer_elements_are_smaller():
    case = ConvCase.parse(LINE)
    assert case.with_geometry(batch=1).size < case.size
    assert case.with_geometry(out_channels=2).size < case.size


def test_a_case_that_torch_writes_past_the_end_of_is_never_asked_for():
    line = "n3 c3->5 i6x6 k1x1 s2x2 p0x0 d1x1 g1 bias float32 cpu layout=input:channels_last values=integers seed=0"
    assert not Demand().takes(ConvCase.parse(line))
    for other in (line.replace("float32", "float64"), line.replace("i6x6", "i5x5"), line.replace("input:", "weight:")):
        assert Demand().takes(ConvCase.parse(other))
