"""The convolution as its index sum: the ground truth, over ints, Fractions or symbols.

Everything rests on one relation for each spatial axis: output index `o` and kernel index `a`
meet at input index `u = stride * o + dilation * a - padding`, where that index exists. The trilinear
form `T(x, k, g) = sum of x[u] * k[a] * g[o]` over all that meet (with batch, channels and groups as
further indices) has the output, grad_input and grad_weight as its partial maps.

Arrays are anything indexed by a tuple: NumPy arrays, tensors, dictionaries. Results are dictionaries
from index to value.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from convverify.geometry import Axis, ConvGeometry

Index = tuple[int, ...]
Array = Any


def meetings(axis: Axis) -> list[tuple[int, int, int]]:
    """All (output, kernel, input) indices of one axis that meet."""
    return [
        (o, a, u)
        for o in range(axis.output)
        for a in range(axis.kernel)
        if 0 <= (u := axis.stride * o + axis.dilation * a - axis.before) < axis.input
    ]


def taps(geometry: ConvGeometry) -> Iterator[tuple[Index, Index, Index]]:
    """All full (output, weight, input) indices whose product the convolution sums."""
    in_group = geometry.in_channels // geometry.groups
    out_group = geometry.out_channels // geometry.groups
    spatial = [
        tuple(zip(*point, strict=True)) for point in itertools.product(*(meetings(axis) for axis in geometry.axes))
    ]
    for n, co, ci in itertools.product(range(geometry.batch), range(geometry.out_channels), range(in_group)):
        channel = co // out_group * in_group + ci
        for o, a, u in spatial:
            yield (n, co, *o), (co, ci, *a), (n, channel, *u)


def forward(geometry: ConvGeometry, x: Array, k: Array, bias: Array | None = None) -> dict[Index, Any]:
    """output[o] = bias + sum of x[u] * k[a]."""
    output = {index: 0 if bias is None else bias[(index[1],)] for index in indices(geometry.output_shape)}
    for o, a, u in taps(geometry):
        output[o] += x[u] * k[a]
    return output


def grad_input(geometry: ConvGeometry, g: Array, k: Array) -> dict[Index, Any]:
    """The derivative of T by x: grad_input[u] = sum of g[o] * k[a]."""
    grad = dict.fromkeys(indices(geometry.input_shape), 0)
    for o, a, u in taps(geometry):
        grad[u] += g[o] * k[a]
    return grad


def grad_weight(geometry: ConvGeometry, x: Array, g: Array) -> dict[Index, Any]:
    """The derivative of T by k: grad_weight[a] = sum of x[u] * g[o]."""
    grad = dict.fromkeys(indices(geometry.weight_shape), 0)
    for o, a, u in taps(geometry):
        grad[a] += x[u] * g[o]
    return grad


def grad_bias(geometry: ConvGeometry, g: Array) -> dict[Index, Any]:
    """Each output channel's bias is added to every one of its outputs."""
    grad = dict.fromkeys(indices((geometry.out_channels,)), 0)
    for index in indices(geometry.output_shape):
        grad[(index[1],)] += g[index]
    return grad


def indices(shape: tuple[int, ...]) -> Iterator[Index]:
    """All indices of an array of that shape, in row-major order."""
    return itertools.product(*map(range, shape))
