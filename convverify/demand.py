"""Which cases a property asks for: said by the property, drawn by `strategies`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from convverify.case import ConvCase

ORDINARY = ("float64", "float32")
EXACT = (
    "integers", "large", "bell", "dyadic", "positive", "negative", "constant", "sparse", "impulse", "outlier", "ramp",
    "edges", "bytes", "clustered", "mirrored", "separable", "smoothing", "repeated", "zeros",
)  # fmt: skip


@dataclass(frozen=True)
class Demand:
    """The kind of cases on which a property says something.

    dtypes: those of its cases; `ORDINARY` stands for any other that an operator declares instead.
    values: the distributions of its operands; `EXACT` are all with exact results, but for kernels of a special form.
    operand_layouts: the operands that lie in memory in every way.
    bias: whether cases may have one.
    products: the largest case, by the products of its forward pass; 0 where none are drawn. Where some are, a few
        with every option at once come before them.
    corners: the named corner geometries, too (those with padding by name, if it takes `strings`).
    thresholds: the sweep through sizes.
    large: whole layers of many channels and pixels.
    combinations: options of special kinds together.
    usual: layers as networks have them; a few, where others are drawn.
    costly: left out of the quick budget.
    strings: padding by name.
    where: rejects what the property cannot use.
    autocast: it computes in bfloat16, whatever the dtype.
    weight: its share of the budget, beside that of the others.
    least: how many cases it has even where the time is up: a slow machine is no reason to know nothing.
    """

    dtypes: tuple[str, ...] = ORDINARY
    values: tuple[str, ...] = ("integers", "large")
    operand_layouts: tuple[str, ...] = ()
    bias: bool = True
    products: int = 4000
    corners: bool = False
    thresholds: bool = False
    large: bool = False
    combinations: bool = False
    usual: bool = False
    costly: bool = False
    strings: bool = False
    where: Callable[[ConvCase], bool] = lambda case: True
    autocast: bool = False
    weight: float = 1.0
    least: int = 5

    def takes(self, case: ConvCase) -> bool:
        """Whether the property can use the case: one with a bias only if it wants any.

        Two kinds are never drawn, since torch's own convolution may end the process on them: one in which no window
        reads a pixel, which `windows_in_the_padding_give_the_bias` alone is about, and one whose gradient torch
        writes past its end.
        """
        if case.geometry.reads_nothing or _written_past_the_end(case) or (case.bias and not self.bias):
            return False
        return self.where(case) and (self.dtypes == ORDINARY or case.dtype in self.dtypes)

    def reaches(self, dtypes: tuple[str, ...]) -> bool:
        """Whether the property has a case in one of these dtypes; none stands for all."""
        return not dtypes or self.dtypes == ORDINARY or not set(dtypes).isdisjoint(self.dtypes)


def _written_past_the_end(case: ConvCase) -> bool:
    """Whether torch 2.13 writes past the end of grad_input, as it does on an AMD processor with AVX2.

    Seen there under glibc's heap checks, and not measured elsewhere: in float32, channels last, for kernels of one
    tap whose strides leave pixels over, with two to six channels; not with nine.
    """
    g = case.geometry
    strided = max(g.kernel_size) == 1 < max(g.stride) and any(axis.remainder for axis in g.axes)
    return strided and case.dtype == "float32" and g.in_channels <= 8 and "input:channels_last" in case.layout
