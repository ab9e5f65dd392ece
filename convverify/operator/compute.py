"""The three maps on real memory: the dtype to sum in, the formulation, the memory format of the result."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

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
    first, second = _plain(first).to(wide), _plain(second).to(wide)
    shape = _shape(name, geometry)
    if first.numel() == 0 or second.numel() == 0 or 0 in shape:
        result = first.new_zeros(shape).contiguous(memory_format=format)  # an empty sum
    else:
        if wide.is_floating_point:
            kernel = getattr(choice, name)(geometry, first.element_size(), budget())
        else:  # integers and complex numbers: nobody waits for those
            kernel = getattr(closed_forms, name)
        result = kernel(geometry, first, second, format, piece_limit())
    if bias is not None:
        result += bias.to(wide).reshape(-1, *(1,) * geometry.spatial)
    return result if wide is dtype else result.to(dtype)


@lru_cache(maxsize=4096)
def _shape(name: Name, geometry: ConvGeometry) -> Sizes:
    if name == "forward":
        return geometry.output_shape
    return geometry.input_shape if name == "grad_input" else geometry.weight_shape


def _plain(tensor: Tensor) -> Tensor:
    """Without the lazy conjugation and negation that only some operators understand."""
    if tensor.is_conj() or tensor.is_neg():
        return tensor.resolve_conj().resolve_neg()
    return tensor
