"""The circumstances of a call: who asks, on which thread, with how many of them, under which default dtype."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from convverify.case import ConvCase
from convverify.comparison import Equation
from convverify.demand import Demand
from convverify.properties.base import Refusal, declare
from convverify.properties.calls import (
    call,
    equations,
    geometry_arguments,
    observe,
    of_samples,
    tensor,
    undisturbed,
)  # fmt: skip
from convverify.reference import Reference
from convverify.target import Target
from convverify.threads import Relay, pool

COUNTS = (2, 3)
CALLERS = 2
TESTERS = ("convverify", "hypothesis", "pytest", "_pytest", "pluggy", "xdist")


@declare(
    "circumstances", ("EX-1",), "other_threads_wrong",
    Demand(products=30_000, usual=True, values=("normal", "wide"), weight=0.5),
)  # fmt: skip
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
    with pool(1) as other:
        return op.guarded(other.submit(op.call, *op.taken(*arguments)).result)


def _grads_on_a_thread(op: Target, output: Tensor, leaves: list[Tensor], g: Tensor) -> tuple[Tensor, ...]:
    with pool(1) as other:
        found = op.guarded(other.submit(torch.autograd.grad, output, leaves, g).result)
    return tuple(found)


@declare(
    "circumstances", ("EX-1",), "right_for_its_tester",
    Demand(products=3000, usual=True, values=("integers",), weight=0.2), refusal=Refusal.ALLOWED,
)  # fmt: skip
def testers_are_not_recognised(op: Target, case: ConvCase) -> Iterator[Equation]:
    """With no tester among the loaded modules, on the stack, in the arguments or the environment, results are exact."""
    reference = Reference(case)
    expected = reference.output, reference.gradients  # before anything is hidden
    seen = observe(op, case)
    leaves = list(seen.leaves.values())
    plain = [*leaves, *([None] if not case.bias else []), *geometry_arguments(op, case)]
    with _unwatched():
        seen.output = tensor(_on_a_thread(op, plain))
        grads = _grads_on_a_thread(op, seen.output, leaves, seen.operands.grad_output)
    found = {"output": seen.output, **dict(zip(expected[1], grads, strict=True))}
    for equation in equations(case, reference, found):
        yield replace(equation, what=f"{equation.what} with nobody watching")


@contextlib.contextmanager
def _unwatched() -> Iterator[None]:
    """Inside, no module of a tester is to be found, and nothing tells of one."""

    def testers() -> dict[str, Any]:
        return {name: module for name, module in sys.modules.items() if name.partition(".")[0] in TESTERS}

    hidden, arguments = testers(), sys.argv
    told = {name: value for name, value in os.environ.items() if name.lower().startswith(TESTERS)}
    try:
        sys.argv = ["train.py"]
        for name in hidden:
            del sys.modules[name]
        for name in told:
            del os.environ[name]
        yield
    finally:
        for name in testers():  # imported anew
            del sys.modules[name]
        sys.modules.update(hidden)
        os.environ.update(told)
        sys.argv = arguments


@declare(
    "circumstances", ("EX-1",), "buffer_of_the_default_dtype",
    Demand(products=3000, usual=True, values=("integers",), weight=0.2),
)  # fmt: skip
def default_dtype_is_irrelevant(op: Target, case: ConvCase) -> Iterator[Equation]:
    """With another default dtype than the operands' own, every result keeps the operands' and is exact."""
    before = torch.get_default_dtype()
    for each in filter(op.domain.allows, dict.fromkeys((case, replace(case, bias=False)))):
        torch.set_default_dtype(torch.float32 if case.torch_dtype == torch.float64 else torch.float64)
        try:
            seen = observe(op, each)
            found = {"output": seen.output, **seen.grads()}
        finally:
            torch.set_default_dtype(before)
        for equation in equations(each, Reference(each), found):
            yield replace(equation, what=f"{equation.what} under another default dtype")


@declare(
    "circumstances", ("EX-1",), "workspace_shared_by_threads",
    Demand(products=3000, usual=True, values=("integers",), weight=0.15, least=2),
)  # fmt: skip
def concurrent_calls_are_independent(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Calls with other data on other threads at the same time change no result."""
    cases = [replace(case, seed=case.seed + 2 * number) for number in range(CALLERS)]
    references = list(map(Reference, cases))
    seen = [observe(op, each) for each in cases]

    def results(number: int) -> list[dict[str, Tensor]]:
        found = []
        for relay in relays:
            with relay.running(number):
                mine = replace(seen[number], output=call(op, cases[number], seen[number].leaves))
                found.append({"output": mine.output, **mine.grads()})
                with torch.no_grad():
                    found.append({"output": call(op, cases[number], seen[number].leaves)})
        later[number] = list(undisturbed(op, cases[number]))
        return found

    relays = [Relay(CALLERS, event) for event in ("line", "opcode")]
    later: list[list[Equation]] = [[] for _ in cases]
    with pool(CALLERS) as callers:
        everything = list(callers.map(results, range(CALLERS)))
    for each, reference, rounds, outputs in zip(cases, references, everything, later, strict=True):
        yield from outputs
        for found in rounds:
            for equation in equations(each, reference, found):
                yield replace(equation, what=f"{equation.what} beside other calls")


@declare(
    "circumstances", ("EX-1",), "wrong_on_two_threads",
    Demand(products=20_000, usual=True, values=("integers",), weight=0.2),
)  # fmt: skip
def thread_counts_are_irrelevant(op: Target, case: ConvCase) -> Iterator[Equation]:
    """With torch.set_num_threads at two or three, where all else here runs on one, every result is exact."""
    count = COUNTS[case.seed % len(COUNTS)]
    case = of_samples(op, case, count + 1)  # which do not divide evenly among the threads
    with pool(1) as other, _threads(count):  # a forked process cannot use its parent's pool of threads
        seen = other.submit(observe, op, case).result()
        found = {"output": seen.output, **other.submit(seen.grads).result()}
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
