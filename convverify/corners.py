"""Geometries that no random draw is left to find: corners, sweeps through sizes, large layers.

The corners are places where published convolutions went wrong, the named ones those of padding by name; the
sweeps pass tile and block boundaries (8, 16, 32, ... and their neighbours) one size at a time, the tails several at
once; the layers are large in several sizes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from convverify.geometry import ConvGeometry

CORNERS = tuple(
    map(
        ConvGeometry.parse,
        (
            "n1 c1->1 i1x1 k1x1 s1x1 p0x0 d1x1 g1",  # nothing but a product
            "n1 c1->1 i5x2 k2x2 s1x1 p0x0 d1x1 g1",  # square code gives a wrong shape here, silently
            "n2 c2->3 i4x7 k2x3 s1x1 p0x0 d1x1 g1",  # unequal everything
            "n2 c3->2 i6x5 k3x2 s2x3 p1x2 d1x1 g1",
            "n1 c2->2 i5x6 k2x3 s2x3 p1x2 d1x2 g1",  # a remainder on both axes, dilated
            "n2 c1->2 i6x9 k1x2 s4x5 p1x1 d1x1 g1",  # a remainder above the padding: unread pixels of the image
            "n1 c1->1 i7x8 k2x2 s3x3 p0x0 d1x1 g1",  # stride > kernel: pixels that no window reads
            "n1 c1->2 i2x3 k1x1 s2x2 p1x1 d1x1 g1",  # 1x1 with padding and stride
            "n2 c2->2 i3x3 k3x3 s1x1 p0x0 d1x1 g1",  # kernel = input: one output
            "n2 c2->3 i3x4 k3x4 s3x4 p1x1 d1x1 g1",  # kernel = input, shifted by the padding: one output
            "n1 c1->1 i3x4 k5x6 s1x1 p1x1 d1x1 g1",  # kernel > input, = padded input
            "n1 c2->1 i2x2 k2x2 s1x1 p3x4 d1x1 g1",  # padding > kernel
            "n1 c1->1 i2x3 k2x2 s3x2 p5x4 d1x1 g1",
            "n2 c1->1 i9x7 k3x3 s1x1 p2x2 d2x2 g1",
            "n1 c1->1 i9x9 k2x2 s4x2 p0x1 d2x4 g1",  # stride a multiple of dilation, and the reverse
            "n1 c1->1 i8x9 k3x2 s2x4 p2x3 d3x2 g1",
            "n2 c4->4 i5x5 k3x3 s1x1 p1x1 d1x1 g4",  # depthwise
            "n2 c3->6 i5x4 k3x2 s2x1 p1x1 d1x1 g3",  # depthwise with a multiplier
            "n1 c4->2 i4x5 k2x2 s1x2 p0x1 d1x2 g2",  # one output a group
            "n2 c6->4 i5x6 k2x3 s2x1 p1x0 d2x1 g2",
            "n1 c6->9 i4x4 k1x1 s1x1 p0x0 d1x1 g3",
            "n3 c2->2 i1x6 k1x3 s1x2 p0x1 d1x1 g1",  # height 1
            "n3 c2->2 i6x1 k3x1 s2x1 p1x0 d1x1 g1",  # width 1
            "n1 c1->1 i1x1 k3x3 s2x2 p1x1 d1x1 g1",
            "n1 c3->4 i9x9 k3x3 s1x1 p1x1 d1x1 g1",
            "n2 c8->16 i8x8 k3x3 s1x1 p1x1 d1x1 g1",
            "n1 c3->2 i17x33 k3x3 s2x2 p1x1 d1x1 g1",
            "n1 c1->1 i16x16 k7x5 s1x1 p3x2 d1x1 g1",
            "n4 c1->3 i4x4 k4x4 s4x4 p0x0 d1x1 g1",  # patches
            "n1 c2->2 i7x7 k3x3 s1x1 p1x1 d2x1 g1",
            "n1 c1->1 i4x6 k2x2 s1x1 p1x1 d3x3 g1",
            "n1 c5->7 i6x6 k3x1 s1x1 p1x0 d1x1 g1",
            "n1 c7->5 i6x6 k1x3 s1x1 p0x1 d1x1 g1",
            "n1 c1->1 i4x4 k3x3 s1x1 p0x0 d1x1 g1",  # the least that every kernel takes
            "n2 c2->3 i6x7 k3x3 s1x1 p1x1 d1x1 g1",
            "n1 c3->2 i8x9 k3x3 s1x1 p0x0 d1x1 g1",
            "n2 c4->6 i5x6 k1x1 s1x1 p0x0 d1x1 g1",
            "n2 c3->2 i7x7 k5x5 s1x1 p2x2 d1x1 g1",
            "n1 c2->2 i8x8 k3x3 s2x2 p1x1 d1x1 g1",
            "n1 c9->2 i3x4 k2x1 s1x1 p0x0 d1x1 g1",  # more than eight of something
            "n1 c2->9 i4x3 k1x2 s1x1 p0x0 d1x1 g1",
            "n9 c1->1 i3x3 k2x2 s1x1 p0x0 d1x1 g1",
            "n1 c1->1 i9x10 k8x7 s1x1 p1x1 d1x1 g1",
            "n1 c9->9 i3x4 k2x3 s1x1 p1x1 d1x1 g9",
            "n2 c32->32 i3x4 k1x1 s1x1 p0x0 d1x1 g1",
            "n1 c16->17 i5x6 k3x3 s1x1 p0x0 d1x1 g1",
            "n1 c64->8 i2x3 k1x1 s1x1 p0x0 d1x1 g1",
        ),
    )
)

# Every option at once, different on both axes, with remainders: what goes wrong by one option goes wrong here.
EVERYTHING = tuple(
    map(
        ConvGeometry.parse,
        (
            "n2 c2->4 i4x5 k2x1 s2x3 p1x0 d2x1 g2",
            "n2 c4->4 i4x3 k2x3 s2x3 p1x2 d2x1 g2",
            "n3 c6->4 i8x8 k3x2 s2x3 p1x2 d2x3 g2",
            "n2 c6->9 i7x8 k2x3 s3x2 p2x1 d2x3 g3",
        ),
    )
)

# No option but, of the second kind, a padding that keeps the size: the simplest that a fault may need, large and small.
PLAIN = tuple(
    tuple(map(ConvGeometry.parse, lines))
    for lines in (
        (
            "n2 c3->4 i7x6 k3x2 s1x1 p0x0 d1x1 g1",
            "n2 c2->3 i5x4 k2x3 s1x1 p0x0 d1x1 g1",
            "n1 c2->2 i4x3 k2x2 s1x1 p0x0 d1x1 g1",
        ),
        (
            "n2 c3->3 i6x5 k3x3 s1x1 p1x1 d1x1 g1",
            "n1 c2->2 i4x5 k3x3 s1x1 p1x1 d1x1 g1",
            "n1 c1->1 i3x3 k3x3 s1x1 p1x1 d1x1 g1",
        ),
    )
)

NAMED = tuple(
    map(
        ConvGeometry.parse,
        (
            "n1 c1->1 i3x3 k2x2 s1x1 psame d1x1 g1",  # an odd zero on both axes
            "n2 c2->1 i4x5 k2x3 s1x1 psame d1x1 g1",  # on one of them
            "n1 c1->2 i5x4 k3x4 s1x1 psame d1x1 g1",
            "n1 c2->2 i6x6 k2x4 s1x1 psame d3x1 g2",
            "n1 c1->1 i4x7 k4x2 s1x1 psame d1x3 g1",
            "n1 c1->1 i1x2 k2x2 s1x1 psame d1x1 g1",
            "n2 c1->1 i5x6 k3x3 s1x1 psame d2x1 g1",
            "n1 c2->2 i7x6 k2x2 s1x1 psame d2x2 g1",  # even kernels, even zeros
            "n1 c1->1 i5x6 k2x3 s2x3 pvalid d1x2 g1",
        ),
    )
)

LARGE = tuple(
    map(
        ConvGeometry.parse,
        (
            "n1 c64->64 i14x14 k3x3 s1x1 p1x1 d1x1 g1",
            "n2 c160->24 i7x9 k3x3 s1x1 p1x1 d1x1 g1",  # more than 1024 terms
            "n1 c7300->1 i3x3 k3x3 s1x1 p0x0 d1x1 g1",  # more than 2**16
            "n1 c1700->8 i5x4 k1x1 s1x1 p0x0 d1x1 g1",
            "n1 c8->1700 i4x5 k1x1 s1x1 p0x0 d1x1 g1",
            "n1 c190->180 i2x1 k1x1 s1x1 p0x0 d1x1 g1",  # more than 2**15 weights
            "n1 c3->8 i112x98 k3x3 s2x2 p1x1 d1x1 g1",  # more than 2**15 pixels
            "n1 c3->16 i65x130 k7x7 s2x2 p3x3 d1x1 g1",
            "n1 c96->96 i33x31 k3x3 s1x1 p1x1 d1x1 g96",
            "n1 c64->128 i28x27 k3x3 s2x2 p1x1 d1x1 g32",
            "n2 c32->48 i17x40 k3x3 s1x1 p2x2 d2x2 g1",
            "n130 c4->6 i9x8 k3x3 s1x1 p1x1 d1x1 g1",
            "n1 c2->2 i300x290 k3x3 s1x1 p1x1 d1x1 g1",
            "n3 c9->2 i257x259 k1x1 s1x1 p0x0 d1x1 g1",  # more than 2**20 elements, also before the last sample
            "n3 c2->9 i257x259 k1x1 s1x1 p0x0 d1x1 g1",
            "n1 c65->1 i257x259 k1x1 s1x1 p0x0 d1x1 g1",  # more than 2**22
            "n1 c1->1 i40x41 k19x23 s1x1 p9x11 d1x1 g1",
            "n8200 c1->1 i2x2 k2x1 s1x1 p0x0 d1x1 g1",  # more than 2**13 samples, which tell what the next ones take
            "n66000 c1->1 i2x2 k2x1 s1x1 p0x0 d1x1 g1",  # more than 2**16
            "n1 c1->2 i2x66001 k2x2 s1x1 p0x1 d1x1 g1",  # more than 2**16 columns
            "n1 c2->1 i66001x2 k2x1 s1x1 p1x0 d1x1 g1",
        ),
    )
)

_AROUND = (*range(1, 35), 47, 48, 49, 63, 64, 65, 66, 95, 96, 97, 100, 127, 128, 129, 130, 191, 192, 193,
           255, 256, 257, 383, 384, 385, 511, 512, 513, 515, 767, 768, 769, 1023, 1024, 1025, 1027, 2047,
           2048, 2049, 4096, 4097)  # fmt: skip


def _up_to(most: int) -> tuple[int, ...]:
    return tuple(n for n in _AROUND if n <= most)


_ALONG: tuple[Callable[[int], tuple[int, int]], ...] = (lambda n: (n, 1), lambda n: (1, n), lambda n: (n, n))
Sizes = dict[str, object]
_ONES = (1, 1)
_STEPS = tuple(range(1, 18))
# Kinds of sweeps: the sizes n that each passes through, and the geometry at n.
_KINDS: tuple[tuple[tuple[int, ...], Callable[[int], Sizes]], ...] = (
    ((*_AROUND, 65535, 65537), lambda n: {
        "batch": n, "in_channels": 1, "out_channels": 2 if n < 5000 else 1, "input_size": (3, 2), "kernel_size": (2, 1),
    }),
    (_AROUND[:50], lambda n: {"batch": n, "input_size": (2, 3)}),
    (_AROUND[:50], lambda n: {"in_channels": n, "out_channels": n, "input_size": (2, 3)}),
    (_AROUND, lambda n: {"in_channels": n, "input_size": (3, 2), "kernel_size": (2, 1)}),
    (_AROUND, lambda n: {"out_channels": n, "input_size": (3, 2), "kernel_size": (2, 1)}),
    (_up_to(520), lambda n: {
        "in_channels": n, "out_channels": n, "groups": n, "input_size": (3, 4), "kernel_size": (2, 2),
    }),
    (_up_to(130), lambda n: {
        "in_channels": 2 * n, "out_channels": 2 * n, "groups": 2, "input_size": (3, 2), "kernel_size": (2, 1),
    }),
    (_AROUND, lambda n: {"input_size": (n, 3), "kernel_size": (min(n, 3), 2), "in_channels": 1}),
    (_AROUND, lambda n: {"input_size": (3, n), "kernel_size": (2, min(n, 3)), "in_channels": 1}),
    (_up_to(130), lambda n: {
        "input_size": (n, n), "kernel_size": (min(n, 3),) * 2, "in_channels": 1, "out_channels": 1,
    }),
    ((5, 19, 60, 183, 257, 1025), lambda n: {  # a few windows of a large image, which every implementation is fast at
        "input_size": (n, n), "kernel_size": (2, 2), "stride": (n // 4 + 1, n // 3), "in_channels": 1,
    }),
    (_up_to(130), lambda n: {"input_size": (n, n + 1), "in_channels": 1, "out_channels": 1}),
    (_up_to(65), lambda n: {"input_size": (n + 1, 3), "kernel_size": (n, 2), "in_channels": 1}),
    (_up_to(65), lambda n: {"input_size": (3, n + 1), "kernel_size": (2, n), "in_channels": 1}),
    (_up_to(34), lambda n: {"input_size": (n, n), "kernel_size": (3, 3), "padding": _ONES, "in_channels": 1}),
    (_up_to(12), lambda n: {"input_size": (n + 2, n + 1), "kernel_size": (n, n), "in_channels": 1}),
    *((_STEPS, lambda n, along=along: {
        "input_size": (19, 20), "kernel_size": (3, 2), "stride": along(n),
    }) for along in _ALONG),
    *((_STEPS, lambda n, along=along: {
        "input_size": (2 * n + 3, 2 * n + 2), "kernel_size": (3, 2), "dilation": along(n),
    }) for along in _ALONG),
    *((_STEPS, lambda n, along=along: {
        "input_size": (4, 5), "kernel_size": (3, 2), "padding": along(n),
    }) for along in _ALONG),
)  # fmt: skip


def plain(products: int) -> Iterator[ConvGeometry]:
    """Of each kind of plain geometries the largest of so many products at most."""
    for kind in PLAIN:
        yield from [g for g in kind if g.products <= products][:1]


def sweep() -> Iterator[ConvGeometry]:
    """Every size on its own through its range, the others small and unequal."""
    for sizes, at in _KINDS:
        yield from map(_geometry, map(at, sizes))


def tails() -> Iterator[ConvGeometry]:
    """What is left over of blocks: channels in, channels out and columns, each next to every power of two, and images
    of layers with many channels that leave every remainder by eight."""
    next_to = [n for power in (8, 16, 32, 64, 128, 256) for n in (power - 1, power + 1)]
    for place, n in enumerate(next_to):
        out, width = (next_to[(place + turn) % len(next_to)] for turn in (4, 8))
        yield _geometry({"in_channels": n, "out_channels": out, "input_size": (1, width)})
    for n in range(8, 16):
        yield _geometry({
            "in_channels": 16, "out_channels": 16, "input_size": (n, 23 - n), "kernel_size": (3, 3), "padding": _ONES,
        })  # fmt: skip


def milestones() -> list[ConvGeometry]:
    """Of every sweep each size that is over three times the one before, then its far end; the small ones first.

    What goes wrong beyond some size goes wrong at one of them, and what is too slow or needs too much memory
    for the large ones shows it at smaller ones.
    """
    passed, ends = [], []
    for sizes, at in _KINDS:
        ends.append(_geometry(at(sizes[-1])))
        last = 0
        for n in sizes[:-1]:
            if n > 3 * last:
                last = n
                passed.append(_geometry(at(n)))

    def extent(geometry: ConvGeometry) -> int:
        return geometry.products + geometry.batch * math.prod(geometry.input_size)

    return list(dict.fromkeys((*sorted(passed, key=extent), *sorted(ends, key=extent))))


def _geometry(sizes: Sizes) -> ConvGeometry:
    """The geometry with these sizes, the others small."""
    defaults: Sizes = {
        "batch": 1, "in_channels": 2, "out_channels": 2, "kernel_size": _ONES, "stride": _ONES,
        "padding": (0, 0), "dilation": _ONES, "groups": 1,
    }  # fmt: skip
    return ConvGeometry(**{**defaults, **sizes})  # type: ignore[arg-type]
