"""Which of a convolution's arguments a callable takes, and how they are handed to it."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from inspect import Parameter
from typing import Any

PARAMETERS = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
DEFAULTS = {"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
LEAST = 2  # input and weight

_ALSO_CALLED = {
    "bias": ("b",), "stride": ("s", "strides"), "padding": ("p", "pad", "pads", "paddings"),
    "dilation": ("d", "dil", "dilations"), "groups": ("g", "group"),
}  # fmt: skip
_MEANT = {called: name for name, others in _ALSO_CALLED.items() for called in (name, *others)}


@dataclass(frozen=True)
class Signature:
    """The arguments that a callable takes: by position those of `positional`, by name those of `named`.

    Both hold names of PARAMETERS; `named` maps them to what the callable calls them. `defaults` holds those that a
    signature shows, and is None where there is none to see. `open` is one of `*anything`, `wrapped` that of the
    function that a decorator wraps.
    """

    positional: tuple[str, ...]
    named: tuple[tuple[str, str], ...] = ()
    defaults: tuple[tuple[str, Any], ...] | None = None
    open: bool = False
    wrapped: bool = False

    @property
    def accepts(self) -> tuple[str, ...]:
        """Names of PARAMETERS, in its order."""
        taken = {*self.positional, *dict(self.named)}
        return tuple(name for name in PARAMETERS if name in taken)

    def requires(self, name: str) -> bool:
        """Whether it must be given what is called so, and says so."""
        return self.defaults is not None and name in self.accepts and name not in dict(self.defaults)

    def takes_an_int(self, name: str) -> bool:
        """Whether the default is an int."""
        return isinstance(dict(self.defaults or ()).get(name), int)

    def others(self) -> Iterator[Signature]:
        """What it may take instead, where this is only a guess."""
        if self.open:
            yield from (replace(self, positional=PARAMETERS[:count]) for count in range(len(PARAMETERS) - 1, 1, -1))
        if self.wrapped:
            options = tuple((name, name) for name in self.accepts[LEAST:])
            yield replace(self, positional=self.positional[:LEAST], named=options)

    def spelled(self, arguments: Sequence[str]) -> str:
        """Python text of those of all arguments that are taken, as they are handed over."""
        text = dict(zip(PARAMETERS, arguments, strict=True))
        return ", ".join(
            [text[name] for name in self.positional] + [f"{called}={text[name]}" for name, called in self.named]
        )

    def calling(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, taking what `accepts` names by position, or by torch's names."""
        if not self.named:
            return function
        places = {name: place for place, name in enumerate(self.accepts)}
        called = dict(self.named)

        @functools.wraps(function)
        def call(*given: Any, **by_name: Any) -> Any:
            by_name = {called.get(name, name): value for name, value in by_name.items()}
            inside = {called[name]: given[places[name]] for name in called if places[name] < len(given)}
            return function(*(given[places[name]] for name in self.positional[: len(given)]), **inside, **by_name)

        return call


class SignatureError(ValueError):
    """A callable that takes less than input and weight."""


def signature_of(function: Callable[..., Any], skip: int = 0) -> Signature:
    """What a function takes, but for its first `skip` parameters.

    Taken by position are the first parameters of torch, whatever they are called, unless their names say that
    some are left out: `(input, weight, stride, padding)` takes no bias. Those taken by name alone must have torch's
    names, or usual short ones.

    Raises:
        SignatureError: it takes less than input and weight by position.
    """
    if (schema := getattr(function, "schema", None)) is not None:  # of a scripted function
        return Signature(PARAMETERS[: len(schema.arguments)])
    fixed = function.keywords if isinstance(function, functools.partial) else {}
    try:
        parameters = list(inspect.signature(function).parameters.values())[skip:]
    except (TypeError, ValueError):  # of a builtin
        return Signature(tuple(itertools.takewhile(lambda name: name not in fixed, PARAMETERS)))
    if any(parameter.kind is Parameter.VAR_POSITIONAL for parameter in parameters):
        return Signature(PARAMETERS, open=True)
    parameters = [parameter for parameter in parameters if parameter.name not in fixed]
    return replace(_shown(parameters), wrapped=hasattr(function, "__wrapped__"))


def _shown(parameters: Sequence[Parameter]) -> Signature:
    """What parameters say that a function takes."""
    by_place = [p for p in parameters if p.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)]
    if len(by_place) < LEAST:
        raise SignatureError(f"takes {len(by_place)} arguments; (input, weight) is the least")
    meant = dict(zip(_positional(by_place), by_place, strict=False))
    by_name = {_MEANT[p.name]: p for p in parameters if p.kind is Parameter.KEYWORD_ONLY and p.name in _MEANT}
    named = {name: by_name[name] for name in DEFAULTS if name in by_name and name not in meant}
    defaults = ((name, p.default) for name, p in (meant | named).items() if p.default is not Parameter.empty)
    return Signature(tuple(meant), tuple((name, p.name) for name, p in named.items()), tuple(defaults))


def has_defaults(function: Callable[..., Any]) -> bool:
    """Whether a function may be called with input and weight alone."""
    if (registered := getattr(function, "_opoverload", None)) is not None:
        return all(argument.has_default_value() for argument in registered._schema.arguments[LEAST:])
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # a builtin that does not say
        return True
    return True


def is_default(value: Any, default: Any) -> bool:
    """Whether a value is the default, or a tuple of it."""
    if isinstance(value, tuple):
        return all(entry == default for entry in value)
    return value is default or (not hasattr(value, "shape") and bool(value == default))


def _positional(parameters: Sequence[Parameter]) -> tuple[str, ...]:
    """What the parameters mean: torch's in order, or those that their names say, where these leave some out."""
    in_order = PARAMETERS[: len(parameters)]
    said = tuple(_said(parameters[LEAST:]))
    places = [PARAMETERS.index(name) for name in said]
    leaves_out = said != in_order[LEAST : LEAST + len(said)] and places == sorted(set(places))
    return (*PARAMETERS[:LEAST], *said) if leaves_out else in_order


def _said(options: Sequence[Parameter]) -> Iterator[str]:
    """What the names of options mean, as far as they say so."""
    known = itertools.takewhile(lambda option: option.name in _MEANT, options)
    return (_MEANT[option.name] for option in known)
