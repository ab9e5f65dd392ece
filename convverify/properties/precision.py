"""How many bits of the operands survive, and whether real data stay inside the rounding bound."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from convverify.answers import Unsupported
from convverify.case import ConvCase, Operands
from convverify.comparison import EXACT_BITS, Equation
from convverify.demand import ORDINARY, Demand
from convverify.properties.base import Refusal, declare
from convverify.properties.calls import call, equations, most_edges, observe
from convverify.reference import Maps, Reference
from convverify.target import Target

_REAL = ("normal", "uniform", "wide")
_MANY = 2**13  # terms of a sum
_SIDE = 2**5  # of an image of which some have as many positions
_FEW_EDGES = 2**5  # so many gradients of ones, each of some positions, autograd adds up without stalling
_POSITIONS = 12  # of a window along an axis, at least, where roundings are counted
_EIGHTS = ((8, 8), (16, 16), (32, 8), (64, 64))  # channels
_TILE = 6  # the norm of a tile of 6x6 elements, as Winograd's F(4x4, 3x3) mixes them, in that of one
_HALVES = 1 / 4  # what F(2x2, 3x3) loses, or a direct sum, of what a transform by other fractions than halves may
_FEW = 1 / 8  # of all products, which a call may round differently from another only where it sums otherwise
_ENOUGH, _EITHER_WAY = 24, "to the nearest, or either way"


@declare("precision", ("RB-1",), "right_on_integers", Demand(values=_REAL, products=60_000, corners=True, weight=2))
def results_are_within_rounding(op: Target, case: ConvCase) -> Iterator[Equation]:
    """On real data every element of output and gradients is within the rounding bound of its own sum."""
    seen = observe(op, case)
    yield from equations(case, Reference(case), {"output": seen.output, **seen.grads()})


@declare(
    "precision", ("RB-1",), "bfloat16_loses_the_bias",
    Demand(dtypes=("bfloat16", "float16"), values=("normal", "uniform"), products=10_000),
    refusal=Refusal.ALLOWED,
)  # fmt: skip
def low_precision_is_within_rounding(op: Target, case: ConvCase) -> Iterator[Equation]:
    """In bfloat16 and float16 results are within the rounding bound, accumulated in the format itself."""
    seen = observe(op, case)
    yield from equations(case, Reference(case), {"output": seen.output, **seen.grads()})


@declare(
    "precision", ("RB-1",), "half_precision_accumulator",
    Demand(dtypes=("bfloat16", "float16"), products=300, weight=0.1, least=4), refusal=Refusal.ALLOWED,
)  # fmt: skip
def half_precision_sums_do_not_stall(op: Target, case: ConvCase) -> Iterator[Equation]:
    """In bfloat16 and float16 a sum of thousands of terms is right to an eighth: it is accumulated in more bits.

    One accumulated in the format itself stops growing where one more is rounded away, at 2^8 or 2^11, or a few times
    that where some are summed beforehand; a part of a sum kept in float16 overflows at 2^16, though the whole does
    not. The gradients of weight and bias are asked for where the operator adds them up, not autograd, which does so in
    the format.
    """
    claimed = {what: long for what, long in _long_sums(op, case).items() if op.domain.allows(long)}
    if not claimed:
        raise Unsupported("it claims no sums of thousands of terms")
    for what, long in claimed.items():
        ones = {role: torch.ones_like(leaf).requires_grad_() for role, leaf in observe(op, long).leaves.items()}
        if what == "parameters":
            yield from _gradients_of_ones(op, long, ones)
            continue
        for weight in _weights(ones["weight"].detach()):
            output = call(op, long, {**ones, "weight": weight.requires_grad_()})
            gradient = op.guarded(torch.autograd.grad, output, ones["input"], torch.ones_like(output))[0]
            found = (output if what == "output" else gradient).double().max()
            terms = weight.detach().double()
            yield _nearly(what, found, terms.sum() if what == "output" else terms.sum(0).max())


def _long_sums(op: Target, case: ConvCase) -> dict[str, ConvCase]:
    """By what is summed, a case of which each such sum has thousands of terms."""
    g = case.geometry
    reach = tuple(d * (k - 1) + 1 for d, k in zip(g.dilation, g.kernel_size, strict=True))
    one = case.with_geometry(batch=1, groups=1, input_size=reach, padding=(0,) * g.spatial)
    biased = replace(one, bias="bias" in op.accepts)
    image = tuple(r + s * (_SIDE - 1) for r, s in zip(reach, g.stride, strict=True))
    return {
        "output": one.with_geometry(in_channels=_MANY // math.prod(g.kernel_size), out_channels=1),
        "grad_input": one.with_geometry(in_channels=1, out_channels=_MANY),
        "parameters": biased.with_geometry(
            batch=_MANY // _SIDE**2, in_channels=1, out_channels=1, input_size=image
        ),
    }


def _gradients_of_ones(op: Target, case: ConvCase, ones: dict[str, Tensor]) -> Iterator[Equation]:
    output = call(op, case, ones)
    if output.dtype != case.torch_dtype or most_edges(output) > _FEW_EDGES:
        return
    roles = [role for role in ("weight", "bias") if role in ones]
    found = op.guarded(torch.autograd.grad, output, [ones[role] for role in roles], torch.ones_like(output))
    for role, gradient in zip(roles, found, strict=True):
        yield _nearly(f"grad_{role}", gradient.double().min(), torch.tensor(float(_MANY)))


def _nearly(what: str, found: Tensor, right: Tensor) -> Equation:
    whole = float(right)
    value = f"{what}, a sum of {_MANY} terms, to the nearest eighth of {whole:g},"
    return Equation(value, _eighths(found, right) * whole / 8, whole)


def _weights(ones: Tensor) -> Iterator[Tensor]:
    """Ones; and for float16 large numbers, of which the latter half takes away most of the former."""
    yield ones
    if ones.dtype == torch.float16:
        large = 17 * ones
        large.view(-1)[ones.numel() // 2 :] = -16.5
        yield large


def _eighths(found: Tensor, right: Tensor) -> float:
    eighths = float(8 * found.detach() / right)
    return round(eighths) if math.isfinite(eighths) else eighths


@declare("precision", ("EX-1",), "tf32_inside", Demand(products=1000, bias=False))
def every_operand_bit_counts(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Full-width odd integers pass through a single tap, or a single grad_output element, without losing a bit.

    So they do with channels by the eight or sixteen, of which matrix units of lower precision are fond.
    """
    into, out = _EIGHTS[case.seed % 4]
    by_eight = case.with_geometry(in_channels=into, out_channels=out, groups=1)
    yield from _bits(op, by_eight if case.seed % 8 >= 4 and op.domain.allows(by_eight) else case, _TILE)


@declare("precision", ("EX-1",), "tf32_in_long_sums", Demand(products=300, bias=False, weight=0.3, least=4))
def every_operand_bit_counts_in_long_sums(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Of hundreds of terms and of images of many pixels, too, full-width odd integers lose no bit."""
    many, plain = (130, 300)[case.seed % 2], case.with_geometry(batch=1, groups=1)
    side = (185, 260)[case.seed % 2]  # beyond 2^15 and 2^16 pixels
    image = plain.with_geometry(
        in_channels=1, out_channels=1, input_size=(side, side + 1), stride=(side // 5, side // 4)
    )
    long = (
        image,
        plain.with_geometry(in_channels=many, out_channels=3),
        plain.with_geometry(in_channels=3, out_channels=many),
        case.with_geometry(batch=260),
    )
    allowed = [each for each in long if op.domain.allows(each)]
    if not allowed:
        raise Unsupported("it claims neither hundreds of channels, of samples nor of rows")
    for each in allowed:
        yield from _bits(op, each, _sample(each))
    for dtype, each in itertools.product(ORDINARY, long[:2]):
        if dtype != case.dtype and op.domain.allows(other := replace(each, dtype=dtype)):
            with contextlib.suppress(Unsupported):
                yield from _bits(op, other, _sample(other))


def _sample(case: ConvCase) -> float:
    """The norm of a sample, all of which a spectrum mixes, in that of one element; or of a tile."""
    return max(_TILE, math.sqrt(case.geometry.in_channels * math.prod(case.geometry.input_size)))


def _bits(op: Target, case: ConvCase, mixed: float) -> Iterator[Equation]:
    """Every bit, or but for what a transform loses that mixes elements of this norm, if it does mix any."""
    reference, maps = Reference(case), Reference(case).maps
    bits, wide = EXACT_BITS[case.torch_dtype], reference.wide
    norm = 2.0**bits * (mixed if _makes_fractions(op, case) else _HALVES if bits >= EXACT_BITS[torch.float32] else 1)
    for full, unit in (("input", "weight"), ("weight", "input")):
        seen = observe(op, case)
        seen.leaves = {
            role: (_odd(leaf, bits, case.seed) if role == full else _impulse(leaf, case.seed)).requires_grad_()
            for role, leaf in seen.leaves.items()
        }
        seen.output = call(op, case, seen.leaves)
        x, k = wide(seen.leaves["input"]), wide(seen.leaves["weight"])
        wide_g, unit_g = _odd(seen.output, bits, case.seed + 1), _impulse(seen.output, case.seed)
        with torch.no_grad():
            without = call(op, case, seen.leaves)
        found = {
            "output": (seen.output, maps.forward(x, k)),
            "output without gradients": (without, maps.forward(x, k)),
            f"grad_{unit}": (seen.grads(unit_g, wrt=(unit,))[unit], _grad(maps, unit, x, k, wide(unit_g))),
            f"grad_{full}": (seen.grads(wide_g, wrt=(full,))[full], _grad(maps, full, x, k, wide(wide_g))),
        }
        for what, (actual, expected) in found.items():
            yield Equation(f"{what} for {bits}-bit operands and a unit {unit}", actual, reference.narrow(expected),
                           norm=norm)  # fmt: skip


def _makes_fractions(op: Target, case: ConvCase) -> bool:
    """Whether small integers make fractions: each element is then a transform's sum over a tile of products."""
    operands = {"input": Operands(case).input, "weight": Operands(case).weight}
    output = call(op, case, {role: _odd(operand, 3, case.seed) for role, operand in operands.items()})
    parts = torch.view_as_real(output.resolve_conj()) if output.is_complex() else output
    return bool((parts != parts.round()).any())


def _grad(maps: Maps, role: str, x: Tensor, k: Tensor, g: Tensor) -> Tensor:
    return maps.grad_input(g, k) if role == "input" else maps.grad_weight(x, g)


@declare(
    "precision",
    ("EX-1",),
    "subnormals_flushed",
    Demand(products=1500, bias=False, values=("integers",), weight=0.5),
    direct=True,
)
def subnormals_survive(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Products and sums that are subnormal numbers are kept, not flushed to zero."""
    reference = Reference(case)
    step = torch.finfo(case.torch_dtype).smallest_normal * torch.finfo(case.torch_dtype).eps
    leaves = observe(op, case).leaves
    for role in ("input", "weight"):
        small = (leaves[role].detach() * step).requires_grad_()
        output = call(op, case, {**leaves, role: small})
        yield Equation(f"output for subnormal {role}", output, reference.output * step)


@declare(
    "precision", ("RB-1",), "bfloat16_truncated",
    Demand(dtypes=("bfloat16", "float16", "float32", "float64"), products=600, bias=False, weight=0.4, least=6),
    refusal=Refusal.ALLOWED,
)  # fmt: skip
def single_products_round_either_way(op: Target, case: ConvCase) -> Iterator[Equation]:
    """A single product is rounded alike in every call, and not always up, down or to zero."""
    room = zip(case.geometry.input_size, case.geometry.stride, strict=True)
    larger = case.with_geometry(input_size=tuple(size + _POSITIONS * stride for size, stride in room))
    if not op.domain.allows(larger):
        raise Unsupported("it claims no image with room for some hundred windows")
    seen, reference, bits = observe(op, larger), Reference(larger), EXACT_BITS[case.torch_dtype]
    unit = 2.0**-bits
    x = _odd(seen.leaves["input"], bits, case.seed) * unit
    k = _odd(seen.leaves["weight"], bits, case.seed + 1) * _impulse(seen.leaves["weight"], case.seed) * unit
    seen.leaves = {"input": x.requires_grad_(), "weight": k.requires_grad_()}
    seen.output = call(op, larger, seen.leaves)
    g, wide = _odd(seen.output, bits, case.seed + 2) * unit, reference.wide
    found = {
        "output": (seen.output, reference.maps.forward(wide(x), wide(k))),
        "grad_input": (seen.grads(g, wrt=("input",))["input"], reference.maps.grad_input(wide(g), wide(k))),
    }
    for what, (actual, expected) in found.items():
        yield Equation(f"shape of {what}", actual.shape, expected.shape)
        yield Equation(f"way in which products in {what} are rounded", _way(actual, expected), _EITHER_WAY)
    again, products = call(op, larger, seen.leaves), found["output"][1] != 0
    yield Equation("shape of another call's output", again.shape, seen.output.shape)
    otherwise = int((again != seen.output)[products].sum()) > _FEW * int(products.sum())
    yield Equation("whether another call rounds the output otherwise", otherwise, False)


def _way(actual: Tensor, exact: Tensor) -> str:
    """How what is not the nearest number was rounded; a fair coin would fall like that once in 2^22."""
    off = (actual != exact.to(actual.dtype)) & (exact != 0)
    is_, should = actual.detach()[off].double(), exact[off]
    if len(is_) < _ENOUGH:
        return _EITHER_WAY
    ways = {
        "towards zero": is_.abs() < should.abs(), "away from zero": is_.abs() > should.abs(),
        "down": is_ < should, "up": is_ > should,
    }  # fmt: skip
    return next((way for way, holds in ways.items() if holds.all()), _EITHER_WAY)


def _odd(like: Tensor, bits: int, seed: int) -> Tensor:
    """Random odd integers of exactly `bits` bits, of either sign."""
    generator = torch.Generator().manual_seed(seed)
    high = 2 ** (bits - 2)
    data = torch.randint(high, 2 * high, like.shape, generator=generator, dtype=torch.int64) * 2 + 1
    sign = torch.randint(0, 2, like.shape, generator=generator, dtype=torch.int64) * 2 - 1
    return (data * sign).to(dtype=like.dtype, device=like.device)


def _impulse(like: Tensor, seed: int) -> Tensor:
    """A single 1 among zeros, so that every sum has at most one product that is not zero."""
    data = torch.zeros(like.shape, dtype=like.dtype, device=like.device)
    if like.numel():
        data.view(-1)[seed % like.numel()] = 1
    return data
