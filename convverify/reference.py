"""What a right operator returns on a case, computed on the verifier's own copies of the operands.

Two oracles: torch in float64 (bound at import, before any operator under test is loaded), and the formulas.
The definition is a third, for small cases. The properties hold them against one another.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from convverify import definition, formulas
from convverify.case import ConvCase, Operands
from convverify.operator.arrays import TorchArrays

_XP = TorchArrays()
_TORCH: dict[int, Callable[..., Tensor]] = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}
_AUTOGRAD = torch.autograd.grad
_BACKWARD = torch.ops.aten.convolution_backward.default
_WIDE = {
    torch.complex64: torch.complex128, torch.complex128: torch.complex128,
    **dict.fromkeys((torch.int64, torch.int32, torch.int16), torch.int64),
}  # fmt: skip


class Maps:
    """The three partial maps of one geometry, and the bias gradient, on wide tensors."""

    def __init__(self, case: ConvCase) -> None:
        self.geometry = case.geometry

    def forward(self, x: Tensor, k: Tensor) -> Tensor:
        """Shape of the output."""
        return formulas.forward(_XP, self.geometry, x, k)

    def grad_input(self, g: Tensor, k: Tensor) -> Tensor:
        """Shape of the input."""
        return formulas.grad_input(_XP, self.geometry, g, k)

    def grad_weight(self, x: Tensor, g: Tensor) -> Tensor:
        """Shape of the weight."""
        return formulas.grad_weight(_XP, self.geometry, x, g)

    def grad_bias(self, g: Tensor) -> Tensor:
        """Shape `[out_channels]`."""
        return g.sum([0, *range(2, g.dim())])


class TorchMaps(Maps):
    """The same by torch and its derivatives."""

    def forward(self, x: Tensor, k: Tensor) -> Tensor:
        """Shape of the output."""
        g = self.geometry
        return _TORCH[g.spatial](x, k, None, g.stride, g.padding, g.dilation, g.groups)

    def grad_input(self, g: Tensor, k: Tensor) -> Tensor:
        """Shape of the input."""
        return self._gradient(g.new_zeros(()).expand(self.geometry.input_shape), k, g, 0)

    def grad_weight(self, x: Tensor, g: Tensor) -> Tensor:
        """Shape of the weight."""
        return self._gradient(x, g.new_zeros(()).expand(self.geometry.weight_shape), g, 1)

    def _gradient(self, x: Tensor, k: Tensor, g: Tensor, place: int) -> Tensor:
        """That of the input (at place 0) or the weight (1), by the operation that torch's autograd calls."""
        geometry = self.geometry
        if isinstance(geometry.padding, str):
            leaf = (x, k)[place].clone().requires_grad_()
            with torch.enable_grad():
                return _AUTOGRAD(self.forward(*((leaf, k) if place == 0 else (x, leaf))), leaf, g)[0]
        wanted = [place == 0, place == 1, False]
        none = [0] * geometry.spatial  # of what only transposed convolutions have
        gradients = _BACKWARD(
            g, x, k, None, geometry.stride, geometry.padding, geometry.dilation, False, none, geometry.groups, wanted
        )
        gradient = gradients[place]
        assert isinstance(gradient, Tensor)
        return gradient


class ComplexMaps(TorchMaps):
    """Complex convolutions out of real ones: torch's own lose a small imaginary part beside a large real one on CPU."""

    def forward(self, x: Tensor, k: Tensor) -> Tensor:
        """Shape of the output."""
        return _by_parts(super().forward, x, k)

    def grad_input(self, g: Tensor, k: Tensor) -> Tensor:
        """Shape of the input."""
        return _by_parts(super().grad_input, g, k)

    def grad_weight(self, x: Tensor, g: Tensor) -> Tensor:
        """Shape of the weight."""
        return _by_parts(super().grad_weight, x, g)


class DefinitionMaps(Maps):
    """The same by the index sum, in Python integers; for exact, small cases."""

    def forward(self, x: Tensor, k: Tensor) -> Tensor:
        """Shape of the output."""
        return _filled(x, self.geometry.output_shape, definition.forward(self.geometry, _plain(x), _plain(k)))

    def grad_input(self, g: Tensor, k: Tensor) -> Tensor:
        """Shape of the input."""
        return _filled(g, self.geometry.input_shape, definition.grad_input(self.geometry, _plain(g), _plain(k)))

    def grad_weight(self, x: Tensor, g: Tensor) -> Tensor:
        """Shape of the weight."""
        return _filled(g, self.geometry.weight_shape, definition.grad_weight(self.geometry, _plain(x), _plain(g)))


class Reference:
    """Output and gradients of a case, in its own dtype; exact where the case is."""

    def __init__(self, case: ConvCase, maps: type[Maps] = TorchMaps) -> None:
        if case.dtype.startswith("complex") and maps is TorchMaps:
            maps = ComplexMaps
        self.case = case
        self.maps = maps(case)
        self.operands = Operands(case)

    def wide(self, operand: Tensor) -> Tensor:
        """An operand in the dtype in which the reference computes."""
        return operand.detach().to(_WIDE.get(operand.dtype, torch.float64)).contiguous()

    def draw(self, role: str, shape: tuple[int, ...], factors: int = 1) -> Tensor:
        """A further wide operand, the same as `Operands.draw` gives."""
        return self.wide(self.operands.draw(role, shape, factors))

    @cached_property
    def x(self) -> Tensor:
        """The input, wide."""
        return self.wide(self.operands.input)

    @cached_property
    def k(self) -> Tensor:
        """The weight, wide."""
        return self.wide(self.operands.weight)

    @cached_property
    def g(self) -> Tensor:
        """grad_output, wide."""
        return self.wide(self.operands.grad_output)

    def narrow(self, value: Tensor) -> Tensor:
        """A wide result in the case's dtype, in which exact cases lose nothing."""
        return value.to(self.case.torch_dtype)

    @cached_property
    def output(self) -> Tensor:
        """`[batch, out_channels, *output]`."""
        output = self.maps.forward(self.x, self.k)
        bias = self.operands.bias
        return self.narrow(output if bias is None else output + _spread(self.wide(bias), output))

    @cached_property
    def gradients(self) -> dict[str, Tensor]:
        """The gradient of each operand for the case's grad_output."""
        grads = {
            "input": self.narrow(self.maps.grad_input(self.g, self.k.conj())),
            "weight": self.narrow(self.maps.grad_weight(self.x.conj(), self.g)),
        }
        if self.case.bias:
            grads["bias"] = self.narrow(self.maps.grad_bias(self.g))
        return grads

    @cached_property
    def terms(self) -> dict[str, int]:
        """How many products an element of each result sums; twice, where the reference rounds as well."""
        g, both = self.case.geometry, 2 if self.case.dtype in ("float64", "complex128") else 1
        return {
            "output": both * (g.terms_per_output + 1),
            "input": both * g.terms_per_grad_input,
            "weight": both * g.terms_per_grad_weight,
            "bias": both * g.terms_per_grad_weight,
        }

    @cached_property
    def norms(self) -> dict[str, Tensor]:
        """The product of the two operands' norms behind each result, and the bias's: of each sample, or of all."""
        x, g = (_sample_norms(operand) for operand in (self.x, self.g))
        k = _norm(self.k)
        bias = 0.0 if self.operands.bias is None else _norm(self.wide(self.operands.bias))
        return {"output": x * k + bias, "input": g * k, "weight": _norm(x) * _norm(g), "bias": _norm(g)}

    @cached_property
    def norm(self) -> float:
        """Above every product of two operands' norms, for results that combine several."""
        return 4 * max(float(_norm(norm)) for norm in self.norms.values())

    @cached_property
    def magnitudes(self) -> dict[str, Tensor]:
        """The sum of absolute products behind each element of each result."""
        x, k, g = self.x.abs(), self.k.abs(), self.g.abs()
        output = self.maps.forward(x, k)
        if (bias := self.operands.bias) is not None:
            output = output + _spread(self.wide(bias).abs(), output)
        return {
            "output": output,
            "input": self.maps.grad_input(g, k),
            "weight": self.maps.grad_weight(x, g),
            "bias": self.maps.grad_bias(g),
        }


def _by_parts(real: Callable[[Tensor, Tensor], Tensor], one: Tensor, other: Tensor) -> Tensor:
    """A bilinear map of complex operands by what it is of their real and imaginary parts."""
    if not (one.is_complex() or other.is_complex()):
        return real(one, other)
    (a, b), (c, d) = (torch.view_as_real(each.resolve_conj()).unbind(-1) for each in (one, other))
    return torch.complex(real(a, c) - real(b, d), real(a, d) + real(b, c))


def _norm(operand: Tensor) -> Tensor:
    return operand.abs().square().sum().sqrt()


def _sample_norms(operand: Tensor) -> Tensor:
    """The Euclidean norm of each sample, of shape `[batch, 1, ...]`."""
    squares = operand.abs().square()
    return squares.sum(tuple(range(1, operand.dim())), keepdim=True).sqrt()


def _spread(bias: Tensor, output: Tensor) -> Tensor:
    return bias.view(-1, *[1] * (output.dim() - 2))


def _plain(operand: Tensor) -> dict[tuple[int, ...], int]:
    """The operand as Python integers by index; exact, since exact cases hold integers times a power of two."""
    flat = operand.reshape(-1).tolist()
    places = itertools.product(*map(range, operand.shape))
    return dict(zip(places, map(_integer, flat), strict=True))


def _integer(value: float) -> int:
    if value != int(value):
        raise ValueError(f"the definition is asked for integers, not {value!r}")
    return int(value)


def _filled(like: Tensor, shape: tuple[int, ...], values: dict[tuple[int, ...], int]) -> Tensor:
    flat = [values[index] for index in definition.indices(shape)]
    return torch.tensor(flat, dtype=like.dtype, device=like.device).view(shape)
