"""Kernels of one tap, without stride, padding or groups: one matrix product an image, nothing copied."""

from __future__ import annotations

import torch
from torch import Tensor

from convverify.geometry import ConvGeometry
from convverify.operator.kernels.product import added_product, prefers_onednn, product


def applies(geometry: ConvGeometry) -> bool:
    """Whether each output element reads the input at its own position only."""
    return (
        geometry.groups == 1
        and max(geometry.kernel_size) == 1
        and max(geometry.stride) == 1
        and not any(map(any, geometry.pads))
    )


def forward(geometry: ConvGeometry, x: Tensor, k: Tensor, format: torch.memory_format, limit: int) -> Tensor:
    """The output; scratch of one image's."""
    return _mapped(x, k.flatten(1), format, limit)


def grad_input(geometry: ConvGeometry, g: Tensor, k: Tensor, format: torch.memory_format,
               limit: int) -> Tensor:  # fmt: skip
    """The gradient with respect to the input."""
    return _mapped(g, k.flatten(1).t().contiguous(), format, limit)


def grad_weight(geometry: ConvGeometry, x: Tensor, g: Tensor, format: torch.memory_format,
                limit: int) -> Tensor:  # fmt: skip
    """The gradient with respect to the weight, summed over groups of images."""
    total: Tensor | None = None
    for first, last in _images(x, max(x.shape[1], g.shape[1]), limit):
        total = added_product(total, _rows(g[first:last]), _rows(x[first:last]))
    assert total is not None
    return total.view(geometry.weight_shape).contiguous(memory_format=format)


def _mapped(x: Tensor, matrix: Tensor, format: torch.memory_format, limit: int) -> Tensor:
    channels = matrix.shape[0]
    output = x.new_empty((x.shape[0], channels, *x.shape[2:])).contiguous(memory_format=format)
    if format is not torch.contiguous_format:
        rows = x.movedim(1, -1).reshape(-1, x.shape[1])
        output.movedim(1, -1).copy_(product(rows, matrix).view(*_last(output)))
        return output
    if not prefers_onednn(x):
        torch.bmm(matrix.expand(x.shape[0], -1, -1), x.flatten(2), out=output.flatten(2))
        return output
    for first, last in _images(x, max(channels, x.shape[1]), limit):
        result = product(matrix, _rows(x[first:last]).t())  # [channels, images * positions]
        output[first:last].transpose(0, 1).copy_(result.view(channels, last - first, *x.shape[2:]))
    return output


def _images(x: Tensor, channels: int, limit: int) -> list[tuple[int, int]]:
    """One image at a time, or as many as it takes to give the product some width."""
    positions = x[0, 0].numel()
    few = max(1, min(512 // positions, limit // (channels * positions * x.element_size()), x.shape[0]))
    return [(first, min(first + few, x.shape[0])) for first in range(0, x.shape[0], few)]


def _rows(x: Tensor) -> Tensor:
    """`[images, channels, ...]` to `[channels, images * positions]`; a view for one image."""
    return x.transpose(0, 1).reshape(x.shape[1], -1)


def _last(tensor: Tensor) -> tuple[int, ...]:
    return (tensor.shape[0], *tensor.shape[2:], tensor.shape[1])
