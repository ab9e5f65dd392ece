"""The array primitives of the formulas, on torch tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


class TorchArrays:
    """`convverify.formulas.Arrays` for tensors."""

    def pad(self, array: Tensor, pads: Sequence[tuple[int, int]]) -> Tensor:
        if not any(map(any, pads)):
            return array
        return F.pad(array, [amount for pair in reversed(pads) for amount in pair])

    def insert_zeros(self, array: Tensor, stride: Sequence[int]) -> Tensor:
        if max(stride) == 1:
            return array
        first = array.dim() - len(stride)
        sizes = [(n - 1) * s + 1 for n, s in zip(array.shape[first:], stride, strict=True)]
        spread = array.new_zeros((*array.shape[:first], *sizes))
        steps: list[Any] = [slice(None, None, s) for s in stride]
        spread[(..., *steps)] = array
        return spread

    def rotate180(self, array: Tensor, spatial: int) -> Tensor:
        return array.flip(list(range(-spatial, 0)))

    def windows(self, array: Tensor, size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> Tensor:
        first = array.dim() - len(size)
        for dim, (k, s, d) in enumerate(zip(size, stride, dilation, strict=True)):
            array = array.unfold(first + dim, d * (k - 1) + 1, s)[..., ::d]
        return array

    def split(self, array: Tensor, axis: int, parts: int) -> Tensor:
        shape = array.shape
        return array.reshape(*shape[:axis], parts, shape[axis] // parts, *shape[axis + 1 :])

    def merge(self, array: Tensor, axis: int) -> Tensor:
        return array.flatten(axis, axis + 1)

    def einsum(self, equation: str, *arrays: Tensor) -> Tensor:
        return torch.einsum(equation, *arrays)
