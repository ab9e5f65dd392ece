"""Fast algorithms that are right but round, even on small integers."""

from __future__ import annotations

import torch
from torch import Tensor

from convverify.mutants.base import control
from convverify.mutants.prepared import Problem, block_diagonal, prepared

Matrix = list[list[float]]

# Cook-Toom matrices for the points 0, 1, -1 and 0, 1, -1, 2, -2, and infinity.
F2_INPUT: Matrix = [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]
F2_KERNEL: Matrix = [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]]
F2_OUTPUT: Matrix = [[1, 1, 1, 0], [0, 1, -1, -1]]
F4_INPUT: Matrix = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]
F4_KERNEL: Matrix = [
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
]
F4_OUTPUT: Matrix = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]


def _winograd(p: Problem, input: Matrix, kernel: Matrix, output: Matrix) -> Tensor:
    if p.kernel != (3, 3) or p.stride != (1, 1) or p.dilation != (1, 1) or p.groups != 1:
        raise NotImplementedError("Winograd needs a dense 3x3 kernel with stride 1 and no groups")
    if p.x.dtype not in (torch.float32, torch.float64):
        raise NotImplementedError(f"Winograd would lose too much in {p.x.dtype}")
    to_tile, to_kernel, to_out = (torch.tensor(m, dtype=p.x.dtype, device=p.x.device) for m in (input, kernel, output))
    m = len(output)
    tiles = [-(-size // m) for size in p.size]
    more = [m * count + 2 - size for count, size in zip(tiles, p.x.shape[2:], strict=True)]
    padded = torch.nn.functional.pad(p.x, (0, more[1], 0, more[0]))
    windows = padded.unfold(2, m + 2, m).unfold(3, m + 2, m)
    v = torch.einsum("ai,bj,nctuij->nctuab", to_tile, to_tile, windows)
    u = torch.einsum("ai,bj,ocij->ocab", to_kernel, to_kernel, p.w)
    product = torch.einsum("nctuab,ocab->notuab", v, u)
    out = torch.einsum("ia,jb,notuab->notiuj", to_out, to_out, product)
    return out.flatten(4).flatten(2, 3)[:, :, : p.size[0], : p.size[1]]


@control(exact=False)
@prepared
def winograd_two(p: Problem) -> Tensor:
    """Winograd's minimal filtering F(2x2, 3x3); other kernels and strides are refused."""
    return _winograd(p, F2_INPUT, F2_KERNEL, F2_OUTPUT)


@control(exact=False)
@prepared
def winograd_four(p: Problem) -> Tensor:
    """Winograd's minimal filtering F(4x4, 3x3); other kernels and strides are refused."""
    return _winograd(p, F4_INPUT, F4_KERNEL, F4_OUTPUT)


@control(exact=False)
@prepared
def fourier(p: Problem) -> Tensor:
    """The spectra of the input and of the inflated kernel, multiplied; strides subsample."""
    if p.x.dtype not in (torch.float32, torch.float64):
        raise NotImplementedError(f"torch.fft does not transform {p.x.dtype}")
    if not p.x.numel():
        raise NotImplementedError(f"torch.fft does not transform an empty {list(p.x.shape)}")
    (s, t), (d, e), (kh, kw) = p.stride, p.dilation, p.kernel
    height, width = p.x.shape[2:]
    sparse = p.w.new_zeros(*p.w.shape[:2], d * (kh - 1) + 1, e * (kw - 1) + 1)
    sparse = torch.slice_scatter(sparse, torch.slice_scatter(sparse[:, :, ::d], p.w, 3, step=e), 2, step=d)
    size = (height, width)
    x = torch.fft.rfft2(p.x, s=size)
    w = torch.fft.rfft2(block_diagonal(sparse, p.groups), s=size).conj()
    out: Tensor = torch.fft.irfft2(torch.einsum("nchw,ochw->nohw", x, w), s=size)
    return out[:, :, : s * (p.size[0] - 1) + 1 : s, : t * (p.size[1] - 1) + 1 : t]
