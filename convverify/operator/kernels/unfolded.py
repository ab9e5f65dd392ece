"""Columns of the whole batch by torch's own rearrangement; for convolutions so small that calls count.

`im2col` copies all windows in one call, and `col2im`, its adjoint, adds the columns up in another; the
products between them are one batched matrix product. For planes, and the same padding at both ends.
"""

from __future__ import annotations

import torch
from torch import Tensor

from convverify.geometry import ConvGeometry, Sizes


def applies(geometry: ConvGeometry) -> bool:
    """Whether torch's rearrangement takes this geometry."""
    return geometry.spatial == 2 and all(before == after for before, after in geometry.pads)


def forward(geometry: ConvGeometry, x: Tensor, k: Tensor, format: torch.memory_format, limit: int) -> Tensor:
    """The output; scratch of all windows."""
    output = x.new_empty(geometry.output_shape)
    torch.bmm(_kernels(geometry, k), _columns(geometry, x), out=_positions(geometry, output))
    return output.contiguous(memory_format=format)


def grad_input(geometry: ConvGeometry, g: Tensor, k: Tensor, format: torch.memory_format,
               limit: int) -> Tensor:  # fmt: skip
    """The gradient with respect to the input."""
    products = torch.bmm(_kernels(geometry, k).transpose(1, 2), _positions(geometry, g))
    columns = products.view(geometry.batch, -1, products.shape[2])
    size, dilation, padding, stride = _rest(geometry)
    result = torch.ops.aten.col2im.default(columns, geometry.input_size, size, dilation, padding, stride)
    return result.contiguous(memory_format=format)  # type: ignore[no-any-return]


def grad_weight(geometry: ConvGeometry, x: Tensor, g: Tensor, format: torch.memory_format,
                limit: int) -> Tensor:  # fmt: skip
    """The gradient with respect to the weight."""
    products = torch.bmm(_positions(geometry, g), _columns(geometry, x).transpose(1, 2))
    return products.view(geometry.batch, *geometry.weight_shape).sum(0).contiguous(memory_format=format)


def _kernels(geometry: ConvGeometry, k: Tensor) -> Tensor:
    """`[batch * groups, out/groups, in/groups * taps]`; a view of the kernel where there is one group."""
    kernels = k.reshape(1, geometry.groups, k.shape[0] // geometry.groups, -1)
    return kernels.expand(geometry.batch, -1, -1, -1).flatten(0, 1)


def _columns(geometry: ConvGeometry, x: Tensor) -> Tensor:
    """`[batch * groups, in/groups * taps, positions]`."""
    columns: Tensor = torch.ops.aten.im2col.default(x, *_rest(geometry))
    return columns.view(geometry.batch * geometry.groups, -1, columns.shape[2])


def _positions(geometry: ConvGeometry, g: Tensor) -> Tensor:
    """`[batch * groups, out/groups, positions]`; a view where the memory allows it."""
    return g.reshape(geometry.batch * geometry.groups, g.shape[1] // geometry.groups, -1)


def _rest(geometry: ConvGeometry) -> tuple[Sizes, Sizes, Sizes, Sizes]:
    padding = tuple(before for before, _ in geometry.pads)
    return geometry.kernel_size, geometry.dilation, padding, geometry.stride
