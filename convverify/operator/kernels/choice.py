"""Which formulation computes which map: a small table, justified by `benchmarks/README.md`."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from types import ModuleType

import torch
from torch import Tensor

from convverify.geometry import ConvGeometry
from convverify.operator.kernels import columns, depthwise, pointwise, scatter, strips, taps, unfolded, windows

Kernel = Callable[[ConvGeometry, Tensor, Tensor, torch.memory_format, int], Tensor]

# Shorter rows of the kernel with channels last are copied slower than columns with channels first.
LONG_RUN = 16
# With fewer products the calls count for more than the arithmetic.
FEW_PRODUCTS = 1 << 18


@lru_cache(maxsize=1024)
def forward(geometry: ConvGeometry, itemsize: int, allowed: int | None) -> Kernel:
    """The formulation for the output."""
    module: ModuleType = depthwise if depthwise.applies(geometry) else _dense(geometry)
    return _within(module, geometry, itemsize, allowed).forward  # type: ignore[no-any-return]


@lru_cache(maxsize=1024)
def grad_input(geometry: ConvGeometry, itemsize: int, allowed: int | None) -> Kernel:
    """The formulation for the gradient with respect to the input."""
    module: ModuleType
    if depthwise.applies(geometry):
        module = depthwise
    elif _scatters(geometry):
        module = scatter
    elif geometry.groups == 1 and _strided(geometry):
        module = pointwise if pointwise.applies(geometry) else columns
    else:
        module = _dense(geometry) if geometry.in_channels > 2 else columns
    return _within(module, geometry, itemsize, allowed).grad_input  # type: ignore[no-any-return]


@lru_cache(maxsize=1024)
def grad_weight(geometry: ConvGeometry, itemsize: int, allowed: int | None) -> Kernel:
    """The formulation for the gradient with respect to the weight."""
    module: ModuleType = _dense(geometry)
    if depthwise.applies(geometry):
        module = strips if strips.applies(geometry) else columns
    return _within(module, geometry, itemsize, allowed).grad_weight  # type: ignore[no-any-return]


def _dense(geometry: ConvGeometry) -> ModuleType:
    if pointwise.applies(geometry):
        return pointwise
    if geometry.products < FEW_PRODUCTS and unfolded.applies(geometry):
        return unfolded
    run = geometry.in_channels * (geometry.kernel_size[-1] if geometry.dilation[-1] == 1 else 1)
    short = geometry.groups > 1 or run < LONG_RUN or geometry.products < FEW_PRODUCTS
    return columns if short else windows


def _scatters(geometry: ConvGeometry) -> bool:
    """Whether adding the columns up moves less than copying the windows of the many output channels."""
    if geometry.groups > 1 or geometry.in_channels < LONG_RUN or pointwise.applies(geometry):
        return False
    return _strided(geometry) or geometry.out_channels >= 2 * geometry.in_channels


def _strided(geometry: ConvGeometry) -> bool:
    return max(geometry.stride) > 1


def _within(module: ModuleType, geometry: ConvGeometry, itemsize: int, allowed: int | None) -> ModuleType:
    """The formulation, or the sum over taps where a budget is set that its smallest piece exceeds."""
    if allowed is None or allowed >= itemsize * _smallest_piece(module, geometry):
        return module
    return taps


def _smallest_piece(module: ModuleType, geometry: ConvGeometry) -> int:
    """Elements of scratch: an image, padded, and the windows of one row; of the larger of both sides."""
    sides = (
        (geometry.in_channels, geometry.input_size, geometry.output_size),
        (geometry.out_channels, geometry.output_size, geometry.input_size),
    )
    images = [channels * math.prod(n + 2 * axis.reach for n, axis in zip(size, geometry.axes, strict=True))
              for channels, size, _ in sides]  # fmt: skip
    if module is pointwise:
        return max(images)
    if module is depthwise:
        return 4 * max(images)
    rows = [channels * math.prod(geometry.kernel_size) * math.prod(positions[1:])
            for channels, _, positions in sides]  # fmt: skip
    return max(images) + max(rows)
