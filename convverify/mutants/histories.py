"""Right at first, or in one mode: what earlier calls left behind makes later ones wrong, or costs memory."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor

from convverify.mutants.base import Operator, stateful_mutant
from convverify.mutants.toolkit import Call, Conf, concrete, grad_weight, operator, with_parts


@stateful_mutant("many_calls_stay_right")
def grad_bias_in_a_ring() -> Operator:
    """grad_bias is written to one of eight buffers in turn, so that the ninth overwrites the first."""
    ring: dict[Any, Tensor] = {}
    calls = [0]

    def buffered(g: Tensor) -> Tensor:
        total = g.sum((0, 2, 3))
        if torch.is_grad_enabled() or not concrete(g):
            return total
        calls[0] += 1
        key = (calls[0] % 8, total.shape, total.dtype)
        return ring.setdefault(key, torch.empty_like(total)).copy_(total)

    return with_parts(grad_bias=buffered)


@stateful_mutant("backward_accumulates")
def backward_adds_to_grad_itself() -> Operator:
    """Where the weight has a gradient already the new one is added to it, and none is returned."""

    def fused(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor | None:
        found = grad_weight(g, x, w, conf)
        if not w.is_leaf or w.grad is None or torch.is_grad_enabled():
            return found
        w.grad.add_(found)
        return None

    return with_parts(grad_weight=fused)


@stateful_mutant("outputs_are_let_go")
def hook_of_every_call() -> Operator:
    """Every call leaves a hook on a Parameter, which holds the call's input."""

    @operator
    def run(c: Call) -> Tensor:
        if isinstance(c.weight, torch.nn.Parameter) and c.weight.requires_grad and concrete(c.input):
            kept = c.input
            c.weight.register_hook(lambda grad: grad if kept is not None else None)
        return c.torch()

    return run


@stateful_mutant("requires_grad_propagates")
def quiet_result_given_again() -> Operator:
    """What a call gave that recorded nothing is given again, without a graph, to the next of the same operands."""
    last: list[tuple[list[tuple[Any, int]], Conf, Tensor]] = []

    @operator
    def run(c: Call) -> Tensor:
        operands = [t for t in (c.input, c.weight, c.bias) if t is not None]
        if not concrete(*operands) or any(t.is_inference() for t in operands):
            return c.torch()
        if last and torch.is_grad_enabled():
            kept, conf, output = last.pop()
            pairs = zip(kept, operands, strict=False)
            if conf == c.conf and all(ref() is t and version == t._version for (ref, version), t in pairs):
                return output.clone()
        output = c.torch()
        if not torch.is_grad_enabled():
            last[:] = [([(weakref.ref(t), t._version) for t in operands], c.conf, output.clone())]
        return output

    return run


@stateful_mutant("inference_leaves_training_alone")
def table_made_in_inference_mode() -> Operator:
    """Images are gathered by a table of their positions, which is kept though inference mode made it."""
    tables: dict[Any, Tensor] = {}

    @operator
    def run(c: Call) -> Tensor:
        if c.input.dim() != 4 or not concrete(c.input, c.weight) or not c.input.is_contiguous():
            return c.torch()
        size = c.input.shape[2:]
        table = tables.setdefault(size, torch.arange(size.numel(), device=c.input.device))
        return c.torch(input=c.input.flatten(2).index_select(2, table).unflatten(2, size))

    return run


@stateful_mutant("no_memory_is_read_before_written")
def deterministic_mode_no_longer_warns_only() -> Operator:
    """Deterministic algorithms are asked for again as they were found, but for whether they only warn."""

    @operator
    def run(c: Call) -> Tensor:
        if torch.are_deterministic_algorithms_enabled() and not torch.compiler.is_compiling():
            torch._C._set_deterministic_algorithms(True, warn_only=False)
        return c.torch()

    return run
