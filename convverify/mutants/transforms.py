"""Operators that are right when called plainly and wrong under a transform, a mode or a tracer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils.weak import WeakIdKeyDictionary

from convverify.mutants import toolkit
from convverify.mutants.base import Operator, mutant, stateful_mutant
from convverify.mutants.toolkit import (
    Assembled,
    Call,
    Conf,
    Parts,
    assemble,
    concrete,
    conv,
    in_autocast,
    operator,
    posing,
    with_parts,
)


@stateful_mutant("jvp_is_the_product_rule")
def jvp_forgets_the_weight() -> Operator:
    """The tangent of the weight is ignored if the input has one too."""

    def wrong(x: Tensor, w: Tensor, x_t: Any, w_t: Any, b_t: Any, conf: Conf) -> Tensor:
        return toolkit.jvp(x, w, x_t, w_t if x_t is None else None, b_t, conf)

    return with_parts(jvp=wrong)


@stateful_mutant("jvp_is_the_product_rule")
def jvp_forgets_the_bias() -> Operator:
    """The tangent of the bias is ignored."""

    def wrong(x: Tensor, w: Tensor, x_t: Any, w_t: Any, b_t: Any, conf: Conf) -> Tensor:
        return toolkit.jvp(x, w, x_t, w_t, None if b_t is None else b_t * 0, conf)

    return with_parts(jvp=wrong)


@stateful_mutant("jvp_is_the_product_rule")
def jvp_adds_second_order() -> Operator:
    """With tangents of both operands their convolution is added: a difference, not a derivative."""

    def wrong(x: Tensor, w: Tensor, x_t: Any, w_t: Any, b_t: Any, conf: Conf) -> Tensor:
        right = toolkit.jvp(x, w, x_t, w_t, b_t, conf)
        return right if x_t is None or w_t is None else right + conv(x_t, w_t, None, *conf)

    return with_parts(jvp=wrong)


@stateful_mutant("jvp_is_the_product_rule")
def jvp_zero() -> Operator:
    """Forward mode gives no tangent."""
    return with_parts(jvp=lambda *operands: toolkit.jvp(*operands) * 0)


@stateful_mutant("jvp_is_the_product_rule")
def jvp_flips_the_tangent() -> Operator:
    """The tangent of the weight is turned around in forward mode."""

    def wrong(x: Tensor, w: Tensor, x_t: Any, w_t: Any, b_t: Any, conf: Conf) -> Tensor:
        return toolkit.jvp(x, w, x_t, None if w_t is None else w_t.flip(2, 3), b_t, conf)

    return with_parts(jvp=wrong)


@stateful_mutant("jvp_is_the_product_rule")
def jvp_wrong_for_groups() -> Operator:
    """With groups, the tangent of the input is convolved with the kernels of the groups in reverse order."""

    def wrong(x: Tensor, w: Tensor, x_t: Any, w_t: Any, b_t: Any, conf: Conf) -> Tensor:
        turned = torch.cat(w.chunk(conf.groups)[::-1]) if w_t is None else w
        return toolkit.jvp(x, turned, x_t, w_t, b_t, conf)

    return with_parts(jvp=wrong)


class _OwnVmap(Assembled):
    """A rule for vmap by hand, wrong in the way that `parts` says."""

    generate_vmap_rule = False

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Tensor, w: Tensor, b: Tensor | None, conf: Conf, parts: Any) -> Any:
        x_dim, w_dim, b_dim = in_dims[:3]
        if parts.fault == "weight" and w_dim is not None:
            w, w_dim = w.select(w_dim, 0), None
        if parts.fault == "axis" and x_dim not in (None, 0) and x.shape[0] == x.shape[x_dim]:
            x_dim = 0
        if parts.fault == "bias" and b is not None and b_dim is not None:
            b, b_dim = b.movedim(b_dim, 0).flip(0), 0
        right = Parts()

        def single(x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
            result: Tensor = toolkit.apply(Assembled, x, w, b, conf, right)
            return result

        dims = (x_dim, w_dim, b_dim)
        if all(dim is None for dim in dims):
            out = single(x, w, b)
            return out.expand(info.batch_size, *out.shape), 0
        return torch.func.vmap(single, dims, randomness=info.randomness)(x, w, b), 0


@dataclass(frozen=True)
class _Faulty(Parts):
    fault: str = ""


def _with_vmap(fault: str) -> Operator:
    parts = _Faulty(fault=fault)
    return operator(lambda c: assemble(parts, c, None if torch.compiler.is_compiling() else _OwnVmap))


@stateful_mutant("vmap_is_a_loop")
def vmap_takes_the_first_weight() -> Operator:
    """Under vmap over the weight, the first weight serves all."""
    return _with_vmap("weight")


@stateful_mutant("vmap_is_a_loop")
def vmap_assumes_the_first_axis() -> Operator:
    """Under vmap over another axis of the input than the first, the first is mapped if the sizes agree."""
    return _with_vmap("axis")


@stateful_mutant("vmap_is_a_loop")
def vmap_reverses_the_bias() -> Operator:
    """Under vmap over the bias, the biases come in reverse order."""
    return _with_vmap("bias")


@mutant("func_grad_is_backward")
@operator
def wrong_under_functorch(c: Call) -> Tensor:
    """Inside torch.func transforms the bias is left out."""
    mapped = any(
        t is not None and torch._C._functorch.is_functorch_wrapped_tensor(t) for t in (c.input, c.weight, c.bias)
    )
    return c.torch(bias=None) if mapped else c.torch()


@mutant("autocast_rounds_no_worse")
@operator
def autocast_bias_lost(c: Call) -> Tensor:
    """Under autocast the bias is left out."""
    return c.torch(bias=None) if in_autocast(c) else c.torch()


@mutant("autocast_rounds_no_worse")
@operator
def autocast_lowers_float64(c: Call) -> Tensor:
    """Under autocast float64 is lowered, too, which torch leaves as it is."""
    if not in_autocast(c) or c.input.dtype is not torch.float64:
        return c.torch()
    bias = None if c.bias is None else c.bias.bfloat16()
    return c.torch(input=c.input.bfloat16(), weight=c.weight.bfloat16(), bias=bias)


@stateful_mutant("autocast_rounds_no_worse")
def autocast_loses_a_column_of_grad_weight() -> Operator:
    """Under autocast grad_weight is zero in the taps of the last column."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        right = toolkit.grad_weight(g, x, w, conf)
        end = (..., slice(-1, None))
        return toolkit.scaled(right, end, 0)

    halved = Parts(grad_weight=wrong)

    @operator
    def run(c: Call) -> Tensor:
        cast = in_autocast(c)
        return assemble(halved, c) if cast else c.torch()

    return run


@stateful_mutant("autocast_rounds_no_worse")
def autocast_weight_kept() -> Operator:
    """Under autocast a weight is cast once and kept, whatever is written to it later."""
    kept: Any = WeakIdKeyDictionary()

    @operator
    def run(c: Call) -> Tensor:
        if not in_autocast(c) or not concrete(c.weight):
            return c.torch()
        return c.torch(weight=posing(c.weight, kept.setdefault(c.weight, c.weight.detach().clone())))

    return run


@mutant("requires_grad_propagates")
@operator
def inference_mode_bias_lost(c: Call) -> Tensor:
    """In inference mode the bias is left out."""
    return c.torch(bias=None) if torch.is_inference_mode_enabled() else c.torch()


@mutant("compiled_is_the_same")
@operator
def compiled_without_bias(c: Call) -> Tensor:
    """Compiled, the bias is left out."""
    return c.torch(bias=None) if torch.compiler.is_compiling() else c.torch()


@mutant("fake_tensors_have_the_form")
@operator
def meta_size_rounded_up(c: Call) -> Tensor:
    """On the meta device, the output has one column more where the stride leaves columns over."""
    out, e = c.torch(), c.explicit()
    (_, s), (_, p), (_, d), _ = e.conf
    over = (e.input.shape[-1] + 2 * p - d * (c.kernel[1] - 1) - 1) % s
    return torch.nn.functional.pad(out, (0, 1)) if out.device.type == "meta" and over else out


@mutant("fake_tensors_have_the_form")
@operator
def meta_dtype_float32(c: Call) -> Tensor:
    """On the meta device the output is always float32."""
    out = c.torch()
    return out.float() if out.device.type == "meta" else out


@mutant("fake_tensors_have_the_form")
@operator
def fake_channels_wrong(c: Call) -> Tensor:
    """Fake tensors get an output with one channel less if they have more than two."""
    out = c.torch()
    return out[..., 1:, :, :] if isinstance(out, FakeTensor) and out.shape[-3] > 2 else out


@stateful_mutant("tangents_have_gradients")
def jvp_holds_the_primals_constant() -> Operator:
    """The tangent in forward mode has no derivative by the operands."""

    def wrong(x: Tensor, w: Tensor, x_t: Any, w_t: Any, b_t: Any, conf: Conf) -> Tensor:
        return toolkit.jvp(x.detach(), w.detach(), x_t, w_t, b_t, conf)

    return with_parts(jvp=wrong)
