"""The geometry of a convolution: sizes in, sizes out, and a one-line text form.

"Convolution" means cross-correlation here, as in PyTorch: the kernel is not turned around.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Sizes = tuple[int, ...]
Padding = Sizes | Literal["same", "valid"]

_NAMED: dict[str, Literal["same", "valid"]] = {"same": "same", "valid": "valid"}
_NUMBERS = (("batch", 0), ("in_channels", 0), ("out_channels", 0), ("groups", 1))
_TEXT = re.compile(
    r"n(?P<n>\d+) c(?P<ci>\d+)->(?P<co>\d+) i(?P<i>\d+(x\d+)*) k(?P<k>\d+(x\d+)*) "
    r"s(?P<s>\d+(x\d+)*) p(?P<p>\d+(x\d+)*|same|valid) d(?P<d>\d+(x\d+)*) g(?P<g>\d+)"
)


class GeometryError(ValueError):
    """Sizes that no convolution can have."""


@dataclass(frozen=True)
class Axis:
    """One spatial axis; `before` and `after` are the zeros padded at its two ends."""

    input: int
    kernel: int
    stride: int
    before: int
    after: int
    dilation: int

    @property
    def reach(self) -> int:
        """How far apart the first and the last tap of the kernel lie."""
        return self.dilation * (self.kernel - 1)

    @property
    def slack(self) -> int:
        """The last position of the kernel's first tap on the padded input."""
        return self.input + self.before + self.after - self.reach - 1

    @property
    def output(self) -> int:
        return self.slack // self.stride + 1

    @property
    def remainder(self) -> int:
        """Padded input elements at the far end that no window starts early enough to read."""
        return self.slack % self.stride

    @property
    def reads_nothing(self) -> bool:
        """Whether no tap of any window meets the input: all lie in the padding."""
        return not any(
            0 <= self.stride * window + self.dilation * tap - self.before < self.input
            for window in range(self.output)
            for tap in range(self.kernel)
        )


@dataclass(frozen=True)
class ConvGeometry:
    """The sizes of one convolution, in PyTorch's terms; one entry per spatial dimension.

    `str(geometry)` is one line such as `n1 c2->1 i5x5 k3x3 s2x1 p1x1 d1x1 g1`, and
    `ConvGeometry.parse` reads it back.
    """

    batch: int
    in_channels: int
    out_channels: int
    input_size: Sizes
    kernel_size: Sizes
    stride: Sizes
    padding: Padding
    dilation: Sizes
    groups: int = 1

    def __post_init__(self) -> None:
        _check(self)

    @classmethod
    def parse(cls, text: str) -> ConvGeometry:
        """Read the one-line form.

        Raises:
            GeometryError: the text is not of that form, or its sizes fit no convolution.
        """
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise GeometryError(f"geometry {text!r} is not of the form 'n1 c2->1 i5x5 k3x3 s2x1 p1x1 d1x1 g1'")
        part = match.groupdict()
        padding: Padding = _NAMED.get(part["p"]) or _sizes(part["p"])
        return cls(
            int(part["n"]), int(part["ci"]), int(part["co"]), _sizes(part["i"]), _sizes(part["k"]),
            _sizes(part["s"]), padding, _sizes(part["d"]), int(part["g"]),
        )  # fmt: skip

    def __str__(self) -> str:
        padding = self.padding if isinstance(self.padding, str) else _text(self.padding)
        return (
            f"n{self.batch} c{self.in_channels}->{self.out_channels} i{_text(self.input_size)} "
            f"k{_text(self.kernel_size)} s{_text(self.stride)} p{padding} "
            f"d{_text(self.dilation)} g{self.groups}"
        )

    @property
    def spatial(self) -> int:
        """The number of spatial dimensions."""
        return len(self.input_size)

    @cached_property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """Zeros before and after each axis; 'same' puts the odd one after, as torch does."""
        if self.padding == "valid":
            return ((0, 0),) * self.spatial
        if self.padding == "same":
            reaches = (d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True))
            return tuple((reach // 2, reach - reach // 2) for reach in reaches)
        return tuple((int(pad), int(pad)) for pad in self.padding)

    @cached_property
    def axes(self) -> tuple[Axis, ...]:
        return tuple(
            Axis(size, kernel, stride, *pads, dilation)
            for size, kernel, stride, pads, dilation in zip(
                self.input_size, self.kernel_size, self.stride, self.pads, self.dilation, strict=True
            )
        )

    @cached_property
    def output_size(self) -> Sizes:
        return tuple(axis.output for axis in self.axes)

    @property
    def input_shape(self) -> Sizes:
        return (self.batch, self.in_channels, *self.input_size)

    @property
    def weight_shape(self) -> Sizes:
        return (self.out_channels, self.in_channels // self.groups, *self.kernel_size)

    @property
    def output_shape(self) -> Sizes:
        return (self.batch, self.out_channels, *self.output_size)

    @property
    def terms_per_output(self) -> int:
        """Products summed into one element of the output."""
        return self.in_channels // self.groups * math.prod(self.kernel_size)

    @property
    def terms_per_grad_input(self) -> int:
        """At most this many products are summed into one element of grad_input."""
        return self.out_channels // self.groups * math.prod(self.kernel_size)

    @property
    def terms_per_grad_weight(self) -> int:
        """At most this many products are summed into one element of grad_weight."""
        return self.batch * math.prod(self.output_size)

    @property
    def reads_nothing(self) -> bool:
        """Whether along some axis every window lies in the padding, so that no pixel is read at all."""
        return any(axis.reads_nothing for axis in self.axes)

    @cached_property
    def products(self) -> int:
        """Products of the whole forward pass, those with padded zeros included."""
        return math.prod(self.output_shape) * self.terms_per_output


def _sizes(text: str) -> Sizes:
    return tuple(map(int, text.split("x")))


def _text(sizes: Sizes) -> str:
    return "x".join(map(str, sizes))


def _check(g: ConvGeometry) -> None:
    for name, low in _NUMBERS:
        if type(value := getattr(g, name)) is not int and not hasattr(value, "__index__"):
            raise GeometryError(f"{name}={value!r} must be an integer")
        if value < low:
            raise GeometryError(f"{name}={value} must be at least {low}")
    for name in ("input_size", "kernel_size", "stride", "dilation"):
        _check_sizes(g, name, 1)
    if not isinstance(g.padding, str):
        _check_sizes(g, "padding", 0)
    elif g.padding not in _NAMED:
        raise GeometryError(f"padding={g.padding!r} must be 'same', 'valid' or a tuple of integers")
    for name in ("in_channels", "out_channels"):
        if getattr(g, name) % g.groups:
            raise GeometryError(f"groups={g.groups} must divide {name}={getattr(g, name)}")
    if g.padding == "same" and max(g.stride) > 1:
        raise GeometryError(f"padding='same' needs stride 1, not {g.stride}")
    for dim, axis in enumerate(g.axes):
        if axis.slack < 0:
            raise GeometryError(
                f"the kernel reaches over {axis.reach + 1} elements of axis {dim}, but the padded "
                f"input has only {axis.input + axis.before + axis.after}"
            )


def _check_sizes(g: ConvGeometry, name: str, low: int) -> None:
    """Refuse what is not one integer of at least `low` for each spatial dimension."""
    sizes, spatial = getattr(g, name), g.input_size
    if not isinstance(sizes, tuple) or not sizes:
        raise GeometryError(f"{name}={sizes!r} must be a tuple of integers, one for each spatial dimension")
    for size in sizes:
        if type(size) is not int and not hasattr(size, "__index__"):
            raise GeometryError(f"{name}={sizes!r} must be a tuple of integers")
        if size < low:
            raise GeometryError(f"{name}={sizes} must be at least {low}")
    if len(sizes) != len(spatial):
        raise GeometryError(f"{name}={sizes} must have {len(spatial)} entries, as input_size={spatial}")
