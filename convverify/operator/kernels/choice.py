"""Which formulation computes which map: a small table, justified by `benchmarks/README.md`."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from types import ModuleType

import torch
from torch import Tensor

from convverify.geometry import ConvGeometry
from convverify.operator.kernels import (
    bags,
    closed_forms,
    columns,
    depthwise,
    pointwise,
    rows,
    scatter,
    taps,
    unfolded,
    windows,
)
from convverify.operator.kernels.product import adds_in_place

Kernel = Callable[[ConvGeometry, Tensor, Tensor, torch.memory_format, int], Tensor]

# All that may run, each traced by theorem PRG-2: a module has a formulation of each map that it has by name.
FORMULATIONS: tuple[ModuleType, ...] = (
    bags, closed_forms, columns, depthwise, pointwise, rows, scatter, taps, unfolded, windows
)  # fmt: skip

# Shorter rows of the kernel with channels last are copied slower than columns with channels first.
LONG_RUN = 16
# With fewer products the calls count for more than the arithmetic.
FEW_PRODUCTS = 1 << 18
# A product of fewer positions or, in a group, of fewer channels runs at a poor rate.
MANY_POSITIONS, MANY_CHANNELS = 1 << 7, 4
# Bags of shorter rows take longer than their elements; and each shifted copy must serve some taps.
BAG_ROW, BAG_TAPS = 24, 3


def takes(module: ModuleType, name: str, geometry: ConvGeometry) -> bool:
    """Whether a module has a formulation of the map of this name for this geometry."""
    if not hasattr(module, name) or (module in (bags, windows) and name == "grad_input" and _strided(geometry)):
        return False
    return not hasattr(module, "applies") or bool(module.applies(geometry))


@lru_cache(maxsize=1024)
def forward(geometry: ConvGeometry, dtype: torch.dtype, device: str, allowed: int | None) -> Kernel:
    """The formulation for the output."""
    module = _sums(geometry, dtype, device) if depthwise.applies(geometry) else _dense(geometry, dtype, device)
    return _within(module, geometry, dtype, allowed).forward  # type: ignore[no-any-return]


@lru_cache(maxsize=1024)
def grad_input(geometry: ConvGeometry, dtype: torch.dtype, device: str, allowed: int | None) -> Kernel:
    """The formulation for the gradient with respect to the input."""
    module: ModuleType
    if depthwise.applies(geometry):
        module = _sums(geometry, dtype, device)
    elif _strided(geometry):
        module = _strided_grad_input(geometry, dtype, device)
    else:
        module = _dense(geometry, dtype, device) if geometry.in_channels > 2 else columns
        if module is windows and geometry.out_channels >= 2 * geometry.in_channels >= 2 * LONG_RUN:
            module = scatter  # what is added up is less than the windows of the many output channels
    return _within(module, geometry, dtype, allowed).grad_input  # type: ignore[no-any-return]


@lru_cache(maxsize=1024)
def grad_weight(geometry: ConvGeometry, dtype: torch.dtype, device: str, allowed: int | None) -> Kernel:
    """The formulation for the gradient with respect to the weight."""
    module: ModuleType = bags if bags.applies(geometry) else _dense(geometry, dtype, device)
    return _within(module, geometry, dtype, allowed).grad_weight  # type: ignore[no-any-return]


def _sums(geometry: ConvGeometry, dtype: torch.dtype, device: str) -> ModuleType:
    """For a kernel of its own for every channel: torch adds up bags of float32 in vectors, on a CPU."""
    vectors = dtype is torch.float32 and device == "cpu"
    pays = geometry.output_size[-1] >= BAG_ROW and math.prod(geometry.kernel_size[:-1]) >= BAG_TAPS
    return bags if vectors and pays and not _strided(geometry) else depthwise


def _dense(geometry: ConvGeometry, dtype: torch.dtype, device: str) -> ModuleType:
    if pointwise.applies(geometry):
        return pointwise
    if geometry.products < FEW_PRODUCTS:
        return unfolded if unfolded.applies(geometry) else columns
    if adds_in_place(dtype, device) and _is_wide(geometry):
        return rows
    run = geometry.in_channels * (geometry.kernel_size[-1] if geometry.dilation[-1] == 1 else 1)
    return columns if geometry.groups > 1 or run < LONG_RUN else windows


def _strided_grad_input(geometry: ConvGeometry, dtype: torch.dtype, device: str) -> ModuleType:
    if geometry.groups > 1 or geometry.in_channels <= 2:
        return columns
    short = geometry.in_channels < LONG_RUN
    if math.prod(geometry.output_size) >= MANY_POSITIONS and (short or adds_in_place(dtype, device)):
        return rows
    return columns if short else scatter


def _is_wide(geometry: ConvGeometry) -> bool:
    """Whether each image and row of the kernel by itself gives products of some size."""
    channels = min(geometry.in_channels, geometry.out_channels) // geometry.groups
    return channels >= MANY_CHANNELS and math.prod(geometry.output_size) >= MANY_POSITIONS


def _strided(geometry: ConvGeometry) -> bool:
    return max(geometry.stride) > 1


def _within(module: ModuleType, geometry: ConvGeometry, dtype: torch.dtype, allowed: int | None) -> ModuleType:
    """The formulation, or the sum over taps where a budget is set that its smallest piece exceeds."""
    if allowed is None or allowed >= dtype.itemsize * _smallest_piece(module, geometry):
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
    if module is bags:
        return 4 * geometry.kernel_size[-1] * max(images) // geometry.in_channels  # of one channel
    read = [channels * math.prod(geometry.kernel_size) * math.prod(positions[1:])
            for channels, _, positions in sides]  # fmt: skip
    return max(images) + max(read)
