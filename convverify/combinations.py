"""Options in combination: geometries among which every three kinds of options meet.

A special path of an implementation is guarded by two or three conditions (a 1x1 kernel, without padding, and
strides that differ), which independent draws seldom meet at once.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

from convverify.geometry import ConvGeometry

STRENGTH = 3
_TRIED = 10  # completions of a row, of which the one with most that is new is taken

# Kinds of each option, the plainest first; a padding is given by the span of the kernel, its dilation included, and
# an image by the number of positions of a window, in steps of one, or by how many kernels it holds without remainder.
OPTIONS: dict[str, tuple[Any, ...]] = {
    "kernel": ((1, 1), (1, 3), (3, 1), (2, 2), (3, 3), (4, 5)),
    "stride": ((1, 1), (2, 2), (1, 2), (3, 1), "kernel"),
    "padding": (
        lambda span: (0, 0), lambda span: (1, 1), lambda span: (0, 2), lambda span: (2, 0),
        lambda span: tuple((n + 1) // 2 for n in span), lambda span: span,
    ),
    "dilation": ((1, 1), (2, 2), (1, 2), (3, 1)),
    "channels": ((1, 2, 1), (3, 1, 1), (16, 8, 1), (4, 4, 4), (2, 6, 2), (6, 4, 2)),  # in, out, groups
    "batch": (1, 2),
    "image": ((7, 7), (1, 1), (2, 5), (5, 2), 2, 3),
}
PLAIN = {"stride": 0, "dilation": 0, "channels": 0}  # what special paths ask of most options
_NAMES = tuple(OPTIONS)

Row = tuple[int, ...]


def geometries(rng: random.Random) -> Iterator[ConvGeometry]:
    """Geometries until every three kinds of different options have met; the first meet most."""
    sizes = [len(kinds) for kinds in OPTIONS.values()]
    missing = [
        (places, kinds)
        for places in itertools.combinations(range(len(sizes)), STRENGTH)
        for kinds in itertools.product(*(range(sizes[place]) for place in places))
    ]
    rng.shuffle(missing)
    met: set[tuple[Row, Row]] = set()
    for places, kinds in missing:
        if (places, kinds) in met:
            continue
        fixed = dict(zip(places, kinds, strict=True))
        rows = [tuple(fixed.get(i, _drawn(i, rng)) for i in range(len(sizes))) for _ in range(_TRIED)]
        row = max(rows, key=lambda row: len(meetings(row) - met))
        met |= meetings(row)
        yield _geometry(row)


def meetings(row: Row) -> set[tuple[Row, Row]]:
    """The places of options, three at a time, with the kinds that meet there."""
    places = itertools.combinations(range(len(row)), STRENGTH)
    return set(zip(places, itertools.combinations(row, STRENGTH), strict=True))


def _drawn(place: int, rng: random.Random) -> int:
    """A kind of the option at this place; half of the time the plain one, where it has one."""
    name = _NAMES[place]
    return PLAIN[name] if name in PLAIN and rng.random() < 0.5 else rng.randrange(len(OPTIONS[name]))


def _geometry(row: Row) -> ConvGeometry:
    chosen = {name: OPTIONS[name][kind] for name, kind in zip(_NAMES, row, strict=True)}
    kernel, dilation, (into, out, groups) = chosen["kernel"], chosen["dilation"], chosen["channels"]
    span = tuple(d * (k - 1) for k, d in zip(kernel, dilation, strict=True))
    padding = chosen["padding"](span)
    stride = kernel if chosen["stride"] == "kernel" else chosen["stride"]
    if isinstance(image := chosen["image"], int):
        image = tuple(image * max(n, reach) for n, reach in zip(kernel, span, strict=True))
    else:
        image = tuple(max(1, reach + n - 2 * pad) for reach, n, pad in zip(span, image, padding, strict=True))
    return ConvGeometry(chosen["batch"], into, out, image, kernel, stride, padding, dilation, groups)
