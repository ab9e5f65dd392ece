"""The geometries on which polynomials are compared: some chosen, the others drawn from a fixed seed."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

from convverify.geometry import ConvGeometry, GeometryError

# Few small geometries have kernels and dilations above 1 and a remainder on both axes: the first does.
CHOSEN = tuple(
    map(
        ConvGeometry.parse,
        (
            "n1 c1->1 i5x6 k2x3 s2x3 p1x2 d1x2 g1",
            "n2 c2->2 i4x5 k2x3 s1x2 p0x1 d1x1 g1",
            "n2 c4->6 i4x3 k2x2 s2x1 p1x0 d1x2 g2",
            "n1 c3->6 i5x4 k3x2 s2x2 p1x1 d1x1 g3",
            "n1 c1->1 i3x4 k3x4 s1x1 p0x0 d1x1 g1",  # K = H: one output
            "n1 c2->1 i2x3 k3x4 s1x2 p1x1 d1x1 g1",  # K > H
            "n1 c1->2 i6x7 k1x2 s3x4 p0x0 d1x2 g1",  # S > K: pixels that no window reads
            "n1 c1->1 i4x5 k1x1 s2x3 p1x1 d1x1 g1",  # 1x1 where the stride does not divide the padding
            "n1 c1->1 i2x2 k2x2 s1x2 p3x2 d1x1 g1",  # P > K
            "n1 c1->1 i5x4 k2x4 s1x1 psame d2x1 g1",  # 'same' with even kernels and a dilation
            "n1 c1->1 i7x6 k2x3 s4x2 p0x1 d2x1 g1",  # the stride a multiple of the dilation
            "n1 c1->1 i7x9 k3x2 s2x2 p0x1 d2x4 g1",  # the dilation a multiple of the stride
            "n2 c4->4 i3x4 k2x3 s1x2 p1x1 d1x1 g4",  # depthwise
            "n2 c2->6 i1x5 k1x3 s1x2 p0x1 d1x1 g2",  # a multiplier, and H = 1
            "n2 c1->2 i6 k3 s2 p1 d1 g1",
            "n1 c2->2 i3x2x4 k2x1x2 s1x1x2 p1x0x1 d1x1x1 g2",
            "n0 c1->1 i3x3 k2x2 s1x1 p0x0 d1x1 g1",
        ),
    )
)

# With those chosen, these reach every path of every formulation: theorem PRG-2.
FURTHER_PATHS = tuple(
    map(
        ConvGeometry.parse,
        (
            "n3 c2->3 i2x3 k1x1 s1x1 p0x0 d1x1 g1",  # nothing but a product of matrices
            "n5 c1->1 i4x4 k2x2 s1x1 p0x0 d1x1 g1",  # images that are cut into two, two and one
            "n1 c1->3 i3x4 k2x2 s1x1 p1x1 d1x1 g1",  # stride 1 and more output channels than input channels
            "n1 c6->4 i3x4 k2x2 s1x1 p1x0 d2x1 g2",  # stride 1 and groups; rows that are cut into two and one
            "n2 c2->2 i3x4 k3x3 s1x1 p1x1 d1x1 g2",  # depthwise, stride 1
            "n1 c2->2 i5x32 k2x2 s1x1 p0x1 d1x1 g2",  # depthwise, planes that are not small, rows not short
            "n1 c2->2 i2x3 k3x2 s1x1 p2x28 d2x1 g2",  # depthwise, taps and a strip that meet padding only
        ),
    )
)


def sampled(count: int, seed: int, products: int) -> list[ConvGeometry]:
    """The chosen ones that are small enough, and drawn ones up to `count` in all, none twice."""
    draw = random.Random(seed)
    found = [geometry for geometry in CHOSEN if geometry.products <= products]
    while len(found) < count:
        geometry = _drawn(draw)
        if geometry is not None and geometry.products <= products and geometry not in found:
            found.append(geometry)
    return found


def _drawn(draw: random.Random) -> ConvGeometry | None:
    def pair(high: int, low: int = 1) -> tuple[int, int]:
        return draw.randint(low, high), draw.randint(low, high)

    groups = draw.choice((1, 1, 1, 2, 3))
    try:
        return ConvGeometry(
            draw.randint(1, 2), groups * draw.randint(1, 2), groups * draw.randint(1, 2), pair(7), pair(3),
            pair(3), pair(2, 0), pair(3), groups,
        )  # fmt: skip
    except GeometryError:
        return None


def small_first(largest: int) -> Iterator[ConvGeometry]:
    """One-axis geometries by their largest size, then by the sum of their sizes; then with channels.

    This is the order in which a smallest witness is looked for.
    """
    for limit in range(1, largest + 1):
        axes = itertools.product(range(1, limit + 1), range(1, limit + 1), range(1, limit + 1),
                                 range(limit + 1), range(1, limit + 1))  # fmt: skip
        for h, k, s, p, d in sorted(axes, key=lambda sizes: (sum(sizes), sizes)):
            if max(h, k, s, p, d) == limit and h + 2 * p - d * (k - 1) - 1 >= 0:
                yield ConvGeometry(1, 1, 1, (h,), (k,), (s,), (p,), (d,))
        for groups, each in ((2, 2), (3, 2)):
            if groups <= limit:
                yield ConvGeometry(1, groups * each, groups, (1,), (1,), (1,), (0,), (1,), groups)
