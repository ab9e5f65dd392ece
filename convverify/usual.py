"""Layers as networks have them, which implementations have fast paths for, and layers that are nearly like them."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from convverify.geometry import ConvGeometry, GeometryError

# Kernel, stride, padding and dilation.
_DENSE = (
    "k3x3 s1x1 p1x1 d1x1", "k3x3 s1x1 p0x0 d1x1", "k3x3 s2x2 p1x1 d1x1", "k3x3 s1x1 p2x2 d2x2", "k1x1 s1x1 p0x0 d1x1",
    "k1x1 s2x2 p0x0 d1x1", "k5x5 s1x1 p2x2 d1x1", "k7x7 s2x2 p3x3 d1x1", "k2x2 s2x2 p0x0 d1x1", "k1x3 s1x1 p0x1 d1x1",
    "k3x3 s3x3 p1x1 d1x1", "k7x7 s1x1 p3x3 d1x1",
)  # fmt: skip
_DEPTHWISE = ("k3x3 s1x1 p1x1 d1x1", "k3x3 s2x2 p1x1 d1x1", "k5x5 s1x1 p2x2 d1x1", "k5x5 s2x2 p2x2 d1x1")
_IMAGES = ("i6x6", "i6x5", "i5x6", "i5x9")  # odd and even
LAYERS = tuple(
    ConvGeometry.parse(f"n{batch} {channels} {image} {options} {groups}")
    for kinds, sizes in (
        (_DENSE, (("c4->4", "g1"), ("c3->5", "g1"), ("c8->2", "g1"))),
        (_DENSE[:6], (("c16->16", "g1"),)),
        (_DENSE[:3], (("c4->4", "g2"),)),
        (_DEPTHWISE, (("c4->4", "g4"), ("c3->6", "g3"), ("c16->16", "g16"))),
    )
    for options in kinds
    for (channels, groups), batch in zip(sizes, (1, 3, 1), strict=False)
    for image in _IMAGES
)
MOST_USUAL = ("n1 c4->4 i6x6 k3x3 s1x1 p1x1 d1x1 g1", "n1 c4->4 i6x6 k1x1 s1x1 p0x0 d1x1 g1")


def kind_of_layer(geometry: ConvGeometry) -> tuple[object, ...]:
    """What layers of one kind have in common; implementations have a path for each."""
    g = geometry
    return g.kernel_size, g.stride, g.padding, g.dilation, g.groups == 1, g.groups == g.in_channels


def of_each_kind(rng: random.Random) -> list[ConvGeometry]:
    """A layer of each kind, the most usual kinds first."""
    of_kind = {kind_of_layer(layer): layer for layer in _shuffled(rng)}
    first = [kind_of_layer(ConvGeometry.parse(line)) for line in MOST_USUAL]
    return [*map(of_kind.pop, first), *of_kind.values()]


def in_pairs(rng: random.Random) -> Iterator[ConvGeometry]:
    """Layers, the most usual first, until each kind has met every image and all numbers of channels, others that differ
    from these in one option, and then the rest."""
    layers = [*map(ConvGeometry.parse, MOST_USUAL), *_shuffled(rng)]
    first = _pairs_first(layers)
    yield from (*first, *_nearly(first, rng), *layers)


def _shuffled(rng: random.Random) -> list[ConvGeometry]:
    return rng.sample(LAYERS, len(LAYERS))


def _pairs_first(layers: Sequence[ConvGeometry]) -> list[ConvGeometry]:
    """One layer of each kind, then others, until each kind has met every image and all numbers of channels."""
    kinds: dict[tuple[object, ...], dict[tuple[object, object], ConvGeometry]] = {}
    for layer in layers:
        parts = layer.input_size, (layer.in_channels, layer.out_channels)
        kinds.setdefault(kind_of_layer(layer), {})[parts] = layer
    rounds: dict[int, list[ConvGeometry]] = {}
    for of_kind in kinds.values():
        images, channels = (list(dict.fromkeys(kind)) for kind in zip(*of_kind, strict=True))
        for n in range(max(len(images), len(channels))):
            rounds.setdefault(n, []).append(of_kind[images[n % len(images)], channels[n % len(channels)]])
    return list(itertools.chain(*rounds.values()))


def _nearly(layers: Sequence[ConvGeometry], rng: random.Random) -> list[ConvGeometry]:
    """Layers of which one option is not as usual: a fast path may look at all options but one."""
    changed = []
    for layer in layers:
        assert not isinstance(layer.padding, str)
        less, more = (tuple(max(0, entry + step) for entry in layer.padding) for step in (-1, 1))
        choices: tuple[dict[str, Any], ...] = (
            {"padding": less}, {"padding": more}, {"padding": (0, 0)}, {"padding": layer.padding[::-1]},
            {"stride": (1, 2)}, {"stride": (2, 1)}, {"stride": (2, 2)}, {"dilation": (1, 2)}, {"dilation": (2, 1)},
        )  # fmt: skip
        for choice in rng.sample(choices, len(choices)):
            with contextlib.suppress(GeometryError):
                near = replace(layer, **choice)
                if near != layer:
                    changed.append(near)
                    break
    return changed
