from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings

from convverify import definition
from convverify.geometry import Axis, ConvGeometry
from convverify.strategies import geometries

ONE_ROW = ConvGeometry.parse("n1 c1->1 i4 k2 s2 p1 d1 g1")


def array(*values: object) -> dict[tuple[int, ...], object]:
    return {(0, 0, place): value for place, value in enumerate(values)}


def test_meetings_by_hand():
    """Input 4, kernel 2, stride 2, padding 1: windows at -1, 1 and 3."""
    (axis,) = ONE_ROW.axes
    assert definition.meetings(axis) == [(0, 1, 0), (1, 0, 1), (1, 1, 2), (2, 0, 3)]


def test_dilated_meetings_by_hand():
    assert definition.meetings(Axis(5, 2, 1, 0, 0, 3)) == [(0, 0, 0), (0, 1, 3), (1, 0, 1), (1, 1, 4)]


def test_forward_and_gradients_by_hand():
    x, k, g = array(1, 2, 3, 4), array(10, 100), array(1, -1, 2)
    assert definition.forward(ONE_ROW, x, k) == array(100, 2 * 10 + 3 * 100, 40)
    assert definition.forward(ONE_ROW, x, k, {(0,): 7}) == array(107, 327, 47)
    assert definition.grad_input(ONE_ROW, g, k) == array(100, -10, -100, 20)
    assert definition.grad_weight(ONE_ROW, x, g) == array(-2 + 8, 1 - 3)
    assert definition.grad_bias(ONE_ROW, g) == {(0,): 2}


def test_it_is_a_correlation_the_kernel_is_not_turned():
    geometry = ConvGeometry.parse("n1 c1->1 i3 k3 s1 p0 d1 g1")
    assert definition.forward(geometry, array(1, 0, 0), array(5, 6, 7)) == array(5)


def test_groups_pair_their_own_channels_only():
    geometry = ConvGeometry.parse("n1 c4->2 i1 k1 s1 p0 d1 g2")
    pairs = {(o[1], x[1]) for o, _, x in definition.taps(geometry)}
    assert pairs == {(0, 0), (0, 1), (1, 2), (1, 3)}


def test_bias_reaches_outputs_that_sum_only_padding():
    geometry = ConvGeometry.parse("n1 c1->1 i1 k1 s1 p1 d1 g1")
    assert definition.forward(geometry, array(3), array(2), {(0,): 5}) == array(5, 11, 5)


def test_fractions_and_texts_of_algebra_are_values_too():
    half = Fraction(1, 2)
    assert definition.forward(ONE_ROW, array(half, half, half, half), array(half, half)) == array(
        Fraction(1, 4), half, Fraction(1, 4)
    )


def test_no_tap_is_counted_twice():
    geometry = ConvGeometry.parse("n2 c4->6 i5x4 k3x2 s2x1 p2x1 d2x1 g2")
    taps = list(definition.taps(geometry))
    assert len(set(taps)) == len(taps)
    assert len({(o, a) for o, a, _ in taps}) == len(taps)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_definition_is_torchs(spatial: int):
    conv = (torch.conv1d, torch.conv2d, torch.conv3d)[spatial - 1]

    @settings(max_examples=25)
    @given(geometries(products=300, strings=True, spatial=spatial))
    def check(g: ConvGeometry) -> None:
        draw = torch.Generator().manual_seed(len(str(g)))
        shapes = (g.input_shape, g.weight_shape, (g.out_channels,), g.output_shape)
        x, k, b, up = (torch.randint(-9, 10, shape, generator=draw, dtype=torch.float64) for shape in shapes)
        leaves = [t.requires_grad_() for t in (x, k, b)]
        output = conv(x, k, b, g.stride, g.padding, g.dilation, g.groups)
        grads = torch.autograd.grad(output, leaves, up)
        xs, ks, bs, gs = (numbers(t.detach()) for t in (x, k, b, up))
        assert definition.forward(g, xs, ks, bs) == numbers(output.detach())
        assert definition.grad_input(g, gs, ks) == numbers(grads[0])
        assert definition.grad_weight(g, xs, gs) == numbers(grads[1])
        assert definition.grad_bias(g, gs) == numbers(grads[2])

    check()


def numbers(tensor: torch.Tensor) -> dict[tuple[int, ...], int]:
    return {index: int(tensor[index]) for index in definition.indices(tuple(tensor.shape))}
