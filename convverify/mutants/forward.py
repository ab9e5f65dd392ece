"""Outputs that are wrong; the derivatives are those of the wrong output, so gradients alone look right."""

from __future__ import annotations

import torch
from torch import Tensor

from convverify.mutants.base import mutant
from convverify.mutants.toolkit import Call, operator, scaled

ROW, COLUMN, CHANNEL = -2, -1, -3


@mutant("forward_equals_definition")
@operator
def returns_zeros(c: Call) -> Tensor:
    """The output is zero everywhere."""
    return c.torch() * 0


@mutant("forward_equals_definition")
@operator
def kernel_flipped(c: Call) -> Tensor:
    """A true convolution: the kernel is turned around, as cross-correlation does not."""
    return c.torch(weight=c.weight.flip(ROW, COLUMN))


@mutant("impulse_response_is_the_kernel")
@operator
def kernel_flipped_along_width(c: Call) -> Tensor:
    """The kernel is mirrored along the width only."""
    return c.torch(weight=c.weight.flip(COLUMN))


@mutant("forward_equals_definition")
@operator
def kernel_transposed(c: Call) -> Tensor:
    """Height and width of a square kernel are interchanged."""
    square = c.kernel[0] == c.kernel[1]
    return c.torch(weight=c.weight.mT) if square else c.torch()


@mutant("forward_equals_definition")
@operator
def kernel_channels_transposed(c: Call) -> Tensor:
    """Input and output channels of the kernel are interchanged where their numbers agree."""
    fits = c.groups == 1 and c.weight.shape[0] == c.weight.shape[1]
    return c.torch(weight=c.weight.transpose(0, 1)) if fits else c.torch()


@mutant("forward_equals_definition")
@operator
def input_channels_reversed(c: Call) -> Tensor:
    """BGR for RGB: three input channels are read in reverse order."""
    return c.torch(weight=c.weight.flip(1)) if c.weight.shape[1] == 3 else c.torch()


@mutant("channels_permute")
@operator
def odd_channel_dropped(c: Call) -> Tensor:
    """The loop over input channels is unrolled by two and forgets the last of an odd number."""
    channels = c.weight.shape[1]
    even = channels - channels % 2 if channels > 2 else channels
    return c.torch(weight=scaled(c.weight, (slice(None), slice(even, None)), 0))


@mutant("flips_and_turns_commute")
@operator
def last_tap_dropped(c: Call) -> Tensor:
    """The loop over kernel columns ends one tap early in the last kernel row."""
    return c.torch(weight=scaled(c.weight, (..., slice(-1, None), slice(-1, None)), 0))


@mutant("forward_equals_definition")
@operator
def taps_beyond_the_third_ignored(c: Call) -> Tensor:
    """Kernels with four or more columns lose all taps from the fourth on."""
    return c.torch(weight=scaled(c.weight, (..., slice(3, None)), 0))


@mutant("forward_equals_definition")
@operator
def corner_doubled(c: Call) -> Tensor:
    """The last output pixel of the last row is counted twice."""
    return scaled(c.torch(), (..., slice(-1, None), slice(-1, None)), 2)


@mutant("translation_moves_the_output")
@operator
def last_column_copied(c: Call) -> Tensor:
    """The last output column repeats the one before where the width is odd and above four."""
    out = c.torch()
    width = out.shape[-1]
    order = [*range(width - 1), width - 2] if width % 2 and width > 4 else [*range(width)]
    return out[..., order]


@mutant("compositions_associate")
@operator
def relative_error_1e4(c: Call) -> Tensor:
    """All outputs are too large by a ten-thousandth."""
    out = c.torch()
    return out + (out * 1e-4).to(out.dtype)


@mutant("forward_equals_definition")
@operator
def absolute_error_1e6(c: Call) -> Tensor:
    """A millionth is added to every floating-point output, as an epsilon against division by zero."""
    out = c.torch()
    return out + 1e-6 if out.dtype in (torch.float32, torch.float64) else out


@mutant("forward_equals_definition")
@operator
def neighbour_channel_leaks(c: Call) -> Tensor:
    """A thousandth of each output channel leaks into the next."""
    out = c.torch()
    return out + (out.roll(1, CHANNEL) * 1e-3).to(out.dtype)


@mutant("forward_equals_definition")
@operator
def bias_ignored(c: Call) -> Tensor:
    """The bias is ignored."""
    return c.torch(bias=None)


@mutant("forward_equals_definition")
@operator
def bias_added_twice(c: Call) -> Tensor:
    """The bias is added twice."""
    return c.torch(bias=None if c.bias is None else 2 * c.bias)


@mutant("forward_equals_definition")
@operator
def bias_of_the_next_channel(c: Call) -> Tensor:
    """Each output channel receives the bias of its neighbour."""
    return c.torch(bias=None if c.bias is None else c.bias.roll(1))


@mutant("forward_equals_definition")
@operator
def bias_along_the_width(c: Call) -> Tensor:
    """The bias is broadcast along the width where the output is as wide as it has channels."""
    out = c.torch(bias=None)
    if c.bias is None or out.shape[-1] != out.shape[CHANNEL]:
        return c.torch()
    return out + c.bias


@mutant("forward_equals_definition")
@operator
def bias_added_once_per_group(c: Call) -> Tensor:
    """The bias is added once for each group instead of once."""
    return c.torch(bias=None if c.bias is None else c.bias * c.groups)


@mutant("batch_splits_and_permutes")
@operator
def batch_reversed(c: Call) -> Tensor:
    """The answers come back in reverse order of the batch."""
    return c.torch().flip(0) if c.input.dim() == 4 else c.torch()


@mutant("forward_equals_definition")
@operator
def batch_statistics_subtracted(c: Call) -> Tensor:
    """Each output depends on the other samples: the batch mean is removed above three samples."""
    out = c.torch()
    if out.dim() == 4 and len(out) > 3 and out.is_floating_point():
        return out - out.mean(0, keepdim=True) * 1e-3
    return out
