"""What the controls share: arguments checked, options spelt out, padding and bias done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from convverify.geometry import ConvGeometry, GeometryError
from convverify.mutants.base import Operator
from convverify.mutants.toolkit import Call, Pair, Size, autocast, pair


@dataclass(frozen=True)
class Problem:
    """A convolution without padding and without bias.

    `x` is `[batch, in_channels, height, width]`, zeros included; `w` is
    `[out_channels, in_channels / groups, kernel_height, kernel_width]`.
    """

    x: Tensor
    w: Tensor
    stride: Pair
    dilation: Pair
    groups: int
    size: Pair

    @property
    def kernel(self) -> Pair:
        """Its height and width."""
        return self.w.shape[2], self.w.shape[3]

    @property
    def taps(self) -> list[Pair]:
        """All positions in the kernel."""
        return [(a, b) for a in range(self.kernel[0]) for b in range(self.kernel[1])]

    def window(self, a: int, b: int) -> Tensor:
        """What tap (a, b) reads: `[batch, in_channels, *size]`."""
        (s, t), (d, e), (rows, columns) = self.stride, self.dilation, self.size
        top, left = a * d, b * e
        return self.x[:, :, top : top + s * (rows - 1) + 1 : s, left : left + t * (columns - 1) + 1 : t]

    def grouped_x(self) -> Tensor:
        """`[batch, groups, in_channels / groups, height, width]`."""
        n, c, h, w = self.x.shape
        return self.x.reshape(n, self.groups, c // self.groups, h, w)

    def grouped_w(self) -> Tensor:
        """`[groups, out_channels / groups, in_channels / groups, kernel_height, kernel_width]`."""
        o, c, kh, kw = self.w.shape
        return self.w.reshape(self.groups, o // self.groups, c, kh, kw)


def prepared(solve: Callable[[Problem], Tensor]) -> Operator:
    """An operator with torch's signature that solves the problem without padding and bias."""

    def conv2d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Size = 1,
               padding: Size | str = 0, dilation: Size = 1, groups: int = 1) -> Tensor:  # fmt: skip
        call = autocast(Call(input, weight, bias, stride, padding, dilation, groups))
        geometry = _checked(call)
        (top, bottom), (left, right) = geometry.pads
        x = call.input if call.input.dim() == 4 else call.input[None]
        x = functional.pad(x, (left, right, top, bottom)) if top + bottom + left + right else x
        out = solve(Problem(x, call.weight, pair(stride), pair(dilation), groups, pair(geometry.output_size)))
        out = out if call.bias is None else out + call.bias[:, None, None]
        return out if call.input.dim() == 4 else out[0]

    conv2d.__name__, conv2d.__doc__ = solve.__name__, solve.__doc__
    return conv2d


def _checked(call: Call) -> ConvGeometry:
    x, w, b = call.input, call.weight, call.bias
    if x.dim() not in (3, 4) or w.dim() != 4:
        raise RuntimeError(f"input {list(x.shape)} must have 3 or 4 dimensions, weight {list(w.shape)} 4")
    if b is not None and b.shape != w.shape[:1]:
        raise RuntimeError(f"bias {list(b.shape)} must be [{w.shape[0]}]")
    for other in (w, b):
        if other is not None and (other.dtype, other.device) != (x.dtype, x.device):
            raise RuntimeError(f"{other.dtype} on {other.device} does not fit {x.dtype} on {x.device}")
    if call.groups < 1 or w.shape[1] * call.groups != x.shape[-3]:
        raise RuntimeError(f"weight {list(w.shape)} in {call.groups} groups does not fit {list(x.shape)}")
    if isinstance(call.padding, str) and call.padding not in ("same", "valid"):
        raise RuntimeError(f"padding={call.padding!r} must be 'same', 'valid' or a size")
    padding = call.padding if call.padding in ("same", "valid") else pair(call.padding)  # type: ignore[arg-type]
    batch = x.shape[0] if x.dim() == 4 else 1
    try:
        return ConvGeometry(
            batch, x.shape[-3], w.shape[0], pair(x.shape[-2:]), call.kernel,
            pair(call.stride), padding, pair(call.dilation), call.groups,  # type: ignore[arg-type]
        )  # fmt: skip
    except GeometryError as error:
        raise RuntimeError(str(error)) from None


def refuse_tangents(*tensors: Tensor) -> None:
    """Refuse forward mode for a torch.library op, which would silently have no tangent."""
    unpack: Callable[..., Any] = torch.autograd.forward_ad.unpack_dual
    if torch.autograd.forward_ad._current_level < 0:
        return
    if any(unpack(t).tangent is not None for t in tensors):
        raise NotImplementedError("a torch.library op has no forward mode")


def block_diagonal(w: Tensor, groups: int) -> Tensor:
    """The kernel without groups: `[out_channels, in_channels, kernel_height, kernel_width]`."""
    o, c, kh, kw = w.shape
    blocks = w.reshape(groups, o // groups, 1, c, kh, kw)
    on = torch.eye(groups, dtype=torch.bool, device=w.device).reshape(groups, 1, groups, 1, 1, 1)
    return torch.where(on, blocks, torch.zeros((), dtype=w.dtype, device=w.device)).reshape(o, groups * c, kh, kw)
