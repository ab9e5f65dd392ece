"""The three maps on real memory: the dtype to sum in, the formulation, the memory format of the result."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from convverify.geometry import ConvGeometry, Sizes
from convverify.operator.kernels import choice, closed_forms
from convverify.operator.layout import result_format
from convverify.operator.memory import budget, piece_limit
from convverify.operator.precision import accumulator, autocast_on, no_autocast

Name = Literal["forward", "grad_input", "grad_weight"]


def forward(x: Tensor, k: Tensor, bias: Tensor | None, geometry: ConvGeometry) -> Tensor:
    """The output in the operands' dtype; the bias is added before half types are rounded."""
    return _computed("forward", geometry, x, k, bias)


def grad_input(g: Tensor, k: Tensor, geometry: ConvGeometry) -> Tensor:
    """The gradient with respect to the input in the operands' dtype."""
    return _computed("grad_input", geometry, g, k)


def grad_weight(x: Tensor, g: Tensor, geometry: ConvGeometry) -> Tensor:
    """The gradient with respect to the weight in the operands' dtype."""
    return _computed("grad_weight", geometry, x, g)


def _computed(name: Name, geometry: ConvGeometry, first: Tensor, second: Tensor,
              bias: Tensor | None = None) -> Tensor:  # fmt: skip
    if autocast_on(first.device):
        # Inside autocast the matrix products of a kernel would be done in half precision.
        with no_autocast(first.device):
            return _computed(name, geometry, first, second, bias)
    dtype, format = first.dtype, result_format(first, second)
    wide = accumulator(dtype)
    first, second = _plain(first, wide), _plain(second, wide)
    kernel, shape = _plan(name, geometry, wide, first.device.type, budget())
    if kernel is None:
        result = first.new_zeros(shape).contiguous(memory_format=format)  # an empty sum
    else:
        result = kernel(geometry, first, second, format, piece_limit())
    if bias is not None:
        result += bias.to(wide).reshape(-1, *(1,) * geometry.spatial)
    return result if wide is dtype else result.to(dtype)


@lru_cache(maxsize=4096)
def _plan(name: Name, geometry: ConvGeometry, dtype: torch.dtype, device: str,
          allowed: int | None) -> tuple[choice.Kernel | None, Sizes]:  # fmt: skip
    """The formulation, None where there is nothing to sum, and the shape of the result."""
    shapes = {
        "forward": geometry.output_shape,
        "grad_input": geometry.input_shape,
        "grad_weight": geometry.weight_shape,
    }
    if any(0 in shape for shape in shapes.values()):
        return None, shapes[name]
    if not dtype.is_floating_point:  # integers and complex numbers: nobody waits for those
        return getattr(closed_forms, name), shapes[name]
    return getattr(choice, name)(geometry, dtype, device, allowed), shapes[name]


def _plain(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """In the dtype to sum in, without the lazy conjugation and negation that only some operators understand."""
    if tensor.is_conj() or tensor.is_neg():
        tensor = tensor.resolve_conj().resolve_neg()
    return tensor if tensor.dtype is dtype else tensor.to(dtype)
