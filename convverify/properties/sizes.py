"""Sizes where implementations change their ways: tiles and tails, thresholds, empty batches, real layers."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from convverify.answers import Unsupported
from convverify.case import ConvCase, Operands
from convverify.child import ProcessDied
from convverify.comparison import Equation
from convverify.demand import Demand
from convverify.properties.base import KnownFailure, Refusal, Refuted, declare
from convverify.properties.calls import (
    LEAVES,
    ONE_NUMBER,
    apart,
    call,
    equations,
    exact_results,
    geometry_arguments,
    observe,
    tensor,
    undisturbed,
)
from convverify.reference import Maps, Reference
from convverify.target import Target


def _by_name(case: ConvCase) -> bool:
    return isinstance(case.geometry.padding, str)


@declare(
    "sizes",
    ("FW-ALL", "GI-ALL", "GW-ALL"),
    "tile_width",
    Demand(thresholds=True, products=0, values=("integers", "large"), weight=6, least=142),
)
def every_size_is_right(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Batch, channels, image, kernel and options, one at a time through many sizes, and several at odd ones: exact."""
    yield from exact_results(op, case)


@declare(
    "sizes", ("FW-ALL", "GI-ALL", "GW-ALL"), "pointwise_stride_of_the_height",
    Demand(combinations=True, products=0, values=("integers", "large"), weight=5, least=90),
)  # fmt: skip
def options_combine(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Any three kinds of kernel, stride, padding, dilation, channels, batch and image met together: exact."""
    yield from exact_results(op, case)


@declare(
    "sizes", ("FW-ALL", "GI-ALL", "GW-ALL"), "winograd_of_four_channels_odd_width",
    Demand(usual=True, products=0, values=("integers", "large", "smoothing"), weight=5, least=114),
    refusal=Refusal.DECLARED,
)  # fmt: skip
def usual_layers_are_right(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Layers as networks have them or nearly, on odd and even images, also in channels_last: exact, and undisturbed."""
    yield from exact_results(op, case)
    yield from undisturbed(op, case)


@declare(
    "sizes", ("FW-ALL", "GI-ALL", "GW-ALL"), "terms_beyond_a_thousand",
    Demand(products=3_000_000, values=("large", "bell"), large=True, weight=2.5, least=20),
)  # fmt: skip
def large_layers_are_right(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Layers of many channels and pixels at once are exact, forward and backward."""
    yield from exact_results(op, case)


@declare(
    "sizes",
    ("SP-1",),
    "same_shifted_for_even_kernels",
    Demand(products=3000, strings=True, corners=True, weight=0.7, where=_by_name),
    refusal=Refusal.ALLOWED,
)
def padding_by_name_is_right(op: Target, case: ConvCase) -> Iterator[Equation]:
    """padding='same' keeps the size, with the odd zero at the far end, and 'valid' pads nothing."""
    yield from exact_results(op, case)


@declare(
    "sizes", ("FW-1", "GI-1", "GW-3"), "unbatched_without_bias",
    Demand(products=3000, usual=True, corners=True, operand_layouts=("input", "weight"), weight=0.3),
    refusal=Refusal.ALLOWED,
)  # fmt: skip
def unbatched_input_is_right(op: Target, case: ConvCase) -> Iterator[Equation]:
    """An input without a batch axis gives output and gradients of that one sample, without a batch axis."""
    _accept_channels_first(op, case)
    yield from _axes_of_length_one(op, case)
    reference, operands = Reference(case), Operands(case)
    for index in range(min(2, case.geometry.batch)):
        for requires in ((), LEAVES):
            alone, sample = observe(op, case, requires), case.with_geometry(batch=1)
            alone.leaves["input"] = operands.input[index].detach().requires_grad_("input" in requires)
            alone.output = call(op, case, alone.leaves)
            yield Equation("output without a batch", alone.output.detach(), reference.output[index],
                           norm=reference.norms["output"][index])  # fmt: skip
            yield Equation("shape of the input after the call", alone.leaves["input"].shape, operands.input.shape[1:])
        right = Reference(sample)
        right.x, right.k, right.g = reference.x[index][None], reference.k, reference.g[index][None]
        found = alone.grads(operands.grad_output[index])
        found["input"] = found["input"][None]
        for equation in equations(sample, right, found):
            yield replace(equation, what=f"{equation.what} without a batch")


def _axes_of_length_one(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Of one filter and one position, whose axes are axes nevertheless."""
    g = case.geometry
    size = tuple(axis.reach + 1 for axis in g.axes)
    one = case.with_geometry(
        batch=1, in_channels=2, out_channels=1, groups=1, input_size=size, padding=(0,) * g.spatial
    )
    if op.domain.allows(one):
        leaves = observe(op, one, requires=()).leaves
        output = call(op, one, {**leaves, "input": leaves["input"][0]})
        shape = tuple(output.shape)
        yield Equation("shape of an output of one number, without a batch", shape, one.geometry.output_shape[1:])


def _accept_channels_first(op: Target, case: ConvCase) -> None:
    """Give it three channels without a batch.

    What takes the first axis for a batch raises here, where with a single channel or with padding it would compute
    something else.
    """
    g = case.geometry
    ones = (1,) * g.spatial
    size = tuple(kernel + axis + 1 for axis, kernel in enumerate(g.kernel_size))
    three = case.with_geometry(
        batch=1, in_channels=3, out_channels=2, groups=1, input_size=size, stride=ones, dilation=ones,
        padding=(0,) * g.spatial,
    )  # fmt: skip
    plain = op.domain.fit(three)
    if plain is not None:
        operands = Operands(plain)
        op(operands.input[0], operands.weight, operands.bias, *geometry_arguments(op, plain))


@declare(
    "sizes",
    ("FW-1", "GW-3"),
    "grad_weight_of_an_empty_batch_unwritten",
    Demand(products=3000, weight=0.2),
    refusal=Refusal.ALLOWED,
)
def empty_batches_are_right(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A batch of no samples gives an output of no samples, and weight and bias gradients of zeros."""
    empty = case.with_geometry(batch=0)
    seen, reference = observe(op, empty), Reference(empty, Maps)
    yield from equations(empty, reference, {"output": seen.output})
    with contextlib.suppress(Refuted):  # to record nothing for no samples is an answer, too
        yield from equations(empty, reference, seen.grads())


@declare(
    "sizes",
    ("FW-1",),
    "empty_sum_loses_the_bias",
    Demand(products=3000, weight=0.2, where=lambda case: case.bias),
    refusal=Refusal.ALLOWED,
)
def no_input_channels_leave_the_bias(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Without input channels the sums are empty: the output is the bias, in every output channel."""
    if "bias" not in op.accepts:
        raise Unsupported("it takes no bias")
    none = replace(case.with_geometry(in_channels=0, groups=1), bias=True)
    if not op.domain.allows(none):
        return
    output, right = observe(op, none, requires=()).output, Reference(none, Maps)
    if not output.numel() and right.output.numel():
        raise KnownFailure("as torch itself does, it gives no output channels where there are no input channels")
    yield from equations(none, right, {"output": output})


@declare(
    "sizes",
    ("FW-1",),
    "padding_alone_loses_the_bias",
    Demand(products=1500, weight=0.2, values=("integers",), where=lambda case: case.bias, least=2),
)
def windows_in_the_padding_give_the_bias(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Where every window lies in the padding the output is the bias, and input and weight have zero gradients."""
    beside = _beside_the_image(case)
    last = replace(beside, layout="input:channels_last,weight:channels_last")  # in which torch fails
    for asked in filter(op.domain.allows, (last, beside)):
        yield from equations(asked, Reference(asked, Maps), _in_a_process_of_its_own(op, asked))
        return


def _beside_the_image(case: ConvCase) -> ConvCase:
    """The case with a last axis of one pixel, on whose either side the windows lie."""
    g = case.geometry
    last = {"input_size": 1, "kernel_size": 1, "stride": 2, "padding": 1 + 2 * (case.seed % 3),
            "dilation": 2 + case.seed % 3}  # fmt: skip
    sizes = {name: (*getattr(g, name)[:-1], size) for name, size in last.items()}
    return case.with_geometry(in_channels=2 * g.in_channels, **sizes)


def _in_a_process_of_its_own(op: Target, case: ConvCase) -> dict[str, Tensor]:
    """Output and gradients, on the CPU from a child: torch's own convolution may end its process here.

    Raises:
        KnownFailure, Refuted: the operator ends its process, as torch's does here, or does not.
    """
    try:
        return apart(op, case, lambda: _results(op, case))
    except ProcessDied as died:
        try:
            own = Target(torch.nn.functional.conv2d)
            apart(own, case, lambda: _results(own, case))
        except ProcessDied as torchs:
            if str(torchs) == str(died):
                why = f"as torch itself does, it ends its process ({died}) where every window lies in the padding"
                raise KnownFailure(why) from died
        raise Refuted(f"it ends its process ({died}) where every window lies in the padding") from died


def _results(op: Target, case: ConvCase) -> dict[str, Tensor]:
    seen = observe(op, case)
    return {"output": seen.output, **seen.grads()}


@declare("sizes", ("FW-1",), "padding_by_default", Demand(products=1500, weight=0.3))
def defaults_are_torchs(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Called with input and weight alone, stride, dilation and groups are 1, padding is 0, and there is no bias."""
    g = case.geometry
    size = tuple(max(n, k) for n, k in zip(g.input_size, g.kernel_size, strict=True))
    ones = (1,) * g.spatial
    plain = replace(case, bias=False).with_geometry(
        input_size=size, stride=ones, padding=(0,) * g.spatial, dilation=ones, groups=1
    )
    if not (op.has_defaults and op.domain.allows(plain)):
        return
    leaves = observe(op, plain, requires=()).leaves
    output = tensor(op.guarded(op.call, leaves["input"], leaves["weight"]))
    yield from equations(plain, Reference(plain), {"output": output})


@declare("sizes", ("FW-1",), "named_arguments_ignored", Demand(products=1500, weight=0.3), refusal=Refusal.ALLOWED)
def arguments_by_name_are_the_same(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Arguments given by torch's names mean the same as by position."""
    leaves = observe(op, case, requires=()).leaves
    stride, padding, dilation, groups = geometry_arguments(op, case)
    named = {
        "bias": leaves.get("bias"),
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
    }
    taken = {name: value for name, value in named.items() if name in op.accepts}
    output = tensor(op.guarded(op.call, leaves["input"], leaves["weight"], **taken))
    yield from equations(case, Reference(case), {"output": output})


@declare("sizes", ("FW-1",), "one_entry_means_the_height", Demand(products=1500, weight=0.3), refusal=Refusal.ALLOWED)
def arguments_as_lists_are_the_same(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Arguments given as lists mean the same as tuples, one entry every axis (or is refused); no call changes them."""
    if op.domain.words & ONE_NUMBER:
        raise Unsupported("it takes one number for both axes")
    a_function = op.module_class is None  # nn.Conv2d itself reads a single entry of padding as the width's

    def listed(size: Any) -> Any:
        alike = len(set(size)) == 1
        return size if isinstance(size, str) else list(size[:1] if alike and a_function else size)

    for asked in filter(op.domain.allows, (case, case.with_geometry(stride=(2,) * case.geometry.spatial))):
        g, leaves = asked.geometry, observe(op, asked, requires=()).leaves
        arguments = listed(g.stride), listed(g.padding), listed(g.dilation), g.groups
        before = copy.deepcopy(arguments)
        output = tensor(op(leaves["input"], leaves["weight"], leaves.get("bias"), *arguments))
        yield from equations(asked, Reference(asked), {"output": output})
        yield Equation("stride, padding, dilation and groups after the call", arguments, before)
