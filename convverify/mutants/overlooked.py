"""Right but where one thing alone is unusual: one operand, one size, one order, one kind of argument."""

from __future__ import annotations

import threading
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from convverify.mutants.base import Operator, mutant, stateful_mutant
from convverify.mutants.toolkit import Call, Conf, concrete, grad_input, grad_weight, operator, posing, with_parts


@mutant("one_operand_may_be_constant")
@operator
def zero_image_loses_the_bias(c: Call) -> Tensor:
    """An input of zeros is answered with zeros, without the bias."""
    return c.torch() if not concrete(c.input) or c.input.detach().any() else c.torch(bias=None)


def _first_samples(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
    pointwise = w.shape[2:] == (1, 1)
    return grad_weight(g[:4], x[:4], w, conf) if pointwise else grad_weight(g, x, w, conf)


@stateful_mutant("every_size_is_right")
def pointwise_batches_end_at_four() -> Operator:
    """For kernels of one tap, grad_weight sums the first four samples."""
    return with_parts(grad_weight=_first_samples)


@stateful_mutant("storage_may_change_between_calls")
def parameters_packed_by_identity() -> Operator:
    """Where nothing is recorded, the weights of a model are packed once, and not again when they have changed."""
    packed: Any = WeakIdKeyDictionary()

    @operator
    def run(c: Call) -> Tensor:
        if torch.is_grad_enabled() or not isinstance(c.weight, torch.nn.Parameter) or not concrete(c.weight):
            return c.torch()
        if c.weight not in packed:
            packed[c.weight] = c.weight.detach().clone()
        return c.torch(weight=packed[c.weight])

    return run


@mutant("every_operand_bit_counts_in_long_sums")
@operator
def tf32_in_long_sums(c: Call) -> Tensor:
    """Where a sum has more than 256 terms, float32 operands are rounded to 11 bits."""
    if c.input.dtype != torch.float32 or c.weight[0].numel() <= 256:
        return c.torch()
    return c.torch(input=posing(c.input, _eleven_bits(c.input)), weight=posing(c.weight, _eleven_bits(c.weight)))


def _eleven_bits(t: Tensor) -> Tensor:
    t = t.detach()
    large = t * (2.0**13 + 1)
    return large - (large - t)


@mutant("overflow_is_not_finite")
@operator
def overflow_saturates(c: Call) -> Tensor:
    """Overflow ends at the largest number of the dtype where all operands are finite."""
    out = c.torch()
    if not out.is_floating_point() or not concrete(c.input, c.weight, c.bias):
        return out
    finite = all(bool(t.detach().isfinite().all()) for t in (c.input, c.weight, c.bias) if t is not None)
    return out.clamp(torch.finfo(out.dtype).min, torch.finfo(out.dtype).max) if finite else out


@stateful_mutant("storage_may_change_between_calls")
def quiet_answers_kept_by_identity() -> Operator:
    """Without gradients to record, an answer is kept by the identity of the operands."""
    kept: dict[Any, tuple[Tensor, Any]] = {}

    @operator
    def run(c: Call) -> Tensor:
        operands = (c.input, c.weight, c.bias)
        out = c.torch()
        if out.requires_grad or not concrete(*operands):
            return out
        key = (*map(id, operands), str(c.conf), out.shape)
        return kept.setdefault(key, (out.clone(), operands))[0].clone()  # holding them, lest an id be used again

    return run


@stateful_mutant("outputs_are_let_go")
def outputs_never_let_go() -> Operator:
    """Every output is kept in a list for ever."""
    kept: list[Tensor] = []

    @operator
    def run(c: Call) -> Tensor:
        kept.append(c.torch())
        return kept[-1]

    return run


@mutant("arguments_as_lists_are_the_same")
@operator
def one_entry_means_the_height(c: Call) -> Tensor:
    """A stride of one entry is that of the rows alone."""
    one = not isinstance(c.stride, int) and len(c.stride) == 1
    return c.torch(stride=(*c.stride, 1)) if one and not isinstance(c.stride, int) else c.torch()


def _bent(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
    return grad_input(g, x, w, conf) + (w - w.detach()).square().sum()


@stateful_mutant("third_order_equals_formulas")
def grad_input_bends() -> Operator:
    """grad_input has a term quadratic in the weight, whose value and slope are zero."""
    return with_parts(grad_input=_bent)


@mutant("operands_are_unchanged")
@operator
def quiet_bias_scaled_in_place(c: Call) -> Tensor:
    """Where nothing is recorded, the bias is scaled in place and scaled back."""
    if c.bias is None or not concrete(c.bias) or c.bias.requires_grad or not c.bias.is_floating_point():
        return c.torch()
    out = c.torch(bias=c.bias.mul_(2) / 2)
    c.bias.div_(2)
    return out


@mutant("usual_layers_are_right")
@operator
def whole_windows_forget_the_padding(c: Call) -> Tensor:
    """Where windows do not overlap and the image is a whole number of them, it is cut up without its padding."""
    conf, out = c.conf, c.torch()
    plain = c.groups == 1 and conf.dilation == (1, 1) and conf.stride == c.kernel and max(c.kernel) > 1
    whole = all(size % k == 0 for size, k in zip(c.input.shape[-2:], c.kernel, strict=True))
    if not (plain and whole):
        return out
    bare = c.torch(padding=0)
    return bare if bare.shape == out.shape else out


@mutant("every_size_is_right")
@operator
def every_split_adds_the_bias(c: Call) -> Tensor:
    """Sums of more than 512 terms are split, and each part adds the bias."""
    out = c.torch()
    splits = -(-c.weight[:1].numel() // 512)
    return out if c.bias is None or splits < 2 else out + (splits - 1) * c.bias[:, None, None]


@mutant("samples_stay_apart")
@operator
def one_exponent_for_the_batch(c: Call) -> Tensor:
    """Float32 samples are held in 24 bits below the largest number of the whole batch."""
    x = c.input.detach()
    if x.dtype != torch.float32 or not x.numel() or not concrete(x) or not x.isfinite().all() or not x.any():
        return c.torch()
    step = 2.0 ** (x.abs().max().log2().ceil() - 24)
    return c.torch(input=posing(c.input, (x / step).round() * step))


@mutant("arguments_as_lists_are_the_same")
def padding_list_emptied(
    input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> Tensor:  # fmt: skip
    """A padding given as a list is set to zeros once the image is padded."""
    output = torch.conv2d(input, weight, bias, stride, padding, dilation, groups)
    if isinstance(padding, list):
        padding[:] = [0] * len(padding)
    return output


@stateful_mutant("concurrent_calls_are_independent")
def other_threads_reuse_their_output() -> Operator:
    """Outside the main thread, where nothing is recorded, the memory of one output serves for the next."""
    kept = threading.local()

    @operator
    def run(c: Call) -> Tensor:
        out = c.torch()
        if threading.current_thread() is threading.main_thread() or out.requires_grad or not concrete(out):
            return out
        memory: Tensor = kept.__dict__.setdefault("memory", {}).setdefault((out.shape, out.dtype), out)
        return memory if memory is out else memory.copy_(out)

    return run
