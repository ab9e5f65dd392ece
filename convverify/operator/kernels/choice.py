"""Which formulation computes which map: a small table, justified by `benchmarks/README.md`."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor

from convverify.geometry import ConvGeometry
from convverify.operator.kernels import columns, depthwise, depthwise_last, pointwise, scatter, taps, windows

Kernel = Callable[[ConvGeometry, Tensor, Tensor, torch.memory_format, int], Tensor]

# Shorter rows of the kernel with channels last are copied slower than columns with channels first.
LONG_RUN = 16
# With fewer products the calls count for more than the arithmetic.
FEW_PRODUCTS = 1 << 18
# Planes up to this size are summed as lines, larger ones are better copied as columns.
SMALL_PLANE = 1 << 9


def forward(geometry: ConvGeometry, itemsize: int, limit: int) -> Kernel:
    """The formulation for the output."""
    if depthwise.applies(geometry):
        module = depthwise_last if _strided(geometry) else depthwise
    else:
        module = _dense(geometry)
    return _within(module, geometry, itemsize, limit).forward  # type: ignore[no-any-return]


def grad_input(geometry: ConvGeometry, itemsize: int, limit: int) -> Kernel:
    """The formulation for the gradient with respect to the input."""
    if depthwise.applies(geometry):
        module = depthwise_last if _strided(geometry) else depthwise
    elif geometry.groups == 1 and geometry.in_channels >= LONG_RUN and _strided(geometry):
        module = scatter
    elif geometry.groups == 1 and _strided(geometry):
        module = pointwise if pointwise.applies(geometry) else columns
    else:
        module = _dense(geometry) if geometry.in_channels > 2 else columns
    return _within(module, geometry, itemsize, limit).grad_input  # type: ignore[no-any-return]


def grad_weight(geometry: ConvGeometry, itemsize: int, limit: int) -> Kernel:
    """The formulation for the gradient with respect to the weight."""
    if depthwise.applies(geometry):
        small = math.prod(geometry.input_size) <= SMALL_PLANE and not _strided(geometry)
        module = depthwise if small else columns
    else:
        module = _dense(geometry)
    return _within(module, geometry, itemsize, limit).grad_weight  # type: ignore[no-any-return]


def _dense(geometry: ConvGeometry) -> ModuleType:
    if pointwise.applies(geometry):
        return pointwise
    run = geometry.in_channels * (geometry.kernel_size[-1] if geometry.dilation[-1] == 1 else 1)
    short = geometry.groups > 1 or run < LONG_RUN or geometry.products < FEW_PRODUCTS
    return columns if short else windows


def _strided(geometry: ConvGeometry) -> bool:
    return max(geometry.stride) > 1


def _within(module: ModuleType, geometry: ConvGeometry, itemsize: int, limit: int) -> ModuleType:
    """The formulation, or the sum over taps where its smallest piece would exceed the budget."""
    taps_in_kernel = math.prod(geometry.kernel_size)
    channels = max(geometry.in_channels, geometry.out_channels)
    row = math.prod(max(geometry.input_size, geometry.output_size)[1:])
    image = geometry.in_channels * math.prod(geometry.input_size)
    if module is pointwise or (row * channels * taps_in_kernel + image) * itemsize <= max(limit, 0):
        return module
    return module if module in (depthwise, depthwise_last) and image * itemsize <= limit else taps
