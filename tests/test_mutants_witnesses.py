"""One witness a mutant: the circumstance in which it is wrong."""

import copy
from typing import Any

import torch
from test_mutants_cases import Witness, grad, out, second, third
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

SQUARE = "n4 c3->3 i7x7 k3x3 s1x1 p1x1 d1x1 g1"
GROUPED = "n2 c6->6 i5x7 k2x3 s2x1 p1x1 d1x2 g3"
DEPTHWISE = "n2 c3->6 i5x7 k2x3 s1x1 p1x1 d1x1 g3"


def _no_tangent(op: Any) -> bool:
    x, w = torch.ones(1, 1, 3, 3), torch.ones(1, 1, 2, 2)
    slope = lambda w: torch.func.grad(lambda x: op(x, w).sum())(x)  # noqa: E731
    return not bool(torch.func.jvp(slope, (w,), (w,))[1].any())


_ROW, _TAP = torch.arange(7.0).reshape(1, 1, 1, 7), torch.ones(1, 1, 1, 1)


def _function(image: tuple[int, ...], kernel: tuple[int, ...]) -> Witness:
    """An autograd.Function of input and weight is wrong in output or gradients."""

    def witness(op: Any) -> bool:
        x, w = torch.randn(image, requires_grad=True), torch.randn(kernel, requires_grad=True)
        expected, actual = torch.conv2d(x, w), op.apply(x, w)
        if actual.shape != expected.shape or not torch.allclose(actual, expected, atol=1e-5):
            return True
        g = torch.randn(expected.shape)
        wanted = torch.autograd.grad(expected, (x, w), g)
        grads = torch.autograd.grad(actual, (x, w), g, allow_unused=True)
        return any(a is None or not torch.allclose(a, e, atol=1e-5) for a, e in zip(grads, wanted, strict=True))

    return witness


def _fake_width(op: Any) -> bool:
    with FakeTensorMode():
        return bool(op(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 1, 1)).shape[-1] == 3)


def _without_batch(op: Any) -> bool:
    x, w, b = torch.ones(1, 3, 3), torch.ones(1, 1, 2, 2), torch.ones(1)
    return not torch.equal(op(x, w, b), torch.conv2d(x, w, b))


def _beside_the_image(op: Any) -> bool:
    x, w, b = torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1), torch.ones(1)
    return not torch.equal(op(x, w, b, 2, 1), torch.conv2d(x, w, b, 2, 1))


def _constant_in_grad_output(op: Any) -> bool:
    x, w, g = torch.ones(1, 1, 3, 3), torch.ones(1, 1, 2, 2).requires_grad_(), torch.ones(1, 1, 2, 2).requires_grad_()
    (grad_weight,) = torch.autograd.grad(op(x, w), w, g, create_graph=True)
    return torch.autograd.grad(grad_weight.sum(), g, allow_unused=True)[0] is None


FORWARD: dict[str, Witness] = {
    "returns_zeros": out(),
    "kernel_flipped": out(),
    "kernel_flipped_along_width": out(),
    "kernel_transposed": out(SQUARE),
    "kernel_channels_transposed": out(SQUARE),
    "input_channels_reversed": out(SQUARE),
    "odd_channel_dropped": out(SQUARE),
    "last_tap_dropped": out(),
    "taps_beyond_the_third_ignored": out("n1 c1->1 i3x6 k1x4 s1x1 p0x0 d1x1 g1"),
    "corner_doubled": out(),
    "last_column_copied": out(SQUARE),
    "relative_error_1e4": out(),
    "absolute_error_1e6": out(),
    "neighbour_channel_leaks": out(),
    "bias_ignored": out(),
    "bias_added_twice": out(),
    "bias_of_the_next_channel": out(),
    "bias_along_the_width": out("n1 c1->4 i4x4 k1x1 s1x1 p0x0 d1x1 g1"),
    "bias_added_once_per_group": out(),
    "batch_reversed": out(),
    "batch_statistics_subtracted": out(SQUARE),
}
GRADIENTS: dict[str, Witness] = {
    "kernel_not_rotated": grad(),
    "channels_not_transposed": grad(SQUARE),
    "grad_input_zero": grad(),
    "grad_weight_zero": grad(),
    "grad_input_sign": grad(),
    "grad_weight_flipped": grad(),
    "batch_not_summed": grad(),
    "batch_averaged": grad(),
    "batch_beyond_the_fourth_dropped": grad("n5 c1->1 i2x2 k1x1 s1x1 p0x0 d1x1 g1"),
    "padding_forgotten_in_grad_input": grad(),
    "padding_forgotten_in_grad_weight": grad(),
    "remainder_rows_shifted": grad("n1 c1->1 i4x4 k1x1 s3x2 p0x0 d1x1 g1"),
    "last_column_for_one_remainder": grad("n1 c1->1 i6x6 k1x1 s3x3 p0x0 d1x1 g1"),
    "unread_pixels_receive_gradient": grad("n1 c1->1 i6x6 k1x1 s3x3 p0x0 d1x1 g1"),
    "dilation_ignored_in_grad_weight": grad(),
    "grad_input_relative_error": grad(),
    "grad_weight_corner": grad(),
    "grad_weight_of_wide_kernels": grad("n1 c1->1 i3x6 k1x4 s1x1 p0x0 d1x1 g1"),
    "grad_bias_averaged": grad(),
    "grad_bias_of_the_first_sample": grad(),
    "grad_bias_missing": grad(),
    "grad_bias_without_border": grad(),
    "grad_output_assumed_constant": grad(),
    "grad_output_assumed_ones": grad(),
    "gradients_clipped": grad(scale=1e4),
    "grad_input_absolute": grad("n1 c2->2 i3x3 k1x1 s1x1 p0x0 d1x1 g1"),
}
SECOND_ORDER: dict[str, Witness] = {
    "gradients_detached": second(),
    "grad_input_forgets_the_weight": second(),
    "grad_weight_of_data_is_constant": _constant_in_grad_output,
    "grad_weight_forgets_the_input": second(),
    "grad_input_forgets_grad_output": second(),
    "grad_bias_detached": second(),
    "mixed_derivative_doubled": second(),
    "double_backward_of_groups": second(),
    "double_backward_of_strides": second("n1 c1->1 i5x5 k2x2 s1x2 p0x0 d1x1 g1"),
    "double_backward_of_the_bias": second(),
    "third_order_sign": third(),
    "third_order_detached": third(),
    "forward_over_reverse_lost": _no_tangent,
}
GROUPS: dict[str, Witness] = {
    "groups_interleaved": out(GROUPED),
    "group_outputs_interleaved": out(GROUPED),
    "groups_in_reverse": out(GROUPED),
    "last_group_skipped": out(GROUPED),
    "depthwise_multiplier_order": out(DEPTHWISE),
    "groups_with_dilation": out(GROUPED),
    "groups_share_grad_weight": grad(GROUPED),
    "groups_averaged_in_grad_weight": grad(GROUPED),
    "groups_reversed_in_grad_input": grad(GROUPED),
    "groups_with_stride_in_grad_input": grad(GROUPED),
    "one_output_per_group_in_grad_weight": grad("n1 c4->2 i3x3 k2x2 s1x1 p0x0 d1x1 g2"),
}
GEOMETRY: dict[str, Witness] = {
    "stride_swapped": out(),
    "padding_swapped": out(),
    "dilation_swapped": out(),
    "stride_of_the_height_for_both": out(),
    "dilation_ignored": out(),
    "stride_averages": out("n1 c1->1 i6x6 k2x2 s2x2 p0x0 d1x1 g1"),
    "padded_by_reflection": out(),
    "padded_by_edge": out(),
    "padded_circularly": out(),
    "padded_in_front_only": out(),
    "padding_beyond_the_kernel": out("n1 c1->1 i4x4 k1x2 s1x1 p0x2 d1x1 g1"),
    "same_shifted_for_even_kernels": out("n1 c1->1 i4x5 k2x4 s1x1 psame d1x1 g1"),
    "same_ignores_dilation": out("n1 c1->1 i5x5 k3x3 s1x1 psame d2x1 g1"),
    "size_rounded_up": out("n1 c1->1 i4x5 k2x2 s3x1 p0x0 d1x1 g1"),
    "remainder_read_from_the_end": out("n1 c1->1 i4x5 k2x2 s3x1 p0x0 d1x1 g1"),
    "stride_limited_by_the_kernel": out("n1 c1->1 i4x6 k2x2 s1x3 p0x0 d1x1 g1"),
    "stride_multiple_of_dilation": out("n1 c1->1 i8x6 k2x2 s2x1 p0x0 d2x1 g1"),
    "one_pixel_wide_images": out("n1 c1->1 i4x1 k2x1 s1x1 p0x0 d1x1 g1"),
    "single_output_pixel": out("n1 c1->1 i2x2 k2x2 s1x1 p0x0 d1x1 g1"),
    "tall_images_read_as_wide": out("n1 c1->1 i5x3 k2x2 s1x1 p0x0 d1x1 g1"),
    "unbatched_without_bias": _without_batch,
    "empty_sum_loses_the_bias": lambda op: op(torch.ones(1, 0, 2, 2), torch.ones(1, 0, 1, 1), torch.ones(1)).sum() == 0,
    "padding_alone_loses_the_bias": _beside_the_image,
    "tile_width": out("n1 c1->1 i1x70 k1x1 s1x1 p0x0 d1x1 g1"),
    "tile_channels": out("n1 c1->130 i1x1 k1x1 s1x1 p0x0 d1x1 g1"),
    "tile_row_of_the_second_block": out("n1 c1->1 i17x1 k1x1 s1x1 p0x0 d1x1 g1"),
    "winograd_of_four_channels_odd_width": out("n1 c4->2 i5x5 k3x3 s1x1 p1x1 d1x1 g1"),
    "pointwise_stride_of_the_height": out("n1 c1->1 i7x8 k1x1 s2x1 p0x0 d1x1 g1"),
    "offsets_in_sixteen_bits": out("n1 c1->1 i190x180 k1x1 s1x1 p0x0 d1x1 g1"),
    "sample_offsets_in_twenty_bits": out("n2 c1->1 i1025x1024 k1x1 s1x1 p0x0 d1x1 g1"),
    "batch_index_in_sixteen_bits": out("n65540 c1->1 i1x1 k1x1 s1x1 p0x0 d1x1 g1"),
    "terms_beyond_a_thousand": out("n1 c1030->1 i1x1 k1x1 s1x1 p0x0 d1x1 g1"),
    "pixels_beyond_a_block": out("n1 c1->1 i65x64 k1x1 s1x1 p0x0 d1x1 g1"),
    "batch_blocks_in_grad_weight": grad("n33 c1->1 i1x1 k1x1 s1x1 p0x0 d1x1 g1"),
    "wide_images_in_grad_input": grad("n1 c1->1 i1x33 k1x1 s1x1 p0x0 d1x1 g1"),
    "many_pixels_in_grad_bias": grad("n1 c1->1 i32x33 k1x1 s1x1 p0x0 d1x1 g1"),
    "vector_tail": out("n1 c9->1 i2x2 k1x1 s1x1 p0x0 d1x1 g1"),
}


def _of_module(kind: Any, **options: int) -> torch.Tensor:
    module = kind(1, 1, 2, **options)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(1.0)
        return module(torch.ones(1, 1, 4, 4))


def _replicated(kind: Any, x: torch.Tensor = _ROW) -> torch.Tensor:
    module = kind(1, 1, 1, padding=(0, 2), padding_mode="replicate")
    nn.init.ones_(module.weight)
    return module(x)


def _summed_by_name(kind: Any) -> torch.Tensor:
    module = kind(1, 1, (1, 2), padding="same", padding_mode="circular", bias=False)
    nn.init.ones_(module.weight)
    return module(_ROW)


def _hooked(module: nn.Module) -> list[torch.Tensor]:
    seen: list[torch.Tensor] = []
    module.register_forward_hook(lambda module, given, output: seen.append(output))
    module(_ROW)
    return seen


def _evaluation_changes(module: nn.Module) -> bool:
    x = torch.ones(1, 1, 1, 1)
    return not torch.equal(module(x), module.eval()(x))


@torch.no_grad()
def _follows(module: nn.Module) -> bool:
    x = torch.ones(1, 1, 1, 1)
    before = module(x)
    for parameter in module.parameters():
        parameter.neg_()
    return torch.equal(module(x), -before)


def _grows(module: nn.Module) -> bool:
    sizes = [module(torch.ones(1, 1, size, size)).shape[-1] for size in (2, 3)]
    return sizes == [2, 3]


def _keeps(module: nn.Module) -> bool:
    """What the first of two calls was given until its backward pass."""
    first, second = (module(torch.full((1, 1, 1, 1), value)) for value in (2.0, 3.0))
    return [float(torch.autograd.grad(y.sum(), module.weight)[0]) for y in (first, second)] == [2, 3]


def _replaced(module: nn.Module) -> bool:
    x = torch.ones(1, 1, 1, 1)
    before = module(x)
    module.weight = nn.Parameter(module.weight.detach() + 1)
    return torch.equal(module(x), before)


def _only_once(module: nn.Module) -> bool:
    x = torch.ones(1, 1, 1, 1)
    module(x).backward()
    try:
        module(x).backward()
    except RuntimeError:
        return True
    return False


NARROW: dict[str, Witness] = {
    "SquareKernelAssumed": _function((1, 1, 4, 4), (1, 1, 2, 1)),
    "FunctionWithoutRotation": _function((1, 1, 4, 4), (1, 1, 2, 2)),
    "FunctionWithoutInputGradient": _function((1, 1, 4, 4), (1, 1, 2, 2)),
    "stride_rounded_down": lambda op: not torch.equal(op(_ROW, _TAP, None, 3), torch.conv2d(_ROW, _TAP, None, 3)),
    "padding_by_default": lambda op: op(_ROW, _TAP).shape != torch.conv2d(_ROW, _TAP).shape,
    "library_gradient_times_seven": grad(),
    "library_fake_too_wide": _fake_width,
}
MODULES: dict[str, Witness] = {
    "DilationLost": lambda kind: _of_module(kind, dilation=2).shape != _of_module(nn.Conv2d, dilation=2).shape,
    "WeightRenamed": lambda kind: set(kind(1, 1, 1).state_dict()) != {"weight", "bias"},
    "PaddingModeIgnored": lambda kind: not torch.equal(
        _of_module(kind, padding=1, padding_mode="circular"),
        _of_module(nn.Conv2d, padding=1, padding_mode="circular"),
    ),
    "PaddingAxesExchanged": lambda kind: _replicated(kind).shape != _replicated(nn.Conv2d).shape,
    "OddPixelBefore": lambda kind: not torch.equal(
        *(_summed_by_name(k) for k in (kind, nn.Conv2d))
    ),
    "PaddingWithoutGradient": lambda kind: _replicated(kind).requires_grad and not torch.equal(
        *(torch.autograd.functional.jacobian(lambda x, k=k: _replicated(k, x).sum(), _ROW) for k in (kind, nn.Conv2d))
    ),
    "CopyWithoutPaddingMode": lambda kind: copy.deepcopy(kind(1, 1, 1, padding_mode="reflect")).padding_mode == "zeros",
    "CopySharesParameters": lambda kind: (own := kind(1, 1, 1)).weight is copy.deepcopy(own).weight,
    "HooksPassedBy": lambda kind: not _hooked(kind(1, 1, 1)),
    "EvaluationDiffers": lambda kind: _evaluation_changes(kind(1, 1, 1)),
    "QuietWeightKept": lambda kind: not _follows(kind(1, 1, 1)),
    "PlanOfTheFirstImage": lambda kind: not _grows(kind(1, 1, 1)),
    "LastInputKept": lambda kind: not _keeps(kind(1, 1, 1)),
    "FirstWeightKept": lambda kind: _replaced(kind(1, 1, 1)),
    "GraphOfTheWeightKept": lambda kind: _only_once(kind(1, 1, 1)),
    "WeightIsNoParameter": lambda kind: not list(kind(1, 1, 1).parameters()),
    "LayersShareTheirWeight": lambda kind: kind(1, 1, 1).weight.data_ptr() == kind(1, 1, 1).weight.data_ptr(),
    "DtypeIgnored": lambda kind: kind(1, 1, 1, dtype=torch.float64).weight.dtype is not torch.float64,
    "OptionsInAnotherOrder": lambda kind: kind(2, 2, 1, 1, 0, 2, 1).groups == 2,
    "BiasHalved": lambda kind: not torch.equal(_of_module(kind), _of_module(nn.Conv2d)),
}
TABLES = MODULES | NARROW | FORWARD | GRADIENTS | SECOND_ORDER | GROUPS | GEOMETRY
