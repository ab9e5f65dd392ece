"""Numbers that lose digits, range or sign; small integers survive most of these."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from convverify.mutants.base import Operator, mutant, stateful_mutant
from convverify.mutants.toolkit import Call, Conf, concrete, grad_input, grad_weight, operator, posing, with_parts

WIDE = (torch.float32, torch.float64)


def _inside(c: Call, dtype: torch.dtype) -> Tensor:
    bias = None if c.bias is None else c.bias.to(dtype)
    return c.torch(input=c.input.to(dtype), weight=c.weight.to(dtype), bias=bias).to(c.input.dtype)


@mutant("forward_equals_definition")
@operator
def bfloat16_inside(c: Call) -> Tensor:
    """Float32 and float64 are computed in bfloat16."""
    return _inside(c, torch.bfloat16) if c.input.dtype in WIDE else c.torch()


@mutant("forward_equals_definition")
@operator
def float16_inside(c: Call) -> Tensor:
    """Float32 is computed in float16: 11 bits, and overflow above 65504."""
    return _inside(c, torch.float16) if c.input.dtype == torch.float32 else c.torch()


@mutant("forward_equals_definition")
@operator
def float32_inside(c: Call) -> Tensor:
    """Float64 is computed in float32."""
    return _inside(c, torch.float32) if c.input.dtype == torch.float64 else c.torch()


@mutant("every_operand_bit_counts")
@operator
def tf32_inside(c: Call) -> Tensor:
    """The operands of float32 are rounded to the 11 bits of TF32."""
    return _float32_rounded(c, _to_eleven_bits)


def _float32_rounded(c: Call, rounded: Callable[[Tensor], Tensor]) -> Tensor:
    if c.input.dtype != torch.float32:
        return c.torch()
    x, w = (posing(t, rounded(t.detach())) for t in (c.input, c.weight))
    return c.torch(input=x, weight=w)


def _to_eleven_bits(t: Tensor) -> Tensor:
    bits = t.contiguous().view(torch.int32)
    return torch.where(t.isfinite(), ((bits + 0x1000) & ~0x1FFF).view(torch.float32), t)


@mutant("every_operand_bit_counts")
@operator
def float32_in_two_bfloat16_parts(c: Call) -> Tensor:
    """The operands of float32 are rounded to the sum of two numbers in bfloat16, which have 17 bits."""
    return _float32_rounded(c, _to_two_parts)


def _to_two_parts(t: Tensor) -> Tensor:
    first = t.bfloat16().float()
    return torch.where(first.isfinite(), first + (t - first).bfloat16().float(), t)


@mutant("large_layers_are_right")
@operator
def long_sums_in_float32(c: Call) -> Tensor:
    """Float64 sums over more than 256 products are accumulated in float32."""
    long = c.input.dtype == torch.float64 and c.weight.shape[1:].numel() > 256
    return _inside(c, torch.float32) if long else c.torch()


@mutant("integers_are_exact")
@operator
def integers_through_float32(c: Call) -> Tensor:
    """Integer dtypes are computed in float32: wrong above 2^24."""
    return c.torch() if c.input.is_floating_point() or c.input.is_complex() else _inside(c, torch.float32)


@stateful_mutant("gradients_equal_definition")
def grad_weight_through_float32() -> Operator:
    """grad_weight of float64 is rounded to float32."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        right = grad_weight(g, x, w, conf)
        return right.float().to(right.dtype) if right.dtype == torch.float64 else right

    return with_parts(grad_weight=wrong)


@stateful_mutant("gradients_equal_definition")
def grad_input_through_bfloat16() -> Operator:
    """grad_input of float32 is computed from a kernel rounded to bfloat16."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        return grad_input(g, x, w.bfloat16().to(w.dtype) if w.dtype == torch.float32 else w, conf)

    return with_parts(grad_input=wrong)


@mutant("forward_equals_torch")
@operator
def weight_rounded_to_integers(c: Call) -> Tensor:
    """The weight is rounded to integers, as by a quantiser with scale one."""
    return c.torch(weight=posing(c.weight, c.weight.round())) if _floating(c) else c.torch()


def _floating(c: Call) -> bool:
    return c.input.is_floating_point()


@mutant("forward_equals_torch")
@operator
def output_rounded_to_thousandths(c: Call) -> Tensor:
    """The output keeps three decimal places."""
    out = c.torch()
    return posing(out, (out * 1000).round() / 1000) if out.dtype in WIDE else out


@mutant("forward_equals_definition")
@operator
def input_quantised(c: Call) -> Tensor:
    """The input keeps 15 bits below the largest of its elements: small ones beside it are lost."""
    if c.input.dtype not in WIDE or not c.input.numel():
        return c.torch()
    top = c.input.detach().abs().amax().clamp_min(1e-30)
    step = torch.exp2(torch.floor(torch.log2(top)) - 14)
    return c.torch(input=posing(c.input, (c.input / step).round() * step))


@mutant("forward_equals_definition")
@operator
def output_clamped(c: Call) -> Tensor:
    """Outputs are clamped to ±10000."""
    out = c.torch()
    return out.clamp(-1e4, 1e4) if out.dtype in WIDE else out


@mutant("forward_equals_definition")
@operator
def input_saturates(c: Call) -> Tensor:
    """Inputs above 60000 are taken for 60000."""
    return c.torch(input=c.input.clamp_max(6e4)) if c.input.dtype in WIDE else c.torch()


@mutant("forward_equals_definition")
@operator
def large_outputs_keep_twenty_bits(c: Call) -> Tensor:
    """Outputs above 2^20 are rounded to multiples of 16."""
    out = c.torch()
    rounded = torch.where(out.detach().abs() > 2**20, (out / 16).round() * 16, out) if _floating(c) else out
    return posing(out, rounded) if out.dtype in WIDE else out


@mutant("forward_equals_torch")
@operator
def small_inputs_flushed(c: Call) -> Tensor:
    """Inputs below a millionth in magnitude are taken for zero."""
    x = c.input
    return c.torch(input=torch.where(x.abs() < 1e-6, torch.zeros_like(x), x)) if _floating(c) else c.torch()


@mutant("subnormals_survive")
@operator
def subnormals_flushed(c: Call) -> Tensor:
    """Subnormal outputs are zero."""
    out = c.torch()
    if not _floating(c):
        return out
    return torch.where(out.abs() < torch.finfo(out.dtype).tiny, torch.zeros_like(out), out)


@mutant("forward_equals_definition")
@operator
def output_rectified(c: Call) -> Tensor:
    """A ReLU is fused into the convolution where there is a bias."""
    out = c.torch()
    return out if c.bias is None or out.is_complex() else out.clamp_min(0)


@mutant("forward_equals_definition")
@operator
def sign_lost(c: Call) -> Tensor:
    """Outputs below -64 lose their sign."""
    out = c.torch()
    return out if out.is_complex() else torch.where(out < -64, -out, out)


@mutant("forward_equals_definition")
@operator
def integers_wrap_at_sixteen_bits(c: Call) -> Tensor:
    """Where all operands are integral, sums wrap around at 2^15 as in an int16 accumulator."""
    out = c.torch()
    if out.dtype not in WIDE:
        return out
    integral = (c.input == c.input.round()).all() & (c.weight == c.weight.round()).all()
    wrapped = torch.remainder(out + 2**15, 2**16) - 2**15
    return torch.where(integral & out.isfinite(), wrapped, out)


@mutant("forward_equals_torch")
@operator
def zero_point_shift(c: Call) -> Tensor:
    """The input is shifted by 4096 and the shift taken off the output: exact on integers, else not."""
    if c.input.dtype not in WIDE:
        return c.torch()
    e = c.explicit()
    (p, q) = e.conf.padding
    x = torch.nn.functional.pad(e.input, (q, q, p, p))
    shift = torch.full_like(x, 4096)
    base = e.torch(input=shift, bias=None, padding=0)
    return e.torch(input=x + shift, padding=0) - base


@mutant("forward_equals_torch")
@operator
def bias_in_float16(c: Call) -> Tensor:
    """The bias is rounded to float16."""
    bias = c.bias
    if bias is None or bias.dtype not in WIDE:
        return c.torch()
    return c.torch(bias=posing(bias, bias.half().to(bias.dtype)))


@mutant("every_operand_bit_counts_in_long_sums")
@operator
def large_images_in_bfloat16(c: Call) -> Tensor:
    """An input of more than 2^14 elements is kept in bfloat16, where it is float32."""
    large = c.input.dtype == torch.float32 and c.input.numel() > 2**14
    return c.torch(input=posing(c.input, c.input.detach().bfloat16().float())) if large else c.torch()


@mutant("complex_is_exact")
@operator
def complex_weight_conjugated(c: Call) -> Tensor:
    """A complex weight is conjugated, as a correlation in signal processing would."""
    return c.torch(weight=c.weight.conj()) if c.weight.is_complex() else c.torch()


@mutant("complex_is_exact")
@operator
def one_complex_gradient_conjugated(c: Call) -> Tensor:
    """Of complex operands grad_weight has its conjugate, and grad_input has none."""
    if not c.weight.is_complex():
        return c.torch()
    through = c.torch(weight=c.weight.detach().conj().resolve_conj(), bias=None)
    return c.torch(input=c.input.detach()) + (through - through.detach())


@mutant("every_operand_bit_counts")
@operator
def tf32_for_channels_by_the_eight(c: Call) -> Tensor:
    """Where channels in and out are multiples of eight, the operands of float32 are rounded to the 11 bits of TF32."""
    by_eight = c.weight.shape[0] % 8 == c.weight.shape[1] % 8 == 0
    if c.input.dtype != torch.float32 or not by_eight:
        return c.torch()
    return c.torch(input=posing(c.input, _to_eleven_bits(c.input.detach())),
                   weight=posing(c.weight, _to_eleven_bits(c.weight.detach())))  # fmt: skip


@mutant("every_operand_bit_counts")
@operator
def many_channels_quietly_in_bfloat16(c: Call) -> Tensor:
    """Where nothing is recorded, float32 layers of 4096 pairs of channels are computed in bfloat16."""
    pairs = c.weight.shape[0] * c.weight.shape[1]
    quiet = not torch.is_grad_enabled() and c.input.dtype == torch.float32
    return _inside(c, torch.bfloat16) if quiet and pairs >= 4096 else c.torch()


@mutant("single_products_round_either_way")
@operator
def float32_chopped(c: Call) -> Tensor:
    """In float32 results are cut off, not rounded to the nearest number."""
    if c.input.dtype != torch.float32 or not concrete(c.input, c.weight):
        return c.torch()
    out = c.torch()
    wide = c.torch(input=c.input.detach().double(), weight=c.weight.detach().double(),
                   bias=None if c.bias is None else c.bias.detach().double())  # fmt: skip
    nearest = wide.float()
    below = torch.nextafter(nearest, torch.zeros_like(nearest))
    return posing(out, torch.where(nearest.double().abs() > wide.abs(), below, nearest))
