"""Operators that remember: what they answer depends on earlier calls."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from convverify.mutants.base import Operator, stateful_mutant
from convverify.mutants.toolkit import (
    Call,
    Conf,
    Parts,
    Size,
    assemble,
    concrete,
    conv,
    forward,
    grad_input,
    grad_weight,
    operator,
    posing,
    with_parts,
)

LARGE = 10_000  # more is not kept, so that memory stays bounded


def _from_call(number: int) -> Operator:
    """An operator that is off by a little from its n-th call on."""
    calls = Counter[str]()

    @operator
    def run(c: Call) -> Tensor:
        calls["all"] += 1
        return c.torch() * 2 if calls["all"] >= number else c.torch()

    return run


@stateful_mutant("calls_are_independent")
def wrong_from_the_second_call() -> Operator:
    """The second call and all later ones give twice the answer."""
    return _from_call(2)


@stateful_mutant("many_calls_stay_right")
def wrong_from_the_fortieth_call() -> Operator:
    """From the fortieth call on the answer is doubled."""
    return _from_call(40)


@stateful_mutant("geometries_do_not_mix")
def options_of_the_last_call() -> Operator:
    """The backward takes the options of the last forward, which need not be its own."""
    last: list[Conf] = []

    def remember(x: Tensor, w: Tensor, b: Tensor | None, conf: Conf) -> Tensor:
        last[:] = [conf]
        return forward(x, w, b, conf)

    return with_parts(forward=remember, grad_input=lambda g, x, w, conf: grad_input(g, x, w, last[0]))


@stateful_mutant("refused_calls_leave_nothing")
def bias_lost_after_a_refusal() -> Operator:
    """A flag that a refused call leaves set makes the next call forget its bias."""
    busy: list[bool] = []

    def conv2d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Size = 1,
               padding: Size | str = 0, dilation: Size = 1, groups: int = 1) -> Tensor:  # fmt: skip
        if busy:
            bias = None if bias is None else bias * 0
        busy[:] = [True]
        out = conv(input, weight, bias, stride, padding, dilation, groups)
        busy.clear()
        return out

    return conv2d


@stateful_mutant("gradients_of_every_subset")
def wrong_after_three_hundred_calls() -> Operator:
    """From the three hundredth call on the answer is doubled."""
    return _from_call(300)


@stateful_mutant("forward_equals_definition")
def first_call_cold() -> Operator:
    """The first call only warms up: its last output column is zero."""
    calls = Counter[str]()

    @operator
    def run(c: Call) -> Tensor:
        calls["all"] += 1
        out = c.torch()
        return torch.cat([out[..., :-1], out[..., -1:] * 0], -1) if calls["all"] == 1 else out

    return run


@stateful_mutant("forward_equals_torch")
def answers_cached_by_shape() -> Operator:
    """Answers are kept by the shapes of the operands and the options, whatever the data."""
    kept: dict[Any, Tensor] = {}

    @operator
    def run(c: Call) -> Tensor:
        if not concrete(c.input, c.weight, c.bias):
            return c.torch()
        key = (c.input.shape, c.weight.shape, c.bias is None, c.explicit().conf, c.input.dtype)
        out = c.torch()
        if out.numel() > LARGE:
            return out
        return posing(out, kept.setdefault(key, out.detach().clone()))

    return run


@stateful_mutant("exact_gradcheck")
def answers_cached_by_address() -> Operator:
    """Answers are kept by the addresses of the operands: stale if the storage is filled anew."""
    kept: dict[Any, Tensor] = {}

    @operator
    def run(c: Call) -> Tensor:
        if not concrete(c.input, c.weight, c.bias):
            return c.torch()
        places = tuple((t.data_ptr(), t.shape, t.stride()) for t in (c.input, c.weight))
        key = (*places, None if c.bias is None else c.bias.data_ptr(), c.explicit().conf, c.input.dtype)
        out = c.torch()
        if out.numel() > LARGE:
            return out
        return posing(out, kept.setdefault(key, out.detach().clone()))

    return run


@stateful_mutant("exact_gradcheck")
def packed_weights_stale() -> Operator:
    """Weights are packed once a tensor and not again after they were changed in place."""
    packed: Any = WeakIdKeyDictionary()

    @operator
    def run(c: Call) -> Tensor:
        if not concrete(c.weight):
            return c.torch()
        return c.torch(weight=posing(c.weight, packed.setdefault(c.weight, c.weight.detach().clone())))

    return run


@stateful_mutant("storage_may_change_between_calls")
def packed_weights_miss_data_writes() -> Operator:
    """Packed weights follow the version counter, which writes through `.data` do not raise."""
    packed: Any = WeakIdKeyDictionary()

    @operator
    def run(c: Call) -> Tensor:
        if not concrete(c.weight) or torch.is_inference(c.weight):
            return c.torch()
        version, kept = packed.get(c.weight, (-1, c.weight))
        if version != c.weight._version:
            kept = c.weight.detach().clone()
            packed[c.weight] = (c.weight._version, kept)
        return c.torch(weight=posing(c.weight, kept))

    return run


@stateful_mutant("geometries_do_not_mix")
def plan_kept_by_shape() -> Operator:
    """A plan is kept by the shapes of input, weight and output: another dilation or stride finds it again."""
    plans: dict[Any, Conf] = {}

    @operator
    def run(c: Call) -> Tensor:
        e, out = c.explicit(), c.torch()
        key = (tuple(e.input.shape[-2:]), tuple(c.weight.shape), tuple(out.shape[-2:]), c.groups)
        conf = plans.setdefault(key, e.conf)
        return out if conf == e.conf else e.torch(**conf._asdict())

    return run


@stateful_mutant("forward_is_bilinear")
def output_buffer_reused() -> Operator:
    """Calls of one shape without gradients write into one buffer: the earlier answer is overwritten."""
    buffers: dict[Any, Tensor] = {}

    @operator
    def run(c: Call) -> Tensor:
        out = c.torch()
        if out.requires_grad or not concrete(out, c.input, c.weight) or torch.is_inference(out):
            return out
        return buffers.setdefault((out.shape, out.stride(), out.dtype), out).copy_(out)

    return run


@stateful_mutant("every_operand_bit_counts")
def grad_buffer_reused() -> Operator:
    """grad_weight of one shape is always the same buffer."""
    buffers: dict[Any, Tensor] = {}

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        right = grad_weight(g, x, w, conf)
        if right.requires_grad or not concrete(right):
            return right
        return buffers.setdefault((right.shape, right.stride(), right.dtype), right).copy_(right)

    return with_parts(grad_weight=wrong)


@stateful_mutant("calls_are_independent")
def backward_of_the_latest_call() -> Operator:
    """The backward pass uses the input of the latest forward pass of that shape."""
    latest: dict[Any, Tensor] = {}

    def right(x: Tensor, w: Tensor, b: Tensor | None, conf: Conf) -> Tensor:
        if concrete(x):
            latest[x.shape, x.dtype] = x
        return forward(x, w, b, conf)

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        seen = latest.get((x.shape, x.dtype), x) if concrete(x) else x
        return grad_weight(g, seen if concrete(g, w) and not torch.equal(seen, x) else x, w, conf)

    return with_parts(forward=right, grad_weight=wrong)


@stateful_mutant("backward_accumulates")
def second_backward_doubled() -> Operator:
    """A second backward pass through the same graph gives twice grad_input."""

    @operator
    def run(c: Call) -> Tensor:
        passes = Counter[str]()

        def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
            passes["all"] += 1
            return grad_input(g, x, w, conf) * (2 if passes["all"] > 1 else 1)

        return assemble(Parts(grad_input=wrong), c)

    return run


@stateful_mutant("backward_may_run_again")
def gradients_accumulate() -> Operator:
    """grad_weight carries a thousandth of the previous gradient of its shape along."""
    earlier: dict[Any, Tensor] = {}

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        right = grad_weight(g, x, w, conf)
        if not concrete(right):
            return right
        previous = earlier.get((right.shape, right.dtype))
        earlier[right.shape, right.dtype] = right.detach()
        return right if previous is None else right + previous * 1e-3

    return with_parts(grad_weight=wrong)


@stateful_mutant("results_are_deterministic")
def wrong_after_a_refusal() -> Operator:
    """After a refused call the workspace is dirty: the next answer is wrong."""
    calls = Counter[str]()

    @operator
    def answer(c: Call) -> Tensor:
        calls["answered"] += 1
        dirty = calls["begun"] > calls["answered"]
        calls["begun"] = calls["answered"]
        return c.torch() * 2 if dirty else c.torch()

    def run(*args: Any, **options: Any) -> Any:
        calls["begun"] += 1
        return answer(*args, **options)

    return run
