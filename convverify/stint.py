"""One property's share of a run, and how long it goes on."""

from __future__ import annotations

from dataclasses import dataclass, field

from convverify.tally import Tally

NOT_LONG = 0.1  # seconds of the shortest case of a property that goes on though its time is up, while it has too few
AT_ONCE = 0.6  # seconds that it may expect of any other case then
FIRST_ONES = 1.0  # seconds of a property's first cases, which may load what later ones find there
MOST_REFUSED = 10  # tries beyond those wanted after which, the time being up, no further case is looked for


@dataclass
class Stint:
    """What has come of a property's cases so far, and whether there is time for more.

    Its share of the time is over at `deadline`; it goes on beyond that while fewer than `least` cases have said
    anything, unless single ones take long.
    """

    least: int
    deadline: float
    tally: Tally = field(default_factory=Tally)
    seconds: list[float] = field(default_factory=list)

    @property
    def has_too_few(self) -> bool:
        return self.tally.live < self.least

    def goes_on(self, now: float) -> bool:
        """Whether another case is to be looked for."""
        wanting = self.has_too_few and self.tally.tried < self.least + MOST_REFUSED
        affordable = min(self.seconds, default=0.0) <= NOT_LONG or sum(self.seconds) <= FIRST_ONES
        return self.tally.failed is None and ((wanting and affordable) or now < self.deadline)

    def affords(self, now: float, first_seconds: float) -> float:
        """The seconds that the next case may take; the first may take `first_seconds`."""
        left = self.deadline - now if self.tally.cases else first_seconds
        return max(left, AT_ONCE) if self.has_too_few else left
