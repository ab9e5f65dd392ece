"""Convolutions that are right, with derivatives written by hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from convverify.mutants import toolkit
from convverify.mutants.base import control
from convverify.mutants.prepared import Problem, block_diagonal, prepared
from convverify.mutants.toolkit import Call, Conf, Pair, apply, operator


def _columns(x: Tensor, kernel: Pair, stride: Pair, dilation: Pair) -> Tensor:
    """`[batch, channels, *kernel, *size]`."""
    (h, w), (kh, kw), (s, t), (d, e) = x.shape[2:], kernel, stride, dilation
    rows, columns = (h - d * (kh - 1) - 1) // s + 1, (w - e * (kw - 1) - 1) // t + 1
    windows = [
        x[:, :, a * d : a * d + s * (rows - 1) + 1 : s, b * e : b * e + t * (columns - 1) + 1 : t]
        for a in range(kh)
        for b in range(kw)
    ]
    return torch.stack(windows, 2).reshape(*x.shape[:2], kh, kw, rows, columns)


def _correlate(x: Tensor, w: Tensor, stride: Pair, dilation: Pair) -> Tensor:
    return torch.einsum("ncabyx,ocab->noyx", _columns(x, (w.shape[2], w.shape[3]), stride, dilation), w)


class _ZeroInsertion(torch.autograd.Function):
    """Without groups, padding and bias; its backward is made of differentiable operations."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, w: Tensor, stride: Pair, dilation: Pair) -> Tensor:
        return _correlate(x, w, stride, dilation)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        x, w, ctx.stride, ctx.dilation = inputs
        ctx.save_for_backward(x, w)
        ctx.save_for_forward(x, w)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, w = ctx.saved_tensors
        stride, dilation = ctx.stride, ctx.dilation
        grad_x = _grad_input(g, w, x.shape, stride, dilation) if ctx.needs_input_grad[0] else None
        grad_w = None
        if ctx.needs_input_grad[1]:
            windows = _columns(x, (w.shape[2], w.shape[3]), stride, dilation)
            grad_w = torch.einsum("ncabyx,noyx->ocab", windows.conj(), g)
        return grad_x, grad_w, None, None

    @staticmethod
    def jvp(ctx: Any, x_t: Tensor, w_t: Tensor, *_: Any) -> Tensor:
        x, w = ctx.saved_tensors
        return _correlate(x_t, w, ctx.stride, ctx.dilation) + _correlate(x, w_t, ctx.stride, ctx.dilation)


def _grad_input(g: Tensor, w: Tensor, shape: torch.Size, stride: Pair, dilation: Pair) -> Tensor:
    (s, t), (d, e) = stride, dilation
    n, o, rows, columns = g.shape
    sparse = functional.pad(g[..., None, :, None], (0, t - 1, 0, 0, 0, s - 1))
    sparse = sparse.reshape(n, o, rows * s, columns * t)[..., : s * (rows - 1) + 1, : t * (columns - 1) + 1]
    reach = d * (w.shape[2] - 1), e * (w.shape[3] - 1)
    bottom = shape[2] - sparse.shape[2]
    right = shape[3] - sparse.shape[3]
    padded = functional.pad(sparse, (reach[1], right, reach[0], bottom))
    return _correlate(padded, w.flip(2, 3).transpose(0, 1).conj(), (1, 1), dilation)


@control()
@prepared
def zero_insertion_and_rotation(p: Problem) -> Tensor:
    """An autograd.Function whose grad_input inserts zeros and correlates with the rotated kernel."""
    w = block_diagonal(p.w, p.groups)
    result: Tensor = apply(_ZeroInsertion, p.x, w, p.stride, p.dilation)
    return result


class _Scattered(torch.autograd.Function):
    """With groups; grad_input adds every product where it was read, double backward by autograd."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, p: Problem) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.problem = p
        out = torch.empty(len(x), p.groups, len(w) // p.groups, *p.size, dtype=x.dtype, device=x.device)
        columns = _columns(x, p.kernel, p.stride, p.dilation).reshape(
            len(x), p.groups, x.shape[1] // p.groups, *p.kernel, *p.size
        )
        for group in range(p.groups):
            out[:, group] = torch.einsum("ncabyx,ocab->noyx", columns[:, group], p.grouped_w()[group])
        return out.flatten(1, 2)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, None]:
        x, w = ctx.saved_tensors
        p = Problem(x, w, ctx.problem.stride, ctx.problem.dilation, ctx.problem.groups, ctx.problem.size)
        grouped = g.reshape(len(x), p.groups, len(w) // p.groups, *p.size)
        grad_x = torch.zeros_like(x)
        taps = []
        for a, b in p.taps:
            product = torch.einsum("ngoyx,goc->ngcyx", grouped, p.grouped_w()[..., a, b].conj()).flatten(1, 2)
            grad_x = grad_x + _placed(product, x.shape, p, a, b)
            window = p.window(a, b).reshape(len(x), p.groups, w.shape[1], *p.size)
            taps.append(torch.einsum("ngcyx,ngoyx->goc", window.conj(), grouped).flatten(0, 1))
        return grad_x, torch.stack(taps, -1).reshape(w.shape), None


def _placed(product: Tensor, shape: torch.Size, p: Problem, a: int, b: int) -> Tensor:
    """Zeros but for `product` at the places that tap (a, b) reads."""
    empty = torch.zeros(shape, dtype=product.dtype, device=product.device)
    (s, t), (rows, columns) = p.stride, p.size
    top, left = a * p.dilation[0], b * p.dilation[1]
    along = torch.slice_scatter
    lines = along(empty[:, :, top : top + s * (rows - 1) + 1 : s], product, 3, left, left + t * (columns - 1) + 1, t)
    return along(empty, lines, 2, top, top + s * (rows - 1) + 1, s)


@control()
@prepared
def scattered_gradient(p: Problem) -> Tensor:
    """An autograd.Function in the old style that scatters grad_input tap after tap, and has no jvp."""
    result: Tensor = apply(_Scattered, p.x, p.w, p)
    return result


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        ctx.save_for_backward(x, w)
        ctx.conf = conf
        return toolkit.forward(x, w, None, conf)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, w = ctx.saved_tensors
        needs = ctx.needs_input_grad
        grad_x = toolkit.grad_input(g, x, w, ctx.conf) if needs[0] else None
        grad_w = toolkit.grad_weight(g, x, w, ctx.conf) if needs[1] else None
        return grad_x, grad_w, None


@control()
@operator
def once_differentiable(c: Call) -> Tensor:
    """An autograd.Function that says it has no double backward."""
    if not c.input.is_floating_point():
        raise NotImplementedError(f"{c.input.dtype} is no floating-point type")
    e = toolkit.autocast(c).explicit()
    x = e.input if e.input.dim() == 4 else e.input[None]
    out: Tensor = apply(_Once, x, e.weight, e.conf)
    out = out if e.bias is None else out + e.bias[:, None, None]
    return out if e.input.dim() == 4 else out[0]


@torch.library.custom_op("convverify_corpus::conv2d", mutates_args=())
def _library_conv(x: Tensor, w: Tensor, stride: list[int], dilation: list[int], groups: int) -> Tensor:
    out = torch.einsum(
        "ncabyx,ocab->noyx",
        _columns(x, (w.shape[2], w.shape[3]), (stride[0], stride[1]), (dilation[0], dilation[1])),
        block_diagonal(w, groups),
    )
    return out.contiguous()


@_library_conv.register_fake
def _(x: Tensor, w: Tensor, stride: list[int], dilation: list[int], groups: int) -> Tensor:
    axes = zip(x.shape[2:], w.shape[2:], stride, dilation, strict=True)
    return x.new_empty(x.shape[0], w.shape[0], *((h - d * (k - 1) - 1) // s + 1 for h, k, s, d in axes))


def _setup(ctx: Any, inputs: Any, output: Tensor) -> None:
    x, w, ctx.stride, ctx.dilation, ctx.groups = inputs
    ctx.save_for_backward(x, w)


def _backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
    x, w = ctx.saved_tensors
    conf = Conf(tuple(ctx.stride), (0, 0), tuple(ctx.dilation), ctx.groups)
    return toolkit.grad_input(g, x, w, conf), toolkit.grad_weight(g, x, w, conf), None, None, None


_library_conv.register_autograd(_backward, setup_context=_setup)


@control()
@prepared
def library_custom_op(p: Problem) -> Tensor:
    """A torch.library custom_op with register_fake and register_autograd."""
    if not p.x.is_floating_point():
        raise NotImplementedError(f"{p.x.dtype} is no floating-point type")
    result: Tensor = _library_conv(p.x, p.w, list(p.stride), list(p.dilation), p.groups)
    return result
