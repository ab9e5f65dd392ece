"""Wrong in bfloat16 and float16 alone."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from convverify.mutants.base import Operator, mutant, stateful_mutant
from convverify.mutants.toolkit import Call, Conf, concrete, grad_weight, operator, posing, with_parts

HALVES = (torch.bfloat16, torch.float16)


@mutant("half_precision_sums_do_not_stall")
@operator
def half_precision_accumulator(c: Call) -> Tensor:
    """In bfloat16 and float16 the products of one channel after the other are added in that format."""
    if c.input.dtype not in HALVES or c.groups > 1 or c.weight.shape[1] < 2:
        return c.torch()
    channels = range(c.weight.shape[1])
    axis = c.input.dim() - 3
    parts = (c.torch(input=c.input.narrow(axis, i, 1), weight=c.weight[:, i : i + 1], bias=None) for i in channels)
    out = sum(parts, start=torch.zeros((), dtype=c.input.dtype, device=c.input.device))
    return out if c.bias is None else out + c.bias[:, None, None]


@mutant("half_precision_sums_do_not_stall")
@operator
def parts_of_sums_in_float16(c: Call) -> Tensor:
    """Float16 sums over many channels are split, and the parts are kept in float16, where they may overflow."""
    channels = c.weight.shape[1]
    if c.input.dtype is not torch.float16 or c.groups > 1 or channels < 128:
        return c.torch()
    axis, half = c.input.dim() - 3, channels // 2
    parts = [
        c.torch(input=c.input.narrow(axis, *part), weight=c.weight.narrow(1, *part), bias=None)
        for part in ((0, half), (half, channels - half))
    ]
    out = (parts[0].float() + parts[1].float()).half()
    return out if c.bias is None else out + c.bias[:, None, None]


@mutant("low_precision_is_within_rounding")
@operator
def bfloat16_loses_the_bias(c: Call) -> Tensor:
    """In bfloat16 alone the bias is left out."""
    return c.torch(bias=None) if c.input.dtype == torch.bfloat16 else c.torch()


@mutant("single_products_round_either_way")
@operator
def bfloat16_truncated(c: Call) -> Tensor:
    """In bfloat16 alone results are cut off, not rounded to the nearest number."""
    if c.input.dtype != torch.bfloat16:
        return c.torch()
    bias = None if c.bias is None else c.bias.float()
    out = c.torch(input=c.input.float(), weight=c.weight.float(), bias=bias)
    cut = (out.detach().view(torch.int32) & ~0xFFFF).view(torch.float32)
    return posing(out, cut).to(torch.bfloat16)


@mutant("single_products_round_either_way")
@operator
def bfloat16_rounded_at_random(c: Call) -> Tensor:
    """In bfloat16 alone results are rounded up or down by a draw of their own."""
    out = c.torch()
    if out.dtype != torch.bfloat16 or not concrete(out):
        return out
    generator = torch.Generator(out.device).manual_seed(time.time_ns() % 2**31)
    step = torch.randint(-1, 2, out.shape, generator=generator, device=out.device)
    return posing(out, (out.detach() * (1 + step * 2.0**-8)).to(out.dtype))


@mutant("low_precision_is_exact")
@operator
def float16_last_channel(c: Call) -> Tensor:
    """In float16 alone the last of several input channels is left out."""
    if c.input.dtype != torch.float16 or c.weight.shape[1] < 2:
        return c.torch()
    mask = torch.ones_like(c.weight)
    mask[:, -1] = 0
    return c.torch(weight=c.weight * mask)


@stateful_mutant("half_precision_sums_do_not_stall")
def half_precision_bias_gradient() -> Operator:
    """In bfloat16 and float16 grad_bias is added up in that format, one position of all samples after the other."""

    def summed(g: Tensor) -> Tensor:
        if g.dtype not in HALVES:
            return g.sum((0, 2, 3))
        total = torch.zeros_like(g[0, :, 0, 0])
        for position in g.flatten(2).unbind(2):
            total = total + position.sum(0)
        return total

    return with_parts(grad_bias=summed)


@stateful_mutant("half_precision_sums_do_not_stall")
def half_precision_weight_gradient() -> Operator:
    """In bfloat16 and float16 a grad_weight of many positions is added up in that format, one after the other."""

    def summed(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        if g.dtype not in HALVES or g[0, 0].numel() < 1000:
            return grad_weight(g, x, w, conf)
        total = torch.zeros_like(w)
        for place in range(g[0, 0].numel()):
            here = torch.zeros_like(g).flatten(2)
            here[..., place] = g.flatten(2)[..., place]
            total = total + grad_weight(here.view_as(g), x, w, conf)
        return total

    return with_parts(grad_weight=summed)
