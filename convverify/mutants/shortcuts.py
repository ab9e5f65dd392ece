"""Shortcuts for kernels of a special form, each of which forgets something that ordinary kernels never show."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from convverify.mutants.base import mutant
from convverify.mutants.toolkit import Call, concrete, operator


def _may_look(c: Call) -> bool:
    """Whether the weight can be looked at, and its gradient is nobody's concern."""
    return concrete(c.input, c.weight) and not c.weight.requires_grad and c.weight.numel() > 0


@mutant("kernels_of_special_form_are_right")
@operator
def box_filter_by_means(c: Call) -> Tensor:
    """A box filter that learns nothing is a mean times the taps, but at a padded border the mean is of fewer pixels."""
    e = c.explicit()
    plain = e.conf.groups == 1 and e.conf.dilation == (1, 1) and e.input.dim() == 4 and e.input.is_floating_point()
    fits = all(2 * p <= k for p, k in zip(e.conf.padding, c.kernel, strict=True))
    if not (_may_look(c) and plain and fits and (c.weight == c.weight.flatten()[0]).all()):
        return c.torch()
    means = F.avg_pool2d(e.input, c.kernel, e.conf.stride, e.conf.padding, count_include_pad=False)
    sums = means.sum(1, keepdim=True) * (c.kernel[0] * c.kernel[1] * c.weight.flatten()[0])
    out = sums.expand(-1, c.weight.shape[0], -1, -1).clone()
    return out if c.bias is None else out + c.bias[:, None, None]


@mutant("kernels_of_special_form_are_right")
@operator
def pruned_filters_lose_their_bias(c: Call) -> Tensor:
    """Where some filters are zero, so are their outputs, bias or none."""
    out = c.torch()
    if not _may_look(c) or c.bias is None:
        return out
    pruned = (c.weight == 0).flatten(1).all(1)
    return torch.where(pruned[:, None, None], torch.zeros_like(out), out) if 0 < pruned.sum() < len(pruned) else out


@mutant("kernels_of_special_form_are_right")
@operator
def identity_hands_the_input_on(c: Call) -> Tensor:
    """A kernel that is the identity, without groups, hands the input on where sizes allow it, and loses the bias."""
    out = c.torch()
    if not _may_look(c) or c.groups > 1 or c.input.shape != out.shape:
        return out
    identity = torch.nn.init.dirac_(torch.empty_like(c.weight))
    return c.input.clone() if torch.equal(identity, c.weight) else out
