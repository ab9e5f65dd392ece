"""The proved text itself: `convverify.formulas` on tensors. The other formulations are held against it."""

from __future__ import annotations

import torch
from torch import Tensor

from convverify import formulas
from convverify.geometry import ConvGeometry
from convverify.operator.arrays import TorchArrays

_XP = TorchArrays()


def forward(geometry: ConvGeometry, x: Tensor, k: Tensor, format: torch.memory_format, limit: int) -> Tensor:
    """The output."""
    return _own(formulas.forward(_XP, geometry, x, k), format)


def grad_input(geometry: ConvGeometry, g: Tensor, k: Tensor, format: torch.memory_format, limit: int) -> Tensor:
    """The gradient with respect to the input."""
    return _own(formulas.grad_input(_XP, geometry, g, k), format)


def grad_weight(geometry: ConvGeometry, x: Tensor, g: Tensor, format: torch.memory_format, limit: int) -> Tensor:
    """The gradient with respect to the weight."""
    return _own(formulas.grad_weight(_XP, geometry, x, g), format)


def _own(result: Tensor, format: torch.memory_format) -> Tensor:
    """In memory of its own: einsum may return a view."""
    return result.clone(memory_format=format)
