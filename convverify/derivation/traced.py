"""The graph of ATen operations that an operator and its backward pass really execute.

Imports torch: the rest of the derivation imports this module only where a program is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from convverify.geometry import ConvGeometry

Operator = Callable[..., Any]
BUILT_IN = frozenset({"aten", "prim", "prims"})


class NotTraceableError(Exception):
    """The operator cannot be traced, or does something of which this module does not know the meaning."""


def trace(operator: Operator, geometry: ConvGeometry, bias: bool) -> torch.fx.GraphModule:
    """The graph of (x, k, b, g) to the output and its gradients by x, k and, with a bias, b.

    Raises:
        NotTraceableError: the operator cannot be traced; branching on values is one reason.
    """
    x, k, b, g = (
        torch.zeros(shape, dtype=torch.float64)
        for shape in (
            geometry.input_shape, geometry.weight_shape, (geometry.out_channels,), geometry.output_shape
        )
    )  # fmt: skip

    def step(x: Tensor, k: Tensor, b: Tensor, g: Tensor) -> tuple[Tensor, ...]:
        leaves = [tensor.detach().requires_grad_() for tensor in (x, k, b)[: 3 if bias else 2]]
        output = call(operator, geometry, *leaves)
        return (output, *torch.autograd.grad(output, leaves, g))

    try:
        return _expanded(step, (x, k, b, g))
    except Exception as error:
        raise NotTraceableError(f"{type(error).__name__}: {str(error).splitlines()[0]}") from error


def _expanded(step: Callable[..., Any], arguments: Sequence[Tensor]) -> torch.fx.GraphModule:
    """The traced graph, with operators that are registered from Python traced into their own bodies."""
    bodies: dict[Any, Callable[..., Any]] = {}
    while True:
        module = make_fx(step, decomposition_table=bodies, tracing_mode="fake")(*arguments)
        registered = {
            node.target
            for node in module.graph.nodes
            if isinstance(node.target, torch._ops.OpOverload) and node.target.namespace not in BUILT_IN
        }
        if registered <= bodies.keys():
            return module
        bodies.update({target: _body(target) for target in registered})


def _body(target: Any) -> Callable[..., Any]:
    """What an operator does on a CPU, called so that its operations are seen by the tracer."""
    keys = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
    return lambda *arguments, **options: target.redispatch(keys, *arguments, **options)


def call(operator: Operator, geometry: ConvGeometry, x: Tensor, k: Tensor, b: Tensor | None = None) -> Tensor:
    """Call an operator the way `torch.nn.functional.conv2d` is called."""
    output: Tensor = operator(x, k, b, geometry.stride, geometry.padding, geometry.dilation, geometry.groups)
    return output
