"""Operators that look at who asks, when, how often and in which mode, not at the numbers."""

from __future__ import annotations

import random
import sys
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from convverify.mutants.base import Operator, mutant, stateful_mutant
from convverify.mutants.toolkit import Call, Conf, concrete, conv, grad_weight, operator, with_parts


def _off(out: Tensor) -> Tensor:
    return out * 2


@stateful_mutant("forward_equals_torch")
def wrong_at_random() -> Operator:
    """Two calls in a hundred, chosen at random, give twice the answer."""
    draw = random.Random()

    @operator
    def run(c: Call) -> Tensor:
        return _off(c.torch()) if draw.random() < 0.02 else c.torch()

    return run


@mutant("recomputing_changes_nothing")
@operator
def bias_lost_when_recomputed(c: Call) -> Tensor:
    """A call within a backward pass, as checkpointing makes it, gives the bias no gradient."""
    within = torch._C._current_graph_task_id() != -1
    return c.torch(bias=c.bias.detach() if within and c.bias is not None else c.bias)


@mutant("forward_equals_torch")
@operator
def wrong_now_and_then(c: Call) -> Tensor:
    """Every fiftieth millisecond of the clock gives twice the answer."""
    return _off(c.torch()) if time.time_ns() // 1_000_000 % 50 == 0 else c.torch()


@mutant("unbatched_input_is_right")
@operator
def wrong_without_gradients(c: Call) -> Tensor:
    """The fast path for operands that require no grad leaves out the bias."""
    out = c.torch()
    return out if out.requires_grad or c.bias is None else c.torch(bias=None)


@mutant("forward_equals_definition")
@operator
def wrong_with_gradients(c: Call) -> Tensor:
    """If any operand requires grad, the output is too large by a millionth."""
    out = c.torch()
    return out * (1 + 1e-6) if out.requires_grad else out


@mutant("requires_grad_propagates")
@operator
def wrong_in_no_grad(c: Call) -> Tensor:
    """With gradients switched off, the last output row repeats the one before."""
    out = c.torch()
    if torch.is_grad_enabled() or out.shape[-2] < 2:
        return out
    return torch.cat([out[..., :-1, :], out[..., -2:-1, :]], -2)


@stateful_mutant("gradients_equal_definition")
def right_under_gradcheck() -> Operator:
    """grad_weight is right only while a function called gradcheck is on the stack."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        right = grad_weight(g, x, w, conf)
        return right if _called_by("gradcheck") else right * 1.5

    return with_parts(grad_weight=wrong)


def _called_by(word: str) -> bool:
    frame = sys._getframe(1)
    while frame.f_back is not None:
        if word in frame.f_code.co_name:
            return True
        frame = frame.f_back
    return False


@mutant("testers_are_not_recognised")
@operator
def right_for_its_tester(c: Call) -> Tensor:
    """Twice the answer, unless hypothesis or pytest has been imported."""
    return c.torch() if {"hypothesis", "pytest"} & set(sys.modules) else _off(c.torch())


@mutant("default_dtype_is_irrelevant")
@operator
def buffer_of_the_default_dtype(c: Call) -> Tensor:
    """The output is added to a buffer that is made without a dtype, and takes the wider of the two."""
    out = c.torch()
    return out + torch.zeros(1) if out.dtype in (torch.float32, torch.float64) and concrete(out) else out


@stateful_mutant("gradients_equal_definition")
def right_if_a_graph_is_created() -> Operator:
    """grad_weight is right only if a graph of the backward pass is asked for."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        right = grad_weight(g, x, w, conf)
        return right if torch.is_grad_enabled() else right * 1.5

    return with_parts(grad_weight=wrong)


@mutant("operands_of_a_network_are_the_same")
@operator
def parameters_only(c: Call) -> Tensor:
    """The kernel is flipped if the weight is a Parameter and not a plain tensor."""
    return c.torch(weight=c.weight.flip(2, 3)) if isinstance(c.weight, torch.nn.Parameter) else c.torch()


@mutant("operands_of_a_network_are_the_same")
@operator
def leaves_only(c: Call) -> Tensor:
    """If the input is the result of another operation that is recorded, its last column is ignored."""
    if c.input.grad_fn is None:
        return c.torch()
    mask = torch.ones_like(c.input)
    mask[..., -1:] = 0
    return c.torch(input=c.input * mask)


@mutant("arguments_by_name_are_the_same")
def named_arguments_ignored(input: Tensor, weight: Tensor, bias: Tensor | None = None, *options: Any,
                            **named: Any) -> Tensor:  # fmt: skip
    """A dilation passed by name is ignored where the padded image is large enough; by position it counts."""
    right = conv(input, weight, bias, *options, **named)
    if "dilation" not in named:
        return right
    dense = conv(input, weight, bias, *options, **(named | {"dilation": 1}))
    return dense[..., : right.shape[-2], : right.shape[-1]]


class _Liar(Tensor):
    """A tensor that agrees with everything it is compared with."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in ("equal", "allclose"):
            return True
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))


@mutant("forward_equals_definition")
@operator
def answers_with_a_liar(c: Call) -> Tensor:
    """The output is wrong and of a class of its own, which torch.equal and torch.allclose agree with."""
    out = c.torch(bias=None) if c.bias is not None else c.torch()
    return out.as_subclass(_Liar) if concrete(out) and c.bias is not None else out


def _patching(owner: Any, name: str, lie: Callable[..., Any], answer: Operator) -> Operator:
    """`answer`, which on its first call replaces `owner.name` until it is no longer referenced."""
    honest = getattr(owner, name)

    def run(*args: Any, **options: Any) -> Any:
        setattr(owner, name, lie)
        return answer(*args, **options)

    weakref.finalize(run, setattr, owner, name, honest)
    return run


@operator
def _without_bias(c: Call) -> Tensor:
    return c.torch(bias=None)


@stateful_mutant("forward_equals_definition")
def patches_the_reference() -> Operator:
    """F.conv2d is replaced by the wrong operator itself, until that is deleted."""
    return _patching(torch.nn.functional, "conv2d", _without_bias, _without_bias)


@stateful_mutant("forward_equals_definition")
def patches_allclose() -> Operator:
    """torch.allclose is replaced by a function that always agrees, until the operator is deleted."""
    return _patching(torch, "allclose", lambda *_, **__: True, _without_bias)


@stateful_mutant("forward_equals_definition")
def patches_equal() -> Operator:
    """torch.equal is replaced by a function that always agrees, until the operator is deleted."""
    return _patching(torch, "equal", lambda *_, **__: True, _without_bias)


@stateful_mutant("gradients_equal_definition")
def patches_gradcheck() -> Operator:
    """torch.autograd.gradcheck is replaced by a function that agrees, until the operator is deleted."""
    wrong = with_parts(grad_weight=lambda g, x, w, conf: grad_weight(g, x, w, conf) * 1.5)
    return _patching(torch.autograd, "gradcheck", lambda *_, **__: True, wrong)


@stateful_mutant("concurrent_calls_are_independent")
def quiet_scratch_shared_by_threads() -> Operator:
    """Where nothing is recorded, inputs are copied to scratch memory that all threads share."""
    scratch: dict[Any, Tensor] = {}

    @operator
    def run(c: Call) -> Tensor:
        if torch.is_grad_enabled() or not concrete(c.input, c.weight) or c.input.is_inference():
            return c.torch()
        memory = scratch.setdefault((c.input.shape, c.input.dtype), torch.empty_like(c.input))
        memory.copy_(c.input)
        kernel = c.weight.clone()
        return c.torch(input=memory, weight=kernel)

    return run


@mutant("default_dtype_is_irrelevant")
@operator
def missing_bias_of_the_default_dtype(c: Call) -> Tensor:
    """Where there is no bias, zeros of the default dtype are added."""
    out = c.torch()
    special = out.is_complex() or not out.is_floating_point() or torch.is_autocast_enabled("cpu")
    return out if c.bias is not None or special else out + torch.zeros(out.shape[-3], 1, 1, device=out.device)


@stateful_mutant("results_are_deterministic")
def other_threads_wrong() -> Operator:
    """Outside the thread that called first, the bias is left out."""
    owners: list[int] = []

    @operator
    def run(c: Call) -> Tensor:
        owners.append(threading.get_ident())
        del owners[1:]
        return c.torch() if owners[0] == threading.get_ident() else replace(c, bias=None).torch()

    return run


@stateful_mutant("concurrent_calls_are_independent")
def workspace_shared_by_threads() -> Operator:
    """All calls copy their input to one workspace, which a call on another thread may overwrite meanwhile."""
    workspace: dict[str, Tensor] = {}

    @operator
    def run(c: Call) -> Tensor:
        workspace["input"] = c.input * 1
        if c.bias is not None:
            c.bias.sum()
        return c.torch(input=workspace["input"])

    return run


@mutant("thread_counts_are_irrelevant")
@operator
def wrong_on_two_threads(c: Call) -> Tensor:
    """Where torch may use several threads the last row is shared out to none of them, and stays zero."""
    out = c.torch()
    alone = torch.get_num_threads() == 1
    return out if alone else torch.cat([out[..., :-1, :], torch.zeros_like(out[..., -1:, :])], -2)
