"""Operators that the tests verify: wrong ones of few lines, and ways to watch a right one."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

torch_conv2d = torch.nn.functional.conv2d


def kernel_turned(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return torch_conv2d(input, weight.flip(-1, -2), bias, stride, padding, dilation, groups)


def padding_forgotten(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return torch_conv2d(input, weight, bias, stride, 0, dilation, groups)


def dilation_ignored(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return torch_conv2d(input, weight, bias, stride, padding, 1, groups)


def groups_not_supported(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    if groups != 1:
        raise NotImplementedError("no groups here")
    return torch_conv2d(input, weight, bias, stride, padding, dilation, groups)


def square_only(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Right on square images; takes the height for the width elsewhere."""
    output = torch_conv2d(input, weight, bias, stride, padding, dilation, groups)
    return output if input.shape[-1] == input.shape[-2] else output.mT


def input_and_weight(input, weight):
    return torch_conv2d(input, weight)


def never_right(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    raise RuntimeError("out of order")


def returns_none(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return None


def returns_a_list(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return torch_conv2d(input, weight, bias, stride, padding, dilation, groups).tolist()


def returns_another_shape(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return torch_conv2d(input, weight, bias, stride, padding, dilation, groups)[..., None]


def returns_another_dtype(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return torch_conv2d(input, weight, bias, stride, padding, dilation, groups).to(torch.bfloat16)


def exits(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    raise SystemExit(0)


def sleeps(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    try:
        time.sleep(60)
    except Exception:  # a hang must not be mistaken for something that an operator may catch
        time.sleep(60)
    return torch_conv2d(input, weight, bias, stride, padding, dilation, groups)


def _spins(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def slow_on_long_images(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    _spins(20 * (max(input.shape[2:]) / 66001) ** 2)
    return torch_conv2d(input, weight, bias, stride, padding, dilation, groups)


def hangs_on_long_images(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    _spins(60 * (max(input.shape[2:]) > 60000))
    return torch_conv2d(input, weight, bias, stride, padding, dilation, groups)


def wrong_every_third_call() -> Callable[..., Tensor]:
    calls = itertools.count(1)

    def operator(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        output = torch_conv2d(input, weight, bias, stride, padding, dilation, groups)
        return output + (next(calls) % 3 == 0)

    return operator


class _WrongBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, *geometry: Any) -> Tensor:
        ctx.save_for_backward(input, weight)
        ctx.geometry = geometry
        return torch_conv2d(input, weight, None, *geometry)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Any, ...]:
        input, weight = ctx.saved_tensors
        grad_input = torch.nn.grad.conv2d_input(input.shape, weight.flip(-1), grad_output, *ctx.geometry)
        grad_weight = torch.nn.grad.conv2d_weight(input, weight.shape, grad_output, *ctx.geometry)
        return grad_input, grad_weight, None, None, None, None


def wrong_backward(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    output = _WrongBackward.apply(input, weight, stride, padding, dilation, groups)
    return output if bias is None else output + bias.view(-1, 1, 1)


@dataclass(frozen=True)
class Call:
    """What an operator was asked, without the data."""

    input_shape: tuple[int, ...]
    kernel_size: tuple[int, ...]
    dtype: torch.dtype
    bias: bool
    stride: Any
    padding: Any
    dilation: Any
    groups: int


def recording(calls: list[Call]) -> Callable[..., Tensor]:
    """torch's operator, keeping what it is asked."""

    def watched(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        shapes = tuple(input.shape), tuple(weight.shape[2:])
        calls.append(Call(*shapes, input.dtype, bias is not None, stride, padding, dilation, groups))
        return torch_conv2d(input, weight, bias, stride, padding, dilation, groups)

    return watched
