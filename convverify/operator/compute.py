"""The three maps on real memory: the dtype to sum in, the formulation, the memory format of the result."""

from __future__ import annotations

from torch import Tensor

from convverify import formulas
from convverify.geometry import ConvGeometry
from convverify.operator.arrays import TorchArrays
from convverify.operator.layout import result_format
from convverify.operator.precision import accumulator, no_autocast

XP = TorchArrays()


def forward(x: Tensor, k: Tensor, bias: Tensor | None, geometry: ConvGeometry) -> Tensor:
    """The output in the operands' dtype; the bias is added before half types are rounded."""
    wide = accumulator(x.dtype)
    with no_autocast(x.device):
        output = formulas.forward(XP, geometry, x.to(wide), k.to(wide))
        if bias is not None:
            output += bias.to(wide).reshape(-1, *(1,) * geometry.spatial)
    return _finished(output, x, k)


def grad_input(g: Tensor, k: Tensor, geometry: ConvGeometry) -> Tensor:
    """The gradient with respect to the input in the operands' dtype."""
    wide = accumulator(g.dtype)
    with no_autocast(g.device):
        result = formulas.grad_input(XP, geometry, g.to(wide), k.to(wide))
    return _finished(result, g, k)


def grad_weight(x: Tensor, g: Tensor, geometry: ConvGeometry) -> Tensor:
    """The gradient with respect to the weight in the operands' dtype."""
    wide = accumulator(x.dtype)
    with no_autocast(x.device):
        result = formulas.grad_weight(XP, geometry, x.to(wide), g.to(wide))
    return _finished(result, x, g)


def _finished(result: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return result.to(first.dtype, memory_format=result_format(first, second)).contiguous(
        memory_format=result_format(first, second)
    )
