import pytest

from convverify import shapes
from convverify.shapes import MOST_CHANNELS, SHAPES, UnknownShapesError, named


def test_lenet_is_the_articles():
    assert [str(layer) for layer in named("lenet")] == [
        "n1 c1->32 i28x28 k3x3 s1x1 p0x0 d1x1 g1",
        "n1 c32->64 i26x26 k3x3 s1x1 p0x0 d1x1 g1",
    ]


def test_resnet50_begins_with_its_stem_and_ends_at_seven_by_seven():
    layers = named("resnet50")
    assert str(layers[0]) == "n1 c3->64 i224x224 k7x7 s2x2 p3x3 d1x1 g1"
    assert layers[0].output_size == (112, 112)
    assert layers[-1].output_size == (7, 7)
    assert {layer.kernel_size for layer in layers} == {(7, 7), (3, 3), (1, 1)}
    assert {layer.input_size[0] for layer in layers} == {224, 56, 28, 14, 7}


def test_resnet50_halves_in_the_three_by_three_and_in_the_shortcut():
    strided = {(layer.kernel_size[0], layer.input_size[0]) for layer in named("resnet50") if layer.stride == (2, 2)}
    assert strided == {(7, 224), (3, 56), (3, 28), (3, 14), (1, 56), (1, 28), (1, 14)}


@pytest.mark.parametrize("name", SHAPES)
def test_layers_are_listed_once_and_fit_in_memory(name: str):
    layers = named(name)
    assert len(set(layers)) == len(layers)
    for layer in layers:
        assert layer.batch == 1
        assert max(layer.in_channels, layer.out_channels) <= MOST_CHANNELS
        assert layer.products < 10**9


def test_unknown_name_is_refused_with_those_there_are():
    with pytest.raises(UnknownShapesError, match="there are no shapes 'vgg'; there are lenet, resnet50"):
        named("vgg")


def test_channels_are_scaled_down_and_nothing_else():
    layer = shapes._layer(1024, 14, 2048, 3, 2, 1)
    assert (layer.in_channels, layer.out_channels) == (MOST_CHANNELS, MOST_CHANNELS)
    assert (layer.input_size, layer.kernel_size, layer.stride, layer.padding) == ((14, 14), (3, 3), (2, 2), (1, 1))
