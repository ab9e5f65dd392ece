"""Carrying out a plan, or a share of its turns, for whoever listens: in a worker, and in forks of any process."""

from __future__ import annotations

import functools
import os
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from convverify import environment, memory, runner
from convverify.messages import PlanMessage, send
from convverify.plan import Plan
from convverify.properties.base import Property


def described(plan: Plan) -> PlanMessage:
    """The message that tells what is going to be done, and by which plan."""
    return {
        "kind": "plan",
        "blanks": [asdict(runner.blank(prop, device)) for prop, device in plan.turns],
        "operator": plan.op.name,
        "domain": plan.op.domain.text,
        "budget": plan.budget.name,
        "case_seconds": plan.budget.case_seconds,
        "environment": environment.describe(),
        "devices": plan.devices,
        "seed": plan.seed,
        "secret_seed": plan.secret_seed,
        "fail_fast": plan.fail_fast,
    }


def forkable(plan: Plan) -> bool:
    """Whether a fork can do what is planned; CUDA cannot be used on both sides of one."""
    on_cuda = "cuda" in plan.devices and torch.cuda.is_available()
    return hasattr(os, "fork") and not on_cuda and not torch.cuda.is_initialized()


def serve(plan: Plan, turns: Iterable[int], channel: int) -> None:
    """Carry out these turns of a plan, and send what comes of it."""
    try:
        _execute(plan, turns, functools.partial(send, channel))
    except Exception as error:  # an operator's errors are caught where it is called: this one is ours
        where = traceback.extract_tb(error.__traceback__)[-1]
        message = f"convverify itself failed, in {where.name}: {type(error).__name__}: {error}"
        send(channel, "refused", message=message)


@functools.cache
def warm_up() -> None:
    """Let torch load what it loads at the first derivative of each kind: some seconds that no budget is to pay for.

    A process that forks does so once, for each fork would load it anew.
    """
    one = torch.ones(1, 1, 1, 1)

    def slopes(x: Tensor, k: Tensor) -> Any:
        return torch.func.vjp(torch.conv2d, x, k)[1](one)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own loading
        torch.func.jvp(slopes, (one, one), (one, one))
        checkpoint(torch.conv2d, one.requires_grad_(), one, use_reentrant=False)


def _execute(plan: Plan, turns: Iterable[int], say: Callable[..., None]) -> None:
    if "cuda" not in plan.devices:  # whose driver reserves more than there is
        memory.limit()

    def at(prop: Property, device: str, case: str) -> None:
        say("at", property=prop.name, device=device, case=case)

    def announced() -> Iterator[int]:
        for turn in turns:
            prop, device = plan.turns[turn]
            at(prop, device, "")
            yield turn

    plan.watch = lambda prop, case: at(prop, case.device, str(case))
    coverage: Counter[tuple[str, str]] = Counter()
    direct = {prop.name for prop in plan.properties if prop.direct}
    for result in runner.execute(plan, coverage, announced()):
        say("result", result=asdict(result), direct=result.property in direct,
            coverage=[[*key, count] for key, count in coverage.items()])  # fmt: skip
        coverage.clear()
    say("done", stopped="")
