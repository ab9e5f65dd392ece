"""An operator against itself: what changes with the operands, and how, needs no reference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from convverify.case import ConvCase
from convverify.comparison import Equation
from convverify.demand import Demand
from convverify.operator.arrays import TorchArrays
from convverify.properties.base import declare
from convverify.properties.calls import call, observe
from convverify.reference import Reference
from convverify.target import Target

_XP = TorchArrays()
_SMALL = Demand(products=3000, weight=0.3)


def _numeric(case: ConvCase) -> bool:
    return not isinstance(case.geometry.padding, str)


class _Related:
    """The operator's output on a case, and on cases related to it."""

    def __init__(self, op: Target, case: ConvCase) -> None:
        self.op, self.case = op, case
        seen = observe(op, case, requires=())
        self.leaves, self.output = seen.leaves, seen.output
        self.norm = Reference(case).norm

    def on(self, leaves: dict[str, Tensor], **sizes: Any) -> Tensor | None:
        """The output for other operands of another geometry, or None outside the operator's domain."""
        geometry = replace(
            self.case.geometry, batch=leaves["input"].shape[0], in_channels=leaves["input"].shape[1],
            out_channels=leaves["weight"].shape[0], input_size=tuple(leaves["input"].shape[2:]),
            kernel_size=tuple(leaves["weight"].shape[2:]), **sizes,
        )  # fmt: skip
        related = replace(self.case, geometry=geometry)
        return call(self.op, related, leaves) if self.op.domain.allows(related) else None

    def equation(self, what: str, actual: Tensor | None, expected: Tensor) -> Iterator[Equation]:
        if actual is not None:
            yield Equation(what, actual, expected, norm=self.norm)


def _sliced(output: Tensor, slices: list[slice]) -> Tensor:
    """The output, its spatial axes sliced."""
    for dim, part in enumerate(slices, 2):
        output = output[(slice(None),) * dim + (part,)]
    return output


@declare("metamorphic", ("FW-1",), "batch_reversed", _SMALL)
def batch_splits_and_permutes(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Samples do not see one another: alone, or in another order, each gives the same output."""
    related = _Related(op, case)
    x = related.leaves["input"]
    order = torch.arange(x.shape[0]).flip(0)
    yield from related.equation(
        "output of the reversed batch",
        related.on({**related.leaves, "input": x[order]}),
        related.output[order],
    )
    alone = related.on({**related.leaves, "input": x[:1]})
    yield from related.equation("output of the first sample alone", alone, related.output[:1])


@declare("metamorphic", ("GR-1",), "odd_channel_dropped", _SMALL)
def channels_permute(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Permuting input channels inside their groups with the weight changes nothing; output channels follow it."""
    related, g = _Related(op, case), case.geometry
    x, k = related.leaves["input"], related.leaves["weight"]
    turned_x = _XP.merge(_XP.split(x, 1, g.groups).flip(2), 1)
    yield from related.equation(
        "output with input channels reversed in each group",
        related.on({**related.leaves, "input": turned_x, "weight": k.flip(1)}), related.output,
    )  # fmt: skip
    turned = {**related.leaves, "weight": _XP.merge(_XP.split(k, 0, g.groups).flip(1), 0)}
    if case.bias:
        turned["bias"] = _XP.merge(_XP.split(turned["bias"], 0, g.groups).flip(1), 0)
    yield from related.equation(
        "output with output channels reversed in each group",
        related.on(turned), _XP.merge(_XP.split(related.output, 1, g.groups).flip(2), 1),
    )  # fmt: skip


@declare("metamorphic", ("GR-2",), "groups_in_reverse", _SMALL)
def groups_are_block_diagonal(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A grouped convolution is the dense one with a block-diagonal weight."""
    related, g = _Related(op, case), case.geometry
    k = _XP.split(related.leaves["weight"], 0, g.groups)
    dense = torch.zeros((g.groups, k.shape[1], g.groups, *k.shape[2:]), dtype=k.dtype, device=k.device)
    for group in range(g.groups):
        dense[group, :, group] = k[group]
    dense = _XP.merge(_XP.merge(dense, 0), 1)
    yield from related.equation(
        "output of the dense, block-diagonal weight",
        related.on({**related.leaves, "weight": dense}, groups=1), related.output,
    )  # fmt: skip


@declare("metamorphic", ("FW-1",), "padded_by_reflection", replace(_SMALL, where=_numeric))
def padding_is_explicit_zeros(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Padding is the same as zeros put around the input."""
    related, g = _Related(op, case), case.geometry
    padded = _XP.pad(related.leaves["input"], g.pads)
    yield from related.equation(
        "output of the input with explicit zeros",
        related.on({**related.leaves, "input": padded}, padding=(0,) * g.spatial), related.output,
    )  # fmt: skip


@declare("metamorphic", ("FW-1",), "dilation_ignored", replace(_SMALL, where=_numeric))
def dilation_is_an_inflated_kernel(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Dilation is the same as zeros put between the kernel's taps."""
    related, g = _Related(op, case), case.geometry
    inflated = _XP.insert_zeros(related.leaves["weight"], g.dilation)
    yield from related.equation(
        "output of the inflated kernel",
        related.on({**related.leaves, "weight": inflated}, dilation=(1,) * g.spatial), related.output,
    )  # fmt: skip


@declare("metamorphic", ("FW-1",), "stride_averages", replace(_SMALL, where=_numeric))
def stride_is_a_subsample(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A stride keeps every stride-th output of the convolution without one."""
    related, g = _Related(op, case), case.geometry
    every = related.on(related.leaves, stride=(1,) * g.spatial)
    if every is not None:
        kept = _sliced(every, [slice(None, None, s) for s in g.stride])
        yield from related.equation("every stride-th output", kept, related.output)


@declare("metamorphic", ("FW-1",), "last_tap_dropped", Demand(products=3000, weight=0.3, where=_numeric))
def flips_and_turns_commute(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Flipping or transposing input and kernel together does the same to the output."""
    related, g = _Related(op, case), case.geometry
    x, k = related.leaves["input"], related.leaves["weight"]
    if all(axis.remainder == 0 for axis in g.axes):
        axes = list(range(-g.spatial, 0))
        flipped = {**related.leaves, "input": x.flip(axes), "weight": k.flip(axes)}
        yield from related.equation("output of both flipped", related.on(flipped), related.output.flip(axes))
    if g.spatial == 2:
        turned = {**related.leaves, "input": x.mT.contiguous(), "weight": k.mT.contiguous()}
        sizes = {name: tuple(reversed(getattr(g, name))) for name in ("stride", "padding", "dilation")}
        yield from related.equation("output of both transposed", related.on(turned, **sizes), related.output.mT)


@declare("metamorphic", ("FW-1",), "last_column_copied", Demand(products=3000, weight=0.3, bias=False, where=_numeric))
def translation_moves_the_output(op: Target, case: ConvCase) -> Iterator[Equation]:
    """One stride of zeros put before the input moves the output by one."""
    related, g = _Related(op, case), case.geometry
    moved = _XP.pad(related.leaves["input"], [(s, 0) for s in g.stride])
    output = related.on({**related.leaves, "input": moved})
    if output is not None:
        yield from related.equation(
            "output of the moved input", _sliced(output, [slice(1, None)] * g.spatial), related.output
        )


@declare("metamorphic", ("BC-1", "GI-1"), "kernel_flipped_along_width", Demand(products=3000, weight=0.3, bias=False))
def impulse_response_is_the_kernel(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A single 1 in the input puts the kernel, turned by 180 degrees, into the output around it."""
    reference = Reference(case)
    leaves = observe(op, case, requires=()).leaves
    unit = torch.zeros_like(leaves["input"])
    unit.view(-1)[case.seed % unit.numel()] = 1
    output = call(op, case, {**leaves, "input": unit})
    yield Equation(
        "impulse response", output, reference.narrow(reference.maps.forward(reference.wide(unit), reference.k)),
        norm=reference.norm,
    )  # fmt: skip


@declare(
    "metamorphic",
    ("FW-ALL",),
    "relative_error_1e4",
    Demand(products=1500, weight=0.3, bias=False, values=("integers",)),
)
def compositions_associate(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A 1x1 convolution of the output equals the convolution with the weight mixed by it."""
    related, g = _Related(op, case), case.geometry
    if g.groups > 1:
        return
    mix = related.leaves["weight"].flatten(1)[:, :1]  # [out, 1]
    mixed = (related.leaves["weight"].flatten(1).mT[:1] @ related.leaves["weight"].flatten(1)).view(
        1, *g.weight_shape[1:]
    )
    outer = related.on(
        {"input": related.output, "weight": mix.mT.reshape(1, -1, *[1] * g.spatial)},
        stride=(1,) * g.spatial, padding=(0,) * g.spatial, dilation=(1,) * g.spatial,
    )  # fmt: skip
    inner = related.on({"input": related.leaves["input"], "weight": mixed})
    if outer is not None and inner is not None:
        yield Equation(
            "1x1 after conv", outer, inner, norm=related.norm**2,
        )  # fmt: skip
