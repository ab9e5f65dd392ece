"""The three maps on plain tensors: computed here, or recorded as one node where a program is traced."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from convverify.geometry import ConvGeometry, Sizes
from convverify.operator import compute

PLAIN = (Tensor, torch.nn.Parameter)


def arguments(geometry: ConvGeometry) -> tuple[Sizes, Sizes, Sizes, int]:
    """The geometry's part in the operators' schema; 'same' padding is written as no entries."""
    padding = () if geometry.padding == "same" else tuple(before for before, _ in geometry.pads)
    return geometry.stride, padding, geometry.dilation, geometry.groups


def elsewhere(first: Tensor, second: Tensor) -> bool:
    """Whether something other than this package's kernels answers: a fake, a mode, a subclass."""
    return (
        type(first) not in PLAIN
        or type(second) not in PLAIN
        or first.is_meta
        or torch._C._len_torch_dispatch_stack() > 0
        or _batched_by_autograd(first)
        or _batched_by_autograd(second)
    )


def _batched_by_autograd(tensor: Tensor) -> bool:
    """Whether `autograd.grad(is_grads_batched=True)` made this tensor: it knows no views, but operators."""
    return torch._C._dispatch_keys(tensor).has(torch._C.DispatchKey.AutogradOther)


def forward(x: Tensor, k: Tensor, bias: Tensor | None, geometry: ConvGeometry) -> Tensor:
    """The output, `[batch, out_channels, *output_size]`."""
    if elsewhere(x, k):
        return _ops().convolution(x, k, bias, *arguments(geometry))  # type: ignore[no-any-return]
    return compute.forward(x, k, bias, geometry)


def grad_input(g: Tensor, k: Tensor, geometry: ConvGeometry) -> Tensor:
    """The gradient with respect to the input, in the input's shape."""
    if elsewhere(g, k):
        return _ops().convolution_grad_input(  # type: ignore[no-any-return]
            g, k, geometry.input_size, *arguments(geometry)
        )
    return compute.grad_input(g, k, geometry)


def grad_weight(x: Tensor, g: Tensor, geometry: ConvGeometry) -> Tensor:
    """The gradient with respect to the weight, in the weight's shape."""
    if elsewhere(x, g):
        return _ops().convolution_grad_weight(  # type: ignore[no-any-return]
            x, g, geometry.kernel_size, *arguments(geometry)
        )
    return compute.grad_weight(x, g, geometry)


def _ops() -> Any:
    """The registered operators, which are there as soon as the package is imported."""
    return torch.ops.convverify
