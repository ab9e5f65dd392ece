"""Which formulation computes which map: a small table, justified by `benchmarks/README.md`."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor

from convverify.geometry import ConvGeometry
from convverify.operator.kernels import columns, depthwise, pointwise, scatter, taps, windows

Kernel = Callable[[ConvGeometry, Tensor, Tensor, torch.memory_format, int], Tensor]

# Up to here a channels-last row of the kernel is too short a run, and columns are copied faster.
FEW_CHANNELS = 4


def forward(geometry: ConvGeometry, itemsize: int, limit: int) -> Kernel:
    """The formulation for the output."""
    module = _special(geometry) or _dense(geometry)
    return _within(module, geometry, itemsize, limit).forward  # type: ignore[no-any-return]


def grad_input(geometry: ConvGeometry, itemsize: int, limit: int) -> Kernel:
    """The formulation for the gradient with respect to the input."""
    module = _special(geometry)
    if module is None:
        strided = max(geometry.stride) > 1
        module = _dense(geometry) if geometry.in_channels <= FEW_CHANNELS else scatter if strided else windows
    return _within(module, geometry, itemsize, limit).grad_input  # type: ignore[no-any-return]


def grad_weight(geometry: ConvGeometry, itemsize: int, limit: int) -> Kernel:
    """The formulation for the gradient with respect to the weight."""
    module = _special(geometry) or _dense(geometry)
    return _within(module, geometry, itemsize, limit).grad_weight  # type: ignore[no-any-return]


def _special(geometry: ConvGeometry) -> ModuleType | None:
    if pointwise.applies(geometry):
        return pointwise
    if depthwise.applies(geometry):
        return depthwise
    return columns if geometry.groups > 1 else None


def _dense(geometry: ConvGeometry) -> ModuleType:
    return columns if geometry.in_channels <= FEW_CHANNELS else windows


def _within(module: ModuleType, geometry: ConvGeometry, itemsize: int, limit: int) -> ModuleType:
    """The formulation, or the sum over taps where its smallest piece would exceed the budget."""
    taps_in_kernel = math.prod(geometry.kernel_size)
    channels = max(geometry.in_channels, geometry.out_channels)
    row = math.prod(max(geometry.input_size, geometry.output_size)[1:])
    image = geometry.in_channels * math.prod(geometry.input_size)
    if module is pointwise or (row * channels * taps_in_kernel + image) * itemsize <= max(limit, 0):
        return module
    return module if module is depthwise and image * itemsize <= limit else taps
