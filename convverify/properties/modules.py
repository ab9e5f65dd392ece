"""A module class beside `nn.Conv2d`: the same parameters, the same numbers, state dicts both ways."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from convverify.case import ConvCase
from convverify.comparison import Equation
from convverify.demand import Demand
from convverify.properties.base import declare
from convverify.properties.calls import geometry_arguments, tensor
from convverify.reference import Reference
from convverify.target import Target, Unsupported


@declare("modules", ("FW-ALL", "GI-ALL", "GW-ALL"), "DilationLost", Demand(products=3000, strings=True, weight=0.3))
def module_equals_nn_conv2d(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A module with nn.Conv2d's constructor exchanges state dicts with it, and gives its outputs and gradients."""
    if op.module_class is None:
        raise Unsupported("it is a function, not a module class")
    g, reference = case.geometry, Reference(case)
    stride, padding, dilation, groups = geometry_arguments(op, case)

    def build(kind: type[nn.Module]) -> nn.Module:
        made = op.guarded(
            kind, g.in_channels, g.out_channels, g.kernel_size, stride, padding, dilation, groups, case.bias,
            dtype=case.torch_dtype, device=case.device,
        )  # fmt: skip
        assert isinstance(made, nn.Module)
        return made

    ours, theirs = build(op.module_class), build(nn.Conv2d)
    shapes = {name: tuple(value.shape) for name, value in theirs.state_dict().items()}
    yield Equation("state dict", {n: tuple(v.shape) for n, v in ours.state_dict().items()}, shapes)
    with torch.no_grad():
        theirs.get_parameter("weight").copy_(reference.operands.weight)
        if case.bias and reference.operands.bias is not None:
            theirs.get_parameter("bias").copy_(reference.operands.bias)
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
