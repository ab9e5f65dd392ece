"""Convolutions that are right, inside TorchScript or inside a module of modules."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from convverify.mutants.base import control
from convverify.mutants.prepared import Problem, prepared


def _taps(x: Tensor, w: Tensor, stride: list[int], dilation: list[int], groups: int, size: list[int]) -> Tensor:
    outputs, channels = w.size(0) // groups, w.size(1)
    out = torch.zeros([x.size(0), groups, outputs, size[0] * size[1]], dtype=x.dtype, device=x.device)
    for a in range(w.size(2)):
        for b in range(w.size(3)):
            top, left = a * dilation[0], b * dilation[1]
            bottom, right = top + (size[0] - 1) * stride[0] + 1, left + (size[1] - 1) * stride[1] + 1
            window = x[:, :, top : bottom : stride[0], left : right : stride[1]]
            window = window.reshape([x.size(0), groups, channels, size[0] * size[1]])
            out = out + torch.matmul(w[:, :, a, b].reshape([groups, outputs, channels]), window)
    return out.reshape([x.size(0), w.size(0), size[0], size[1]])


with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript is, but people have it
    _scripted: Any = torch.jit.script(_taps)


@control()
@prepared
def scripted_taps(p: Problem) -> Tensor:
    """A sum over taps compiled by TorchScript, whose outputs require a gradient even under no_grad."""
    result: Tensor = _scripted(p.x, p.w, list(p.stride), list(p.dilation), p.groups, list(p.size))
    return result.to(p.x.dtype)  # whose sum is float32 under autocast


@control()
class ModuleAroundAModule(nn.Module):
    """A module that holds an nn.Conv2d, so that its parameters have other names."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(*arguments, **options)

    def forward(self, input: Tensor) -> Tensor:
        """Shape `[batch, out_channels, *size]`."""
        result: Tensor = self.conv(input)
        return result
