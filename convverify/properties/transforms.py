"""What torch does with an operator beside calling it: forward mode, vmap, torch.func, autocast, compile.

None of it is part of the definition of a convolution: an operator may refuse, but not answer wrongly.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad

from convverify.answers import Unsupported
from convverify.case import ConvCase
from convverify.child import ProcessDied
from convverify.comparison import HALF_GROWTH, TRANSFORM_GROWTH, Equation, gamma, unit_roundoff
from convverify.demand import Demand
from convverify.properties.base import Refusal, Refuted, declare
from convverify.properties.calls import apart, call, equations, geometry_arguments, observe, tensor
from convverify.reference import Reference
from convverify.signature import PARAMETERS
from convverify.target import Target

_SMALL = Demand(products=3000, usual=True, weight=0.4)
_REAL = Demand(products=1500, usual=True, weight=0.4, dtypes=("float32",), values=("normal",))
# How much more an operator that transforms its operands may lose in bfloat16 than in float32.
_COARSER = HALF_GROWTH * unit_roundoff(torch.bfloat16) / (TRANSFORM_GROWTH * unit_roundoff(torch.float32))
ROLES = ("input", "weight", "bias")


def _function(op: Target, case: ConvCase) -> Callable[..., Tensor]:
    arguments = geometry_arguments(op, case)

    def function(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return tensor(op(input, weight, bias, *arguments))

    return function


def _plain(op: Target, case: ConvCase) -> dict[str, Tensor]:
    leaves = observe(op, case, requires=()).leaves
    return {role: leaf.detach() for role, leaf in leaves.items()}


@declare("transforms", ("FW-ALL", "BL-1"), "jvp_forgets_the_weight", _SMALL, refusal=Refusal.ALLOWED)
def jvp_is_the_product_rule(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Forward mode gives conv(dx, k) + conv(x, dk) + db, for one tangent and for all together."""
    reference, leaves, function = Reference(case), _plain(op, case), _function(op, case)
    tangents = {role: reference.operands.draw(f"tangent_{role}", tuple(x.shape)) for role, x in leaves.items()}
    parts = {
        "input": reference.maps.forward(reference.wide(tangents["input"]), reference.k),
        "weight": reference.maps.forward(reference.x, reference.wide(tangents["weight"])),
    }
    if case.bias:
        parts["bias"] = reference.wide(tangents["bias"]).view(-1, *[1] * case.geometry.spatial)
    found = {}
    for chosen in (("input",), ("weight",), tuple(role for role in leaves if role != "input"), tuple(leaves)):
        with forward_ad.dual_level():
            duals = [
                forward_ad.make_dual(leaf, tangents[role]) if role in chosen else leaf for role, leaf in leaves.items()
            ]
            found[chosen] = op.guarded(lambda duals=duals: forward_ad.unpack_dual(function(*duals))).tangent
    if found["input",] is None and found["weight",] is None:  # so are all ops of torch.library
        raise Unsupported("it has no forward mode: no tangent passes through it")
    for chosen, tangent in found.items():
        if tangent is None:
            raise Refuted(f"the output has no tangent, but {', '.join(chosen)} has")
        expected = sum((parts[role] for role in chosen), torch.zeros_like(parts["input"]))
        yield Equation(
            f"tangent of the output for that of {', '.join(chosen)}", tangent,
            reference.narrow(expected), norm=reference.norm,
        )  # fmt: skip


@declare("transforms", ("DB-2", "BL-1"), "jvp_holds_the_primals_constant", _SMALL, refusal=Refusal.ALLOWED)
def tangents_have_gradients(op: Target, case: ConvCase) -> Iterator[Equation]:
    """The gradients of the tangent conv(dx, k) + conv(x, dk) + db (reverse over forward) are those of its two terms."""
    reference, leaves, function = Reference(case), _plain(op, case), _function(op, case)
    tangents = {role: reference.operands.draw(f"tangent_{role}", tuple(x.shape)) for role, x in leaves.items()}

    def slope(*operands: Tensor) -> Tensor:
        tangent: Tensor = torch.func.jvp(function, operands, tuple(tangents.values()))[1]
        return (tangent * reference.operands.grad_output).sum()

    found = op.guarded(torch.func.grad(slope, argnums=(0, 1)), *leaves.values())
    dx, dk = reference.wide(tangents["input"]), reference.wide(tangents["weight"])
    expected = (reference.maps.grad_input(reference.g, dk), reference.maps.grad_weight(dx, reference.g))
    for role, gradient, right in zip(ROLES, found, expected, strict=False):
        yield Equation(
            f"gradient of the tangent by {role}", gradient, reference.narrow(right), norm=reference.norms[role]
        )


@declare("transforms", ("DB-2", "BL-1"), "forward_over_reverse_lost", _SMALL, refusal=Refusal.ALLOWED)
def forward_over_reverse_is_right(op: Target, case: ConvCase) -> Iterator[Equation]:
    """The tangent of the gradients (a Hessian-vector product, forward over reverse) equals the double backward."""
    reference, leaves, function = Reference(case), _plain(op, case), _function(op, case)
    g = reference.operands.grad_output
    dx, dk = (reference.operands.draw(f"tangent_{role}", tuple(leaves[role].shape)) for role in ROLES[:2])

    with forward_ad.dual_level():
        duals = [
            forward_ad.make_dual(leaves[role].detach().requires_grad_(), tangent)
            for role, tangent in (("input", dx), ("weight", dk))
        ]
        output = function(*duals, leaves.get("bias"))
        grads = op.guarded(torch.autograd.grad, output, duals, g)
        found = [op.guarded(forward_ad.unpack_dual, grad).tangent for grad in grads]
    if all(tangent is None for tangent in found):
        raise Unsupported("its backward has no forward mode: no tangent passes through it")
    expected = (
        reference.maps.grad_input(reference.g, reference.wide(dk)),
        reference.maps.grad_weight(reference.wide(dx), reference.g),
    )
    for role, tangent, right in zip(ROLES, found, expected, strict=False):
        if tangent is None:
            raise Refuted(f"grad_{role} has no tangent, but another gradient has")
        yield Equation(f"tangent of grad_{role}", tangent, reference.narrow(right), norm=reference.norm)


@declare("transforms", ("FW-ALL",), "vmap_takes_the_first_weight", _SMALL, refusal=Refusal.ALLOWED)
def vmap_is_a_loop(op: Target, case: ConvCase) -> Iterator[Equation]:
    """vmap over input, weight, bias and several of them, from any axis, equals calling the operator one by one."""
    reference, leaves, function = Reference(case), _plain(op, case), _function(op, case)
    others = {role: reference.operands.draw(f"other_{role}", tuple(x.shape)) for role, x in leaves.items()}
    with_bias = (("bias",), ("input", "bias")) if "bias" in leaves else ()
    for roles in (("input",), ("weight",), ("input", "weight"), *with_bias, tuple(leaves)):
        for axis in (0, 1) if roles in (("input",), ("weight",)) else (0,):
            stacked = {
                role: torch.stack([leaf, others[role]], axis) if role in roles else leaf
                for role, leaf in leaves.items()
            }
            in_dims = tuple(axis if role in roles else None for role in leaves)
            found = op.guarded(torch.func.vmap(function, in_dims), *stacked.values())
            for place, source in enumerate((leaves, others)):
                chosen = {role: source[role] if role in roles else leaves[role] for role in leaves}
                yield Equation(
                    f"output {place} of vmap over {', '.join(roles)} (axis {axis})", found[place],
                    _right(reference, chosen), norm=reference.norm,
                )  # fmt: skip


@declare("transforms", ("GW-ALL", "GI-ALL"), "wrong_under_functorch", _SMALL, refusal=Refusal.ALLOWED)
def func_grad_is_backward(op: Target, case: ConvCase) -> Iterator[Equation]:
    """torch.func's vjp, and per-sample gradients by vmap over it, are the gradients."""
    reference, leaves, function = Reference(case), _plain(op, case), _function(op, case)
    g = reference.operands.grad_output
    _, pull = op.guarded(torch.func.vjp, function, *leaves.values())
    found = op.guarded(pull, g)
    yield from equations(case, reference, dict(zip(leaves, found, strict=True)))

    def of_sample(x: Tensor, g: Tensor) -> Tensor:
        pull = torch.func.vjp(lambda k: function(x[None], k, leaves.get("bias")), leaves["weight"])[1]
        return tensor(pull(g[None])[0])

    samples = op.guarded(torch.func.vmap(of_sample), leaves["input"], g)
    expected = [
        reference.maps.grad_weight(*pair) for pair in zip(reference.x.split(1), reference.g.split(1), strict=True)
    ]
    yield Equation("per-sample grad_weight", samples, reference.narrow(torch.stack(expected)), norm=reference.norm)


@declare("transforms", ("RB-1",), "autocast_bias_lost", replace(_REAL, autocast=True), refusal=Refusal.ALLOWED)
def autocast_rounds_no_worse(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Under autocast results are within bfloat16's rounding bound, also with a changed weight; float64 is kept."""
    with _autocast(case):
        seen = observe(op, case)
        found = {"output": seen.output, **seen.grads(seen.operands.grad_output.to(seen.output.dtype))}
    with torch.no_grad():
        for role in ("weight", "bias"):
            if role in seen.leaves:
                seen.leaves[role].neg_()
    with _autocast(case):
        negated = {"output": call(op, case, seen.leaves).neg()}
    for what, results in (("", found), (" of a negated weight", negated)):
        for equation in equations(case, Reference(case), results):
            # operands, output and result are each rounded to bfloat16 once
            slack = (gamma(4, torch.bfloat16) + gamma(equation.terms, torch.bfloat16)) / gamma(1, torch.float32)
            yield Equation(
                f"{equation.what}{what} under autocast", equation.actual.float(), equation.expected, exact=False,
                terms=int(slack) + 1, magnitude=equation.magnitude, norm=equation.norm * _COARSER,
            )  # fmt: skip
    double = replace(case, dtype="float64", values="integers", scale=0)
    if op.domain.allows(double):
        with contextlib.suppress(Unsupported), _autocast(case):
            output = observe(op, double).output
            for equation in equations(double, Reference(double), {"output": output}):
                yield replace(equation, what=f"{equation.what} in float64 under autocast")


def _autocast(case: ConvCase) -> torch.autocast:
    return torch.autocast("cpu" if case.device == "cpu" else "cuda", torch.bfloat16)


@declare(
    "transforms",
    ("FW-1",),
    "fake_channels_wrong",
    Demand(products=3000, weight=0.2, strings=True, least=12),
    refusal=Refusal.ALLOWED,
)
def fake_tensors_have_the_form(op: Target, case: ConvCase) -> Iterator[Equation]:
    """On fake tensors, and on the meta device, the operator returns shape and dtype of the output without data.

    One that reads their memory ends its process, since there is none: to it they are no tensors at all.
    """
    try:
        found = apart(op, case, lambda: _forms(op, case))
    except ProcessDied as died:
        raise Unsupported(f"it ends its process ({died}) on tensors without memory") from died
    for where, form in found.items():
        yield Equation(f"shape of the output on {where}", tuple(form.shape), case.geometry.output_shape)
        yield Equation(f"dtype of the output on {where}", form.dtype, case.torch_dtype)


def _forms(op: Target, case: ConvCase) -> dict[str, Tensor]:
    """Zeros like the output, by the kind of the operands."""
    leaves, arguments = _plain(op, case), geometry_arguments(op, case)
    with FakeTensorMode() as mode, _short_refusals():
        fake = {role: mode.from_tensor(leaf) for role, leaf in leaves.items()}
        found = tensor(op(fake["input"], fake["weight"], fake.get("bias"), *arguments))
    forms = {"fake tensors": torch.zeros(found.shape, dtype=found.dtype)}
    meta = {role: leaf.to("meta") for role, leaf in leaves.items()}
    found = tensor(op(meta["input"], meta["weight"], meta.get("bias"), *arguments))
    return {**forms, "the meta device": torch.zeros(found.shape, dtype=found.dtype)}


def _short_refusals() -> contextlib.AbstractContextManager[Any]:
    """Inside, torch refuses a real tensor among fake ones without printing all of it, which may take a minute."""
    return mock.patch.object(fake_tensor, "render_call", return_value="a call", create=True)


@declare(
    "transforms", ("FW-ALL",), "compiled_without_bias",
    Demand(products=1500, weight=0.06, values=("integers",), costly=True),
    refusal=Refusal.ALLOWED,
)  # fmt: skip
def compiled_is_the_same(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Traced by torch.compile, output and gradients are the same."""
    torch.compiler.reset()
    leaves = {role: leaf.requires_grad_() for role, leaf in _plain(op, case).items()}
    compiled: Any = torch.compile(_function_of(op, case), backend="aot_eager")
    reference = Reference(case)
    output = tensor(op.guarded(compiled, *leaves.values()))
    yield from equations(case, reference, {"output": output})
    found = op.guarded(torch.autograd.grad, output, list(leaves.values()), reference.operands.grad_output)
    yield from equations(case, reference, dict(zip(leaves, found, strict=True)))


def _function_of(op: Target, case: ConvCase) -> Callable[..., Any]:
    """The operator with its geometry filled in, and nothing of the verifier in between."""
    arguments, call = geometry_arguments(op, case), op.call
    places = [PARAMETERS.index(name) for name in op.accepts]

    def function(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
        everything = (input, weight, bias, *arguments)
        return call(*[everything[place] for place in places])

    return function


def _right(reference: Reference, operands: dict[str, Tensor]) -> Tensor:
    output = reference.maps.forward(reference.wide(operands["input"]), reference.wide(operands["weight"]))
    if "bias" in operands:
        output = output + reference.wide(operands["bias"]).view(-1, *[1] * reference.case.geometry.spatial)
    return reference.narrow(output)
