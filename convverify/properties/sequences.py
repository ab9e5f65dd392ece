"""Several calls in a row: each answers for its own operands, whatever was called before."""

from __future__ import annotations

import contextlib
import functools
import gc
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from convverify.answers import OperatorError, Unsupported
from convverify.case import ConvCase
from convverify.comparison import Equation
from convverify.demand import Demand
from convverify.properties.base import declare
from convverify.properties.calls import (
    LEAVES,
    call,
    equations,
    exact_results,
    geometry_arguments,
    observe,
    of_samples,
    undisturbed,
)
from convverify.reference import Reference
from convverify.target import Target

_SMALL = Demand(products=2000, usual=True, weight=0.5)
MANY_CALLS = 60
OUTPUTS = 12


def _labelled(what: str, equations: list[Equation]) -> Iterator[Equation]:
    for equation in equations:
        yield replace(equation, what=f"{equation.what} {what}")


@declare("sequences", ("FW-ALL",), "wrong_from_the_second_call", _SMALL)
def calls_are_independent(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A, B, A with one shape and other data: each call's results are its own, and stay so."""
    other = replace(case, seed=case.seed + 2)
    seen = [observe(op, each) for each in (case, other, case)]
    references = [Reference(case), Reference(other), Reference(case)]
    for place, each, reference in zip(("A", "B", "A again"), seen, references, strict=True):
        yield from _labelled(f"of call {place}", equations(case, reference, {"output": each.output}))
    for place, each, reference in reversed(list(zip(("A", "B", "A again"), seen, references, strict=True))):
        yield from _labelled(f"of call {place}", equations(case, reference, each.grads()))
    yield from undisturbed(op, case)


@declare("sequences", ("FW-ALL",), "bias_lost_after_a_refusal", replace(_SMALL, weight=0.3))
def refused_calls_leave_nothing(op: Target, case: ConvCase) -> Iterator[Equation]:
    """After a call that is refused, whose input has one channel too many, the next is right."""
    leaves = observe(op, case, requires=()).leaves
    surplus = torch.cat([leaves["input"], leaves["input"][:, :1]], 1)
    with contextlib.suppress(OperatorError, Unsupported):
        op(surplus, leaves["weight"], leaves.get("bias"), *geometry_arguments(op, case))
    yield from _labelled("after a call that was refused", list(exact_results(op, case)))


@declare("sequences", ("FW-ALL",), "plan_kept_by_shape", replace(_SMALL, least=3))
def geometries_do_not_mix(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Calls that differ in one argument, in the image's size or in the dtype alone do not answer for each other."""
    for other, mine in (*((other, case) for other in _neighbours(case)), *_of_the_same_shapes(case)):
        if not (op.domain.allows(other) and op.domain.allows(mine)):
            continue
        earlier = observe(op, mine)
        observe(op, other).grads()
        call = f"a call with {other.geometry} in {other.dtype}"
        yield from _labelled(f"with {call} before the backward", equations(mine, Reference(mine), earlier.grads()))
        what = f"after {call}"
        yield from _labelled(what, list(exact_results(op, mine)))
        observe(op, other, requires=())
        output = observe(op, mine, requires=()).output
        yield from _labelled(f"{what} without gradients", equations(mine, Reference(mine), {"output": output}))


def _neighbours(case: ConvCase) -> Iterator[ConvCase]:
    """Cases for which a plan that is kept by some of their sizes alone would be the same."""
    g = case.geometry
    yield case.with_geometry(padding="valid" if isinstance(g.padding, str) else tuple(p + 1 for p in g.padding))
    yield case.with_geometry(**({"padding": "valid"} if g.padding == "same" else {"stride": g.stride[::-1]}))
    yield case.with_geometry(in_channels=g.in_channels * 2, out_channels=g.out_channels * 2, groups=g.groups * 2)
    pixels = [a.input + 1 if a.remainder + 1 < a.stride else max(1, a.input - a.remainder) for a in g.axes]
    yield case.with_geometry(input_size=tuple(pixels))  # another image, of the same output
    if not isinstance(g.padding, str) and min(g.padding):  # a larger image, of the same size when it is padded
        yield case.with_geometry(
            input_size=tuple(size + 2 for size in g.input_size), padding=tuple(p - 1 for p in g.padding)
        )
    yield replace(case, dtype={"float64": "float32"}.get(case.dtype, "float64"))


def _of_the_same_shapes(case: ConvCase) -> Iterator[tuple[ConvCase, ConvCase]]:
    """Two cases with input, weight and output of the same shapes, either after the other: one is dilated."""
    kernel = tuple(max(2, size) for size in case.geometry.kernel_size)
    plain = case.with_geometry(
        input_size=tuple(2 * size - 1 for size in kernel), kernel_size=kernel, stride=kernel,
        padding=(0,) * len(kernel), dilation=(1,) * len(kernel),
    )  # fmt: skip
    dilated = plain.with_geometry(dilation=(2,) * len(kernel))
    yield plain, dilated
    yield dilated, plain


@declare("sequences", ("FW-ALL",), "packed_weights_miss_data_writes", _SMALL)
def storage_may_change_between_calls(op: Target, case: ConvCase) -> Iterator[Equation]:
    """The same tensors with other values in them, written in place or through `.data`, give the new results."""
    new = Reference(replace(case, seed=case.seed + 2))
    for grad_mode, what in ((torch.no_grad, "under no_grad"), (contextlib.nullcontext, "without gradients")):
        yield from _changed_without_gradients(op, case, grad_mode, what, new)
    seen = observe(op, case)
    seen.grads()
    for how in ("in place", "through .data"):
        for role, leaf in seen.leaves.items():
            value = getattr(new.operands, role)
            if how == "in place":
                with torch.no_grad():
                    leaf.add_(1).copy_(value)
            else:
                leaf.data.copy_(value)
        seen.output = call(op, case, seen.leaves)
        found = {"output": seen.output, **seen.grads(new.operands.grad_output)}
        yield from _labelled(f"with values changed {how}", equations(case, new, found))
        call(op, case, observe(op, case).leaves)
        with torch.no_grad():
            for role, leaf in seen.leaves.items():
                leaf.copy_(getattr(Reference(case).operands, role))
        call(op, case, seen.leaves)


def _changed_without_gradients(
    op: Target, case: ConvCase, grad_mode: Callable[[], contextlib.AbstractContextManager[Any]], what: str,
    new: Reference,
) -> Iterator[Equation]:
    leaves = observe(op, case, requires=()).leaves
    if grad_mode is torch.no_grad:  # as a model in evaluation has them
        leaves |= {role: nn.Parameter(leaf) for role, leaf in leaves.items() if role != "input"}
    with grad_mode():
        call(op, case, leaves)
    for how, reference in (("in place", new), ("through .data", Reference(case))):
        for role, leaf in leaves.items():
            with torch.no_grad():
                (leaf if how == "in place" else leaf.data).copy_(getattr(reference.operands, role))
        with grad_mode():
            output = call(op, case, leaves)
        yield from _labelled(f"with values changed {how}, {what}", equations(case, reference, {"output": output}))


@declare(
    "sequences", ("FW-ALL",), "wrong_from_the_fortieth_call",
    Demand(products=300, values=("integers",), weight=0.15, least=2),
)  # fmt: skip
def many_calls_stay_right(op: Target, case: ConvCase) -> Iterator[Equation]:
    """In dozens of calls with three kinds of data each result is right, and those of the first stay what they were."""
    case = of_samples(op, case, case.geometry.batch)
    cases = [replace(case, seed=case.seed + 2 * number) for number in range(3)]
    references = list(map(Reference, cases))
    first: dict[str, Tensor] = {}
    for number in range(MANY_CALLS):
        mine, reference = cases[number % 3], references[number % 3]
        seen = observe(op, mine)
        found = {"output": seen.output, **seen.grads()}
        first = first or found
        yield from _labelled(f"of call {number + 1}", equations(mine, reference, found))
        yield from _labelled(f"of the first call, after {number + 1}", equations(case, references[0], first))


@declare("sequences", ("AD-1",), "outputs_never_let_go", Demand(products=300, values=("integers",), weight=0.1))
def outputs_are_let_go(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Of many calls whose outputs nobody holds any more, a few tensors at most are still alive."""
    calls: list[Callable[[], object]] = [functools.partial(observe, op, case, requires) for requires in ((), LEAVES)]
    for each in (*calls, _of_a_model(op, case)):
        kept = _still_alive(each)
        yield Equation(f"whether {OUTPUTS} calls left more than {OUTPUTS // 2} tensors", kept > OUTPUTS // 2, False)


def _of_a_model(op: Target, case: ConvCase) -> Callable[[], object]:
    """A call, and its backward pass, with the same Parameters each time."""
    leaves = observe(op, case, requires=()).leaves
    model = {role: nn.Parameter(leaf) for role, leaf in leaves.items() if role != "input"}

    def run() -> None:
        output = call(op, case, {"input": leaves["input"].clone(), **model})
        op.guarded(torch.autograd.grad, output, list(model.values()), torch.ones_like(output))

    return run


def _still_alive(call: Callable[[], object]) -> int:
    """How many tensors many calls have made that are still there."""
    call()  # once for what is made once
    enabled = gc.isenabled()
    gc.collect(0)  # what was young before is so no more
    gc.disable()
    try:
        for _ in range(OUTPUTS):
            call()
        young = [weakref.ref(each) for each in gc.get_objects(0) if isinstance(each, Tensor)]
    finally:
        if enabled:
            gc.enable()
    for generation in (0, 1, 2):  # the last takes long, and only cycles that have survived need it
        if sum(each() is not None for each in young) > OUTPUTS // 2:
            gc.collect(generation)
    return sum(each() is not None for each in young)


@declare("sequences", ("FW-ALL", "GI-ALL", "GW-ALL"), "table_made_in_inference_mode", _SMALL)
def inference_leaves_training_alone(op: Target, case: ConvCase) -> Iterator[Equation]:
    """After a first call in inference mode, at sizes that were not met before, output and gradients are right."""
    sizes = tuple(size + 17 + case.seed % 7 for size in case.geometry.input_size)
    fresh = case.with_geometry(input_size=sizes)
    if not op.domain.allows(fresh):
        raise Unsupported("it claims no other sizes of images")
    with torch.inference_mode():
        call(op, fresh, observe(op, fresh, requires=()).leaves)
    yield from exact_results(op, fresh)


@declare("sequences", ("GI-ALL", "GW-ALL"), "gradients_accumulate", _SMALL)
def backward_may_run_again(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Through a kept graph the backward gives the same gradients a second and a third time."""
    seen, reference = observe(op, case), Reference(case)
    for place in ("first", "second", "third"):
        yield from _labelled(f"of the {place} backward", equations(case, reference, seen.grads()))
    other = replace(case, seed=case.seed + 2)
    further = Reference(case)
    further.g = Reference(other).g
    found = seen.grads(Reference(other).operands.grad_output)
    yield from _labelled("for another grad_output", equations(case, further, found))


@declare("sequences", ("FW-ALL", "GI-ALL", "GW-ALL"), "same_tensor_twice", _SMALL)
def input_and_weight_may_be_one_tensor(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A tensor convolved with itself gives its output, and the sum of both gradients."""
    g = case.geometry
    square = case.with_geometry(
        batch=g.out_channels, in_channels=g.in_channels // g.groups, input_size=g.kernel_size, groups=1,
        dilation=(1,) * g.spatial,
    )  # fmt: skip
    square = replace(square, bias=False)
    if not op.domain.allows(square):
        return
    reference = Reference(square)
    reference.k = reference.x
    x = reference.operands.input.requires_grad_()
    seen = observe(op, square)
    seen.output = call(op, square, {"input": x, "weight": x})
    seen.leaves = {"input": x}
    yield from equations(square, reference, {"output": seen.output})
    yield Equation(
        "gradient of the shared tensor", seen.grads()["input"],
        reference.gradients["input"] + reference.gradients["weight"],
        norm=reference.norm,
    )  # fmt: skip
