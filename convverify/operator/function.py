"""The three partial maps of the trilinear form as autograd Functions.

Each one's derivatives are the other two, so that a backward pass is itself differentiable, to any order,
in reverse and in forward mode, and under `vmap` and the transforms of `torch.func`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch._functorch.utils import unwrap_dead_wrappers
from torch.autograd import Function, forward_ad

from convverify.geometry import ConvGeometry
from convverify.operator import batching, derivatives, maps
from convverify.operator.derivatives import Maps, Maybe


def convolve(x: Tensor, k: Tensor, bias: Maybe, geometry: ConvGeometry) -> Tensor:
    """The output as a differentiable function of the input, the kernel and the bias."""
    return _apply(Forward, x, k, bias, geometry)


def transpose(g: Tensor, k: Tensor, geometry: ConvGeometry) -> Tensor:
    """The adjoint of the convolution in its input, as a differentiable function."""
    return _apply(GradInput, g, k, geometry)


@lru_cache(maxsize=1024)
def differentiable(geometry: ConvGeometry) -> Maps:
    """The three maps of this geometry, through the Functions."""
    return Maps(
        lambda x, k: _apply(Forward, x, k, None, geometry),
        lambda g, k: _apply(GradInput, g, k, geometry),
        lambda x, g: _apply(GradWeight, x, g, geometry),
    )


@lru_cache(maxsize=1024)
def plain(geometry: ConvGeometry) -> Maps:
    """The three maps of this geometry as they stand."""
    return Maps(
        lambda x, k: maps.forward(x, k, None, geometry),
        lambda g, k: maps.grad_input(g, k, geometry),
        lambda x, g: maps.grad_weight(x, g, geometry),
    )


def for_backward(geometry: ConvGeometry) -> Maps:
    """The maps as a backward pass needs them: a Function costs more than a small convolution."""
    watched = torch.is_grad_enabled() or forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active()
    return differentiable(geometry) if watched else plain(geometry)


def _apply(function: type[Function], *arguments: Any) -> Tensor:
    """`function.apply`; without a transform to serve, not through its binding of arguments to names, which
    costs more than a small convolution."""
    output: Tensor
    if torch._C._are_functorch_transforms_active():
        output = function.apply(*arguments)
    else:
        output = super(Function, function).apply(*unwrap_dead_wrappers(arguments))  # type: ignore[misc]
    return output


class _Bilinear(Function):
    """What the three have in common: the two operands are kept, and the geometry, always the last."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])
        ctx.save_for_forward(*inputs[:2])
        ctx.geometry = inputs[-1]
        ctx.set_materialize_grads(False)


class Forward(_Bilinear):
    """(x, k, bias) to the output."""

    @staticmethod
    def forward(x: Tensor, k: Tensor, bias: Maybe, geometry: ConvGeometry) -> Tensor:
        return maps.forward(x, k, bias, geometry)

    @staticmethod
    def backward(ctx: Any, g: Maybe) -> tuple[Maybe, Maybe, Maybe, None]:
        if g is None:
            return None, None, None, None
        need_x, need_k, need_bias, _ = ctx.needs_input_grad
        x, k = ctx.saved_tensors
        pair = derivatives.of_forward(for_backward(ctx.geometry), x, k, g, (need_x, need_k))
        return *pair, derivatives.of_bias(g) if need_bias else None, None

    @staticmethod
    def jvp(ctx: Any, x: Maybe, k: Maybe, bias: Maybe, _: None) -> Maybe:
        saved_x, saved_k = ctx.saved_tensors
        geometry = ctx.geometry
        return derivatives.total(
            None if x is None else convolve(x, saved_k, None, geometry),
            None if k is None else convolve(saved_x, k, None, geometry),
            None if bias is None else _over_positions(bias, geometry).expand(geometry.output_shape),
        )

    @staticmethod
    def vmap(info: Any, dims: tuple[Any, ...], x: Tensor, k: Tensor, bias: Maybe,
             geometry: ConvGeometry) -> tuple[Tensor, int]:  # fmt: skip
        def apply(x: Tensor, k: Tensor, geometry: ConvGeometry) -> Tensor:
            return convolve(x, k, None, geometry)

        output = batching.forward(apply, geometry, info.batch_size, dims[:2], x, k)
        return batching.add_bias(output, bias, dims[2], geometry), 0


class GradInput(_Bilinear):
    """(g, k) to grad_input."""

    @staticmethod
    def forward(g: Tensor, k: Tensor, geometry: ConvGeometry) -> Tensor:
        return maps.grad_input(g, k, geometry)

    @staticmethod
    def backward(ctx: Any, u: Maybe) -> tuple[Maybe, Maybe, None]:
        if u is None:
            return None, None, None
        g, k = ctx.saved_tensors
        need = ctx.needs_input_grad[:2]
        return *derivatives.of_grad_input(for_backward(ctx.geometry), g, k, u, need), None

    @staticmethod
    def jvp(ctx: Any, g: Maybe, k: Maybe, _: None) -> Maybe:
        saved_g, saved_k = ctx.saved_tensors
        map = differentiable(ctx.geometry).grad_input
        return derivatives.total(None if g is None else map(g, saved_k), None if k is None else map(saved_g, k))

    @staticmethod
    def vmap(info: Any, dims: tuple[Any, ...], g: Tensor, k: Tensor,
             geometry: ConvGeometry) -> tuple[Tensor, int]:  # fmt: skip
        return batching.forward(GradInput.apply, geometry, info.batch_size, dims[:2], g, k), 0


class GradWeight(_Bilinear):
    """(x, g) to grad_weight."""

    @staticmethod
    def forward(x: Tensor, g: Tensor, geometry: ConvGeometry) -> Tensor:
        return maps.grad_weight(x, g, geometry)

    @staticmethod
    def backward(ctx: Any, v: Maybe) -> tuple[Maybe, Maybe, None]:
        if v is None:
            return None, None, None
        x, g = ctx.saved_tensors
        need = ctx.needs_input_grad[:2]
        return *derivatives.of_grad_weight(for_backward(ctx.geometry), x, g, v, need), None

    @staticmethod
    def jvp(ctx: Any, x: Maybe, g: Maybe, _: None) -> Maybe:
        saved_x, saved_g = ctx.saved_tensors
        map = differentiable(ctx.geometry).grad_weight
        return derivatives.total(None if x is None else map(x, saved_g), None if g is None else map(saved_x, g))

    @staticmethod
    def vmap(info: Any, dims: tuple[Any, ...], x: Tensor, g: Tensor,
             geometry: ConvGeometry) -> tuple[Tensor, int]:  # fmt: skip
        return batching.grad_weight(GradWeight.apply, geometry, info.batch_size, dims[:2], x, g), 0


def _over_positions(bias: Tensor, geometry: ConvGeometry) -> Tensor:
    return bias.reshape(-1, *(1,) * geometry.spatial)
