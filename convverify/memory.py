"""How much memory an operator under test may have: beyond it, its own allocations fail, and no other program."""

from __future__ import annotations

import contextlib
from pathlib import Path

ROOM = 6 * 2**30  # bytes, beside what the worker holds when it begins

_STATUS = Path("/proc/self/status")


def limit(room: int = ROOM) -> None:
    """Let this process allocate `room` bytes more than it holds; where the system does not know how, nothing."""
    held = _held()
    if held is None:
        return
    import resource  # noqa: PLC0415 - not on every system

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = held + room
    limits = [wanted, *(one for one in (soft, hard) if one != resource.RLIM_INFINITY)]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))


def _held() -> int | None:
    """Bytes of data that Linux counts against the limit."""
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return None
