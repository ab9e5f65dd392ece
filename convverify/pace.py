"""How fast an operator is, so that no case is begun that the budget cannot pay for."""

from __future__ import annotations

import math
import time
from dataclasses import replace

from convverify.case import ConvCase
from convverify.geometry import ConvGeometry

_WORTH_PREDICTING = 4000
_PATIENCE = 2.5
SHORTER = 8  # times, of a case that shows whether an operator hangs on the whole or is slow


class Clock:
    """Seconds by which a run's budget is kept: processor time, so that a busy machine costs no coverage.

    An operator that sleeps spends none; its wall time counts, divided by how much longer than planned a run
    may take.
    """

    def __init__(self) -> None:
        self.processor, self.wall = time.process_time(), time.perf_counter()

    def __call__(self) -> float:
        """Seconds since the clock was made."""
        return max(time.process_time() - self.processor, (time.perf_counter() - self.wall) / _PATIENCE)


class Pace:
    """The least seconds that an operator has taken for each product, term, sample, pixel, group, and so on.

    An operator in plain loops takes its time for one of these; whichever it is, its least pace bounds from
    below what a larger case will take. The first case teaches nothing: it may load what later ones find there.
    """

    def __init__(self) -> None:
        self.began = False
        self.too_large = math.inf  # the size of the smallest case that took too long
        self.least = [math.inf] * len(_measures(ConvGeometry(1, 1, 1, (1,), (1,), (1,), (0,), (1,))))

    @staticmethod
    def size(geometry: ConvGeometry) -> int:
        """What cases are sorted by, so that smaller ones tell of larger ones."""
        return sum(_measures(geometry))

    def note(self, case: ConvCase, elapsed_seconds: float) -> None:
        """Learn from a case that was run, unless it is the first, or a clock shows it to have taken no time."""
        began, self.began = self.began, True
        if not began or elapsed_seconds <= 0:
            return
        paces = (elapsed_seconds / max(1, measure) for measure in _measures(case.geometry))
        self.least = list(map(min, self.least, paces))

    def predict(self, case: ConvCase) -> float:
        """At least so many seconds: 0 for a small case, or before anything is known; no end beside one given up."""
        measures = _measures(case.geometry)
        if SHORTER * sum(measures) > self.too_large:
            return math.inf
        if max(measures) < _WORTH_PREDICTING or math.inf in self.least:
            return 0.0
        return max(pace * measure for pace, measure in zip(self.least, measures, strict=True))

    def gave_up(self, case: ConvCase) -> None:
        """Learn that a case took too long; what is not much smaller is not to be begun."""
        self.too_large = min(self.too_large, self.size(case.geometry))


def shortened(case: ConvCase) -> ConvCase | None:
    """The case with the longest of its batch and its axes an eighth as long; None where none is long."""
    g = case.geometry
    sizes = [g.batch, *g.input_size]
    longest = sizes.index(max(sizes))
    sizes[longest] //= SHORTER
    if max(_measures(g)) < _WORTH_PREDICTING or sizes[longest] <= max(axis.reach for axis in g.axes):
        return None
    return replace(case, geometry=replace(g, batch=sizes[0], input_size=tuple(sizes[1:])))


def _measures(g: ConvGeometry) -> tuple[int, ...]:
    positions, elements = math.prod(g.output_size), g.batch * g.in_channels * math.prod(g.input_size)
    pairs = g.in_channels * g.out_channels // g.groups
    return (
        g.products, g.terms_per_output, g.batch, g.batch * positions, positions, g.out_channels * positions, pairs,
        elements, g.groups,
    )  # fmt: skip
