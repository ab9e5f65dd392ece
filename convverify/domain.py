"""What an operator claims to support, as a line of text: `square, stride=1, groups=1, kernel=1|3`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from convverify.case import DTYPES, ConvCase
from convverify.geometry import ConvGeometry, GeometryError

_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_SIZES = {
    "batch": "batch", "in_channels": "in_channels", "out_channels": "out_channels", "groups": "groups",
    "input_size": "input_size", "kernel": "kernel_size", "kernel_size": "kernel_size",
    "stride": "stride", "padding": "padding", "dilation": "dilation",
}  # fmt: skip
_OPTIONS = ("stride", "padding", "dilation")
_WORDS = ("square", "isotropic", "pairs", "bias", "no bias", "contiguous", "finite")
_CONSTRAINT = re.compile(r"([a-z_]+)\s*(<=|>=|!=|=|<|>)\s*([\w|]+)")


class DomainError(ValueError):
    """A domain that cannot be read."""


@dataclass(frozen=True)
class Constraint:
    """`name` compared with any of `values`, or unlike all; a size of several entries satisfies it in every entry."""

    name: str
    comparison: str
    values: tuple[int, ...]

    def allows(self, geometry: ConvGeometry) -> bool:
        size = getattr(geometry, self.name)
        if isinstance(size, str):
            return size == "valid" and self.allows_entry(0)
        return all(map(self.allows_entry, size if isinstance(size, tuple) else (size,)))

    def allows_entry(self, entry: int) -> bool:
        enough = all if self.comparison == "!=" else any
        return enough(_COMPARISONS[self.comparison](entry, value) for value in self.values)


@dataclass(frozen=True)
class Domain:
    """The cases that an operator claims; the empty one claims whatever `F.conv2d` computes."""

    text: str = ""
    words: frozenset[str] = frozenset()
    constraints: tuple[Constraint, ...] = ()
    dtypes: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Domain:
        """Read a domain.

        Raises:
            DomainError: a part is neither a word nor a comparison of a known size, or contradicts another.
        """
        words: set[str] = set()
        constraints: list[Constraint] = []
        dtypes: tuple[str, ...] = ()
        for part in filter(None, (part.strip() for part in text.split(","))):
            if part in _WORDS:
                words.add(part)
            elif part.startswith("dtype="):
                if dtypes:
                    raise DomainError(f"domain {text!r} names dtypes twice; dtype=float32|bfloat16 names several")
                dtypes = _dtypes(part.removeprefix("dtype="))
            else:
                constraints.append(_constraint(part))
        _check(text, words, constraints)
        return cls(text, frozenset(words), tuple(constraints), dtypes)

    @property
    def declared(self) -> bool:
        """Whether the user said anything of what the operator supports."""
        return bool(self.text)

    def taking(self, parameters: tuple[str, ...]) -> Domain:
        """The domain of an operator that takes these parameters alone: the others are at their defaults."""
        fixed = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
        defaults = [Constraint(name, "=", (value,)) for name, value in fixed.items() if name not in parameters]
        words = self.words if "bias" in parameters else self.words | {"no bias"}
        return replace(self, words=words, constraints=(*self.constraints, *defaults))

    def with_words(self, *words: str) -> Domain:
        """This domain, to which these words are added: they may turn out only when the operator is called."""
        return replace(self, words=self.words | set(words))

    @property
    def alike(self) -> set[str]:
        """The sizes that must be the same along every axis."""
        names = {"square": ("input_size", "kernel_size", *_OPTIONS), "isotropic": _OPTIONS}
        return {name for word in self.words for name in names.get(word, ())}

    def allows(self, case: ConvCase) -> bool:
        """Whether the case is among those that are claimed."""
        geometry = case.geometry
        return (
            all(isinstance(size, str) or len(set(size)) == 1 for size in (getattr(geometry, n) for n in self.alike))
            and not ("no bias" in self.words and case.bias)
            and not ("bias" in self.words and not case.bias)
            and not ("contiguous" in self.words and case.layout != "contiguous")
            and (not self.dtypes or case.dtype in self.dtypes)
            and all(constraint.allows(geometry) for constraint in self.constraints)
        )

    def fit(self, case: ConvCase) -> ConvCase | None:
        """The nearest case inside the domain, or None where there is none near."""
        if self.allows(case):
            return case
        try:
            geometry = case.geometry
            for constraint in self.constraints:
                geometry = _moved(geometry, constraint)
            geometry = _as_the_first(geometry, self.alike)
        except GeometryError:
            return None
        fitted = replace(
            case,
            geometry=geometry,
            bias=(case.bias or "bias" in self.words) and "no bias" not in self.words,
            layout="contiguous" if "contiguous" in self.words else case.layout,
            dtype=case.dtype if not self.dtypes or case.dtype in self.dtypes else self.dtypes[0],
        )
        return fitted if self.allows(fitted) else None


def _check(text: str, words: set[str], constraints: list[Constraint]) -> None:
    """Refuse parts of which only one can be meant."""
    if {"bias", "no bias"} <= words:
        raise DomainError(f"domain {text!r} has both 'bias' and 'no bias', which leave no case")
    fixed = [constraint.name for constraint in constraints if constraint.comparison == "="]
    for name in fixed:
        if fixed.count(name) > 1:
            raise DomainError(f"domain {text!r} says twice what {name} is; {name}=1|2 allows several values")


def _constraint(part: str) -> Constraint:
    match = _CONSTRAINT.fullmatch(part)
    if match is None or match[1] not in _SIZES:
        raise DomainError(
            f"domain part {part!r} is none of {', '.join(_WORDS)}, dtype=..., nor a comparison such as "
            f"stride<=2 or kernel=1|3 of one of {', '.join(_SIZES)}"
        )
    try:
        values = tuple(map(int, match[3].split("|")))
    except ValueError:
        raise DomainError(f"domain part {part!r} compares with {match[3]!r}, not with integers") from None
    if len(values) > 1 and match[2] not in ("=", "!="):
        raise DomainError(f"domain part {part!r} compares by {match[2]} with {len(values)} values, must be one")
    return Constraint(_SIZES[match[1]], match[2], values)


def _dtypes(text: str) -> tuple[str, ...]:
    names = tuple(text.split("|"))
    for name in names:
        if name not in DTYPES:
            raise DomainError(f"dtype {name!r} is not one of {', '.join(DTYPES)}")
    return names


def _as_the_first(geometry: ConvGeometry, names: set[str]) -> ConvGeometry:
    """The geometry with these sizes as they are along the first axis."""
    sizes = {name: getattr(geometry, name) for name in names}
    changes: dict[str, Any] = {
        name: size if isinstance(size, str) else size[:1] * geometry.spatial for name, size in sizes.items()
    }
    return replace(geometry, **changes)


def _moved(geometry: ConvGeometry, constraint: Constraint) -> ConvGeometry:
    """The geometry with one size moved into its constraint, and what hangs on it moved along."""
    if constraint.allows(geometry):
        return geometry
    name, size = constraint.name, getattr(geometry, constraint.name)
    old = size if isinstance(size, tuple) else (0 if isinstance(size, str) else size,) * geometry.spatial
    entries = tuple(_nearest(constraint, entry) for entry in old)
    changes: dict[str, object] = {name: entries if isinstance(size, tuple | str) else entries[0]}
    if name == "groups":
        changes["in_channels"] = geometry.in_channels // geometry.groups * entries[0]
        changes["out_channels"] = geometry.out_channels // geometry.groups * entries[0]
    if name in ("in_channels", "out_channels"):
        changes["groups"] = 1
    try:
        return replace(geometry, **changes)  # type: ignore[arg-type]
    except GeometryError:  # the kernel no longer fits: make room for it
        reach = max(d * (k - 1) for d, k in zip(geometry.dilation, geometry.kernel_size, strict=True))
        room = tuple(size + reach + max(entries) for size in geometry.input_size)
        return replace(geometry, **{"input_size": room, **changes})  # type: ignore[arg-type]


def _nearest(constraint: Constraint, entry: int) -> int:
    """The entry itself, or the nearest that the constraint allows."""
    for distance in range(4096):
        for candidate in (entry - distance, entry + distance):
            if candidate >= 0 and constraint.allows_entry(candidate):
                return candidate
    raise GeometryError(f"no {constraint.name} near {entry} satisfies the domain")
