"""ConvCase: everything that determines one call of an operator, in one line of text.

A case is sizes, dtype, device, layout, distribution and seed, never tensors; `operands(case)` makes them.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from convverify.comparison import EXACT_BITS
from convverify.geometry import ConvGeometry, GeometryError
from convverify.layouts import LAYOUTS, lay_out
from convverify.values import DISTRIBUTIONS

ROLES = ("input", "weight", "bias", "grad_output")
DEVICES = ("cpu", "cuda")
DTYPES = (
    "float64", "float32", "float16", "bfloat16", "complex128", "complex64", "int64", "int32", "int16",
)  # fmt: skip

_KNOWN = {"dtype": DTYPES, "values": tuple(DISTRIBUTIONS), "device": DEVICES}

KEPT_DRAWS, KEPT_ELEMENTS = 64, 2**14  # at most 16 MiB in all

_TEXT = re.compile(
    r"(?P<geometry>n\d+ .*? g\d+)(?P<bias> bias)? (?P<dtype>\w+) (?P<device>[\w:]+)"
    r" layout=(?P<layout>[\w:,]+) values=(?P<values>\w+)(?:\^(?P<scale>-?\d+))? seed=(?P<seed>\d+)"
)


class CaseError(ValueError):
    """A line that is no case, or what no case can have."""


@dataclass(frozen=True)
class ConvCase:
    """One call of an operator, without its data.

    `layout` is `contiguous`, or such as `input:channels_last,grad_output:expanded`. `scale` is the power
    of two by which a scaled distribution's integers are multiplied.
    """

    geometry: ConvGeometry
    bias: bool = False
    dtype: str = "float64"
    device: str = "cpu"
    layout: str = "contiguous"
    values: str = "integers"
    scale: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self)

    def __str__(self) -> str:
        bias = " bias" if self.bias else ""
        scale = f"^{self.scale}" if self.scale else ""
        return (
            f"{self.geometry}{bias} {self.dtype} {self.device} layout={self.layout} "
            f"values={self.values}{scale} seed={self.seed}"
        )

    @classmethod
    def parse(cls, line: str) -> ConvCase:
        """Read the one-line form back.

        Raises:
            CaseError: the line is not of that form.
        """
        match = _TEXT.fullmatch(line.strip())
        if match is None:
            raise CaseError(
                f"{line!r} is not a case such as 'n1 c2->1 i5x5 k3x3 s1x1 p0x0 d1x1 g1 bias float64 cpu "
                "layout=contiguous values=integers seed=0'"
            )
        part = match.groupdict()
        try:
            geometry = ConvGeometry.parse(part["geometry"])
        except GeometryError as error:
            raise CaseError(str(error)) from None
        return cls(
            geometry, bool(part["bias"]), part["dtype"], part["device"], part["layout"], part["values"],
            int(part["scale"] or 0), int(part["seed"]),
        )  # fmt: skip

    @property
    def layouts(self) -> dict[str, str]:
        """The layout of each operand that is not contiguous."""
        return dict(_layouts(self.layout))

    @property
    def torch_dtype(self) -> torch.dtype:
        dtype = getattr(torch, self.dtype)
        assert isinstance(dtype, torch.dtype)
        return dtype

    @property
    def exact(self) -> bool:
        """Whether a right operator must return the exact values."""
        return DISTRIBUTIONS[self.values].exact

    @property
    def amplitude(self) -> int:
        """The largest operand for which no sum of products leaves the exact range."""
        geometry = self.geometry
        terms = max(geometry.terms_per_output, geometry.terms_per_grad_input, geometry.terms_per_grad_weight, 1)
        spare = 4 if self.dtype.startswith("complex") else 2  # for bias, and sums of up to four such sums
        return max(1, math.isqrt(2 ** (EXACT_BITS[self.torch_dtype] - spare) // terms))

    @property
    def size(self) -> tuple[int | str, ...]:
        """Smaller is simpler to a reader: what a shrunken counterexample minimises."""
        g = self.geometry
        plain = (self.bias, self.layout != "contiguous", self.values != "integers", self.dtype != "float64")
        away = sum(s - 1 for s in (*g.stride, *g.dilation)) + sum(map(sum, g.pads))
        elements = math.prod(g.input_shape) + math.prod(g.weight_shape) + math.prod(g.output_shape)
        return elements + 4 * away + 4 * sum(plain), g.groups, str(self)

    def with_geometry(self, **sizes: object) -> ConvCase:
        return replace(self, geometry=replace(self.geometry, **sizes))  # type: ignore[arg-type]


def _check(case: ConvCase) -> None:
    if not isinstance(case.geometry, ConvGeometry):
        raise CaseError(f"geometry={case.geometry!r} must be a ConvGeometry")
    if not isinstance(case.bias, bool):
        raise CaseError(f"bias={case.bias!r} must be True or False")
    for name, known in _KNOWN.items():
        if getattr(case, name) not in known:
            raise CaseError(f"{name} {getattr(case, name)!r} is not one of {', '.join(known)}")
    if not isinstance(case.layout, str):
        raise CaseError(f"layout={case.layout!r} must be a text such as 'input:channels_last'")
    _layouts(case.layout)
    for name in ("scale", "seed"):
        if not hasattr(getattr(case, name), "__index__"):
            raise CaseError(f"{name}={getattr(case, name)!r} must be an integer")
    if case.seed < 0:
        raise CaseError(f"seed={case.seed} must be at least 0")


@functools.lru_cache(maxsize=4096)
def _layouts(text: str) -> tuple[tuple[str, str], ...]:
    """Operands and their layouts, from the text form."""
    if text == "contiguous":
        return ()
    found: dict[str, str] = {}
    for part in text.split(","):
        role, colon, layout = part.partition(":")
        if not colon:
            raise CaseError(f"layout {text!r}: {part!r} must be an operand and its layout, such as input:channels_last")
        for word, known in ((role, ROLES), (layout, LAYOUTS)):
            if word not in known:
                raise CaseError(f"layout {text!r}: {word!r} is neither a layout nor an operand")
        if role in found:
            raise CaseError(f"layout {text!r} names {role} twice")
        found[role] = layout
    return tuple(found.items())


def layout_text(layout_of: Mapping[str, str]) -> str:
    """The text form of the layout of each operand, as in `ConvCase.layout`."""
    return ",".join(f"{role}:{lay}" for role, lay in layout_of.items() if lay != "contiguous") or "contiguous"


class Operands:
    """The tensors of a case, made on first use; the same case always gives the same ones."""

    def __init__(self, case: ConvCase) -> None:
        self.case = case

    @cached_property
    def input(self) -> Tensor:
        """Shape `[batch, in_channels, *spatial]`."""
        return self.draw("input", self.case.geometry.input_shape)

    @cached_property
    def weight(self) -> Tensor:
        """Shape `[out_channels, in_channels / groups, *kernel]`."""
        return self.draw("weight", self.case.geometry.weight_shape)

    @cached_property
    def bias(self) -> Tensor | None:
        """Shape `[out_channels]`, scaled as a product of input and weight."""
        if not self.case.bias:
            return None
        return self.draw("bias", (self.case.geometry.out_channels,), factors=2)

    @cached_property
    def grad_output(self) -> Tensor:
        """Shape `[batch, out_channels, *output]`."""
        return self.draw("grad_output", self.case.geometry.output_shape)

    def draw(self, role: str, shape: tuple[int, ...], factors: int = 1) -> Tensor:
        """A tensor for `role`; other roles than the four give further, independent ones."""
        drawn = _kept if math.prod(shape) <= KEPT_ELEMENTS else _drawn
        return lay_out(drawn(self.case, role, shape, factors).clone(), self.case.layouts.get(role, "contiguous"))


def _drawn(case: ConvCase, role: str, shape: tuple[int, ...], factors: int) -> Tensor:
    """The data of `Operands.draw`, before it is laid out in memory."""
    distribution = DISTRIBUTIONS[case.values]
    salt = sum(ord(letter) * 31**place for place, letter in enumerate(role))
    generator = torch.Generator().manual_seed((case.seed * 1_000_003 + salt) % 2**63)
    data = distribution.of(role)(shape, case.amplitude, generator)
    if distribution.exact:
        data = _thin(data, case, generator)
    data = data * 2.0 ** (case.scale * factors)
    if case.dtype.startswith("complex"):
        data = torch.complex(data, _shuffled(data, generator))
    return data.to(device=case.device, dtype=case.torch_dtype)


# What the operator gets and what the reference computes with are copies of what is drawn once.
_kept = functools.lru_cache(maxsize=KEPT_DRAWS)(_drawn)


def _thin(data: Tensor, case: ConvCase, generator: torch.Generator) -> Tensor:
    """Zero out so many elements that even sums of more ones than the dtype counts stay exact."""
    geometry = case.geometry
    terms = max(geometry.terms_per_output, geometry.terms_per_grad_input, geometry.terms_per_grad_weight)
    room = 2 ** EXACT_BITS[case.torch_dtype] / 4
    if terms <= room:
        return data
    return data * (torch.rand(data.shape, generator=generator, dtype=torch.float64) < math.sqrt(room / terms) / 2)


def _shuffled(data: Tensor, generator: torch.Generator) -> Tensor:
    order = torch.randperm(data.numel(), generator=generator)
    return data.reshape(-1)[order].reshape(data.shape)
