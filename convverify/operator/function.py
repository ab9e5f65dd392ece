"""The three partial maps of the trilinear form as autograd Functions.

Each one's derivatives are the other two, so that a backward pass is itself differentiable, to any order.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from convverify import formulas
from convverify.geometry import ConvGeometry
from convverify.operator.arrays import TorchArrays

XP = TorchArrays()
Grads = tuple[Tensor | None, Tensor | None, None]


class Forward(torch.autograd.Function):
    """(x, k) to the output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, k: Tensor, geometry: ConvGeometry) -> Tensor:
        ctx.save_for_backward(x, k)
        ctx.geometry = geometry
        return formulas.forward(XP, geometry, x, k)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Grads:
        x, k = ctx.saved_tensors
        need_x, need_k, _ = ctx.needs_input_grad
        return (
            GradInput.apply(g, k, ctx.geometry) if need_x else None,
            GradWeight.apply(x, g, ctx.geometry) if need_k else None,
            None,
        )


class GradInput(torch.autograd.Function):
    """(g, k) to grad_input."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, k: Tensor, geometry: ConvGeometry) -> Tensor:
        ctx.save_for_backward(g, k)
        ctx.geometry = geometry
        return formulas.grad_input(XP, geometry, g, k)

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> Grads:
        g, k = ctx.saved_tensors
        need_g, need_k, _ = ctx.needs_input_grad
        return (
            Forward.apply(u, k, ctx.geometry) if need_g else None,
            GradWeight.apply(u, g, ctx.geometry) if need_k else None,
            None,
        )


class GradWeight(torch.autograd.Function):
    """(x, g) to grad_weight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, g: Tensor, geometry: ConvGeometry) -> Tensor:
        ctx.save_for_backward(x, g)
        ctx.geometry = geometry
        return formulas.grad_weight(XP, geometry, x, g)

    @staticmethod
    def backward(ctx: Any, v: Tensor) -> Grads:
        x, g = ctx.saved_tensors
        need_x, need_g, _ = ctx.needs_input_grad
        return (
            GradInput.apply(g, v, ctx.geometry) if need_x else None,
            Forward.apply(x, v, ctx.geometry) if need_g else None,
            None,
        )
