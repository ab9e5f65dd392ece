"""What comes back, and what happens to the arguments; the numbers are right."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from convverify.mutants.base import Operator, mutant, stateful_mutant
from convverify.mutants.toolkit import (
    Assembled,
    Call,
    Conf,
    Parts,
    Traced,
    assemble,
    concrete,
    grad_bias,
    grad_input,
    grad_weight,
    operator,
    with_parts,
)


def _plain(c: Call) -> bool:
    """Whether the operands are floating-point data that may be written to."""
    return concrete(c.input, c.weight, c.bias) and c.input.is_floating_point()


@mutant("forward_equals_definition")
@operator
def returns_float64(c: Call) -> Tensor:
    """The output of float32 operands is float64."""
    out = c.torch()
    return out.double() if out.dtype == torch.float32 else out


@mutant("low_precision_is_exact")
@operator
def returns_float32(c: Call) -> Tensor:
    """The output of half-precision operands is float32."""
    out = c.torch()
    return out.float() if out.dtype in (torch.float16, torch.bfloat16) else out


@mutant("forward_equals_definition")
@operator
def returns_a_tuple(c: Call) -> Any:
    """A tuple with the output is returned where there is no bias."""
    return (c.torch(),) if c.bias is None else c.torch()


@mutant("unbatched_input_is_right")
@operator
def keeps_the_batch(c: Call) -> Tensor:
    """An image without batch dimension comes back with one."""
    out = c.torch()
    return out[None] if c.input.dim() == 3 else out


@mutant("forward_equals_definition")
@operator
def drops_single_channels(c: Call) -> Tensor:
    """An output of one pixel is squeezed."""
    out = c.torch()
    return out[..., 0, 0] if out.shape[-2:].numel() == 1 else out


@mutant("gradients_of_every_subset")
@operator
def output_detached(c: Call) -> Tensor:
    """The output does not require grad when only the bias does."""
    others = c.input.requires_grad or c.weight.requires_grad
    only = c.bias is not None and c.bias.requires_grad and not others
    return c.torch().detach() if only else c.torch()


@mutant("requires_grad_propagates")
@operator
def output_always_requires_grad(c: Call) -> Tensor:
    """The output requires grad even if no operand does."""
    out = c.torch()
    plain = concrete(out) and not out.requires_grad and out.is_floating_point()
    return out.requires_grad_() if plain and not torch.is_inference(out) else out


@mutant("requires_grad_propagates")
@operator
def graph_in_no_grad(c: Call) -> Tensor:
    """A graph is recorded although gradients are switched off."""
    if torch.is_inference_mode_enabled() or not concrete(c.input, c.weight):
        return c.torch()
    with torch.enable_grad():
        return c.torch()


@mutant("output_aliases_nothing")
@operator
def identity_returns_its_input(c: Call) -> Tensor:
    """A 1x1 kernel that is the identity returns the input itself."""
    w = c.weight
    if not concrete(w, c.input) or w.shape[2:].numel() != 1 or w.shape[0] != w.shape[1] or c.bias is not None:
        return c.torch()
    trivial = torch.equal(w[:, :, 0, 0], torch.eye(len(w), dtype=w.dtype, device=w.device))
    out = c.torch()
    return c.input if trivial and out.shape == c.input.shape and not out.requires_grad else out


@mutant("weight_layout_is_irrelevant")
@operator
def output_shares_its_rows(c: Call) -> Tensor:
    """A constant answer (zero kernel with bias) is an expanded view: its pixels share memory."""
    if c.bias is None or not concrete(c.weight) or c.weight.any():
        return c.torch()
    return c.bias[:, None, None].expand(c.torch().shape)


@mutant("input_layout_is_irrelevant")
@operator
def input_nans_cleared_in_place(c: Call) -> Tensor:
    """After the convolution, NaN in the input are replaced by zero in place."""
    out = c.torch()
    if _plain(c):
        c.input.data.nan_to_num_(0.0, float("inf"), -float("inf"))
    return out


@mutant("gradients_equal_torch")
@operator
def input_shifted_and_back(c: Call) -> Tensor:
    """The input is shifted by a thousand and back in place: it is the same but for rounding."""
    out = c.torch()
    if _plain(c):
        c.input.data.add_(1000).sub_(1000)
    return out


@mutant("forward_is_bilinear")
@operator
def weight_normalised_through_data(c: Call) -> Tensor:
    """The weight is rescaled through `.data`, which the version counter does not see."""
    out = c.torch()
    if _plain(c) and c.weight.shape[2:].numel() > 1:
        c.weight.data.mul_(0.5)
    return out


@mutant("operands_are_unchanged")
@operator
def bias_consumed(c: Call) -> Tensor:
    """The bias is zeroed after use through `.data`."""
    out = c.torch()
    if c.bias is not None and _plain(c):
        c.bias.data.zero_()
    return out


@mutant("gradients_of_every_subset")
@operator
def version_bumped(c: Call) -> Tensor:
    """The input is written back unchanged, so that its version counter rises."""
    out = c.torch()
    if _plain(c) and not c.input.requires_grad and not torch.is_inference(c.input):
        c.input.mul_(1)
    return out


@stateful_mutant("gradients_equal_definition")
def grad_output_scaled_in_place() -> Operator:
    """grad_output is changed in place by the backward pass."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        right = grad_weight(g, x, w, conf)
        if concrete(g) and not g.requires_grad and g.is_contiguous():
            g.data.mul_(2)
        return right

    return with_parts(grad_weight=wrong, grad_input=lambda g, x, w, c: grad_input(g.clone(), x, w, c))


class _Unguarded(Assembled):
    """Operands kept as attributes: autograd does not notice when they change before the backward pass."""

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        Assembled.setup_context(ctx, inputs, output)
        ctx.kept = inputs[:2]

    @staticmethod
    def backward(ctx: Any, g: Tensor | None) -> Any:
        if g is None:
            return None, None, None, None, None
        x, w = ctx.kept
        bias = grad_bias(g) if ctx.needs_input_grad[2] else None
        return grad_input(g, x, w, ctx.conf), grad_weight(g, x, w, ctx.conf), bias, None, None


@mutant("saved_operands_are_guarded")
@operator
def saved_tensors_unguarded(c: Call) -> Tensor:
    """Operands changed in place before the backward pass are used as they are then, without an error."""
    plain = concrete(c.input, c.weight, c.bias)
    return assemble(Parts(), c, _Unguarded if plain else None)


class _Keeping(Traced):
    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        Traced.setup_context(ctx, inputs, output)
        ctx.save_for_backward(*inputs[:2], output)


@mutant("output_may_be_changed_in_place")
@operator
def output_kept_for_the_backward(c: Call) -> Tensor:
    """With padding the output is saved for the backward, which does not need it: it may not be changed in place."""
    return assemble(Parts(), c, _Keeping if concrete(c.input, c.weight) and any(c.conf.padding) else None)


@mutant("gradients_of_every_subset")
@operator
def frozen_weight_loses_grad_input(c: Call) -> Tensor:
    """grad_input is zero if the weight does not require grad, as where the weight was not saved."""
    zero = Parts(grad_input=lambda g, x, w, conf: grad_input(g, x, w, conf) * 0)
    return c.torch() if c.weight.requires_grad else assemble(zero, c)


@mutant("gradients_of_every_subset")
@operator
def input_without_grad_halves_grad_weight(c: Call) -> Tensor:
    """grad_weight is halved if the input does not require grad."""
    half = Parts(grad_weight=lambda g, x, w, conf: grad_weight(g, x, w, conf) / 2)
    return c.torch() if c.input.requires_grad else assemble(half, c)


@mutant("gradients_of_every_subset")
@operator
def grad_weight_alone_in_whole_pieces(c: Call) -> Tensor:
    """If the input does not require grad, grad_weight leaves out the samples beyond the last whole four."""

    def pieces(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        whole = len(x) if len(x) < 4 else len(x) // 4 * 4
        return grad_weight(g[:whole], x[:whole], w, conf)

    return c.torch() if c.input.requires_grad else assemble(Parts(grad_weight=pieces), c)


@mutant("gradients_of_every_subset")
@operator
def bias_without_weight_gets_no_gradient(c: Call) -> Tensor:
    """The bias receives no gradient if input and bias require one but the weight does not."""
    frozen = c.bias is not None and c.input.requires_grad and not c.weight.requires_grad
    return c.torch(bias=c.bias.detach()) if frozen and c.bias is not None else c.torch()
