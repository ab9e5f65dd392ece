"""The closed forms of the convolution and its gradients, written once.

The same text runs on torch tensors (in the autograd Function) and on arrays of SymPy symbols (in the
derivation): the array primitives are handed in as `xp`. Shapes are `[batch, channels, *spatial]`; the
spatial axes are written as one in the comments, since each acts on its own.

Sources: theorems FW-1, GI-1, GW-3 and GB-1 under `proofs/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from convverify.geometry import ConvGeometry

A = TypeVar("A")
Pads = Sequence[tuple[int, int]]


class Arrays(Protocol[A]):
    """The array primitives that the formulas are made of; all act on the trailing spatial axes."""

    def pad(self, array: A, pads: Pads) -> A:
        """Add zeros (or, where negative, crop) before and after each spatial axis."""

    def insert_zeros(self, array: A, stride: Sequence[int]) -> A:
        """Put `stride - 1` zeros between neighbours of each spatial axis."""

    def rotate180(self, array: A, spatial: int) -> A:
        """Reverse the spatial axes."""

    def windows(self, array: A, size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> A:
        """Sliding windows: `[..., *input]` to `[..., *position, *size]`."""

    def split(self, array: A, axis: int, parts: int) -> A:
        """Split one axis in two, of which the first has `parts` entries."""

    def merge(self, array: A, axis: int) -> A:
        """Undo `split`: merge `axis` with the one after it."""

    def einsum(self, equation: str, *arrays: A) -> A:
        """Einstein summation."""


def forward(xp: Arrays[A], geometry: ConvGeometry, x: A, k: A) -> A:
    """Correlate the padded input with the kernel."""
    x = xp.split(xp.pad(x, geometry.pads), 1, geometry.groups)  # [batch, groups, in/groups, *spatial]
    k = xp.split(k, 0, geometry.groups)  # [groups, out/groups, in/groups, *kernel]
    x = xp.windows(x, geometry.kernel_size, geometry.stride, geometry.dilation)  # [..., *output, *kernel]
    o, a = _letters(geometry.spatial)
    return xp.merge(xp.einsum(f"ngi{o}{a},gci{a}->ngc{o}", x, k), 1)


def grad_input(xp: Arrays[A], geometry: ConvGeometry, g: A, k: A) -> A:
    """Correlate the zero-inserted, padded grad_output with the kernel turned by 180 degrees.

    The far end takes the remainder more: those last elements of the input that no window reads.
    """
    pads = [(axis.reach - axis.before, axis.reach - axis.after + axis.remainder) for axis in geometry.axes]
    g = xp.split(xp.pad(xp.insert_zeros(g, geometry.stride), pads), 1, geometry.groups)
    k = xp.split(xp.rotate180(k, geometry.spatial), 0, geometry.groups)
    g = xp.windows(g, geometry.kernel_size, (1,) * geometry.spatial, geometry.dilation)
    u, a = _letters(geometry.spatial)
    return xp.merge(xp.einsum(f"ngc{u}{a},gci{a}->ngi{u}", g, k), 1)


def grad_weight(xp: Arrays[A], geometry: ConvGeometry, x: A, g: A) -> A:
    """Correlate the padded input with grad_output, stride and dilation having changed places.

    The remainder is cropped first: no window reads it, but it would leave room for more positions
    than the kernel has taps.
    """
    pads = [(axis.before, axis.after - axis.remainder) for axis in geometry.axes]
    x = xp.split(xp.pad(x, pads), 1, geometry.groups)  # [batch, groups, in/groups, *spatial]
    g = xp.split(g, 1, geometry.groups)  # [batch, groups, out/groups, *output]
    x = xp.windows(x, geometry.output_size, geometry.dilation, geometry.stride)  # [..., *kernel, *output]
    a, o = _letters(geometry.spatial)
    return xp.merge(xp.einsum(f"ngi{a}{o},ngc{o}->gci{a}", x, g), 0)


def grad_bias(xp: Arrays[A], geometry: ConvGeometry, g: A) -> A:
    """Sum grad_output over the batch and all positions."""
    o, _ = _letters(geometry.spatial)
    return xp.einsum(f"nc{o}->c", g)


def _letters(spatial: int) -> tuple[str, str]:
    """Subscripts of the positions and of the taps."""
    return "xyz"[:spatial], "abd"[:spatial]
