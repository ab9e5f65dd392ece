"""Layers of real networks as named geometries, for `convverify verify --shapes`.

Batch 1; channels above 256 are scaled down to that, keeping groups and every spatial size, so that the
exact reference fits in memory and seconds. Sources: He et al. 2015 (ResNet-50, table 1, the stride on the
3x3 convolution as torchvision has it), and the article's LeNet for MNIST.
"""

from __future__ import annotations

from convverify.geometry import ConvGeometry

MOST_CHANNELS = 256


class UnknownShapesError(ValueError):
    """A name of no list of layers."""


def _layer(in_channels: int, size: int, out_channels: int, kernel: int, stride: int, padding: int) -> ConvGeometry:
    return ConvGeometry(
        1, min(in_channels, MOST_CHANNELS), min(out_channels, MOST_CHANNELS), (size, size),
        (kernel, kernel), (stride, stride), (padding, padding), (1, 1),
    )  # fmt: skip


def _resnet50() -> tuple[ConvGeometry, ...]:
    """Every convolution of ResNet-50 on a 224 x 224 image, once."""
    layers = [_layer(3, 224, 64, 7, 2, 3)]
    in_channels, size = 64, 56
    for stage, width in enumerate((64, 128, 256, 512)):
        stride = 1 if stage == 0 else 2
        small = size // stride
        layers += [
            _layer(in_channels, size, width, 1, 1, 0),  # reduce, first block
            _layer(width, size, width, 3, stride, 1),
            _layer(width, small, 4 * width, 1, 1, 0),  # expand
            _layer(in_channels, size, 4 * width, 1, stride, 0),  # shortcut
            _layer(4 * width, small, width, 1, 1, 0),  # reduce, further blocks
            _layer(width, small, width, 3, 1, 1),
        ]
        in_channels, size = 4 * width, small
    return tuple(dict.fromkeys(layers))


SHAPES = {
    "lenet": (_layer(1, 28, 32, 3, 1, 0), _layer(32, 26, 64, 3, 1, 0)),
    "resnet50": _resnet50(),
}


def named(name: str) -> tuple[ConvGeometry, ...]:
    """The layers of that name.

    Raises:
        UnknownShapesError: there is none of that name.
    """
    if name not in SHAPES:
        raise UnknownShapesError(f"there are no shapes {name!r}; there are {', '.join(SHAPES)}")
    return SHAPES[name]
