"""The distributions that operands are drawn from.

Most are exact: every operand is an integer times one power of two, small enough that the sum of all
absolute products stays inside the dtype's exact range. Then every product and every partial sum is
representable, in any order of summation, and a right operator returns the exact value (theorem EX-1).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

SMALL = 9

Draw = Callable[[tuple[int, ...], int, torch.Generator], Tensor]


@dataclass(frozen=True)
class Distribution:
    """How operands look; `exact` ones leave no rounding to a right operator.

    `draw(shape, amplitude, generator)` returns float64 integers of at most `amplitude`; `weight`, where there is one,
    draws the kernel in its place. `entries(amplitude)` is how many values each entry is drawn from, evenly and
    by itself, where that is so.
    """

    name: str
    draw: Draw
    exact: bool = True
    scaled: bool = False
    weight: Draw | None = None
    entries: Callable[[int], int] | None = None

    def of(self, role: str) -> Draw:
        """What draws the tensor of a role."""
        return self.weight if self.weight is not None and role == "weight" else self.draw


def _integers(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    """Small integers, for counterexamples that can be checked by hand."""
    return _large(shape, min(amplitude, SMALL), generator)


def _large(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    return torch.randint(-amplitude, amplitude + 1, shape, generator=generator, dtype=torch.float64)


def _bell(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    """Integers that are nearly normal: sums of four uniform ones, which are many times faster to draw."""
    parts = (amplitude // 4 + (number < amplitude % 4) for number in range(4))
    data = torch.zeros(shape, dtype=torch.float64)
    for part in filter(None, parts):
        data += _large(shape, part, generator)
    return data


def _positive(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    return torch.randint(1, amplitude + 1, shape, generator=generator, dtype=torch.float64)


def _negative(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    return -_positive(shape, amplitude, generator)


def _constant(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    return _positive((1,) * len(shape), amplitude, generator).expand(shape).clone()


def _sparse(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    """Fourteen or nineteen of twenty are zeros, the others of every order of magnitude."""
    share = (6 / 20, 1 / 20)[int(torch.randint(2, (1,), generator=generator))]
    keep = torch.rand(shape, generator=generator, dtype=torch.float64) < share
    order = torch.rand(shape, generator=generator, dtype=torch.float64) * math.log2(amplitude)
    return torch.exp2(order).round().clamp(max=amplitude) * keep


def _impulse(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    data = torch.zeros(shape, dtype=torch.float64)
    if data.numel():
        place = int(torch.randint(data.numel(), (1,), generator=generator))
        data.view(-1)[place] = amplitude
    return data


def _outlier(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    """Small integers and one that takes up the whole amplitude."""
    small = _integers(shape, max(1, math.isqrt(amplitude) // 8), generator)
    return torch.where(_impulse(shape, 1, generator) > 0, float(amplitude), small)


def _edges(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    """The ends of the ranges of 8, 16 or 32 bits, signed or not, and what lies next to them."""
    ends = [end for end in (2**7, 2**8, 2**15, 2**16, 2**31) if end <= amplitude] or [amplitude]
    end = ends[int(torch.randint(len(ends), (1,), generator=generator))]
    near = end - torch.randint(0, 2, shape, generator=generator, dtype=torch.float64)
    sign = torch.randint(-1, 2, shape, generator=generator, dtype=torch.float64)
    return near * sign


def _bytes(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    """From 0 to 255, as images have them; both ends are met."""
    data = torch.randint(0, min(amplitude, 255) + 1, shape, generator=generator, dtype=torch.float64)
    if data.numel() > 1:
        data.view(-1)[torch.randperm(data.numel(), generator=generator)[:2]] = torch.tensor(
            [0.0, min(amplitude, 255)], dtype=torch.float64
        )
    return data


def _clustered(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    """All nearly alike: the largest integers, which differ by two at most."""
    return (amplitude - torch.randint(0, 3, shape, generator=generator, dtype=torch.float64)).clamp(min=1)


def _ramp(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    """Sorted data."""
    return torch.arange(math.prod(shape), dtype=torch.float64).remainder(amplitude + 1).view(shape)


def _mirrored(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    """Symmetric along the last two axes, as smoothing kernels are."""
    data = _large(shape, amplitude, generator)
    for axis in range(max(0, len(shape) - 2), len(shape)):
        place = torch.arange(shape[axis])
        data = data.index_select(axis, torch.minimum(place, place.flip(0)))
    return data


def _separable(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    """Every plane an outer product: a column times a row, and neither is constant."""
    side = max(1, math.isqrt(amplitude))
    if len(shape) < 2:
        return _large(shape, side, generator)
    column, row = (*shape[:-1], 1), (*shape[:-2], 1, shape[-1])
    return _large(column, side, generator) * _large(row, side, generator)


def _smoothing(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    """Symmetric and separable at once, of powers of two, as kernels that smooth are; rows and columns are not alike."""
    if len(shape) < 2:
        return _large(shape, amplitude, generator)
    most = min(3, (math.isqrt(amplitude) or 1).bit_length() - 1)
    column, row = (*shape[:-1], 1), (*shape[:-2], 1, shape[-1])
    return torch.exp2(_mirrored(column, most, generator).abs()) * torch.exp2(_mirrored(row, most, generator).abs())


def _repeated(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    """Samples, filters and channels all alike, and only these."""
    alike = (*(1 for _ in shape[:2]), *shape[2:])
    return _large(alike, amplitude, generator).expand(shape).clone()


def _tap(shape: tuple[int, ...], place: int) -> Tensor:
    """A one at one tap of the kernel, by its number, and zeros elsewhere; it broadcasts over the channels."""
    taps = torch.zeros(shape[2:], dtype=torch.float64)
    taps.view(-1)[place] = 1
    return taps


def _middle(shape: tuple[int, ...]) -> int:
    place = 0
    for size in shape[2:]:
        place = place * size + size // 2
    return place


def _boxes(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    """Each filter of each channel constant."""
    return _large((*shape[:2], *(1 for _ in shape[2:])), amplitude, generator).expand(shape).clone()


def _identity(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    """A one at the middle tap of each filter's own channel."""
    own = torch.arange(shape[1]) == torch.arange(shape[0])[:, None] % max(1, shape[1])
    return own.reshape(*shape[:2], *(1 for _ in shape[2:])) * _tap(shape, _middle(shape))


def _shift(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    """A one at the same tap of all filters."""
    place = torch.randint(math.prod(shape[2:]), (1,), generator=generator)
    return _tap(shape, int(place)).expand(shape).clone()


def _pointwise(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    """Nothing but the middle tap of a larger kernel."""
    return _large(shape, amplitude, generator) * _tap(shape, _middle(shape))


def _derivative(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    """Odd: turned by 180 degrees it is its negative."""
    data, taps = _large(shape, amplitude, generator), math.prod(shape[2:])
    side = torch.arange(taps, dtype=torch.float64).sub((taps - 1) / 2).sign().reshape(shape[2:])
    return torch.where(side < 0, data, -data.flip(tuple(range(2, len(shape))))) * side.abs()


def _alike(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    """All filters the same."""
    return _large((1, *shape[1:]), amplitude, generator).expand(shape).clone()


def _pruned(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    """Every other filter zero."""
    kept = torch.arange(shape[0]) % 2
    return _large(shape, amplitude, generator) * kept.reshape(-1, *(1 for _ in shape[1:]))


def _signs(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    """Of one absolute value."""
    return _large(shape, amplitude, generator).sign()


def _zeros(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64)


def _normal(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _uniform(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def _wide(shape: tuple[int, ...], amplitude: int, generator: torch.Generator) -> Tensor:
    """Normal data over some six powers of ten."""
    spread = torch.rand(shape, generator=generator, dtype=torch.float64) * 20 - 10
    return _normal(shape, amplitude, generator) * torch.exp2(spread)


def _small(draw: Draw) -> Draw:
    """The same of small integers."""
    return lambda shape, amplitude, generator: draw(shape, min(amplitude, SMALL), generator)


# Kernels of a form that invites a shortcut, with inputs of no form at all.
FORMS = {
    name: _small(draw)
    for name, draw in (
        ("box", _constant), ("boxes", _boxes), ("identity", _identity), ("shift", _shift), ("pointwise", _pointwise),
        ("derivative", _derivative), ("alike", _alike), ("pruned", _pruned), ("signs", _signs), ("smooth", _smoothing),
    )
}  # fmt: skip

DISTRIBUTIONS = {
    distribution.name: distribution
    for distribution in (
        Distribution("integers", _integers, entries=lambda amplitude: 2 * min(amplitude, SMALL) + 1),
        Distribution("bell", _bell, scaled=True),
        Distribution("large", _large, entries=lambda amplitude: 2 * amplitude + 1),
        Distribution("dyadic", _large, scaled=True),
        Distribution("positive", _positive, scaled=True),
        Distribution("negative", _negative, scaled=True),
        Distribution("constant", _constant),
        Distribution("sparse", _sparse),
        Distribution("impulse", _impulse),
        Distribution("outlier", _outlier),
        Distribution("ramp", _ramp),
        Distribution("edges", _edges),
        Distribution("bytes", _bytes),
        Distribution("clustered", _clustered),
        Distribution("mirrored", _mirrored),
        Distribution("separable", _separable),
        Distribution("smoothing", _smoothing),
        Distribution("repeated", _repeated),
        Distribution("zeros", _zeros),
        *(Distribution(name, _integers, weight=draw) for name, draw in FORMS.items()),
        Distribution("normal", _normal, exact=False),
        Distribution("uniform", _uniform, exact=False),
        Distribution("wide", _wide, exact=False),
    )
}
