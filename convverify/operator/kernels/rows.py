"""One product for each entry of the kernel's first axis, added up in the result, with channels first.

Windows are copied along the other axes only. Along the first one a tap's windows are the same rows further
on, so that the copies of one serve all: for 3x3 a third of what columns copy. grad_input can go the other way:
the products add up where the copies lay, and that is added to where they came from. For matrix products that
add to what is there at no cost; oneDNN's do not.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from convverify.geometry import ConvGeometry
from convverify.operator.kernels import frame as frames
from convverify.operator.kernels.frame import Frame, Piece, Slices


def forward(geometry: ConvGeometry, x: Tensor, k: Tensor, format: torch.memory_format, limit: int) -> Tensor:
    """The output; scratch of about `limit` bytes."""
    return _correlate(frames.of_forward(geometry), x, _by_row(k, geometry.groups), format, limit)


def grad_input(geometry: ConvGeometry, g: Tensor, k: Tensor, format: torch.memory_format,
               limit: int) -> Tensor:  # fmt: skip
    """The gradient with respect to the input: a correlation, or back along the copies of `forward`."""
    if max(geometry.stride) > 1 or geometry.out_channels > geometry.in_channels:
        return _scattered(geometry, g, k, format, limit)
    grouped = k.flip(list(range(2, k.dim()))).unflatten(0, (geometry.groups, -1)).transpose(1, 2)
    return _correlate(frames.of_grad_input(geometry), g, _by_row(grouped.flatten(0, 1), geometry.groups), format, limit)


def _scattered(geometry: ConvGeometry, g: Tensor, k: Tensor, format: torch.memory_format,
               limit: int) -> Tensor:  # fmt: skip
    frame, groups = frames.of_forward(geometry), geometry.groups
    kernel = _by_row(k, groups).transpose(2, 3).contiguous()  # [first axis, groups, in/groups * others, out/groups]
    result = g.new_zeros(geometry.input_shape)
    for piece, plan, buffer in _buffers(frame, result, limit):
        parts = _operands(buffer.zero_(), plan, frame, piece, groups)
        met = _positions(g, piece, groups)
        for matrix, part in zip(kernel, parts, strict=True):
            part.baddbmm_(matrix.expand(piece.images, -1, -1, -1).flatten(0, 1), met)
        own = result[piece.first : piece.last]
        for target, source in plan.copies:
            own[source] += buffer[target]
    return result.contiguous(memory_format=format)


def grad_weight(geometry: ConvGeometry, x: Tensor, g: Tensor, format: torch.memory_format,
                limit: int) -> Tensor:  # fmt: skip
    """The gradient with respect to the weight, added up over the images and the pieces."""
    frame, groups = frames.of_forward(geometry), geometry.groups
    first, *others = geometry.kernel_size
    shape = (first, groups, geometry.out_channels // groups, geometry.in_channels // groups, *others)
    result = x.new_zeros(shape)
    totals = result.flatten(3)  # [first axis of the kernel, groups, out/groups, in/groups * other taps]
    for piece, operands in _pieces(frame, x, groups, limit):
        met = _positions(g, piece, groups)
        for total, operand in zip(totals, operands, strict=True):
            if groups == 1:
                total[0].addbmm_(met, operand.transpose(1, 2))
                continue
            for image in range(piece.images):
                own = slice(image * groups, (image + 1) * groups)
                total.baddbmm_(met[own], operand[own].transpose(1, 2))
    return result.movedim(0, 3).reshape(geometry.weight_shape).contiguous(memory_format=format)


def _correlate(frame: Frame, x: Tensor, kernel: Tensor, format: torch.memory_format, limit: int) -> Tensor:
    _, groups, channels, terms = kernel.shape
    output = x.new_empty((x.shape[0], groups * channels, *frame.output))
    for piece, operands in _pieces(frame, x, groups, limit):
        target = _positions(output, piece, groups)
        for row, operand in enumerate(operands):
            matrix = kernel[row].expand(piece.images, -1, -1, -1).reshape(-1, channels, terms)
            if row == 0:
                torch.bmm(matrix, operand, out=target)
            else:
                target.baddbmm_(matrix, operand)
    return output.contiguous(memory_format=format)


def _pieces(frame: Frame, x: Tensor, groups: int, limit: int) -> Iterator[tuple[Piece, list[Tensor]]]:
    """Each piece with what the rows of the kernel read, `[images * groups, in/groups * other taps, positions]`."""
    for piece, plan, buffer in _buffers(frame, x, limit):
        part = x[piece.first : piece.last]
        for target, source in plan.copies:
            buffer[target] = part[source]
        yield piece, _operands(buffer, plan, frame, piece, groups)


def _buffers(frame: Frame, x: Tensor, limit: int) -> Iterator[tuple[Piece, _Plan, Tensor]]:
    """Each piece with its plan and memory for the copies, which is of zeros or has been used for the same plan."""
    others = math.prod(frame.kernel[1:])
    row_bytes = frame.row * others * x.shape[1] * x.element_size()
    buffer, key = x, None
    for piece in frames.pieces(x.shape[0], frame, row_bytes, limit):
        plan = _plan(frame, piece.rows)
        if key != (piece.images, plan):
            key = (piece.images, plan)
            buffer = x.new_zeros((piece.images, x.shape[1], others, plan.phases, plan.rows, *frame.output[1:]))
        yield piece, plan, buffer


def _operands(buffer: Tensor, plan: _Plan, frame: Frame, piece: Piece, groups: int) -> list[Tensor]:
    """What each entry of the kernel's first axis reads of the copies."""
    flat = buffer.view(piece.images * groups, -1, plan.phases * plan.rows * frame.row)
    size = (piece.bottom - piece.top) * frame.row
    return [flat[:, :, start : start + size] for start in plan.starts]


@dataclass(frozen=True)
class _Plan:
    """What is copied from where, and where in that each entry of the kernel's first axis begins to read.

    The rows are in phases, those that leave the same remainder by the stride side by side.
    """

    phases: int
    rows: int
    copies: tuple[tuple[Slices, Slices], ...]
    starts: tuple[int, ...]


@lru_cache(maxsize=1024)
def _plan(frame: Frame, rows: tuple[int, int]) -> _Plan:
    top, bottom = rows
    stride, dilation = frame.stride[0], frame.dilation[0]
    phases = sorted({dilation * tap % stride for tap in range(frame.kernel[0])})
    height = bottom - top + dilation * (frame.kernel[0] - 1) // stride
    copies = []
    for place, phase in enumerate(phases):
        down = frames.meeting(frame.input[0], height, stride, stride * top + phase - frame.pads[0][0])
        for number, tap in enumerate(itertools.product(*map(range, frame.kernel[1:]))):
            across = [
                frames.meeting(n, m, s, d * a - before)
                for n, m, s, d, a, (before, _) in zip(
                    frame.input[1:], frame.output[1:], frame.stride[1:], frame.dilation[1:], tap, frame.pads[1:],
                    strict=True,
                )
            ]  # fmt: skip
            targets, sources = zip(down, *across, strict=True)
            if all(part.start < part.stop for part in targets):
                everywhere = slice(None)
                copies.append(((everywhere, everywhere, number, place, *targets), (everywhere, everywhere, *sources)))
    starts = (
        (phases.index(dilation * tap % stride) * height + dilation * tap // stride) * frame.row
        for tap in range(frame.kernel[0])
    )
    return _Plan(len(phases), height, tuple(copies), tuple(starts))


def _by_row(k: Tensor, groups: int) -> Tensor:
    """`[first axis of the kernel, groups, out/groups, in/groups * other taps]`."""
    rows: Tensor = k.unflatten(0, (groups, -1)).movedim(3, 0)
    return rows.flatten(3)


def _positions(tensor: Tensor, piece: Piece, groups: int) -> Tensor:
    """The piece's part of the output or of its gradient, `[images * groups, out/groups, positions]`."""
    part = tensor[piece.first : piece.last, :, piece.top : piece.bottom]
    return part.reshape(piece.images * groups, tensor.shape[1] // groups, -1)
