"""A sum over the kernel's taps, each a matrix product with one shift of the input.

Slower than windows, since every tap passes over the output again, but the scratch is one tap's part of
one image: this is what a small memory budget gets. It takes every geometry.
"""

from __future__ import annotations

import torch
from torch import Tensor

from convverify.geometry import ConvGeometry, Sizes
from convverify.operator.kernels import frame as frames
from convverify.operator.kernels.frame import Slices

Meeting = tuple[Slices, Slices]


def forward(geometry: ConvGeometry, x: Tensor, k: Tensor, format: torch.memory_format, limit: int) -> Tensor:
    """The output; only products of elements that exist, none with padding."""
    output = x.new_zeros(geometry.output_shape).contiguous(memory_format=format)
    kernel = k.unflatten(0, (geometry.groups, -1)).flatten(3)
    for number, (positions, elements) in _meetings(geometry):
        matrix = kernel[..., number].contiguous()  # [groups, out/groups, in/groups]
        for image in range(geometry.batch):
            part = x[(image, slice(None), *elements)]
            term = torch.bmm(matrix, part.reshape(geometry.groups, matrix.shape[2], -1))
            output[(image, slice(None), *positions)] += term.view(-1, *part.shape[1:])
    return output


def grad_input(geometry: ConvGeometry, g: Tensor, k: Tensor, format: torch.memory_format,
               limit: int) -> Tensor:  # fmt: skip
    """The gradient with respect to the input."""
    result = g.new_zeros(geometry.input_shape).contiguous(memory_format=format)
    kernel = k.unflatten(0, (geometry.groups, -1)).flatten(3)
    for number, (positions, elements) in _meetings(geometry):
        matrix = kernel[..., number].transpose(1, 2).contiguous()  # [groups, in/groups, out/groups]
        for image in range(geometry.batch):
            part = g[(image, slice(None), *positions)]
            term = torch.bmm(matrix, part.reshape(geometry.groups, matrix.shape[2], -1))
            result[(image, slice(None), *elements)] += term.view(-1, *part.shape[1:])
    return result


def grad_weight(geometry: ConvGeometry, x: Tensor, g: Tensor, format: torch.memory_format,
                limit: int) -> Tensor:  # fmt: skip
    """The gradient with respect to the weight."""
    groups = geometry.groups
    result = x.new_zeros(geometry.weight_shape)
    total = result.view(groups, -1, geometry.in_channels // groups, frames.of_forward(geometry).taps)
    for number, (positions, elements) in _meetings(geometry):
        for image in range(geometry.batch):
            read = x[(image, slice(None), *elements)].reshape(groups, total.shape[2], -1)
            met = g[(image, slice(None), *positions)].reshape(groups, total.shape[1], -1)
            total[..., number] += torch.bmm(met, read.transpose(1, 2))
    return result.contiguous(memory_format=format)


def _meetings(geometry: ConvGeometry) -> list[tuple[int, Meeting]]:
    """For each tap that reads anything: the positions at which it does, and the elements that it reads."""
    found = []
    for number, tap in enumerate(frames.tap_indices(frames.of_forward(geometry))):
        ends = [frames.reading(geometry, dim, entry) for dim, entry in enumerate(tap)]
        if all(first < last for first, last in ends):
            positions = tuple(slice(first, last) for first, last in ends)
            found.append((number, (positions, _elements(geometry, tap, tuple(first for first, _ in ends),
                                                        tuple(last for _, last in ends)))))  # fmt: skip
    return found


def _elements(geometry: ConvGeometry, tap: Sizes, first: Sizes, last: Sizes) -> Slices:
    return tuple(
        slice(
            axis.stride * start + axis.dilation * a - axis.before,
            axis.stride * (end - 1) + axis.dilation * a - axis.before + 1,
            axis.stride,
        )
        for axis, a, start, end in zip(geometry.axes, tap, first, last, strict=True)
    )
