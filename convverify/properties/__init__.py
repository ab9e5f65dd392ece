"""The catalogue: what every right convolution operator satisfies, one file a family."""

from __future__ import annotations

from convverify.properties import (
    circumstances,
    contract,
    dtypes,
    finite_differences,
    forward,
    gradients,
    layout,
    memory,
    metamorphic,
    modules,
    precision,
    refusals,
    second_order,
    sequences,
    sizes,
    special_values,
    transforms,
)
from convverify.properties.base import Property, declared

FAMILIES = (
    forward, gradients, dtypes, sizes, layout, memory, second_order, finite_differences, precision, special_values,
    metamorphic, sequences, contract, circumstances, refusals, transforms, modules,
)  # fmt: skip

CATALOGUE: tuple[Property, ...] = tuple(prop for family in FAMILIES for prop in declared(family))


class UnknownPropertyError(ValueError):
    """A name that is in no catalogue."""


def named(name: str) -> Property:
    """The property of that name.

    Raises:
        UnknownPropertyError: there is none; the message names the nearest.
    """
    import difflib  # noqa: PLC0415 - only for a mistake

    for prop in CATALOGUE:
        if prop.name == name:
            return prop
    near = difflib.get_close_matches(name, [prop.name for prop in CATALOGUE], 1)
    hint = f"; did you mean {near[0]}?" if near else "; `convverify properties` lists them"
    raise UnknownPropertyError(f"there is no property {name!r}{hint}")
