"""How much scratch memory the operator may use beside its operands and results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# Windows of about this size are still in the cache when they are multiplied (`benchmarks/README.md`).
USUAL = 4 << 20

_budget: ContextVar[int] = ContextVar("convverify_memory_budget", default=USUAL)


@contextmanager
def memory_budget(bytes: int) -> Iterator[None]:
    """Within this context the operator's scratch stays under `bytes`, as far as any formulation can.

    A smaller budget means smaller pieces and, below what the fast formulations need, the sum over the
    kernel's taps, which copies one tap's part of one image at a time. More than the usual budget is slower:
    pieces no longer fit the cache. A backward pass obeys the context that it runs in.

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


def scratch_limit() -> int:
    """The budget in force, in bytes."""
    return _budget.get()
