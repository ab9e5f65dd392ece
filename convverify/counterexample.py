"""A counterexample for people: the case, the values side by side, a script that needs only torch."""

from __future__ import annotations

import functools
import inspect
import math
import sys
from pathlib import Path

import numpy as np
from torch import Tensor

from convverify.case import ConvCase, Operands
from convverify.examine import Finding
from convverify.module_class import takes
from convverify.properties.base import Property
from convverify.results import Counterexample
from convverify.target import Target, name_of

MOST_ELEMENTS = 1500


def counterexample(
    prop: Property, op: Target, case: ConvCase, finding: Finding, first: ConvCase, reproducible: bool
) -> Counterexample:
    """The record of a failure: what failed, where, and how to see it again."""
    equation = finding.equation
    return Counterexample(
        line=f"{prop.name}: {case}",
        message=finding.message,
        actual=_shown(equation.actual) if equation else "",
        expected=_shown(equation.expected) if equation else "",
        script=script(op, case, prop) if reproducible else "",
        first_line=f"{prop.name}: {first}",
        reproducible=reproducible,
    )


def _shown(value: object) -> str:
    if not isinstance(value, Tensor):
        return repr(value)
    data = value.detach().resolve_conj().resolve_neg().cpu()
    if data.dtype.itemsize == 2:
        data = data.float()
    return np.array2string(data.numpy(), threshold=200, max_line_width=100, floatmode="unique")


def script(op: Target, case: ConvCase, prop: Property) -> str:
    """Python that shows operator and torch side by side on the case's operands; empty, where they are many."""
    g, operands = case.geometry, Operands(case)
    shapes = (g.input_shape, g.weight_shape, g.output_shape)
    if sum(map(math.prod, shapes)) > MOST_ELEMENTS:
        return ""
    tensors = {"input": operands.input, "weight": operands.weight, "bias": operands.bias,
               "grad_output": operands.grad_output}  # fmt: skip
    lines = [f"# {prop.name}: {prop.statement}", f"# {case}", "import torch", *_import(op), ""]
    lines += [f"{name} = {_literal(tensor)}" for name, tensor in tensors.items()]
    names = [name for name in ("input", "weight", "bias") if tensors[name] is not None]
    given = (*("input", "weight", "bias"), *map(repr, (g.stride, g.padding, g.dilation, g.groups)))
    gradient = f"torch.autograd.grad(output, ({', '.join(names)}), grad_output)"
    lines += [
        "",
        f"for tensor in ({', '.join(names)}):",
        "    tensor.requires_grad_()",
        *_call(op, case, given),
        f"by_torch = lambda: torch.nn.functional.conv{g.spatial}d({', '.join(given)})",
        "for name, conv in (('operator', by_operator), ('torch', by_torch)):",
        "    output = conv()",
        "    print(name, 'output', tuple(output.shape), output, sep='\\n')",
        "    if output.shape == grad_output.shape:",
        f"        print(name, 'gradients', *{gradient}, sep='\\n')",
    ]
    return "\n".join(lines) + "\n"


def _call(op: Target, case: ConvCase, given: tuple[str, ...]) -> list[str]:
    """How the script calls the operator: a module class is made into a module, and given weight and bias."""
    if op.module_class is None:
        return [f"by_operator = lambda: operator({op.signature.spelled(given)})"]
    g = case.geometry
    options = {"stride": g.stride, "padding": g.padding, "dilation": g.dilation, "groups": g.groups, "bias": case.bias}
    named = "".join(f", {name}={value!r}" for name, value in options.items() if takes(op.module_class, name))
    return [
        f"module = operator({g.in_channels}, {g.out_channels}, {g.kernel_size}{named}).to({case.torch_dtype})",
        "own = {name: bias if name.endswith('bias') else weight for name, _ in module.named_parameters()}",
        "by_operator = lambda: torch.func.functional_call(module, own, (input,))",
    ]


def _import(op: Target) -> list[str]:
    """How the script comes by the operator: by name, or from the reader."""
    names = (op.name, name_of(op.operator))
    place, _, attribute = next((name for name in names if _leads_to(name, op.operator)), "").rpartition(":")
    first, *rest = attribute.split(".")
    if not place:
        found = ["operator = ...  # put your operator here"]
    elif place.endswith(".py"):
        found = ["import runpy", "operator = " + ".".join([f"runpy.run_path({place!r})[{first!r}]", *rest])]
    else:
        found = [f"from {place} import {first}", f"operator = {attribute}"]
    if inspect.isclass(op.operator) and op.module_class is None:
        found.append("operator = operator.apply  # as an autograd.Function class is called")
    return found


def _leads_to(name: str, operator: object) -> bool:
    """Whether the name, looked up in what this process has loaded, is the operator's; no script has our `__main__`."""
    place, _, attribute = name.rpartition(":")
    module = sys.modules.get(Path(place).stem if place.endswith(".py") else place)
    found = functools.reduce(lambda owner, part: getattr(owner, part, None), attribute.split("."), module)
    return place != "__main__" and (found is operator or (inspect.ismethod(found) and found == operator))


def _literal(tensor: Tensor | None) -> str:
    """Python text of a tensor, its strides included."""
    if tensor is None:
        return "None"
    data = tensor.detach().resolve_conj().resolve_neg().cpu()
    made = f"torch.tensor({data.tolist()}, dtype={data.dtype})"
    if data.is_contiguous() or data.numel() == 0:
        return made if data.dim() == 1 or data.numel() else f"torch.zeros({tuple(data.shape)}, dtype={data.dtype})"
    if 0 in data.stride():
        first = data[tuple(slice(0, 1) if step == 0 else slice(None) for step in data.stride())]
        return f"torch.tensor({first.tolist()}, dtype={data.dtype}).expand({tuple(data.shape)})"
    return f"torch.empty_strided({tuple(data.shape)}, {data.stride()}, dtype={data.dtype}).copy_({made})"
