"""Threads: a result depends neither on the one that asks nor on how many torch may use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from convverify.case import ConvCase
from convverify.comparison import Equation
from convverify.demand import Demand
from convverify.properties.base import declare
from convverify.properties.calls import equations, geometry_arguments, observe, tensor
from convverify.reference import Reference
from convverify.target import Target

COUNTS = (2, 3)


@declare("threads", ("EX-1",), "other_threads_wrong", Demand(products=30_000, values=("normal", "wide"), weight=0.5))
def results_are_deterministic(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Run to run, and on another thread with nothing of the verifier on its stack, results differ by rounding at most.

    Not by bits: a matrix product may sum in another order where its operands are aligned otherwise.
    """
    first, second = observe(op, case), observe(op, case)
    reference = Reference(case)

    def same(role: str, what: str, actual: Tensor, expected: Tensor) -> Equation:
        return Equation(what, actual, expected, exact=False, terms=2 * reference.terms[role],
                        magnitude=reference.magnitudes[role])  # fmt: skip

    yield same("output", "output, run again", second.output.detach(), first.output.detach())
    leaves = {role: leaf.detach() for role, leaf in first.leaves.items()}
    plain = [*leaves.values(), *([None] if not case.bias else []), *geometry_arguments(op, case)]
    yield same("output", "output on another thread", tensor(_on_a_thread(op, plain)), first.output.detach())
    expected = first.grads()
    again = _grads_on_a_thread(op, second.output, list(second.leaves.values()), second.operands.grad_output)
    for (role, grad), other in zip(expected.items(), again, strict=True):
        yield same(role, f"grad_{role} on another thread", other, grad)


def _on_a_thread(op: Target, arguments: list[Any]) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return op.guarded(pool.submit(op.call, *arguments[: len(op.accepts)]).result)


def _grads_on_a_thread(op: Target, output: Tensor, leaves: list[Tensor], g: Tensor) -> tuple[Tensor, ...]:
    with ThreadPoolExecutor(1) as pool:
        found = op.guarded(pool.submit(torch.autograd.grad, output, leaves, g).result)
    return tuple(found)


@declare("threads", ("EX-1",), "wrong_on_two_threads", Demand(products=20_000, values=("integers",), weight=0.2))
def thread_counts_are_irrelevant(op: Target, case: ConvCase) -> Iterator[Equation]:
    """With torch.set_num_threads at two or three, where all else here runs on one, every result is exact."""
    count = COUNTS[case.seed % len(COUNTS)]
    with ThreadPoolExecutor(1) as pool, _threads(count):  # a forked process cannot use its parent's pool of threads
        seen = pool.submit(observe, op, case).result()
        found = {"output": seen.output, **pool.submit(seen.grads).result()}
    for equation in equations(case, Reference(case), found):
        yield replace(equation, what=f"{equation.what} on {count} threads")


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
