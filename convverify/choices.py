"""Where the choices of a drawn case come from: a generator, which is fast, or Hypothesis, which can shrink them.

One text draws a case from either. A run uses the generator: Hypothesis takes some milliseconds a case, longer than
most operators do for it.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")

# Strategies are made once and kept: to make one takes longer than to draw from it.
_integers = functools.cache(st.integers)
_one_of = functools.cache(st.sampled_from)


class Choices(Protocol):
    """What a drawn case is made of; the first of several is the simplest."""

    def integer(self, low: int, high: int) -> int:
        """One of `low` to `high`, the ends included; the nearest to zero is the simplest."""

    def one_of(self, options: Sequence[T]) -> T:
        """One of these."""

    def dealt(self, options: Sequence[T], of: str = "") -> T:
        """One of these, in a row of cases none twice before each has come once; `of` names one of several such rows."""


class Shrinkable:
    """Choices that Hypothesis makes, for tests."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        return self._draw(_integers(low, high))

    def one_of(self, options: Sequence[T]) -> T:
        chosen: T = self._draw(_one_of(tuple(options)))
        return chosen

    def dealt(self, options: Sequence[T], of: str = "") -> T:
        return self.one_of(options)  # a case at a time is all that it is asked for


class Sampled:
    """Choices of a pseudorandom generator, all alike probable, for a run."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self._decks: dict[tuple[Any, ...], list[Any]] = {}

    def integer(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def one_of(self, options: Sequence[T]) -> T:
        return self._random.choice(options)

    def dealt(self, options: Sequence[T], of: str = "") -> T:
        deck: list[T] = self._decks.setdefault((of, *options), [])
        if not deck:
            deck += self._random.sample(options, len(options))
        return deck.pop()


def yes(choices: Choices) -> bool:
    """Yes or no, of which no is simpler."""
    return choices.one_of((False, True))
