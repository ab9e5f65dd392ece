"""One witness a mutant, for the families about layout, numbers, special values and refusals."""

from typing import Any

import torch
from test_mutants_cases import (
    Witness,
    accepted,
    cotangent,
    filled,
    grad,
    laid,
    operands,
    out,
    torch_conv2d,
)

NAN, INF = float("nan"), float("inf")
F32, F64, BF16, F16 = torch.float32, torch.float64, torch.bfloat16, torch.float16

_HALVES, _SCALE = torch.linspace(1, 2, 128).reshape(1, 1, 8, 16).bfloat16(), torch.full((1, 1, 1, 1), 1.3).bfloat16()


def _swapped(which: int) -> Any:
    """The operand with height and width interchanged in memory."""
    return lambda ts: [t.mT.contiguous().mT if i == which else t for i, t in enumerate(ts)]


def _last(ts: Any) -> Any:
    return [ts[0].contiguous(memory_format=torch.channels_last), *ts[1:]]


def _every_other_bias(ts: Any) -> Any:
    return [*ts[:2], torch.stack([ts[2], -ts[2]], 1)[:, 0]]


def _of_more_channels(ts: Any) -> Any:
    return [torch.cat([ts[0], -ts[0]], 1)[:, : ts[0].shape[1]], *ts[1:]]


def _weight_with_offset(ts: Any) -> Any:
    return [ts[0], torch.cat([-ts[1], ts[1]])[len(ts[1]) :], ts[2]]


def _expanded(ts: Any) -> Any:
    return [ts[0][:1].expand(ts[0].shape), *ts[1:]]


def _overlapping(ts: Any) -> Any:
    n, c, h, w = ts[0].shape
    return [torch.randn(n * c + h * w, dtype=F64).as_strided((n, c, h, w), (c, 1, w, 1)), *ts[1:]]


def _conjugate(op: Any) -> bool:
    tensors, options = operands("n1 c1->1 i3x3 k2x2 s1x1 p0x0 d1x1 g1", bias=False, dtype=torch.complex128)
    x, w = tensors[0] * (1 + 1j), tensors[1]
    return not torch.allclose(op(x.conj(), w, **options), torch_conv2d(x.conj().resolve_conj(), w, **options))


def _negative(op: Any) -> bool:
    (x, w), options = operands("n1 c1->1 i3x3 k2x2 s1x1 p0x0 d1x1 g1", bias=False)
    lazy = torch.complex(w, w).conj().imag
    assert lazy.is_neg()
    return not torch.allclose(op(x, lazy, **options), torch_conv2d(x, lazy.resolve_neg(), **options))


def _large_integers(op: Any) -> bool:
    x, w = torch.full((1, 1, 1, 1), 2**24 + 1), torch.ones(1, 1, 1, 1, dtype=torch.int64)
    return not torch.equal(op(x, w), x)


def _put(index: int, value: float) -> Any:
    """One element of an operand, the 20th or the last, is set."""
    return lambda ts: ts[index].view(-1)[min(20, ts[index].numel() - 1)].fill_(value)


def _weight_zero_beside(value: float) -> Any:
    def fill(ts: Any) -> None:
        ts[1].zero_()
        ts[0].view(-1)[20] = value

    return fill


def _input_zero_beside(value: float) -> Any:
    def fill(ts: Any) -> None:
        ts[0].zero_()
        ts[1].view(-1)[3] = value

    return fill


def _opposite(ts: Any) -> None:
    ts[0].fill_(INF)
    ts[1].fill_(1)[:, :1] = -1


def _nan_cotangent(op: Any) -> bool:
    return cotangent(lambda y: torch.where(torch.arange(y.shape[-1]) == 1, NAN, y))(op)


LAYOUT: dict[str, Witness] = {
    "input_assumed_contiguous": laid(_swapped(0)),
    "weight_assumed_contiguous": laid(_swapped(1)),
    "bias_assumed_contiguous": laid(_every_other_bias),
    "channels_last_read_as_contiguous": laid(_last),
    "batch_stride_assumed": laid(_of_more_channels),
    "storage_offset_ignored": laid(_weight_with_offset),
    "expanded_input_misread": laid(_expanded),
    "conjugate_bit_ignored": _conjugate,
    "negative_bit_ignored": _negative,
    "grad_output_assumed_contiguous": cotangent(lambda y: y.mT.contiguous().mT),
    "grad_output_of_a_sum_taken_for_ones": cotangent(lambda y: torch.tensor(3.0, dtype=y.dtype).expand(y.shape)),
    "grad_output_of_means_from_the_first_sample": cotangent(lambda y: y[:, :, :1, :1].expand(y.shape)),
    "grad_output_of_pooling_misread": cotangent(lambda y: y[:, :, :1, :1].expand(y.shape)),
    "grad_output_expanded_misread": cotangent(lambda y: torch.ones((), dtype=y.dtype).expand(y.shape)),
    "grad_output_channels_last_misread": cotangent(lambda y: y.contiguous(memory_format=torch.channels_last)),
    "grad_output_offset_ignored": cotangent(lambda y: torch.cat([-y, y])[len(y) :]),
    "overlapping_windows_misread": laid(_overlapping),
    "transposed_weight_of_a_square": laid(_swapped(1), "n1 c1->1 i5x5 k2x2 s1x1 p0x0 d1x1 g1"),
}
PRECISION: dict[str, Witness] = {
    "bfloat16_inside": out(),
    "float16_inside": out(dtype=F32, scale=100),
    "float32_inside": out(scale=100),
    "half_precision_accumulator": lambda op: float(
        op(*(torch.ones(1, 1024, 1, 1, dtype=torch.bfloat16) for _ in range(2)))
    ) < 512,
    "parts_of_sums_in_float16": lambda op: not op(
        torch.full((1, 128, 1, 1), 2.0**6, dtype=torch.float16),
        torch.tensor([2.0**5, -(2.0**5)], dtype=torch.float16).repeat_interleave(64).view(1, 128, 1, 1),
    ).isfinite().all(),
    "tf32_inside": out(dtype=F32, scale=100),
    "long_sums_in_float32": out("n1 c300->1 i1x1 k1x1 s1x1 p0x0 d1x1 g1", scale=100),
    "integers_through_float32": _large_integers,
    "grad_weight_through_float32": grad(scale=1000),
    "grad_input_through_bfloat16": grad(dtype=F32, scale=100),
    "weight_rounded_to_integers": out(),
    "output_rounded_to_thousandths": out(),
    "input_quantised": out(),
    "output_clamped": out(scale=1000),
    "input_saturates": out(scale=1e6),
    "large_outputs_keep_twenty_bits": out(scale=1e5),
    "small_inputs_flushed": filled(lambda ts: [ts[0].mul_(1e-8), ts[1].mul_(1e8)]),
    "subnormals_flushed": lambda op: (
        not op(*[torch.full((1, 1, 1, 1), v, dtype=F64) for v in (1e-310, 1)]).any()
    ),
    "output_rectified": out(),
    "sign_lost": out(scale=100),
    "integers_wrap_at_sixteen_bits": filled(lambda ts: [t.fill_(100) for t in ts]),
    "zero_point_shift": filled(lambda ts: [ts[0].mul_(1e-10), ts[1].mul_(1e10)]),
    "bias_in_float16": out(scale=100),
    "bfloat16_loses_the_bias": out(dtype=BF16),
    "bfloat16_truncated": lambda op: not torch.equal(op(_HALVES, _SCALE), torch_conv2d(_HALVES, _SCALE)),
    "bfloat16_rounded_at_random": lambda op: not torch.equal(op(_HALVES, _SCALE), op(_HALVES, _SCALE)),
    "large_images_in_bfloat16": out("n1 c1->1 i130x129 k1x1 s1x1 p0x0 d1x1 g1", dtype=F32),
    "float16_last_channel": out(dtype=F16),
    "complex_weight_conjugated": lambda op: (
        op(torch.ones(1, 1, 1, 1) * 1j, torch.ones(1, 1, 1, 1) * 1j).real > 0
    ),
}
SPECIAL_VALUES: dict[str, Witness] = {
    "nan_becomes_zero": filled(_put(0, NAN)),
    "nan_in_the_input_ignored": filled(_put(0, NAN)),
    "infinity_saturates": filled(_put(2, INF)),
    "infinity_loses_its_sign": filled(_put(2, -INF)),
    "nan_spreads_over_the_image": filled(_put(0, NAN)),
    "nan_spreads_over_the_batch": filled(_put(0, NAN)),
    "zero_taps_skipped": filled(_weight_zero_beside(INF)),
    "zero_pixels_skipped": filled(_input_zero_beside(INF)),
    "nan_in_the_bias_ignored": filled(_put(2, NAN)),
    "nan_in_grad_output_ignored": _nan_cotangent,
    "nan_spreads_in_grad_input": _nan_cotangent,
    "gradients_not_finite_dropped": filled(_put(0, INF), 1),
    "opposite_infinities_cancel": filled(_opposite),
}
IMAGE, KERNEL = (1, 2, 4, 4), (2, 2, 2, 2)
REFUSALS: dict[str, Witness] = {
    "surplus_channels_accepted": accepted((1, 3, 4, 4), KERNEL),
    "surplus_taps_accepted": accepted((1, 1, 4, 4), KERNEL),
    "groups_inferred_from_the_channels": accepted(IMAGE, (2, 1, 2, 2)),
    "groups_that_do_not_divide_accepted": accepted(IMAGE, (3, 1, 2, 2), groups=2),
    "large_kernel_accepted": accepted((1, 2, 2, 1), KERNEL),
    "long_bias_cut": accepted(IMAGE, KERNEL, (3,)),
    "stride_zero_accepted": accepted(IMAGE, KERNEL, stride=(1, 0)),
    "groups_zero_accepted": accepted(IMAGE, KERNEL, groups=0),
    "plain_matrix_accepted": accepted((4, 4), (1, 1, 2, 2)),
}


def _cover(rest: int, **how: Any) -> Witness:
    """All but `rest` elements of the input are zero."""
    return filled(lambda ts: ts[0].view(-1)[rest:].zero_(), **how)


ADVERSARIAL: dict[str, Witness] = {
    "right_on_integers": out(),
    "wrong_on_integers": filled(lambda ts: ts[0].round_()),
    "wrong_on_fractions_of_the_weight": out(),
    "wrong_on_constant_input": filled(lambda ts: ts[0].fill_(0.3)),
    "wrong_on_sparse_input": _cover(3),
    "wrong_on_sparse_weight": filled(lambda ts: ts[1].view(-1)[2:].zero_()),
    "wrong_on_negative_input": filled(lambda ts: ts[0].abs_().neg_()),
    "wrong_on_negative_weight": filled(lambda ts: ts[1].abs_().neg_()),
    "wrong_on_huge_input": out(scale=1e9),
    "wrong_on_tiny_input": filled(lambda ts: [ts[0].mul_(1e-10), ts[1].mul_(1e10)]),
    "wrong_on_one_outlier": filled(lambda ts: ts[0].view(-1)[:1].fill_(1e6)),
    "wrong_if_the_first_element_is_zero": filled(lambda ts: ts[0].view(-1)[:1].zero_()),
    "right_on_normal_input": out(scale=5),
    "wrong_on_normal_input": out("n4 c4->1 i9x9 k2x2 s1x1 p0x0 d1x1 g1"),
    "wrong_on_impulses": _cover(1),
    "wrong_on_large_calls": out("n1 c1->1 i101x101 k1x1 s1x1 p0x0 d1x1 g1"),
    "wrong_on_equal_operands": filled(lambda ts: [t.fill_(2) for t in ts]),
    "wrong_on_mirrored_kernels": filled(
        lambda ts: ts[1].copy_(ts[1] + ts[1].flip(3)), text="n1 c1->2 i5x6 k2x3 s1x1 p0x0 d1x1 g1"
    ),
    "wrong_on_separable_kernels": filled(lambda ts: ts[1].copy_(torch.arange(1.0, 1 + ts[1].shape[3]) *
                                                                torch.arange(1.0, 1 + ts[1].shape[2])[:, None])),
    "wrong_on_equal_filters": filled(lambda ts: ts[1].copy_(ts[1][:1].clone())),
    "wrong_on_equal_samples": filled(lambda ts: ts[0].copy_(ts[0][:1].clone())),
    "wrong_on_symmetric_kernels": filled(lambda ts: ts[1].fill_(2)),
    "wrong_by_hash": lambda op: any(filled(lambda ts, k=k: ts[0].mul_(k))(op) for k in range(1, 400)),
    "slightly_nonlinear": out(scale=100),
    "zero_sum_channels_skipped": filled(lambda ts: ts[0].copy_(torch.arange(6.0) - 2.5)),
    "samples_compared_by_their_first_pixel": filled(lambda ts: ts[0][:, :1, :1, :1].fill_(2)),
    "batch_taken_for_channels": out("n3 c3->1 i3x3 k1x1 s1x1 p0x0 d1x1 g1"),
    "unaligned_loads": lambda op: (
        not op(torch.ones(3)[1:2].reshape(1, 1, 1, 1), torch.ones(1, 1, 1, 1)).all()
    ),
    "same_tensor_twice": lambda op: not torch.equal(op(*[_ROW] * 2), torch_conv2d(*[_ROW] * 2)),
    "constant_grad_output_shortcut": cotangent(torch.ones_like),
    "sparse_grad_output_dropped": cotangent(lambda y: (torch.arange(y.numel()) == 5).reshape(y.shape).to(y)),
    "small_grad_output_flushed": cotangent(
        lambda y: torch.where(torch.arange(y.shape[1])[:, None, None] == 1, 1.0, 1e-8).to(y).expand(y.shape)
    ),
}
_ROW = torch.tensor([1.0, 2.0, 4.0]).reshape(1, 1, 1, 3)
TABLES = LAYOUT | PRECISION | SPECIAL_VALUES | REFUSALS | ADVERSARIAL
