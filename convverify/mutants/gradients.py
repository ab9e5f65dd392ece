"""First-order gradients that are wrong while the output is right."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from convverify.mutants.base import Operator, stateful_mutant
from convverify.mutants.toolkit import Conf, concrete, grad_bias, grad_input, grad_weight, scaled, with_parts


def _strides_and_remainders(x: Tensor, conf: Conf, w: Tensor) -> list[tuple[int, int]]:
    """Both axes' stride and remainder."""
    sizes = zip(x.shape[2:], w.shape[2:], *conf[:3], strict=True)
    return [(s, (h + 2 * p - d * (k - 1) - 1) % s) for h, k, s, p, d in sizes]


@stateful_mutant("gradients_equal_definition")
def kernel_not_rotated() -> Operator:
    """The kernel is not rotated in grad_input."""
    return with_parts(grad_input=lambda g, x, w, conf: grad_input(g, x, w.flip(2, 3), conf))


@stateful_mutant("gradients_equal_formulas")
def channels_not_transposed() -> Operator:
    """Input and output channels of the kernel are not interchanged in grad_input."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        fits = conf.groups == 1 and w.shape[0] == w.shape[1]
        return grad_input(g, x, w.transpose(0, 1) if fits else w, conf)

    return with_parts(grad_input=wrong)


@stateful_mutant("gradients_equal_definition")
def grad_input_zero() -> Operator:
    """grad_input is zero."""
    return with_parts(grad_input=lambda g, x, w, conf: grad_input(g, x, w, conf) * 0)


@stateful_mutant("gradients_equal_definition")
def grad_weight_zero() -> Operator:
    """grad_weight is zero."""
    return with_parts(grad_weight=lambda g, x, w, conf: grad_weight(g, x, w, conf) * 0)


@stateful_mutant("gradients_equal_definition")
def grad_input_sign() -> Operator:
    """grad_input has the wrong sign."""
    return with_parts(grad_input=lambda g, x, w, conf: -grad_input(g, x, w, conf))


@stateful_mutant("gradients_are_adjoint")
def grad_weight_flipped() -> Operator:
    """grad_weight is turned around, as for a true convolution."""
    return with_parts(grad_weight=lambda g, x, w, conf: grad_weight(g, x, w, conf).flip(2, 3))


@stateful_mutant("exact_gradcheck")
def batch_not_summed() -> Operator:
    """grad_weight takes the first sample instead of the sum over the batch."""
    return with_parts(grad_weight=lambda g, x, w, conf: grad_weight(g[:1], x[:1], w, conf))


@stateful_mutant("gradients_equal_definition")
def batch_averaged() -> Operator:
    """grad_weight is the mean over the batch, not the sum."""
    return with_parts(grad_weight=lambda g, x, w, conf: grad_weight(g, x, w, conf) / max(len(x), 1))


@stateful_mutant("every_size_is_right")
def batch_beyond_the_fourth_dropped() -> Operator:
    """grad_weight sums at most four samples."""
    return with_parts(grad_weight=lambda g, x, w, conf: grad_weight(g[:4], x[:4], w, conf))


@stateful_mutant("gradients_equal_definition")
def padding_forgotten_in_grad_input() -> Operator:
    """grad_input is shifted by the padding, which it forgets."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        return grad_input(g, x, w, conf).roll(conf.padding, (2, 3))

    return with_parts(grad_input=wrong)


@stateful_mutant("gradients_equal_definition")
def padding_forgotten_in_grad_weight() -> Operator:
    """grad_weight forgets the terms of the first row where there is padding."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        rows = min(conf.padding[0], g.shape[2])
        return grad_weight(scaled(g, (slice(None), slice(None), slice(rows)), 0), x, w, conf)

    return with_parts(grad_weight=wrong)


@stateful_mutant("gradients_equal_torch")
def remainder_rows_shifted() -> Operator:
    """grad_input is padded in front, not behind, for the rows that the stride leaves over."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        (_, rows), (_, columns) = _strides_and_remainders(x, conf, w)
        return grad_input(g, x, w, conf).roll((rows, columns), (2, 3))

    return with_parts(grad_input=wrong)


@stateful_mutant("gradients_equal_definition")
def last_column_for_one_remainder() -> Operator:
    """The last column of grad_input is zero if the stride leaves over exactly two columns."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        remainder = _strides_and_remainders(x, conf, w)[1][1]
        gone = -1 - remainder  # the last column that a window may reach
        right = grad_input(g, x, w, conf)
        return scaled(right, (..., slice(gone, None)), 0) if remainder == 2 else right

    return with_parts(grad_input=wrong)


@stateful_mutant("gradients_equal_definition")
def unread_pixels_receive_gradient() -> Operator:
    """Pixels between the windows of a stride larger than the kernel receive the gradient of the window."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        right = grad_input(g, x, w, conf)
        return right + right.roll(w.shape[3], 3) if conf.stride[1] > w.shape[3] else right

    return with_parts(grad_input=wrong)


@stateful_mutant("torch_gradcheck")
def dilation_ignored_in_grad_weight() -> Operator:
    """grad_weight reads the input with dilation 1."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        (top, left), (rows, columns) = conf.padding, g.shape[2:]
        height, width = conf.stride[0] * (rows - 1) + w.shape[2], conf.stride[1] * (columns - 1) + w.shape[3]
        padded = functional.pad(x, (left, left, top, top))[..., :height, :width]
        return grad_weight(g, padded, w, conf._replace(padding=(0, 0), dilation=(1, 1)))

    return with_parts(grad_weight=wrong)


@stateful_mutant("gradients_equal_definition")
def grad_input_relative_error() -> Operator:
    """grad_input is too large by a ten-thousandth."""
    return with_parts(grad_input=lambda g, x, w, conf: grad_input(g, x, w, conf) * (1 + 1e-4))


@stateful_mutant("gradients_equal_definition")
def grad_weight_corner() -> Operator:
    """The last tap of grad_weight is a thousandth too small in the last output channel."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        end = slice(-1, None)
        return scaled(grad_weight(g, x, w, conf), (end, slice(None), end, end), 0.999)

    return with_parts(grad_weight=wrong)


@stateful_mutant("gradients_equal_definition")
def grad_weight_of_wide_kernels() -> Operator:
    """grad_weight loses the taps from the fourth column on."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        return scaled(grad_weight(g, x, w, conf), (..., slice(3, None)), 0)

    return with_parts(grad_weight=wrong)


@stateful_mutant("gradients_equal_definition")
def grad_bias_averaged() -> Operator:
    """grad_bias is the mean over the pixels, not the sum."""
    return with_parts(grad_bias=lambda g: g.sum(0).mean((1, 2)))


@stateful_mutant("gradients_equal_definition")
def grad_bias_of_the_first_sample() -> Operator:
    """grad_bias is not summed over the batch."""
    return with_parts(grad_bias=lambda g: grad_bias(g[:1]))


@stateful_mutant("gradients_equal_definition")
def grad_bias_missing() -> Operator:
    """The bias is added but receives no gradient."""
    return with_parts(grad_bias=lambda g: None)


@stateful_mutant("gradients_equal_definition")
def grad_bias_without_border() -> Operator:
    """grad_bias leaves out the last row where there are more than two."""

    def wrong(g: Tensor) -> Tensor:
        return grad_bias(g[:, :, :-1] if g.shape[2] > 2 else g)

    return with_parts(grad_bias=wrong)


@stateful_mutant("gradients_equal_definition")
def grad_output_assumed_constant() -> Operator:
    """grad_output is taken for constant, as after `.sum()`."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        return grad_input(g[:, :, :1, :1].expand_as(g), x, w, conf)

    return with_parts(grad_input=wrong)


@stateful_mutant("gradients_equal_definition")
def grad_output_assumed_ones() -> Operator:
    """grad_weight ignores grad_output and is that of the sum of all outputs."""
    return with_parts(grad_weight=lambda g, x, w, conf: grad_weight(torch.ones_like(g), x, w, conf))


@stateful_mutant("gradients_equal_definition")
def gradients_clipped() -> Operator:
    """Both gradients are clipped to ±100."""
    return with_parts(
        grad_input=lambda g, x, w, conf: grad_input(g, x, w, conf).clamp(-100, 100),
        grad_weight=lambda g, x, w, conf: grad_weight(g, x, w, conf).clamp(-100, 100),
    )


@stateful_mutant("gradients_equal_definition")
def grad_input_absolute() -> Operator:
    """grad_input loses its sign where the kernel is a single tap."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        right = grad_input(g, x, w, conf)
        return right.abs() if w.shape[2:].numel() == 1 else right

    return with_parts(grad_input=wrong)


@stateful_mutant("usual_layers_are_right")
def symmetric_kernels_untransposed() -> Operator:
    """Where every plane of the kernel is symmetric and channels in and out are as many, grad_input exchanges them."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        square = conf.groups == 1 and w.shape[0] == w.shape[1] and w[0, 0].numel() > 1
        if not square or not concrete(w) or not torch.equal(w, w.flip(2, 3)):
            return grad_input(g, x, w, conf)
        return grad_input(g, x, w.transpose(0, 1).contiguous(), conf)

    return with_parts(grad_input=wrong)
