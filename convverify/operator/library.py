"""The three maps as operators of `torch.library`: what compilers, exporters and fake tensors see.

`padding` without entries stands for 'same'. The sizes that an operand does not show are arguments:
`input_size` for grad_input, `kernel_size` for grad_weight.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from convverify.geometry import ConvGeometry
from convverify.operator import batching, compute, derivatives
from convverify.operator.arguments import conv_geometry
from convverify.operator.derivatives import Maps, Maybe
from convverify.operator.layout import result_format
from convverify.operator.maps import arguments

NAMES = ("convolution", "convolution_grad_input", "convolution_grad_weight")
_GEOMETRY = "SymInt[] stride, SymInt[] padding, SymInt[] dilation, SymInt groups"
_SIGNATURES = (
    "Tensor input, Tensor weight, Tensor? bias",
    "Tensor grad_output, Tensor weight, SymInt[] input_size",
    "Tensor input, Tensor grad_output, SymInt[] kernel_size",
)
Sizes = Sequence[int]
Rest = tuple[Sizes, Sizes, Sizes, int]


def geometry_of(x: Sizes, k: Sizes, rest: Rest) -> ConvGeometry:
    """The geometry of an input and a weight of these shapes."""
    stride, padding, dilation, groups = rest
    return conv_geometry("convverify", tuple(x), tuple(k), None, tuple(stride), tuple(padding), tuple(dilation), groups)


def shapes_of(index: int, first: Tensor, second: Tensor, sizes: Any, groups: int) -> tuple[Sizes, Sizes]:
    """The shapes of the input and the weight, of which the map number `index` may see only one."""
    if index == 1:
        return (first.shape[0], second.shape[1] * groups, *sizes), second.shape
    if index == 2:
        return first.shape, (second.shape[1], first.shape[1] // groups, *sizes)
    return first.shape, second.shape


def _compute(index: int) -> Any:
    def convolution(x: Tensor, k: Tensor, bias: Maybe, *rest: Any) -> Tensor:
        return compute.forward(x, k, bias, geometry_of(x.shape, k.shape, rest))

    def gradient(first: Tensor, second: Tensor, sizes: Sizes, *rest: Any) -> Tensor:
        map = compute.grad_input if index == 1 else compute.grad_weight
        x, k = shapes_of(index, first, second, sizes, rest[3])
        return map(first, second, geometry_of(x, k, rest))

    return gradient if index else convolution


def _fake(index: int) -> Any:
    def fake(first: Tensor, second: Tensor, third: Any, *rest: Any) -> Tensor:
        x, k = shapes_of(index, first, second, third, rest[3])
        shape = (_output_shape(x, k, rest), x, k)[index]
        return first.new_empty(shape).contiguous(memory_format=result_format(first, second))

    return fake


def _output_shape(x: Sizes, k: Sizes, rest: Rest) -> Sizes:
    """The output's shape, for sizes that may be symbols; sizes that are numbers are checked in full."""
    stride, padding, dilation, groups = rest
    if not any(isinstance(size, torch.SymInt) for size in (*x, *k, *stride, *padding, *dilation)):
        return geometry_of(x, k, rest).output_shape
    _require(k[1] * groups == x[1], lambda: f"weight {k} with groups={groups} does not fit input {x}")
    sizes = []
    for dim, (n, a, s, d) in enumerate(zip(x[2:], k[2:], stride, dilation, strict=True)):
        reach = d * (a - 1)
        slack = n + (2 * padding[dim] if len(padding) else reach) - reach - 1
        _require(slack >= 0, lambda: f"the kernel {k} is larger than the padded input {x}")
        sizes.append(slack // s + 1)
    return (x[0], k[0], *sizes)


def _require(condition: bool, message: Callable[[], str]) -> None:
    torch._check(condition, message)


def _maps(x: Sizes, k: Sizes, rest: Rest) -> Maps:
    ops = torch.ops.convverify
    return Maps(
        lambda x, k: ops.convolution(x, k, None, *rest),
        lambda g, k: ops.convolution_grad_input(g, k, x[2:], *rest),
        lambda x, g: ops.convolution_grad_weight(x, g, k[2:], *rest),
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])
    ctx.third, ctx.rest = inputs[2], inputs[3:]


def _backward(index: int) -> Any:
    rule = (derivatives.of_forward, derivatives.of_grad_input, derivatives.of_grad_weight)[index]

    def backward(ctx: Any, cotangent: Tensor) -> tuple[Any, ...]:
        first, second = ctx.saved_tensors
        x, k = shapes_of(index, first, second, ctx.third, ctx.rest[3])
        pair = rule(_maps(x, k, ctx.rest), first, second, cotangent, ctx.needs_input_grad[:2])
        third = derivatives.of_bias(cotangent) if index == 0 and ctx.needs_input_grad[2] else None
        return *pair, third, None, None, None, None

    return backward


def _vmap(index: int) -> Any:
    def rule(info: Any, dims: tuple[Any, ...], first: Tensor, second: Tensor, third: Any,
             *rest: Any) -> tuple[Tensor, int]:  # fmt: skip
        one, two = (
            tensor if dim is None else tensor.select(dim, 0) for tensor, dim in zip((first, second), dims, strict=False)
        )
        geometry = geometry_of(*shapes_of(index, one, two, third, rest[3]), rest)
        op = getattr(torch.ops.convverify, NAMES[index])

        def call(first: Tensor, second: Tensor, geometry: ConvGeometry) -> Tensor:
            sizes = None if index == 0 else third
            return op(first, second, sizes, *arguments(geometry))  # type: ignore[no-any-return]

        fold = batching.grad_weight if index == 2 else batching.forward
        output = fold(call, geometry, info.batch_size, dims[:2], first, second)
        return (batching.add_bias(output, third, dims[2], geometry) if index == 0 else output), 0

    return rule


def register() -> None:
    """Define the operators; called once, by the package itself."""
    for index, (name, signature) in enumerate(zip(NAMES, _SIGNATURES, strict=True)):
        qualified = f"convverify::{name}"
        torch.library.define(
            qualified,
            f"({signature}, {_GEOMETRY}) -> Tensor",
            tags=(torch.Tag.pt2_compliant_tag, torch.Tag.needs_fixed_stride_order),
        )
        torch.library.impl(qualified, ("cpu", "cuda"), _compute(index))
        torch.library.register_fake(qualified, _fake(index))
        torch.library.register_autograd(qualified, _backward(index), setup_context=_setup_context)
        torch.library.register_vmap(qualified, _vmap(index))
