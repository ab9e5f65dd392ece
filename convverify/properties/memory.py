"""Memory that was never written, and memory around the operands that is nobody's to read or write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from convverify.case import ConvCase, Operands, layout_text
from convverify.comparison import Equation
from convverify.demand import Demand
from convverify.properties.base import declare
from convverify.properties.calls import equations, observe, of_samples
from convverify.reference import Reference
from convverify.target import Target

# Operands that lie within more memory, before and behind them: dense ones, and with channels last.
_SURROUNDED = tuple(
    layout_text({"input": layout, "weight": layout, "grad_output": layout, "bias": "offset"})
    for layout in ("offset", "channels_last_offset")
)


@declare(
    "memory", ("AD-1",), "last_column_unwritten",
    Demand(products=6000, usual=True, weight=0.5, corners=True, values=("integers",)),
)  # fmt: skip
def no_memory_is_read_before_written(op: Target, case: ConvCase) -> Iterator[Equation]:
    """With fresh memory filled with NaN by torch, as its deterministic mode does, every result is still right."""
    case = of_samples(op, case, 3)
    deterministic: bool = torch.are_deterministic_algorithms_enabled()
    fill: Any = torch.utils.deterministic
    warn_only, filled = torch.is_deterministic_algorithms_warn_only_enabled(), fill.fill_uninitialized_memory
    try:
        torch._C._set_deterministic_algorithms(True, warn_only=True)  # the public name imports inductor
        fill.fill_uninitialized_memory = True
        seen = observe(op, case)
        found = {"output": seen.output, **seen.grads()}
        mode = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch._C._set_deterministic_algorithms(deterministic, warn_only=warn_only)
        fill.fill_uninitialized_memory = filled
    yield from equations(case, Reference(case), found)
    yield Equation("deterministic mode, and whether it only warns, after the calls", mode, (True, True))


@declare(
    "memory", ("AD-1",), "writes_past_the_input",
    Demand(products=3000, usual=True, weight=0.3, values=("integers",)),
)  # fmt: skip
def memory_around_operands_is_left_alone(op: Target, case: ConvCase) -> Iterator[Equation]:
    """What lies in memory before and behind each operand is neither read nor written."""
    for layout in _SURROUNDED:
        asked = replace(case, layout=layout)
        if not op.domain.allows(asked):
            continue
        before = Operands(asked)
        seen = observe(op, asked)
        found = {"output": seen.output, **seen.grads()}
        yield from equations(asked, Reference(asked), found)
        for role, operand in {**seen.leaves, "grad_output": seen.operands.grad_output}.items():
            written = not torch.equal(_storage(operand), _storage(getattr(before, role)))
            yield Equation(f"whether memory around {role} was written", written, False)


def _storage(operand: Tensor) -> Tensor:
    """All the bytes of the memory that an operand lies within."""
    return torch.empty(0, dtype=torch.uint8, device=operand.device).set_(operand.untyped_storage())
