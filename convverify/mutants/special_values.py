"""NaN, infinities and zeros that do not go where they should; finite values are answered rightly."""

from __future__ import annotations

import torch
from torch import Tensor

from convverify.mutants.base import Operator, mutant, stateful_mutant
from convverify.mutants.toolkit import Call, Conf, grad_input, grad_weight, operator, posing, with_parts


def _real(c: Call) -> bool:
    return c.input.is_floating_point()


@mutant("non_finite_values_arrive")
@operator
def nan_becomes_zero(c: Call) -> Tensor:
    """NaN in the output are replaced by zero."""
    out = c.torch()
    return torch.where(out.isnan(), torch.zeros_like(out), out)


@mutant("non_finite_values_arrive")
@operator
def nan_in_the_input_ignored(c: Call) -> Tensor:
    """NaN in the input count as zero."""
    x = c.input
    return c.torch(input=torch.where(x.isnan(), torch.zeros_like(x), x)) if _real(c) else c.torch()


@mutant("non_finite_values_arrive")
@operator
def infinity_saturates(c: Call) -> Tensor:
    """Infinite outputs become the largest finite number."""
    out = c.torch()
    limit = torch.finfo(out.dtype).max if _real(c) else 0
    return torch.where(out.isinf(), out.sign() * limit, out) if _real(c) else out


@mutant("infinities_keep_their_sign")
@operator
def infinity_loses_its_sign(c: Call) -> Tensor:
    """Infinite outputs are all positive."""
    out = c.torch()
    return torch.where(out.isinf(), out.abs(), out) if _real(c) else out


def _spread(out: Tensor, axes: tuple[int, ...]) -> Tensor:
    """NaN all along the axes where there is one."""
    hit = out.isnan()
    for axis in axes:
        hit = hit.any(axis, keepdim=True)
    return torch.where(hit, torch.full_like(out, float("nan")), out)


@mutant("non_finite_values_stay_local")
@operator
def nan_spreads_over_the_image(c: Call) -> Tensor:
    """One NaN in an output image spoils all its pixels, as in a Fourier transform."""
    return _spread(c.torch(), (-1, -2)) if _real(c) else c.torch()


@mutant("samples_stay_apart")
@operator
def nan_spreads_over_the_batch(c: Call) -> Tensor:
    """One NaN in a sample spoils the same pixel of every sample, as a batched product with a mask would."""
    return _spread(c.torch(), (0,)) if _real(c) and c.input.dim() == 4 else c.torch()


def _skipping(c: Call, left: Tensor, right: Tensor) -> Tensor:
    """Torch's answer, finite where it owes NaN or infinity to a product with a zero."""
    out = c.torch()
    hits = c.torch(input=left.to(c.input.dtype), weight=right.to(c.weight.dtype), bias=None)
    zero = torch.zeros((), dtype=c.input.dtype, device=c.input.device)
    finite = c.torch(
        input=torch.where(c.input.isfinite(), c.input, zero),
        weight=torch.where(c.weight.isfinite(), c.weight, zero),
    )
    return torch.where(out.isnan() & (hits == 0), finite, out)


@mutant("non_finite_values_arrive")
@operator
def zero_taps_skipped(c: Call) -> Tensor:
    """Taps that are zero are skipped, so that zero times infinity is zero."""
    if not _real(c):
        return c.torch()
    return _skipping(c, ~c.input.detach().isfinite(), c.weight.detach() != 0)


@mutant("non_finite_values_arrive")
@operator
def zero_pixels_skipped(c: Call) -> Tensor:
    """Pixels that are zero are skipped, so that an infinite weight does not show beside them."""
    if not _real(c):
        return c.torch()
    return _skipping(c, c.input.detach() != 0, ~c.weight.detach().isfinite())


@mutant("non_finite_biases_arrive")
@operator
def nan_in_the_bias_ignored(c: Call) -> Tensor:
    """A bias that is NaN is left out."""
    b = c.bias
    return c.torch() if b is None else c.torch(bias=torch.where(b.isnan(), torch.zeros_like(b), b))


@stateful_mutant("non_finite_values_arrive")
def nan_in_grad_output_ignored() -> Operator:
    """NaN in grad_output count as zero in grad_weight."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        return grad_weight(torch.where(g.isnan(), torch.zeros_like(g), g), x, w, conf)

    return with_parts(grad_weight=wrong)


@stateful_mutant("non_finite_values_stay_local")
def nan_spreads_in_grad_input() -> Operator:
    """One NaN in grad_input spoils the whole image."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        return _spread(grad_input(g, x, w, conf), (-1, -2))

    return with_parts(grad_input=wrong)


@stateful_mutant("non_finite_values_arrive")
def gradients_not_finite_dropped() -> Operator:
    """A grad_weight that is not finite everywhere is dropped altogether, as a loss scaler would."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        right = grad_weight(g, x, w, conf)
        return torch.where(right.isfinite().all(), right, torch.zeros_like(right))

    return with_parts(grad_weight=wrong)


@mutant("opposite_infinities_make_nan")
@operator
def opposite_infinities_cancel(c: Call) -> Tensor:
    """Infinity minus infinity is zero: NaN from finite-or-infinite operands are removed."""
    out = c.torch()
    if not _real(c):
        return out
    clean = ~(c.input.isnan().any() | c.weight.isnan().any())
    return posing(out, torch.where(clean & out.isnan(), torch.zeros_like(out), out))
