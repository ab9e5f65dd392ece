"""Convolutions that are right, left to torch's autograd, in the styles that people write them."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from convverify.mutants.base import control
from convverify.mutants.prepared import Problem, block_diagonal, prepared
from convverify.mutants.toolkit import Call, Size, autocast, conv, operator, pair


@control()
@prepared
def unfold_and_matmul(p: Problem) -> Tensor:
    """F.unfold into columns, then one matrix product a group."""
    columns = functional.unfold(p.x, p.kernel, p.dilation, 0, p.stride)
    n, rows, pixels = columns.shape
    grouped = columns.reshape(n, p.groups, rows // p.groups, pixels)
    out = p.grouped_w().flatten(2) @ grouped  # [batch, groups, out_channels / groups, pixels]
    return out.reshape(n, p.w.shape[0], *p.size)


@control()
@prepared
def strided_windows(p: Problem) -> Tensor:
    """Tensor.unfold along both axes, every d-th element of each window, then einsum."""
    (d, e), (kh, kw) = p.dilation, p.kernel
    windows = p.grouped_x().unfold(3, d * (kh - 1) + 1, p.stride[0]).unfold(4, e * (kw - 1) + 1, p.stride[1])
    return torch.einsum("ngcyxab,gocab->ngoyx", windows[..., ::d, ::e], p.grouped_w()).flatten(1, 2)


@control()
@prepared
def as_strided_windows(p: Problem) -> Tensor:
    """A view of the windows by as_strided on a contiguous input, then tensordot by group."""
    x = p.x.contiguous()
    n, c = x.shape[:2]
    sn, sc, sy, sx = (x.stride(axis) for axis in range(4))
    (s, t), (d, e) = p.stride, p.dilation
    shape = (n, c, *p.size, *p.kernel)
    windows = x.as_strided(shape, (sn, sc, sy * s, sx * t, sy * d, sx * e), x.storage_offset())
    parts = zip(windows.chunk(p.groups, 1), p.w.chunk(p.groups), strict=True)
    outs = [torch.tensordot(v, w, ([1, 4, 5], [1, 2, 3])) for v, w in parts]  # [batch, *size, out_channels]
    return torch.cat(outs, -1).permute(0, 3, 1, 2)


@control()
@prepared
def loop_over_taps(p: Problem) -> Tensor:
    """A sum over the taps of the kernel, each a 1x1 convolution of a shifted window."""
    out = p.x.new_zeros(p.x.shape[0], p.w.shape[0], *p.size)
    for a, b in p.taps:
        window = p.window(a, b)
        grouped = window.reshape(len(window), p.groups, p.w.shape[1], *p.size)
        out = out + torch.einsum("ngcyx,goc->ngoyx", grouped, p.grouped_w()[..., a, b]).flatten(1, 2)
    return out


@control()
@prepared
def loop_over_pixels(p: Problem) -> Tensor:
    """A Python loop over the output pixels: slow and plain."""
    (s, t), (d, e), (kh, kw) = p.stride, p.dilation, p.kernel
    x, w = p.grouped_x(), p.grouped_w()
    rows = []
    for y in range(p.size[0]):
        patches = [
            x[..., y * s : y * s + d * (kh - 1) + 1 : d, z * t : z * t + e * (kw - 1) + 1 : e]
            for z in range(p.size[1])
        ]
        rows.append(torch.stack([(v[:, :, None] * w).sum((3, 4, 5)) for v in patches], -1))
    return torch.stack(rows, -2).flatten(1, 2)


@control()
@prepared
def channels_last_inside(p: Problem) -> Tensor:
    """Pixels by channels inside: NHWC windows times a matrix, tap after tap."""
    x = p.x.permute(0, 2, 3, 1).contiguous()
    w = block_diagonal(p.w, p.groups)
    (s, t), (d, e), (rows, columns) = p.stride, p.dilation, p.size
    out = x.new_zeros(x.shape[0], rows, columns, w.shape[0])
    for a, b in p.taps:
        y, z = a * d, b * e
        window = x[:, y : y + s * (rows - 1) + 1 : s, z : z + t * (columns - 1) + 1 : t]
        out = out + window @ w[:, :, a, b].T
    return out.permute(0, 3, 1, 2)


@control()
@prepared
def float64_inside(p: Problem) -> Tensor:
    """Everything in double precision, rounded once at the end."""
    if not p.x.is_floating_point():
        raise NotImplementedError(f"{p.x.dtype} is no floating-point type")
    columns = functional.unfold(p.x.double(), p.kernel, p.dilation, 0, p.stride)
    out = torch.einsum("ok,nkl->nol", block_diagonal(p.w, p.groups).double().flatten(1), columns)
    return out.reshape(len(p.x), len(p.w), *p.size).to(p.x.dtype)


@control()
@prepared
def adjoint_of_transposed(p: Problem) -> Tensor:
    """The vjp of conv_transpose2d, whose adjoint a convolution is."""
    if not len(p.x):
        raise NotImplementedError("torch forgets the graph of conv_transpose2d on an empty batch")
    if not p.x.is_floating_point() and not p.x.is_complex():
        raise NotImplementedError(f"torch.func.vjp does not differentiate {p.x.dtype}")
    axes = zip(p.size, p.kernel, p.stride, p.dilation, strict=True)
    rows, columns = [s * (o - 1) + d * (k - 1) + 1 for o, k, s, d in axes]  # all that any window reads

    def transposed(y: Tensor) -> Tensor:
        return functional.conv_transpose2d(y, p.w, None, p.stride, 0, 0, p.groups, p.dilation)

    start = torch.zeros(p.x.shape[0], p.w.shape[0], *p.size, dtype=p.x.dtype, device=p.x.device)
    pull = torch.func.vjp(transposed, start)[1]
    result: Tensor = pull(p.x[:, :, :rows, :columns].conj())[0]
    return result.conj()


@control()
@prepared
def block_diagonal_groups(p: Problem) -> Tensor:
    """Groups as one dense convolution with a block-diagonal kernel."""
    return conv(p.x, block_diagonal(p.w, p.groups), None, p.stride, 0, p.dilation)


@control(domain="finite")
@prepared
def toeplitz_matrix(p: Problem) -> Tensor:
    """A banded matrix for each kernel row, whose rows are output columns and columns input columns."""
    width, w = p.x.shape[3], block_diagonal(p.w, p.groups)
    read = _table(_positions(p.size[1], p.kernel[1], p.stride[1], p.dilation[1]), p.x)
    band = (read[:, :, None] == torch.arange(width, device=p.x.device)).to(
        p.x.dtype
    )  # [columns, taps, width]
    out = None
    for a in range(p.kernel[0]):
        top = a * p.dilation[0]
        lines = p.x[:, :, top : top + p.stride[0] * (p.size[0] - 1) + 1 : p.stride[0]]
        matrix = torch.einsum("ock,zkx->ozcx", w[:, :, a], band).flatten(0, 1).flatten(1)
        term = lines.transpose(1, 2).flatten(2) @ matrix.T  # [batch, rows, out_channels * columns]
        out = term if out is None else out + term
    assert out is not None
    return out.reshape(len(p.x), p.size[0], len(w), p.size[1]).transpose(1, 2)


@control()
@prepared
def gathered_by_index(p: Problem) -> Tensor:
    """Advanced indexing with tables of rows and columns, kept by geometry."""
    rows = _table(_positions(p.size[0], p.kernel[0], p.stride[0], p.dilation[0]), p.x)
    columns = _table(_positions(p.size[1], p.kernel[1], p.stride[1], p.dilation[1]), p.x)
    windows = p.grouped_x()[..., rows[:, None, :, None], columns[None, :, None, :]]
    return torch.einsum("ngcyxab,gocab->ngoyx", windows, p.grouped_w()).flatten(1, 2)


@lru_cache(maxsize=64)
def _positions(size: int, kernel: int, stride: int, dilation: int) -> list[list[int]]:
    """The input position of every output and tap; no tensor, which a mode or transform could mark."""
    return [[o * stride + a * dilation for a in range(kernel)] for o in range(size)]


def _table(positions: list[list[int]], like: Tensor) -> Tensor:
    return torch.tensor(positions, device=like.device)


@control()
@operator
def one_sample_at_a_time(c: Call) -> Tensor:
    """A loop over the batch, each sample convolved alone."""
    if c.input.dim() == 3 or not len(c.input):
        return c.torch()
    return torch.stack([c.torch(input=x) for x in c.input])


@control()
@operator
def vmapped_samples(c: Call) -> Tensor:
    """torch.vmap over the batch of an unbatched convolution."""
    if c.input.dim() == 3 or not len(c.input):
        return c.torch()
    c = autocast(c)  # which torch.func.vmap forgets
    mapped = torch.func.vmap(lambda x: c.torch(input=x))
    result: Tensor = mapped(c.input)
    return result


@control()
@operator
def rows_of_conv1d(c: Call) -> Tensor:
    """A sum of one-dimensional convolutions, one for each row of the kernel."""
    e = c.explicit()
    x = e.input if e.input.dim() == 4 else e.input[None]
    (s, t), (p, q), (d, f), groups = e.conf
    x = functional.pad(x, (q, q, p, p))
    n, channels, height, width = x.shape
    rows = (height - d * (e.kernel[0] - 1) - 1) // s + 1
    total = None
    for a in range(e.kernel[0]):
        lines = (
            x[:, :, a * d : a * d + s * (rows - 1) + 1 : s].transpose(1, 2).reshape(n * rows, channels, width)
        )
        out = functional.conv1d(lines, e.weight[:, :, a], None, t, 0, f, groups)
        total = out if total is None else total + out
    assert total is not None
    out = total.reshape(n, rows, *total.shape[1:]).transpose(1, 2)
    out = out if e.bias is None else out + e.bias.to(out.dtype)[:, None, None]
    return out if e.input.dim() == 4 else out[0]


@control()
@operator
def flat_conv3d(c: Call) -> Tensor:
    """A three-dimensional convolution of depth one."""
    e = c.explicit()
    x = e.input if e.input.dim() == 4 else e.input[None]
    stride, padding, dilation = ((first, *pair) for first, pair in zip((1, 0, 1), e.conf[:3], strict=True))
    out: Tensor = functional.conv3d(
        x[:, :, None], e.weight[:, :, None], e.bias, stride, padding, dilation, e.groups
    )
    return out[:, :, 0] if e.input.dim() == 4 else out[0, :, 0]


class _Bare(torch.nn.Conv2d):
    def reset_parameters(self) -> None:
        """Draw no random numbers for parameters that will be replaced."""


@control()
def module_functional_call(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """nn.Conv2d with its parameters replaced by functional_call."""
    if groups < 1 or input.shape[-3] % groups or weight.shape[0] % groups:
        raise ValueError(f"groups={groups} must divide the channels of {list(input.shape)} and weight")
    module = _Bare(
        input.shape[-3], weight.shape[0], pair(weight.shape[2:]), pair(stride),
        padding if isinstance(padding, str) else pair(padding), pair(dilation), groups,
        bias is not None, device="meta",
    )  # fmt: skip
    parameters = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    result: Tensor = torch.func.functional_call(module, parameters, (input,))
    return result
