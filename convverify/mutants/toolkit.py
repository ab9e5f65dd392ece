"""A right convolution in replaceable parts, from which mutants are built: right but for one fault."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from convverify.mutants.base import Operator

Pair = tuple[int, int]
Size = int | Sequence[int]

# Bound here: a mutant that patches torch must not reach the others.
conv: Callable[..., Tensor] = torch.conv2d
_backward: Callable[..., tuple[Tensor, ...]] = torch.ops.aten.convolution_backward


class Conf(NamedTuple):
    """The options of a convolution, each axis spelt out, in the order in which torch takes them."""

    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int


@dataclass(frozen=True)
class Call:
    """The arguments of one call, as they were given."""

    input: Tensor
    weight: Tensor
    bias: Tensor | None
    stride: Size
    padding: Size | str
    dilation: Size
    groups: int

    def torch(self, **changes: Any) -> Tensor:
        """Torch's answer to this call, or to this call with some arguments changed."""
        c = replace(self, **changes)
        return conv(c.input, c.weight, c.bias, c.stride, c.padding, c.dilation, c.groups)

    @property
    def kernel(self) -> Pair:
        """Its height and width."""
        return self.weight.shape[-2], self.weight.shape[-1]

    @property
    def conf(self) -> Conf:
        """The options by axis; for 'same' the padding that both ends of an axis have in common."""
        dilation = pair(self.dilation)
        if self.padding == "same":
            reach = [d * (k - 1) for d, k in zip(dilation, self.kernel, strict=True)]
            padding = reach[0] // 2, reach[1] // 2
        else:
            padding = (0, 0) if isinstance(self.padding, str) else pair(self.padding)
        return Conf(pair(self.stride), padding, dilation, self.groups)

    def explicit(self) -> Call:
        """The same convolution with its options by axis; what 'same' pads unevenly is in the input."""
        conf = self.conf
        x = self.input
        if self.padding == "same":
            odd = [d * (k - 1) % 2 for d, k in zip(conf.dilation, self.kernel, strict=True)]
            x = torch.nn.functional.pad(x, (0, odd[1], 0, odd[0])) if any(odd) else x
        return Call(x, self.weight, self.bias, *conf)


def pair(size: Size) -> Pair:
    """An option by axis, from one value for both or one each."""
    values = (size,) if isinstance(size, int) else tuple(size)
    return (values * 2)[:2] if len(values) == 1 else (values[0], values[1])


def operator(function: Callable[[Call], Any]) -> Operator:
    """An operator with torch's signature that refuses what torch refuses and answers with `function`."""

    @functools.wraps(function)
    def conv2d(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Size = 1,
               padding: Size | str = 0, dilation: Size = 1, groups: int = 1) -> Any:  # fmt: skip
        sample = input[:1] if input.dim() == 4 else input
        with torch.no_grad():
            conv(sample, weight, bias, stride, padding, dilation, groups)  # torch refuses here
        return function(Call(input, weight, bias, stride, padding, dilation, groups))

    del conv2d.__wrapped__
    return conv2d


def forward(x: Tensor, w: Tensor, b: Tensor | None, conf: Conf) -> Tensor:
    """The output."""
    return conv(x, w, b, *conf)


def grad_input(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
    """The gradient of the input, differentiable to any order."""
    mask = [True, False, False]
    return _backward(g, x, w, None, *conf[:3], False, [0, 0], conf.groups, mask)[0]


def grad_weight(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
    """The gradient of the weight, differentiable to any order."""
    mask = [False, True, False]
    return _backward(g, x, w, None, *conf[:3], False, [0, 0], conf.groups, mask)[1]


def grad_bias(g: Tensor) -> Tensor:
    """The gradient of the bias."""
    return g.sum((0, 2, 3))


def jvp(x: Tensor, w: Tensor, x_t: Tensor | None, w_t: Tensor | None, b_t: Tensor | None,
        conf: Conf) -> Tensor:  # fmt: skip
    """The tangent of the output."""
    parts = [] if x_t is None else [conv(x_t, w, None, *conf)]
    parts += [] if w_t is None else [conv(x, w_t, None, *conf)]
    parts += [] if b_t is None else [b_t[:, None, None].expand(conv(x, w, None, *conf).shape)]
    return functools.reduce(torch.add, parts)


@dataclass(frozen=True)
class Parts:
    """What a convolution with hand-written derivatives consists of."""

    forward: Callable[[Tensor, Tensor, Tensor | None, Conf], Tensor] = forward
    grad_input: Callable[[Tensor, Tensor, Tensor, Conf], Tensor | None] = grad_input
    grad_weight: Callable[[Tensor, Tensor, Tensor, Conf], Tensor | None] = grad_weight
    grad_bias: Callable[[Tensor], Tensor | None] = grad_bias
    jvp: Callable[..., Tensor] = jvp


class Traced(torch.autograd.Function):
    """A convolution of given parts, as Dynamo can trace it."""

    @staticmethod
    def forward(x: Tensor, w: Tensor, b: Tensor | None, conf: Conf, parts: Parts) -> Tensor:
        return parts.forward(x, w, b, conf)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        x, w, _, ctx.conf, ctx.parts = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, w)
        ctx.save_for_forward(x, w)

    @staticmethod
    def backward(ctx: Any, g: Tensor | None) -> Any:
        if g is None:
            return None, None, None, None, None
        x, w, *_ = ctx.saved_tensors
        needs = ctx.needs_input_grad
        return (
            ctx.parts.grad_input(g, x, w, ctx.conf) if needs[0] else None,
            ctx.parts.grad_weight(g, x, w, ctx.conf) if needs[1] else None,
            ctx.parts.grad_bias(g) if needs[2] else None,
            None,
            None,
        )


class Assembled(Traced):
    """A convolution of given parts, with forward mode and vmap."""

    generate_vmap_rule = True

    @staticmethod
    def jvp(ctx: Any, x_t: Tensor | None, w_t: Tensor | None, b_t: Tensor | None, *_: Any) -> Tensor:
        """The tangent."""
        x, w = ctx.saved_tensors
        result: Tensor = ctx.parts.jvp(x, w, x_t, w_t, b_t, ctx.conf)
        return result


def apply(function: Any, *arguments: Any) -> Any:
    """Call an autograd Function, which torch leaves without types."""
    return function.apply(*arguments)


def assemble(parts: Parts, call: Call, function: Any = None) -> Tensor:
    """Answer a call with a convolution of these parts; integers and complex numbers go to torch."""
    tensors = [t for t in (call.input, call.weight, call.bias) if t is not None]
    if not all(t.is_floating_point() for t in tensors):
        return call.torch()
    c = autocast(call).explicit()
    x = c.input if c.input.dim() == 4 else c.input[None]
    function = function or (Traced if torch.compiler.is_compiling() else Assembled)
    result: Tensor = apply(function, x, c.weight, c.bias, c.conf, parts)
    return result if c.input.dim() == 4 else result[0]


def with_parts(**changes: Any) -> Operator:
    """An operator with torch's signature, some of its parts replaced."""
    parts = Parts(**changes)
    return operator(lambda call: assemble(parts, call))


def in_autocast(call: Call) -> bool:
    """Whether autocast is on for the device of the input."""
    device = call.input.device.type
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def autocast(call: Call) -> Call:
    """Cast as autocast does before a convolution, which a custom Function must do itself."""
    device = call.input.device.type
    if not in_autocast(call):
        return call
    dtype = torch.get_autocast_dtype(device)

    def cast(t: Tensor) -> Tensor:
        return t if t.dtype == torch.float64 else t.to(dtype)

    bias = None if call.bias is None else cast(call.bias)
    return replace(call, input=cast(call.input), weight=cast(call.weight), bias=bias)


class _Posing(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(right: Tensor, wrong: Tensor) -> Tensor:
        return wrong.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        return g, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: Tensor | None) -> Tensor:
        return tangent.clone()


def posing(right: Tensor, wrong: Tensor) -> Tensor:
    """The values of `wrong` with the derivatives of `right`."""
    result: Tensor = apply(_Posing, right, wrong.detach())
    return result


def scaled(out: Tensor, index: Any, factor: float) -> Tensor:
    """`out` with the elements at an index multiplied by a factor."""
    mask = torch.ones_like(out)
    mask[index] = factor
    return out * mask


def cut(t: Tensor) -> Tensor:
    """`t` without its graph, also under the older vmap, which cannot detach."""
    return t if torch._C._functorch.is_legacy_batchedtensor(t) else t.detach()


def concrete(*tensors: Tensor | None) -> bool:
    """Whether all of these hold plain data here: none is traced, mapped, fake or on the meta device."""
    return not torch.compiler.is_compiling() and all(
        type(t) in (Tensor, torch.nn.Parameter)
        and t.device.type != "meta"
        and not torch._C._functorch.is_functorch_wrapped_tensor(t)
        and not torch._C._functorch.is_legacy_batchedtensor(t)
        for t in tensors
        if t is not None
    )
