"""How much scratch memory the operator may use beside its operands and results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# Windows of about this size are still in the cache when they are multiplied (`benchmarks/README.md`).
PIECE = 4 << 20

_budget: ContextVar[int | None] = ContextVar("convverify_memory_budget", default=None)


@contextmanager
def memory_budget(bytes: int) -> Iterator[None]:
    """Within this context the operator's scratch stays under `bytes`, as far as any formulation can.

    A small budget means smaller pieces and, below what the fast formulations need, the sum over the
    kernel's taps, which copies one tap's part of one image at a time. A large one changes nothing: pieces
    are no larger than fits the cache. A backward pass obeys the context of its thread.

    Raises:
        ValueError: a negative budget.
    """
    if bytes < 0:
        raise ValueError(f"memory_budget: bytes={bytes} must be at least 0")
    token = _budget.set(bytes)
    try:
        yield
    finally:
        _budget.reset(token)


def budget() -> int | None:
    """The budget in force, in bytes; None where nobody set one."""
    return _budget.get()


def piece_limit() -> int:
    """How large a piece of scratch may be, in bytes."""
    own = _budget.get()
    return PIECE if own is None else min(PIECE, own)
