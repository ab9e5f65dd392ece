"""Cases that are not drawn, in the operator's domain: those asked for, corners, sweeps, combinations, layers."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from convverify import combinations, corners, usual
from convverify.case import ConvCase, layout_text
from convverify.demand import Demand
from convverify.geometry import ConvGeometry, GeometryError
from convverify.pace import Pace
from convverify.plan import Plan
from convverify.properties.base import Property
from convverify.strategies import ROLE_LAYOUTS
from convverify.values import DISTRIBUTIONS

SURELY_BIASED = 4  # so many cases at first have a bias; of the others
BIASED = 3 / 4  # without which all else is seen as well
VARIED = 1 / 3  # of the geometries of the sweeps
VARIATIONS = ({"stride": (2, 3)}, {"stride": (1, 2)}, {"dilation": (2, 2)}, {"padding": (1, 2)})
FEW_USUAL = 8  # usual layers, where others are drawn
# Of usual layers operands lie as they come, or as a model in channels_last has them, all or one of them.
USUAL_LAYOUTS = (
    "contiguous", "contiguous", "input:channels_last,weight:channels_last,grad_output:channels_last",
    "input:channels_last", "weight:channels_last", "grad_output:channels_last",
)  # fmt: skip
OF_SAMPLES = ("batch_expanded", "batch_last", "samples_sliced")  # layouts that a single sample does not have
MOST_GROWN = 8  # times, where a listed geometry is made to fit a domain: a long image squared is another case


def given(plan: Plan, prop: Property, device: str) -> Iterator[ConvCase]:
    """The case asked for, or those of the shapes asked for, or those that the property's demand lists."""
    rng = random.Random(f"{prop.name} {plan.seed}")
    if plan.case is not None:
        return iter([plan.case])
    return at(plan.shapes or dict.fromkeys(_listed(plan, prop, rng)), plan, prop, device, rng)


def at(
    geometries: Iterable[ConvGeometry], plan: Plan, prop: Property, device: str, rng: random.Random
) -> Iterator[ConvCase]:
    """A case at each geometry that lies in the operator's domain, or can be moved into it."""
    hand = _Hand(prop.demand, rng)
    for geometry in geometries:
        case = _case(geometry, plan, prop, device, hand)
        if case is not None:
            yield case


def _listed(plan: Plan, prop: Property, rng: random.Random) -> Iterator[ConvGeometry]:
    demand, share = prop.demand, plan.budget.corners
    if not demand.large:  # where none are drawn, no products are allowed
        fitting = [g for g in corners.EVERYTHING if g.products <= demand.products]
        yield from rng.sample(fitting, math.ceil(len(fitting) * share))
        yield from corners.plain(demand.products)
    if demand.usual and demand.products:
        yield from usual.of_each_kind(rng)[: math.ceil(FEW_USUAL * share)]
    elif demand.usual:
        yield from usual.in_pairs(rng)
    if demand.corners and demand.strings:
        yield from rng.sample(corners.NAMED, len(corners.NAMED))
    elif demand.corners:
        fitting = [g for g in corners.CORNERS if g.products <= max(demand.products, 1500)]
        yield from rng.sample(fitting, math.ceil(len(fitting) * share))
    if demand.thresholds:
        sweep = list(corners.sweep())
        yield from corners.tails()
        for geometry in (*corners.milestones(), *rng.sample(sweep, math.ceil(len(sweep) * share))):
            yield _varied(geometry, rng) if rng.random() < VARIED else geometry
    if demand.combinations:
        yield from combinations.geometries(rng)
    if demand.large:
        yield from sorted(corners.LARGE, key=Pace.size)  # so that what is too slow is known before it is run


def _varied(geometry: ConvGeometry, rng: random.Random) -> ConvGeometry:
    """The geometry strided, dilated or padded, where it can be: what goes by size may go wrong only then."""
    change: dict[str, Any] = rng.choice(VARIATIONS)
    try:
        return replace(geometry, **change)
    except GeometryError:
        return geometry


class _Hand:
    """Deals values, dtypes and layouts as from decks of cards: none twice before each has come once."""

    def __init__(self, demand: Demand, rng: random.Random) -> None:
        self.rng = rng
        self.surely_biased = SURELY_BIASED
        self.seeds = itertools.count(rng.randrange(2**20))  # one after another: what goes by remainders meets each soon
        self.values, self.dtypes = _dealt(demand.values, rng), _dealt(demand.dtypes, rng)
        self.layouts = {role: _dealt(ROLE_LAYOUTS[role], rng) for role in demand.operand_layouts}
        laid_out = demand.usual and (self.layouts or not demand.products)
        self.usual = _dealt(USUAL_LAYOUTS, rng) if laid_out else None

    def bias(self) -> bool:
        """Whether a case has one; the first ones have."""
        self.surely_biased -= 1
        return self.surely_biased >= 0 or self.rng.random() < BIASED

    def layout(self, bias: bool) -> str:
        if self.usual is not None and not (self.layouts and self.rng.random() < 0.5):
            return next(self.usual)
        chosen = {role: next(cards) for role, cards in self.layouts.items() if role != "bias" or bias}
        return layout_text(chosen)


def _dealt(cards: Sequence[str], rng: random.Random) -> Iterator[str]:
    while True:
        yield from rng.sample(cards, len(cards))


def _case(geometry: ConvGeometry, plan: Plan, prop: Property, device: str, hand: _Hand) -> ConvCase | None:
    demand, domain, rng = prop.demand, plan.op.domain, hand.rng
    values, bias = next(hand.values), demand.bias and (demand.large or hand.bias())
    layout = hand.layout(bias)
    if geometry.batch == 1 and any(name in layout for name in OF_SAMPLES):
        geometry = replace(geometry, batch=2)
    case = ConvCase(
        geometry, bias, next(hand.dtypes), device, layout, values,
        rng.randint(-2, 2) if DISTRIBUTIONS[values].scaled else 0, next(hand.seeds),
    )  # fmt: skip
    fitted = domain.fit(case)
    if fitted is None or Pace.size(fitted.geometry) > MOST_GROWN * Pace.size(geometry):
        return None
    return next(filter(demand.takes, (fitted, replace(fitted, layout="contiguous"))), None)
