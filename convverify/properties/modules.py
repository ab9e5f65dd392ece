"""A module class beside `nn.Conv2d`: the same parameters, the same numbers, state dicts both ways."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from convverify.answers import OperatorError, Unsupported
from convverify.case import ConvCase, Operands
from convverify.comparison import Equation
from convverify.demand import Demand
from convverify.module_class import built
from convverify.properties.base import Refuted, declare
from convverify.properties.calls import geometry_arguments, tensor
from convverify.reference import Reference
from convverify.target import Target

_DEMAND = Demand(products=3000, weight=0.3, usual=True)
MANY = 40  # calls of one module
_POSITIONS = ("stride", "padding", "dilation", "groups", "bias", "device", "dtype")
_MODES = ("circular", "replicate", "reflect")


def _beside(op: Target, case: ConvCase, **options: str) -> tuple[nn.Module, nn.Module]:
    """The operator's module and torch's, of the case's geometry, the latter with the case's parameters.

    Of every other case they are made in float32, and brought to the case's dtype.
    """
    if op.module_class is None:
        raise Unsupported("it is a function, not a module class")
    g = case.geometry
    stride, padding, dilation, groups = geometry_arguments(op, case)
    converted = case.seed % 4 >= 2 and not op.domain.dtypes

    def build(kind: type[nn.Module]) -> nn.Module:
        made = op.guarded(
            built, kind, g.in_channels, g.out_channels, g.kernel_size, stride=stride, padding=padding,
            dilation=dilation, groups=groups, bias=case.bias, device=case.device,
            dtype=torch.float32 if converted else case.torch_dtype, **options,
        )  # fmt: skip
        if not isinstance(made, nn.Module):
            raise Refuted(f"its constructor makes a {type(made).__name__}, not a module")
        return made.to(case.torch_dtype)

    ours, theirs = build(op.module_class), build(nn.Conv2d)
    if not list(ours.parameters()):
        raise Refuted("it has no parameters: nothing trains it, and its state dict is empty")
    if "weight" not in dict(ours.named_parameters()):
        raise Unsupported("its parameters are not called as nn.Conv2d's, so that it exchanges no state dict with it")
    operands = Operands(case)
    with torch.no_grad():
        theirs.get_parameter("weight").copy_(operands.weight)
        if operands.bias is not None:
            theirs.get_parameter("bias").copy_(operands.bias)
    return ours, theirs


@declare("modules", ("FW-ALL", "GI-ALL", "GW-ALL"), "DilationLost", _DEMAND)
def module_equals_nn_conv2d(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A module with nn.Conv2d's constructor exchanges state dicts with it, and gives its outputs and gradients."""
    ours, theirs = _beside(op, case)
    reference = Reference(case)
    shapes = {name: tuple(value.shape) for name, value in theirs.state_dict().items()}
    yield Equation("state dict", {n: tuple(v.shape) for n, v in ours.state_dict().items()}, shapes)
    op.guarded(ours.load_state_dict, theirs.state_dict())
    x = reference.operands.input.requires_grad_()
    output: Tensor = tensor(op.guarded(ours, x))
    op.guarded(output.backward, reference.operands.grad_output)
    found = {"output": output, "input": x.grad, **{n: p.grad for n, p in ours.named_parameters()}}
    expected = {"output": reference.output, **reference.gradients}
    for name, value in expected.items():
        yield Equation(name, found[name], value, norm=reference.norms[name])
    theirs.load_state_dict(ours.state_dict())
    for name, parameter in theirs.named_parameters():
        yield Equation(f"{name} sent back", parameter.detach(), getattr(reference.operands, name))


@declare("modules", ("FW-ALL",), "OptionsInAnotherOrder", _DEMAND)
def modules_are_made_as_nn_conv2d(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Options mean the same by position, parameters have the dtype asked for, and no two modules share any."""
    _, theirs = _beside(op, case)
    first, second = (op.guarded(_by_position, op.module_class, op, case) for _ in range(2))
    op.guarded(first.load_state_dict, theirs.state_dict())
    reference = Reference(case)
    output = tensor(op.guarded(first, reference.operands.input)).detach()
    yield Equation("output, with options by position", output, reference.output, norm=reference.norms["output"])
    for (name, parameter), other in zip(first.named_parameters(), second.parameters(), strict=True):
        yield Equation(f"dtype of {name}", str(parameter.dtype), str(case.torch_dtype))
        yield Equation(f"whether {name} requires a gradient", parameter.requires_grad, True)
        shared = parameter.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
        yield Equation(f"whether two modules share {name}", shared and parameter.numel() > 0, False)


def _by_position(module_class: type[nn.Module], op: Target, case: ConvCase) -> nn.Module:
    """The module of the case with its options by position, where the constructor has all of them so.

    Raises:
        Unsupported: it takes other options, or by name alone.
    """
    taken = inspect.signature(module_class).parameters.values()
    places = [p.name for p in taken if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if not set(_POSITIONS) <= set(places) and not any(p.kind is p.VAR_POSITIONAL for p in taken):
        raise Unsupported("its constructor does not take all options by position")
    g = case.geometry
    stride, padding, dilation, groups = geometry_arguments(op, case)
    made = module_class(
        g.in_channels, g.out_channels, g.kernel_size, stride, padding, dilation, groups, case.bias,
        device=case.device, dtype=case.torch_dtype,
    )  # fmt: skip
    assert isinstance(made, nn.Module)
    return made


@declare("modules", ("FW-ALL",), "EvaluationDiffers", _DEMAND)
def module_modes_equal_nn_conv2d(op: Target, case: ConvCase) -> Iterator[Equation]:
    """In training and in evaluation a module computes with its parameters as they are, and calls its hooks."""
    ours, theirs = _beside(op, case)
    op.guarded(ours.load_state_dict, theirs.state_dict())
    reference = Reference(case)
    x, right = reference.operands.input, reference.output
    yield from _accumulated(op, ours, reference)
    yield from _with_another_weight(op, ours, reference)
    yield from _many_calls(op, ours, reference)
    for training in (True, False):
        op.guarded(ours.train, training)
        mode = "in training" if training else "in evaluation"
        with torch.no_grad():
            for sign, what in ((1, "output"), (-1, "output of negated parameters")):
                hooked: list[Tensor] = []
                handle = ours.register_forward_hook(lambda module, given, output, seen=hooked: seen.append(output))
                output = tensor(op.guarded(ours, x))
                handle.remove()
                yield Equation(f"calls of a forward hook, {mode}", len(hooked), 1)
                yield Equation(f"{what}, {mode}", output, sign * right, norm=reference.norms["output"])
                for parameter in ours.parameters():
                    parameter.neg_()
        found = op.guarded(torch.autograd.grad, ours(x), list(ours.parameters()), reference.operands.grad_output)
        for (name, _), grad in zip(ours.named_parameters(), found, strict=True):
            yield Equation(f"gradient of {name}, {mode}", grad, reference.gradients[name], norm=reference.norms[name])


@declare("modules", ("FW-ALL", "GW-ALL"), "PlanOfTheFirstImage", _DEMAND)
def module_inputs_may_change(op: Target, case: ConvCase) -> Iterator[Equation]:
    """One module answers inputs of other values, sizes and batches in turn, forward and backward, as does its copy."""
    ours, theirs = _beside(op, case)
    op.guarded(ours.load_state_dict, theirs.state_dict())
    g = case.geometry
    larger = case.with_geometry(input_size=tuple(size + 1 + axis for axis, size in enumerate(g.input_size)))
    others = (case, replace(case, seed=case.seed + 2), larger, case.with_geometry(batch=g.batch + 1), case)
    copied = op.guarded(copy.deepcopy, ours)
    for module in (ours, copied):
        yield from _outputs_stay(op, module, theirs, list(filter(op.domain.allows, others)))
        yield from _all_before_backward(op, module, theirs, list(filter(op.domain.allows, others)))
        for other in filter(op.domain.allows, others):
            x, grad_output = Operands(other).input, Operands(other).grad_output
            right = theirs(x)
            output = tensor(op.guarded(module, x))
            norm = Reference(other).norm
            yield Equation(f"output for an input of {list(x.shape)}", output.detach(), right.detach(), norm=norm)
            found = op.guarded(torch.autograd.grad, output, module.weight, grad_output)[0]
            expected = torch.autograd.grad(right, theirs.get_parameter("weight"), grad_output)[0]
            yield Equation(f"grad_weight for an input of {list(x.shape)}", found, expected, norm=norm)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.add_(1)
    for name, parameter in theirs.named_parameters():
        yield Equation(f"{name} after its copy has changed", ours.get_parameter(name).detach(), parameter.detach())


def _accumulated(op: Target, module: nn.Module, reference: Reference) -> Iterator[Equation]:
    """Two forward and backward passes without a step between them add their gradients up."""
    operands = reference.operands
    op.guarded(module.zero_grad)
    for _ in range(2):
        output = tensor(op.guarded(module, operands.input.detach().requires_grad_()))
        op.guarded(output.backward, operands.grad_output)
    for name, parameter in module.named_parameters():
        grad = parameter.grad
        if grad is None:
            raise Refuted(f"{name} has no .grad after a backward pass")
        yield Equation(f"gradient of {name} after two passes", grad, 2 * reference.gradients[name],
                       norm=2 * reference.norms[name])  # fmt: skip
    op.guarded(module.zero_grad)


def _with_another_weight(op: Target, module: nn.Module, reference: Reference) -> Iterator[Equation]:
    """A Parameter put in the weight's place is the one that it computes with."""
    before, operands = module.get_parameter("weight"), reference.operands
    module.weight = nn.Parameter(2 * before.detach())
    output: Tensor = tensor(op.guarded(module, operands.input)).detach()
    bias = 0 if operands.bias is None else operands.bias[:, None, None]
    norm = 2 * reference.norms["output"]
    yield Equation("output with another Parameter as weight", output, 2 * reference.output - bias, norm=norm)
    module.weight = before


def _many_calls(op: Target, module: nn.Module, reference: Reference) -> Iterator[Equation]:
    """After dozens of calls in training, with small parameters, it still computes with them."""
    op.guarded(module.train)
    for number in range(MANY):
        factor = 2.0**-10 if number % 2 == 0 else 2.0**10
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(factor)
        output: Tensor = tensor(op.guarded(module, reference.operands.input)).detach()
        scale = factor if factor < 1 else 1.0
        yield Equation(f"output of call {number + 1} in training", output, reference.output * scale,
                       norm=reference.norms["output"])  # fmt: skip


def _outputs_stay(op: Target, module: nn.Module, theirs: nn.Module, cases: list[ConvCase]) -> Iterator[Equation]:
    """In evaluation, without gradients, no call overwrites what an earlier one returned."""
    op.guarded(module.eval)
    with torch.no_grad():
        outputs = [tensor(op.guarded(module, Operands(each).input)) for each in cases]
        for each, output in zip(cases, outputs, strict=True):
            yield Equation("an earlier output in evaluation", output, theirs(Operands(each).input),
                           norm=Reference(each).norm)  # fmt: skip
    op.guarded(module.train)


def _all_before_backward(op: Target, module: nn.Module, theirs: nn.Module, cases: list[ConvCase]) -> Iterator[Equation]:
    """Used several times before the first backward pass, it keeps for each what that call was given."""
    inputs = [Operands(each).input.requires_grad_() for each in cases]
    outputs = [tensor(op.guarded(module, x)) for x in inputs]
    for each, x, output in zip(cases, inputs, outputs, strict=True):
        grad_output, norms = Operands(each).grad_output, Reference(each).norms
        found = op.guarded(torch.autograd.grad, output, (x, module.weight), grad_output)
        expected = torch.autograd.grad(theirs(x), (x, theirs.get_parameter("weight")), grad_output)
        for role, gradient, right in zip(("input", "weight"), found, expected, strict=True):
            yield Equation(f"grad_{role} of one of several calls", gradient, right, norm=norms[role])


@declare("modules", ("FW-ALL",), "PaddingModeIgnored", replace(_DEMAND, weight=0.5))
def padding_modes_equal_nn_conv2d(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Each padding_mode that a module's constructor accepts pads as nn.Conv2d's does, in the module and in its copy."""
    for padded in _padded(op, case):
        for mode in _MODES:
            yield from _in_mode(op, padded, mode)


def _in_mode(op: Target, case: ConvCase, mode: str) -> Iterator[Equation]:
    x, grad_output, norms = Operands(case).input.requires_grad_(), Operands(case).grad_output, Reference(case).norms
    try:
        ours, theirs = _beside(op, case, padding_mode=mode)
        right = theirs(x)
    except (OperatorError, Unsupported, RuntimeError):  # it refuses the mode, or torch refuses such a padding
        if op.module_class is None:
            raise
        return
    op.guarded(ours.load_state_dict, theirs.state_dict())
    expected = torch.autograd.grad(right, (x, theirs.get_parameter("weight")), grad_output)
    for module, whose in ((ours, ""), (op.guarded(copy.deepcopy, ours), " of a copy")):
        try:
            output = tensor(op.guarded(module, x))
        except (OperatorError, Unsupported):
            continue
        what = f"for padding_mode={mode!r}{whose}"
        yield Equation(f"output {what}", output.detach(), right.detach(), norm=norms["output"])
        found = op.guarded(torch.autograd.grad, output, (x, module.weight), grad_output)
        for role, gradient, grad in zip(("input", "weight"), found, expected, strict=True):
            yield Equation(f"grad_{role} {what}", gradient, grad, norm=norms[role])


def _padded(op: Target, case: ConvCase) -> Iterator[ConvCase]:
    """The case with some padding, and padded by name, if the domain has any, on images that every mode can pad."""
    wider = case if any(map(any, case.geometry.pads)) else case.with_geometry(padding=(1 + case.seed % 2, 1))
    even = tuple(size + size % 2 for size in case.geometry.kernel_size)
    by_name = case.with_geometry(kernel_size=even, stride=(1,) * len(even), padding="same",
                                 input_size=tuple(map(max, case.geometry.input_size, even)))  # fmt: skip
    for geometry in (wider.geometry, by_name.geometry):
        roomy = tuple(max(size, 1 + max(p)) for size, p in zip(geometry.input_size, geometry.pads, strict=True))
        padded = replace(case, geometry=replace(geometry, input_size=roomy))
        if op.domain.allows(padded):
            yield padded
