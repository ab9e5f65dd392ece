"""An operator under test: what it is, what it takes, and how it is called."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from convverify import answers
from convverify.answers import Unsupported
from convverify.domain import Domain
from convverify.module_class import as_function
from convverify.signature import DEFAULTS, PARAMETERS, Signature, SignatureError, has_defaults, is_default, signature_of


class TargetError(Exception):
    """A target that cannot be found or called at all."""


class Target:
    """An operator under test, called like `torch.nn.functional.conv2d`.

    Args:
        operator: a callable with (a prefix of) that signature, an `autograd.Function` class, or a module
            class with the constructor of `nn.Conv2d`.
        name: what reports call it; where it was loaded from, if it was.
        domain: what it claims to support.
    """

    def __init__(self, operator: Any, name: str = "", domain: str | Domain = "") -> None:
        self.operator = operator
        self.name = name or name_of(operator)
        self.call, self.signature = _callable_of(operator)
        self.accepts = self.signature.accepts
        self.domain = (domain if isinstance(domain, Domain) else Domain.parse(domain)).taking(self.accepts)
        self.waits_in_a_child = False  # until it turns out that it does
        self.has_defaults = not inspect.isclass(operator) and has_defaults(operator)

    @property
    def module_class(self) -> type[torch.nn.Module] | None:
        """The module class, where the target is one."""
        return self.operator if _is_class_of(self.operator, torch.nn.Module) else None

    def called(self, signature: Signature, *words: str) -> Target:
        """The same operator, called by this signature, in a domain with these words besides."""
        other = copy.copy(self)
        if signature is not self.signature:
            other.call, other.signature, other.accepts = signature.calling(self.operator), signature, signature.accepts
            other.domain = other.domain.taking(signature.accepts)
        other.domain = other.domain.with_words(*words)
        return other

    def __call__(
        self,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: Any = 1,
    ) -> Any:
        """Call the operator with as many arguments as it takes.

        Raises:
            Unsupported: it does not take an argument that is needed here, or says so itself.
            OperatorError: it raised anything else, or something did inside it.
        """
        given = dict(zip(PARAMETERS, (input, weight, bias, stride, padding, dilation, groups), strict=True))
        for name, default in DEFAULTS.items():
            if name not in self.accepts and not is_default(given[name], default):
                raise Unsupported(f"it takes no {name}")
        return self.guarded(self.call, *self.taken(*given.values()))

    def taken(self, *arguments: Any) -> tuple[Any, ...]:
        """Those of all arguments, in torch's order, that `call` takes."""
        given = dict(zip(PARAMETERS, arguments, strict=True))
        return tuple(given[name] for name in self.accepts)

    guarded = staticmethod(answers.guarded)  # for whatever else may run the operator's code


def _callable_of(operator: Any) -> tuple[Callable[..., Any], Signature]:
    if _is_class_of(operator, torch.autograd.Function):
        has_ctx = operator.setup_context is torch.autograd.Function.setup_context
        return operator.apply, replace(_signature(operator.forward, skip=int(has_ctx)), named=(), wrapped=False)
    if _is_class_of(operator, torch.nn.Module):
        return as_function(operator), Signature(PARAMETERS)
    if not callable(operator):
        raise TargetError(f"{operator!r} is not callable")
    if (registered := getattr(operator, "_opoverload", None)) is not None:  # of torch.library.custom_op
        return _listing(operator, registered._schema.arguments)
    taken = _signature(operator)
    return taken.calling(operator), taken


def _listing(operator: Callable[..., Any], schema: Sequence[Any]) -> tuple[Callable[..., Any], Signature]:
    """A custom op, called with lists where its schema has List[int], for which it takes no single int."""
    listed = [str(argument.type) == "List[int]" for argument in schema]

    def call(input: Tensor, weight: Tensor, *options: Any) -> Any:
        spatial = weight.dim() - 2
        sizes = [
            [size] * spatial if wanted and isinstance(size, int) else size
            for wanted, size in zip(listed[2:], options, strict=False)
        ]
        return operator(input, weight, *sizes)

    return call, Signature(PARAMETERS[: len(listed)])


def _signature(function: Callable[..., Any], skip: int = 0) -> Signature:
    try:
        return signature_of(function, skip)
    except SignatureError as error:
        raise TargetError(f"{name_of(function)} {error}") from None


def _is_class_of(value: Any, base: type) -> bool:
    return inspect.isclass(value) and issubclass(value, base)


def name_of(operator: Any) -> str:
    """What an operator calls itself, as `module:name`; a name that need not lead back to it."""
    module = getattr(operator, "__module__", None)
    name = getattr(operator, "__qualname__", None) or getattr(operator, "__name__", None)
    if name is None:
        name, module = type(operator).__qualname__, type(operator).__module__
    return f"{module}:{name}" if module else str(name)
