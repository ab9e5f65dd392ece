"""Stride, padding, dilation and sizes misread; wrong for some geometries only."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from convverify.mutants.base import mutant
from convverify.mutants.toolkit import Call, operator, scaled


def _fits(c: Call, **changes: object) -> bool:
    """Whether the call with other options still has an output."""
    e = c.explicit()
    conf = e.conf._replace(**changes)  # type: ignore[arg-type]
    sizes = zip(e.input.shape[-2:], c.kernel, *conf[:3], strict=True)
    return all(h + 2 * p >= d * (k - 1) + 1 for h, k, _, p, d in sizes)


def _with(c: Call, **changes: object) -> Tensor:
    """Torch's answer with other options, or the right one where they leave no output."""
    return c.explicit().torch(**changes) if _fits(c, **changes) else c.torch()


@mutant("forward_equals_torch")
@operator
def stride_swapped(c: Call) -> Tensor:
    """The strides of height and width are interchanged."""
    return _with(c, stride=c.conf.stride[::-1])


@mutant("forward_equals_definition")
@operator
def padding_swapped(c: Call) -> Tensor:
    """The paddings of height and width are interchanged."""
    return _with(c, padding=c.conf.padding[::-1])


@mutant("forward_equals_definition")
@operator
def dilation_swapped(c: Call) -> Tensor:
    """The dilations of height and width are interchanged."""
    return _with(c, dilation=c.conf.dilation[::-1])


@mutant("forward_equals_definition")
@operator
def stride_of_the_height_for_both(c: Call) -> Tensor:
    """The first entry of the stride is used for both axes."""
    return _with(c, stride=(c.conf.stride[0],) * 2)


@mutant("options_combine")
@operator
def pointwise_stride_of_the_height(c: Call) -> Tensor:
    """A 1x1 kernel without padding has a path of its own, which steps along both axes by the height's stride."""
    (s, t), padding = c.conf.stride, c.conf.padding
    if c.kernel != (1, 1) or any(padding) or s == t:
        return c.torch()
    width = c.input.shape[-1]
    read = torch.arange((width - 1) // t + 1, device=c.input.device) * s % width
    return c.torch(input=c.input[..., read], stride=(s, 1))


@mutant("usual_layers_are_right")
@operator
def winograd_of_four_channels_odd_width(c: Call) -> Tensor:
    """A 3x3 layer of 4 or 8 channels, padded by 1, loses a tap in the last column of an odd width."""
    out, conf = c.torch(), c.conf
    fast = c.kernel == (3, 3) and conf == ((1, 1), (1, 1), (1, 1), 1) and c.input.shape[-3] % 4 == 0
    if not fast or out.shape[-1] % 2 == 0:
        return out
    kept = torch.ones_like(c.weight)
    kept[..., 2, 0] = 0
    return torch.cat([out[..., :-1], c.torch(weight=c.weight * kept)[..., -1:]], -1)


@mutant("dilation_is_an_inflated_kernel")
@operator
def dilation_ignored(c: Call) -> Tensor:
    """The kernel is dense; the output is cut to the size that the dilation asks for."""
    rows, columns = c.torch().shape[-2:]
    return c.explicit().torch(dilation=1)[..., :rows, :columns]


@mutant("stride_is_a_subsample")
@operator
def stride_averages(c: Call) -> Tensor:
    """A stride of two averages two neighbours where it should skip one, if a second one exists."""
    right, conf = c.torch(), c.conf
    if conf.stride != (2, 2) or not right.is_floating_point():
        return right
    dense = c.explicit().torch(stride=1)
    shifted = torch.cat([dense[..., 1:], dense[..., -1:]], -1)
    return ((dense + shifted) / 2)[..., ::2, ::2].to(right.dtype)


def _padded_by(mode: str, c: Call) -> Tensor:
    e = c.explicit()
    (p, q), (h, w) = e.conf.padding, e.input.shape[-2:]
    if p + q == 0 or p >= h or q >= w or not c.input.is_floating_point() or not c.input.numel():
        return c.torch()
    return e.torch(input=functional.pad(e.input, (q, q, p, p), mode=mode), padding=0)


@mutant("padding_is_explicit_zeros")
@operator
def padded_by_reflection(c: Call) -> Tensor:
    """The image is reflected at its border, not padded with zeros."""
    return _padded_by("reflect", c)


@mutant("forward_equals_definition")
@operator
def padded_by_edge(c: Call) -> Tensor:
    """The border repeats the outermost pixels, where it should be zero."""
    return _padded_by("replicate", c)


@mutant("forward_equals_definition")
@operator
def padded_circularly(c: Call) -> Tensor:
    """The image is a torus: what leaves it on one side enters on the other."""
    return _padded_by("circular", c)


@mutant("forward_equals_definition")
@operator
def padded_in_front_only(c: Call) -> Tensor:
    """All the padding goes above and to the left."""
    e = c.explicit()
    p, q = e.conf.padding
    return e.torch(input=functional.pad(e.input, (2 * q, 0, 2 * p, 0)), padding=0)


@mutant("forward_equals_definition")
@operator
def padding_beyond_the_kernel(c: Call) -> Tensor:
    """Where the padding exceeds the reach of the kernel, the first output column repeats the second."""
    out, e = c.torch(), c.explicit()
    if e.conf.padding[1] <= e.conf.dilation[1] * (c.kernel[1] - 1):
        return out
    return torch.cat([out[..., 1:2], out[..., 1:]], -1) if out.shape[-1] > 1 else out


@mutant("padding_by_name_is_right")
@operator
def same_shifted_for_even_kernels(c: Call) -> Tensor:
    """padding='same' puts the odd zero of an even kernel in front, not behind."""
    if c.padding != "same":
        return c.torch()
    e = c.explicit()
    odd = [e.input.shape[axis] - c.input.shape[axis] for axis in (-2, -1)]
    return e.torch(input=functional.pad(c.input, (odd[1], 0, odd[0], 0)))


@mutant("padding_by_name_is_right")
@operator
def same_ignores_dilation(c: Call) -> Tensor:
    """padding='same' is computed without the dilation, then filled up behind."""
    if c.padding != "same" or c.conf.dilation == (1, 1):
        return c.torch()
    (d, f), (kh, kw) = c.conf.dilation, c.kernel
    top, left = (kh - 1) // 2, (kw - 1) // 2
    ends = left, f * (kw - 1) - left, top, d * (kh - 1) - top
    return c.torch(input=functional.pad(c.input, ends), padding=0)


@mutant("forward_equals_definition")
@operator
def size_rounded_up(c: Call) -> Tensor:
    """The output size is rounded up, as pooling does in ceil mode: a window may leave the image."""
    e = c.explicit()
    sizes = zip(e.input.shape[-2:], c.kernel, *e.conf[:3], strict=True)
    more = [-(h + 2 * p - d * (k - 1) - 1) % s for h, k, s, p, d in sizes]
    (p, q) = e.conf.padding
    return e.torch(input=functional.pad(e.input, (q, q + more[1], p, p + more[0])), padding=0)


@mutant("forward_equals_definition")
@operator
def remainder_read_from_the_end(c: Call) -> Tensor:
    """Windows are aligned to the end of the image, so that the stride leaves rows over at the front."""
    e = c.explicit()
    sizes = zip(e.input.shape[-2:], c.kernel, *e.conf[:3], strict=True)
    over = [(h + 2 * p - d * (k - 1) - 1) % s for h, k, s, p, d in sizes]
    (p, q) = e.conf.padding
    x = functional.pad(e.input, (q, q, p, p))[..., over[0] :, over[1] :]
    return e.torch(input=x, padding=0)


@mutant("forward_equals_definition")
@operator
def stride_limited_by_the_kernel(c: Call) -> Tensor:
    """A stride larger than the kernel is taken for the size of the kernel."""
    out = c.torch()
    stride = tuple(min(s, k) for s, k in zip(c.conf.stride, c.kernel, strict=True))
    return c.explicit().torch(stride=stride)[..., : out.shape[-2], : out.shape[-1]]


@mutant("forward_equals_definition")
@operator
def stride_multiple_of_dilation(c: Call) -> Tensor:
    """If the stride is a multiple of a dilation above one, the kernel is read mirrored along the height."""
    s, d = c.conf.stride[0], c.conf.dilation[0]
    return c.torch(weight=c.weight.flip(2)) if d > 1 and s % d == 0 else c.torch()


@mutant("gradients_equal_definition")
@operator
def one_pixel_wide_images(c: Call) -> Tensor:
    """An image one pixel wide loses its first row."""
    return c.torch(input=scaled(c.input, (..., slice(1), slice(None)), 0)) if _narrow(c) else c.torch()


def _narrow(c: Call) -> bool:
    return c.input.shape[-1] == 1 and c.input.shape[-2] > 1


@mutant("forward_equals_definition")
@operator
def single_output_pixel(c: Call) -> Tensor:
    """Where the output is a single pixel, the kernel is applied mirrored along the width."""
    out = c.torch()
    return c.torch(weight=c.weight.flip(3)) if out.shape[-2:].numel() == 1 else out


@mutant("forward_equals_definition")
@operator
def tall_images_read_as_wide(c: Call) -> Tensor:
    """Where the image is taller than wide, the last output row repeats the first."""
    out = c.torch()
    if c.input.shape[-2] <= c.input.shape[-1] or out.shape[-2] < 2:
        return out
    return torch.cat([out[..., :-1, :], out[..., :1, :]], -2)


@mutant("unbatched_input_is_right")
@operator
def unbatched_without_bias(c: Call) -> Tensor:
    """An image without batch dimension receives no bias."""
    return c.torch(bias=None) if c.input.dim() == 3 else c.torch()


@mutant("no_input_channels_leave_the_bias")
def empty_sum_loses_the_bias(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """Without input channels the output is zero, where it is the bias."""
    if input.shape[-3] or bias is None:
        return torch.nn.functional.conv2d(input, weight, bias, stride, padding, dilation, groups)
    one = input.new_zeros((*input.shape[:-3], 1, *input.shape[-2:]))
    taps = weight.new_zeros((len(weight), 1, *weight.shape[2:]))
    return torch.nn.functional.conv2d(one, taps, None, stride, padding, dilation)


@mutant("windows_in_the_padding_give_the_bias")
@operator
def padding_alone_loses_the_bias(c: Call) -> Tensor:
    """Where every window lies in the padding the output is zero, where it is the bias."""
    ones = torch.ones(c.input.shape), torch.ones(c.weight.shape)
    reads = c.torch(input=ones[0], weight=ones[1], bias=None).any()
    return c.torch() if reads else c.torch(bias=None)


@mutant("unbatched_input_is_right")
@operator
def unbatched_squeezed(c: Call) -> Tensor:
    """The output of an input without a batch loses every axis of length one."""
    return c.torch().squeeze() if c.input.dim() == 3 else c.torch()
