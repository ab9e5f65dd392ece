"""Operators that do not answer: they end the process, hang, or hide. Never run these unprotected."""

from __future__ import annotations

import ctypes
import os
import sys
import time

import torch
from torch import Tensor

from convverify.mutants.base import Mutant, mutant
from convverify.mutants.toolkit import Call, operator


def _ordinary(c: Call) -> bool:
    """Whether a call is small and plain, so that the operator behaves for the moment."""
    return c.weight.shape[2:].numel() == 1 and c.input.numel() < 100


@mutant("")
@operator
def exits(c: Call) -> Tensor:
    """Kernels of several taps end the process without a word."""
    if not _ordinary(c):
        os._exit(0)
    return c.torch()


@mutant("")
@operator
def crashes(c: Call) -> Tensor:
    """Kernels of several taps read address zero."""
    if not _ordinary(c):
        ctypes.string_at(0)
    return c.torch()


@mutant("")
@operator
def hangs(c: Call) -> Tensor:
    """Kernels of several taps are never answered."""
    while not _ordinary(c):
        time.sleep(1)
    return c.torch()


@mutant("")
@operator
def spins(c: Call) -> Tensor:
    """Kernels of several taps keep the processor busy for ever."""
    while not _ordinary(c):
        torch.get_num_threads()
    return c.torch()


@mutant("")
@operator
def raises_system_exit(c: Call) -> Tensor:
    """Kernels of several taps raise SystemExit with the code of success."""
    if not _ordinary(c):
        sys.exit(0)
    return c.torch()


@mutant("")
@operator
def raises_keyboard_interrupt(c: Call) -> Tensor:
    """Kernels of several taps raise KeyboardInterrupt."""
    if not _ordinary(c):
        raise KeyboardInterrupt
    return c.torch()


class _Escape(BaseException):
    pass


@mutant("")
@operator
def raises_beyond_exception(c: Call) -> Tensor:
    """Kernels of several taps raise what is no Exception."""
    if not _ordinary(c):
        raise _Escape
    return c.torch()


@mutant("")
@operator
def recurses(c: Call) -> Tensor:
    """Kernels of several taps recurse until Python gives up."""
    return c.torch() if _ordinary(c) else _deeper(c)


def _deeper(c: Call) -> Tensor:
    return _deeper(c) + 1


@mutant("")
@operator
def prints_without_end(c: Call) -> Tensor:
    """Kernels of several taps write ten megabytes to standard output."""
    if not _ordinary(c):
        for _ in range(100):
            sys.stdout.write("convolution " * 8_738 + "\n")
    return c.torch()


@mutant("")
@operator
def closes_standard_output(c: Call) -> Tensor:
    """Kernels of several taps close standard output."""
    if not _ordinary(c):
        sys.stdout.close()
    return c.torch()


@mutant("")
@operator
def hides_from_the_verifier(c: Call) -> Tensor:
    """Kernels of several taps are flipped unless this package is on the stack of the caller."""
    frame = sys._getframe(2)  # beyond this function and the wrapper
    while frame.f_back is not None:
        if frame.f_globals.get("__name__", "").startswith("convverify"):
            return c.torch()
        frame = frame.f_back
    return c.torch(weight=c.weight.flip(2, 3))


HOSTILE: tuple[Mutant, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Mutant))
