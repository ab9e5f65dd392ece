"""Rounding arithmetic small enough to try everything: p bits of precision, no limits to the exponent."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction
from functools import cache

Terms = tuple[Fraction, ...]


def rounded(value: Fraction, bits: int) -> Fraction:
    """The nearest number with this many significant bits; a tie goes to the even one."""
    if value == 0:
        return value
    exponent = 0
    while abs(value) >= Fraction(2) ** (bits + exponent):
        exponent += 1
    while abs(value) < Fraction(2) ** (bits - 1 + exponent):
        exponent -= 1
    return round(value / Fraction(2) ** exponent) * Fraction(2) ** exponent


@cache
def sums(terms: Terms, bits: int) -> frozenset[Fraction]:
    """What adding the terms in every possible order and tree can give, rounding after each addition."""
    if len(terms) == 1:
        return frozenset((rounded(terms[0], bits),))
    found: set[Fraction] = set()
    for left in _splits(len(terms)):
        one = tuple(sorted(terms[place] for place in left))
        other = tuple(sorted(terms[place] for place in range(len(terms)) if place not in left))
        for a, b in itertools.product(sums(one, bits), sums(other, bits)):
            found.add(rounded(a + b, bits))
    return frozenset(found)


def _splits(count: int) -> Iterator[set[int]]:
    """Every way to split 0..count-1 in two parts that are not empty; the first part holds 0."""
    for size in range(1, count):
        for rest in itertools.combinations(range(1, count), size - 1):
            yield {0, *rest}


def integer_terms(most: int, budget: int) -> Iterator[Terms]:
    """Multisets of at most `most` nonzero integers whose absolute values sum to at most the budget."""
    values = [sign * size for size in range(1, budget + 1) for sign in (1, -1)]
    for count in range(1, most + 1):
        for terms in itertools.combinations_with_replacement(values, count):
            if sum(map(abs, terms)) <= budget:
                yield tuple(sorted(map(Fraction, terms)))


def product_terms(count: int, bits: int) -> Iterator[Terms]:
    """Multisets of `count` products of two numbers with this many bits, up to scale."""
    factors = range(2 ** (bits - 1), 2**bits)
    products = sorted({sign * a * b for a in factors for b in factors for sign in (1, -1)})
    for terms in itertools.combinations_with_replacement(products, count):
        yield tuple(map(Fraction, terms))
