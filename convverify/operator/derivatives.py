"""The derivatives of the three maps, written once over the maps themselves.

T(x, k, g) is linear in each place, so each map's two gradients are the other two maps. For complex numbers
the maps are holomorphic, and a cotangent meets the conjugate of the other operand.

Source: theorems DB-1, DB-2 and DB-3 under `proofs/`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

Maybe = Tensor | None
Pair = tuple[Maybe, Maybe]
Map = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Maps:
    """The three maps of one geometry, each differentiable itself."""

    forward: Map
    grad_input: Map
    grad_weight: Map


def of_forward(maps: Maps, x: Tensor, k: Tensor, g: Tensor, need: tuple[bool, bool]) -> Pair:
    """From the cotangent of the output to those of x and k."""
    return (
        maps.grad_input(g, conj(k)) if need[0] else None,
        maps.grad_weight(conj(x), g) if need[1] else None,
    )


def of_grad_input(maps: Maps, g: Tensor, k: Tensor, u: Tensor, need: tuple[bool, bool]) -> Pair:
    """From the cotangent of grad_input to those of g and k."""
    return (
        maps.forward(u, conj(k)) if need[0] else None,
        maps.grad_weight(u, conj(g)) if need[1] else None,
    )


def of_grad_weight(maps: Maps, x: Tensor, g: Tensor, v: Tensor, need: tuple[bool, bool]) -> Pair:
    """From the cotangent of grad_weight to those of x and g."""
    return (
        maps.grad_input(conj(g), v) if need[0] else None,
        maps.forward(conj(x), v) if need[1] else None,
    )


def of_bias(g: Tensor) -> Tensor:
    """Sum the cotangent of the output over the batch and all positions (theorem GB-1)."""
    return g.sum([0, *range(2, g.dim())])


def conj(tensor: Tensor) -> Tensor:
    """The conjugate; real tensors are spared the call."""
    return tensor.conj() if tensor.is_complex() else tensor


def total(*terms: Maybe) -> Maybe:
    """The sum, where a term that is None is zero."""
    present = [term for term in terms if term is not None]
    if not present:
        return None
    result = present[0]
    for term in present[1:]:
        result = result + term
    return result
