"""How an operator wants to be called, where it raised as it was called: options as numbers, fewer of them, a bias."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch

from convverify.answers import OperatorError, Unsupported
from convverify.target import Target

_OPTIONS = ("stride", "padding", "dilation")
_NUMBERS, _PAIRS = (1, 0, 1), ((1, 1), (0, 0), (1, 1))
_KERNELS = (1, 3)


def adapt(op: Target) -> bool:
    """Have the operator called in another way from now on, if it works so, and not as it was called.

    What its signature says it takes is not given up: a default that is a number, or a bias that is None.
    """
    if _works(op):
        return False
    found = next(filter(_works, _others(op)), None)
    if found is None:
        return False
    op.call, op.signature, op.accepts, op.domain = found.call, found.signature, found.accepts, found.domain
    return True


def _others(op: Target) -> Iterator[Target]:
    """The operator called in other ways, the least different ones first."""
    forms: list[tuple[str, ...]] = [()]
    if not op.domain.words & {"square", "isotropic", "pairs"}:
        forms.append(("isotropic",))
        if not any(map(op.signature.takes_an_int, _OPTIONS)):
            forms.append(("pairs",))
    biases: list[tuple[str, ...]] = [(), ("bias",)] if op.signature.requires("bias") else [()]
    for signature in (op.signature, *op.signature.others()):
        for form, bias in itertools.product(forms, biases):
            yield op.called(signature, *form, *bias)


def _works(op: Target) -> bool:
    """Whether a small convolution comes back, with gradients, however its options are given."""
    words = op.domain.words
    forms = [_PAIRS] * (not words & {"square", "isotropic"}) + [_NUMBERS] * ("pairs" not in words)
    if not set(op.accepts) & set(_OPTIONS):
        forms = [_NUMBERS]
    return any(all(_comes_back(op, kernel, options) for options in forms) for kernel in _KERNELS)


def _comes_back(op: Target, kernel: int, options: tuple[Any, ...]) -> bool:
    dtype = getattr(torch, op.domain.dtypes[0]) if op.domain.dtypes else torch.float32
    x, weight = (torch.ones(1, 1, size, size, dtype=dtype, requires_grad=True) for size in (4, kernel))
    bias = torch.ones(1, dtype=dtype, requires_grad=True) if "bias" in op.domain.words else None
    try:
        output = op(x, weight, bias, *options)
        op.guarded(torch.autograd.grad, output.sum(), (x, weight), allow_unused=True)
        return True
    except (Unsupported, OperatorError, RuntimeError, AttributeError):
        return False
