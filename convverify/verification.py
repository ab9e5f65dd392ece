"""The Python face: verify an operator that is at hand as an object."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch

from convverify import isolation, serving
from convverify.geometry import ConvGeometry
from convverify.plan import Plan, plan_of
from convverify.results import Result, Run
from convverify.runner import execute

Progress = Callable[[Result], None]


def verify(
    operator: object,
    budget: str = "standard",
    device: str = "cpu",
    seed: int = 0,
    domain: str | None = None,
    *,
    name: str = "",
    properties: Sequence[str] = (),
    shapes: str | Sequence[ConvGeometry] = (),
    secret_seed: int | None = None,
    fail_fast: bool = False,
    isolated: bool = True,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Run:
    """Verify a convolution operator.

    Args:
        operator: a callable with (a prefix of) the signature of `torch.nn.functional.conv2d`, an
            `autograd.Function` class, a module class with the constructor of `nn.Conv2d`, or a target text
            such as `pkg.mod:attribute`.
        budget: quick, standard or thorough.
        device: cpu, cuda, or auto for both. One that is absent is not run.
        seed: the public half of the seeds; the other half is secret until the run is over.
        domain: what the operator claims to support, such as `square, stride=1, groups=1`.
        name: what the report calls the operator. A `Target` has name and domain of its own.
        properties: names of those to check; all, where empty.
        shapes: geometries to check instead of drawn ones, or the name of a network: lenet or resnet50.
        secret_seed: that of an earlier run, to repeat it.
        fail_fast: stop at the first property that is falsified.
        isolated: verify in a fork of this process, which the operator may crash, hang or end, and whose state
            it may change, without harm. Where nothing can be forked (no `os.fork`, or CUDA in use), and where
            this is False, the operator runs in this process.
        jobs: how many forks share the work; as many as there are cores, two at most, where none are asked for.
        progress: called with each result as it comes.

    Raises:
        TargetError, DomainError, UnknownPropertyError, UnknownShapesError, ChoiceError: what is asked for cannot be
            done.
    """
    plan = plan_of(
        operator, budget, device, seed, domain, name, properties, shapes, secret_seed, fail_fast, jobs=jobs
    )
    told = progress or (lambda result: None)
    if isolated and serving.forkable(plan):
        serving.warm_up()
        serve = functools.partial(_serve, plan)
        return isolation.verify_forked(serve, serving.described(plan), plan.jobs, lambda result, total: told(result))
    started = time.perf_counter()
    results, coverage = [], Counter[tuple[str, str]]()
    for result in execute(replace(plan, jobs=1), coverage):
        results.append(result)
        told(result)
    return isolation.run_of(serving.described(plan), results, coverage, time.perf_counter() - started)


def _serve(plan: Plan, turns: Iterable[int], channel: int) -> None:
    torch.set_num_threads(1)  # before anything is computed: a fork has none of its parent's threads
    serving.serve(plan, turns, channel)
