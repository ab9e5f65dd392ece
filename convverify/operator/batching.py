"""`vmap` over the three maps: a batch of convolutions is one convolution with more batch or groups.

Each rule gets the geometry of one example and its two operands with the vmapped dimension first (or
absent), and returns the operands and the geometry of one call together with what undoes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from convverify.geometry import ConvGeometry

Map = Callable[[Tensor, Tensor, ConvGeometry], Tensor]


def into_batch(tensor: Tensor) -> Tensor:
    """`[V, N, C, ...]` to `[V*N, C, ...]`."""
    return tensor.flatten(0, 1)


def into_channels(tensor: Tensor) -> Tensor:
    """`[V, N, C, ...]` to `[N, V*C, ...]`: the examples become groups of groups."""
    return tensor.movedim(0, 1).flatten(1, 2)


def from_channels(tensor: Tensor, size: int) -> Tensor:
    """Undo `into_channels`."""
    return split(tensor, 1, size).movedim(1, 0)


def split(tensor: Tensor, dim: int, parts: int) -> Tensor:
    """One dimension as two, of which the first has `parts` entries."""
    shape = tensor.shape
    return tensor.reshape(*shape[:dim], parts, shape[dim] // parts, *shape[dim + 1 :])


def bring_first(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    """The vmapped dimension in front; an operand without one is repeated."""
    return tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)


def widened(geometry: ConvGeometry, size: int) -> ConvGeometry:
    """`size` convolutions side by side as one with as many times the groups."""
    return replace(
        geometry,
        in_channels=geometry.in_channels * size,
        out_channels=geometry.out_channels * size,
        groups=geometry.groups * size,
    )


def deepened(geometry: ConvGeometry, size: int) -> ConvGeometry:
    """`size` convolutions with one kernel as one with as many times the batch."""
    return replace(geometry, batch=geometry.batch * size)


def forward(map: Map, geometry: ConvGeometry, size: int, dims: tuple[int | None, int | None],
            x: Tensor, k: Tensor) -> Tensor:  # fmt: skip
    """Map (x, k) to the output, `[V, N, O, ...]`; also (g, k) to grad_input, of the same structure."""
    if dims[1] is None:
        x = bring_first(x, dims[0], size)
        out = map(into_batch(x), k, deepened(geometry, size))
        return split(out, 0, size)
    x, k = bring_first(x, dims[0], size), bring_first(k, dims[1], size)
    return from_channels(map(into_channels(x), k.flatten(0, 1), widened(geometry, size)), size)


def grad_weight(map: Map, geometry: ConvGeometry, size: int, dims: tuple[int | None, int | None],
                x: Tensor, g: Tensor) -> Tensor:  # fmt: skip
    """Map (x, g) to grad_weight, `[V, O, C/G, ...]`: nothing is summed over examples, so always groups."""
    x, g = bring_first(x, dims[0], size), bring_first(g, dims[1], size)
    k = map(into_channels(x), into_channels(g), widened(geometry, size))
    return split(k, 0, size)


def add_bias(output: Tensor, bias: Tensor | None, dim: int | None, geometry: ConvGeometry) -> Tensor:
    """Add `[O]`, or `[V, O]` with V at `dim`, to an output `[V, N, O, ...]`."""
    if bias is None:
        return output
    if dim is not None:
        bias = bias.movedim(dim, 0).unsqueeze(1)  # [V, 1, O]
    return output + bias.reshape(*bias.shape, *(1,) * geometry.spatial)
