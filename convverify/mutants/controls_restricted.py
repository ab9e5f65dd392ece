"""Convolutions that are right where they answer and say clearly where they do not."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from convverify.mutants.base import control
from convverify.mutants.prepared import Problem, block_diagonal, prepared
from convverify.mutants.toolkit import Call, apply, conv, operator


@control(domain="square, stride=1, padding=0, dilation=1, groups=1")
class ArticleConvolution(torch.autograd.Function):
    """Windows by unfold and an einsum, with both gradients by hand, as tutorials show it."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(input, weight)
        size = weight.shape[-1]
        return torch.einsum("ncyxab,ocab->noyx", input.unfold(2, size, 1).unfold(3, size, 1), weight)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, Tensor]:
        input, weight = ctx.saved_tensors
        size = weight.shape[-1]
        windows = input.unfold(2, size, 1).unfold(3, size, 1)
        grad_weight = torch.einsum("ncyxab,noyx->ocab", windows, grad_output)
        padded = torch.nn.functional.pad(grad_output, (size - 1,) * 4)
        turned = weight.flip(2, 3)
        read = padded.unfold(2, size, 1).unfold(3, size, 1)
        return torch.einsum("noyxab,ocab->ncyx", read, turned), grad_weight


@control()
@operator
def dense_only(c: Call) -> Tensor:
    """Groups and dilation raise NotImplementedError."""
    if c.groups != 1 or c.conf.dilation != (1, 1):
        raise NotImplementedError(f"groups={c.groups} and dilation={c.dilation} must be 1")
    return c.torch()


@control()
@prepared
def isotropic_only(p: Problem) -> Tensor:
    """Different options for height and width raise NotImplementedError."""
    if p.stride[0] != p.stride[1] or p.dilation[0] != p.dilation[1]:
        raise NotImplementedError(f"stride={p.stride} and dilation={p.dilation} must be one number each")
    s, d, k = p.stride[0], p.dilation[0], p.kernel
    windows = p.grouped_x().unfold(3, d * (k[0] - 1) + 1, s).unfold(4, d * (k[1] - 1) + 1, s)
    return torch.einsum("ngcyxab,gocab->ngoyx", windows[..., ::d, ::d], p.grouped_w()).flatten(1, 2)


@control()
@operator
def float32_only(c: Call) -> Tensor:
    """Other dtypes than float32 raise NotImplementedError."""
    if c.input.dtype != torch.float32:
        raise NotImplementedError(f"input is {c.input.dtype}, must be torch.float32")
    return c.torch()


@control()
@operator
def contiguous_only(c: Call) -> Tensor:
    """Operands that are not contiguous raise NotImplementedError."""
    for name in ("input", "weight", "bias"):
        tensor = getattr(c, name)
        if tensor is not None and not tensor.is_contiguous():
            raise NotImplementedError(f"{name} with strides {tensor.stride()} must be contiguous")
    return c.torch()


@control()
@operator
def batched_only(c: Call) -> Tensor:
    """An input without batch, and padding in words, raise NotImplementedError."""
    if c.input.dim() != 4 or isinstance(c.padding, str):
        raise NotImplementedError("only a batch and padding in numbers")
    return c.torch()


class _ForwardOnly(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, p: Problem) -> Tensor:
        columns = [p.window(a, b).flatten(2) for a, b in p.taps]
        stacked = torch.stack(columns, 2).flatten(1, 2)  # [batch, in_channels * taps, pixels]
        out = torch.einsum("ok,nkl->nol", block_diagonal(w, p.groups).flatten(1), stacked)
        return out.reshape(len(x), len(w), *p.size)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        raise NotImplementedError("this convolution is for inference only")


@control()
@prepared
def inference_only(p: Problem) -> Tensor:
    """A kernel for inference, whose backward raises NotImplementedError."""
    result: Tensor = apply(_ForwardOnly, p.x, p.w, p)
    return result


@control()
@operator
def complex_by_parts(c: Call) -> Tensor:
    """Complex numbers as four real convolutions."""
    if not c.input.is_complex():
        return c.torch()
    x, w = c.input, c.weight
    if not w.is_complex():
        raise RuntimeError(f"weight is {w.dtype}, but input is {x.dtype}")

    def part(x: Tensor, w: Tensor) -> Tensor:
        return conv(x, w, None, c.stride, c.padding, c.dilation, c.groups)

    real = part(x.real, w.real) - part(x.imag, w.imag)
    out = torch.complex(real, part(x.real, w.imag) + part(x.imag, w.real))
    return out if c.bias is None else out + c.bias[:, None, None]
