"""Blocks, tiles and counters that end too early; small sizes are answered rightly."""

from __future__ import annotations

import torch
from torch import Tensor

from convverify.mutants.base import Operator, mutant, stateful_mutant
from convverify.mutants.toolkit import (
    Call,
    Conf,
    grad_bias,
    grad_input,
    grad_weight,
    operator,
    scaled,
    with_parts,
)


def _tail(name: str, fault: str, index: object) -> Operator:
    """An operator that leaves out the elements at an index of the output."""

    def tail(c: Call) -> Tensor:
        return scaled(c.torch(), index, 0)

    tail.__name__, tail.__doc__ = name, fault
    return operator(tail)


tile_width = mutant("every_size_is_right")(
    _tail("tile_width", "Output columns from the 65th on are not computed", (..., slice(64, None)))
)
tile_channels = mutant("large_layers_are_right")(
    _tail(
        "tile_channels",
        "Output channels from the 129th on are not computed",
        (..., slice(128, None), slice(None), slice(None)),
    )
)
tile_row_of_the_second_block = mutant("every_size_is_right")(
    _tail(
        "tile_row_of_the_second_block",
        "The 17th output row, where the second tile begins, is not computed",
        (..., slice(16, 17), slice(None)),
    )
)


@mutant("large_layers_are_right")
@operator
def batch_index_in_sixteen_bits(c: Call) -> Tensor:
    """The batch index wraps around at 65536."""
    out = c.torch()
    if out.dim() == 3 or len(out) <= 2**16:
        return out
    return torch.cat([out[: 2**16], out[: len(out) - 2**16]])


@mutant("large_layers_are_right")
@operator
def sample_offsets_in_twenty_bits(c: Call) -> Tensor:
    """Where a sample begins is kept in 20 bits: later ones of a large batch are read from elsewhere."""
    x = c.input
    if x.dim() == 3 or x.numel() <= 2**20:
        return c.torch()
    sample = x[0].numel()
    starts = torch.arange(len(x), device=x.device) * sample % 2**20
    places = starts[:, None] + torch.arange(sample, device=x.device)
    return c.torch(input=x.flatten()[places].view(x.shape))


@mutant("every_size_is_right")
@operator
def offsets_in_sixteen_bits(c: Call) -> Tensor:
    """Offsets into the input are kept in 15 bits: elements beyond 32768 are read from its beginning."""
    x = c.input
    if x.numel() <= 2**15:
        return c.torch()
    return c.torch(input=x.flatten()[torch.arange(x.numel(), device=x.device) % 2**15].view(x.shape))


@mutant("large_layers_are_right")
@operator
def terms_beyond_a_thousand(c: Call) -> Tensor:
    """Of a sum over more than 1024 products, only the first 1024 are added."""
    flat = c.weight.flatten(1)
    return c.torch(weight=scaled(flat, (slice(None), slice(1024, None)), 0).reshape(c.weight.shape))


@mutant("every_size_is_right")
@operator
def pixels_beyond_a_block(c: Call) -> Tensor:
    """Images with more than 4096 output pixels lose what is left of the last block of 256."""
    out = c.torch()
    pixels = out.shape[-2:].numel()
    if pixels <= 4096:
        return out
    return scaled(out.flatten(-2), (..., slice(pixels - pixels % 256, None)), 0).reshape(out.shape)


@mutant("every_size_is_right")
@operator
def vector_tail(c: Call) -> Tensor:
    """With more than eight input channels, those after the last multiple of eight are dropped."""
    channels = c.weight.shape[1]
    kept = channels - channels % 8 if channels > 8 else channels
    return c.torch(weight=scaled(c.weight, (slice(None), slice(kept, None)), 0))


@stateful_mutant("large_layers_are_right")
def batch_blocks_in_grad_weight() -> Operator:
    """grad_weight sums batches above 32 in blocks of 32 and forgets the last, incomplete one."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        kept = len(x) - len(x) % 32 if len(x) > 32 else len(x)
        return grad_weight(g[:kept], x[:kept], w, conf)

    return with_parts(grad_weight=wrong)


@stateful_mutant("gradients_equal_torch")
def wide_images_in_grad_input() -> Operator:
    """grad_input is zero from the 33rd column on."""

    def wrong(g: Tensor, x: Tensor, w: Tensor, conf: Conf) -> Tensor:
        return scaled(grad_input(g, x, w, conf), (..., slice(32, None)), 0)

    return with_parts(grad_input=wrong)


@stateful_mutant("every_size_is_right")
def many_pixels_in_grad_bias() -> Operator:
    """grad_bias sums at most 1024 pixels of each sample."""

    def wrong(g: Tensor) -> Tensor:
        pixels = torch.arange(g.shape[2:].numel(), device=g.device).reshape(g.shape[2:])
        return grad_bias(g * (pixels < 1024).to(g.dtype))

    return with_parts(grad_bias=wrong)


@mutant("large_layers_are_right")
@operator
def columns_in_sixteen_bits(c: Call) -> Tensor:
    """Columns from 2^16 on are read as if they were padding."""
    if c.input.shape[-1] <= 2**16:
        return c.torch()
    kept = torch.zeros_like(c.input)
    kept[..., : 2**16] = 1
    return c.torch(input=c.input * kept)


@mutant("large_layers_are_right")
@operator
def last_rows_of_large_inputs(c: Call) -> Tensor:
    """Of an input of more than 2^20 elements the output's last rows, fewer than eight, are not computed."""
    out = c.torch()
    rows = out.shape[-2]
    return scaled(out, (..., slice(rows - rows % 8, None), slice(None)), 0) if c.input.numel() > 2**20 else out
