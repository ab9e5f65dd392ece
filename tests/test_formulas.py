"""The closed forms, run on torch tensors, give what the definition gives: exactly, on integers."""

import pytest
import torch
from hypothesis import given, settings

from convverify import definition, formulas
from convverify.geometry import ConvGeometry
from convverify.operator.arrays import TorchArrays
from convverify.strategies import geometries

XP = TorchArrays()


def integers(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randint(-9, 10, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.int64)


def by_index(tensor: torch.Tensor) -> dict[tuple[int, ...], int]:
    return {index: int(tensor[index]) for index in definition.indices(tuple(tensor.shape))}


def assert_formulas_equal_definition(g: ConvGeometry) -> None:
    x, k, up = integers(g.input_shape, 1), integers(g.weight_shape, 2), integers(g.output_shape, 3)
    xs, ks, ups = by_index(x), by_index(k), by_index(up)
    assert by_index(formulas.forward(XP, g, x, k)) == definition.forward(g, xs, ks)
    assert by_index(formulas.grad_input(XP, g, up, k)) == definition.grad_input(g, ups, ks)
    assert by_index(formulas.grad_weight(XP, g, x, up)) == definition.grad_weight(g, xs, ups)
    assert by_index(formulas.grad_bias(XP, g, up)) == definition.grad_bias(g, ups)


@pytest.mark.parametrize("spatial", [1, 2, 3])
def test_formulas_equal_the_definition(spatial: int):
    @settings(max_examples=60)
    @given(geometries(products=300, strings=True, spatial=spatial))
    def check(geometry: ConvGeometry) -> None:
        assert_formulas_equal_definition(geometry)

    check()


@pytest.mark.parametrize(
    "text",
    [
        "n1 c2->2 i5x6 k2x3 s2x3 p1x2 d1x2 g1",  # a remainder on both axes
        "n1 c1->1 i7x8 k2x2 s3x3 p0x0 d1x1 g1",  # pixels that no window reads
        "n1 c1->1 i2x2 k2x2 s1x1 p3x4 d1x1 g1",  # padding over the kernel: the pad of grad_input is a crop
        "n2 c3->6 i5x4 k3x2 s2x1 p1x1 d1x1 g3",
        "n1 c1->1 i4x5 k2x4 s1x1 psame d1x1 g1",  # zeros of unequal number on the two sides
        "n1 c1->1 i2 k1 s4 p3 d1 g1",
    ],
)
def test_formulas_equal_the_definition_at_the_corner(text: str):
    assert_formulas_equal_definition(ConvGeometry.parse(text))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("n1 c1->1 i2 k2 s1 p0 d1 g1", "rotate180"),
        ("n1 c1->1 i3 k1 s2 p0 d1 g1", "insert_zeros"),
    ],
)
def test_without_one_primitive_grad_input_is_wrong(text: str, name: str, monkeypatch: pytest.MonkeyPatch):
    """What the formula says is needed: a checker that accepted less would check nothing."""
    geometry = ConvGeometry.parse(text)
    up, k = integers(geometry.output_shape, 5) + 20, torch.tensor([[[2, 3][: geometry.kernel_size[0]]]])
    right = formulas.grad_input(XP, geometry, up, k)
    broken = type("Broken", (TorchArrays,), {name: staticmethod(lambda array, *_: array)})()
    try:
        wrong = formulas.grad_input(broken, geometry, up, k)
    except RuntimeError:
        return
    assert wrong.shape != right.shape or not torch.equal(wrong, right)
