import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given

from convverify.geometry import Axis, ConvGeometry, GeometryError
from convverify.strategies import geometries

PLAIN = ConvGeometry.parse("n2 c4->6 i7x8 k3x2 s2x3 p1x0 d1x2 g2")


@pytest.mark.parametrize(
    "text",
    [
        "n1 c2->1 i5x5 k3x3 s2x1 p1x1 d1x1 g1",
        "n0 c0->0 i1 k1 s1 p0 d1 g1",
        "n1 c1->1 i4x5x6 k1x2x3 s1x1x1 psame d2x1x1 g1",
        "n1 c1->1 i4 k4 s3 pvalid d1 g1",
    ],
)
def test_one_line_reads_back(text: str):
    assert str(ConvGeometry.parse(text)) == text
    assert ConvGeometry.parse(f"  {text}\n") == ConvGeometry.parse(text)


@given(geometries(strings=True))
def test_any_geometry_reads_back(geometry: ConvGeometry):
    assert ConvGeometry.parse(str(geometry)) == geometry


def test_shapes_of_a_general_geometry():
    assert PLAIN.input_shape == (2, 4, 7, 8)
    assert PLAIN.weight_shape == (6, 2, 3, 2)
    assert PLAIN.output_shape == (2, 6, 4, 2)
    assert PLAIN.spatial == 2
    assert PLAIN.terms_per_output == 12
    assert PLAIN.terms_per_grad_input == 18
    assert PLAIN.terms_per_grad_weight == 16
    assert PLAIN.products == 2 * 6 * 4 * 2 * 12
    assert [axis.remainder for axis in PLAIN.axes] == [0, 2]


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_output_size_is_torchs(spatial: int):
    conv = (torch.conv1d, torch.conv2d, torch.conv3d)[spatial - 1]

    @given(geometries(products=500, strings=True, spatial=spatial))
    def check(g: ConvGeometry) -> None:
        x, k = torch.empty(g.input_shape, device="meta"), torch.empty(g.weight_shape, device="meta")
        assert conv(x, k, None, g.stride, g.padding, g.dilation, g.groups).shape == g.output_shape

    check()


def test_axis_satisfies_the_euclidean_equation():
    for size, kernel, stride, pad, dilation in itertools.product(*[range(1, 6)] * 3, range(3), range(1, 4)):
        axis = Axis(size, kernel, stride, pad, pad, dilation)
        if axis.slack < 0:
            continue
        assert axis.slack == axis.stride * (axis.output - 1) + axis.remainder
        assert 0 <= axis.remainder < stride
        assert axis.output >= 1
        assert axis.reach == dilation * (kernel - 1)


@pytest.mark.parametrize(
    ("kernel", "dilation", "pads"), [(3, 1, (1, 1)), (2, 1, (0, 1)), (4, 1, (1, 2)), (2, 3, (1, 2))]
)
def test_same_padding_puts_the_odd_zero_after(kernel: int, dilation: int, pads: tuple[int, int]):
    geometry = ConvGeometry(1, 1, 1, (9,), (kernel,), (1,), "same", (dilation,))
    assert geometry.pads == (pads,)
    assert geometry.output_size == (9,)


def test_valid_padding_is_none():
    assert ConvGeometry(1, 1, 1, (5, 6), (2, 2), (1, 1), "valid", (1, 1)).pads == ((0, 0), (0, 0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not of the form"),
        ("n1 c1->1 i5x5 k3x3 s1x1 p0x0 d1x1", "is not of the form"),
        ("n1 c1->1 i5x5 k3x3 s1x1 phalf d1x1 g1", "is not of the form"),
        ("n-1 c1->1 i5x5 k3x3 s1x1 p0x0 d1x1 g1", "is not of the form"),
        ("n1 c1->1 i5x5 k3x3 s1x1 p0x0 d1x1 g1 more", "is not of the form"),
        ("n1 c1->1 i5x5 k3 s1x1 p0x0 d1x1 g1", r"kernel_size=\(3,\) must have 2 entries"),
        ("n1 c1->1 i5x5 k3x3 s0x1 p0x0 d1x1 g1", r"stride=\(0, 1\) must be at least 1"),
        ("n1 c1->1 i5x5 k3x3 s1x1 p0x0 d1x0 g1", r"dilation=\(1, 0\) must be at least 1"),
        ("n1 c1->1 i5x0 k1x1 s1x1 p1x1 d1x1 g1", r"input_size=\(5, 0\) must be at least 1"),
        ("n1 c1->1 i5x5 k3xx3 s1x1 p0x0 d1x1 g1", "is not of the form"),
        ("n1 c1->1 i5x k3x3 s1x1 p0x0 d1x1 g1", "is not of the form"),
        ("n1 c1->1 i5x5 k3x3 s1x1 p0x0 d1x1 g0", "groups=0 must be at least 1"),
        ("n1 c3->4 i5x5 k3x3 s1x1 p0x0 d1x1 g2", "groups=2 must divide in_channels=3"),
        ("n1 c4->3 i5x5 k3x3 s1x1 p0x0 d1x1 g2", "groups=2 must divide out_channels=3"),
        ("n1 c1->1 i5x5 k3x3 s2x1 psame d1x1 g1", r"padding='same' needs stride 1, not \(2, 1\)"),
        ("n1 c1->1 i5x4 k3x3 s1x1 p0x0 d1x2 g1", "reaches over 5 elements of axis 1, but the padded input has only 4"),
    ],
)
def test_what_no_convolution_can_have_is_refused_with_the_value(text: str, message: str):
    with pytest.raises(GeometryError, match=message):
        ConvGeometry.parse(text)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"batch": 1.0}, r"batch=1\.0 must be an integer"),
        ({"batch": -1}, "batch=-1 must be at least 0"),
        ({"groups": None}, "groups=None must be an integer"),
        ({"kernel_size": 3}, "kernel_size=3 must be a tuple of integers, one for each spatial dimension"),
        ({"kernel_size": [3, 3]}, r"kernel_size=\[3, 3\] must be a tuple of integers"),
        ({"kernel_size": ()}, r"kernel_size=\(\) must be a tuple of integers"),
        ({"kernel_size": (3, 3, 3)}, r"kernel_size=\(3, 3, 3\) must have 2 entries, as input_size=\(7, 8\)"),
        ({"input_size": ()}, r"input_size=\(\) must be a tuple of integers"),
        ({"stride": (1.0, 1)}, r"stride=\(1\.0, 1\) must be a tuple of integers"),
        ({"dilation": "11"}, "dilation='11' must be a tuple of integers"),
        ({"padding": 0}, "padding=0 must be a tuple of integers"),
        ({"padding": ("0", "0")}, r"padding=\('0', '0'\) must be a tuple of integers"),
        ({"padding": (0, -1)}, r"padding=\(0, -1\) must be at least 0"),
        ({"padding": "full"}, "padding='full' must be 'same', 'valid' or a tuple of integers"),
    ],
)
def test_sizes_of_another_kind_are_refused_with_the_value(sizes: dict[str, object], message: str):
    with pytest.raises(GeometryError, match=message):
        replace(PLAIN, **sizes)
