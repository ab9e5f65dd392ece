"""Tensors computed in a forked process, where the computation may end the process that does it."""

from __future__ import annotations

import faulthandler
import math
import os
import pickle
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from convverify.answers import Unsupported

LOOKED_AT_SECONDS = 10.0  # after which a child that is still there is looked at
WAITING = 0.1  # the part of them that one which waits may have computed
_PAUSE = 0.002


class ProcessDied(Exception):  # noqa: N818 - a finding about the computation, not an error of ours
    """The computation ended its process; the message says by which signal, or with which exit code."""


class Waited(Unsupported):
    """The computation waited, as it does where it needs threads that were started before: a child has none of them."""


def can_fork(device: str) -> bool:
    """Whether there are children here, for what is computed on this device."""
    return device == "cpu" and hasattr(os, "fork")


def in_a_child(compute: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """What `compute` returns, computed in a forked copy of this process; for tensors on the CPU.

    Raises:
        ProcessDied: the child ended before it had an answer.
        Waited: it does nothing.
        Exception: whatever `compute` raised.
    """
    with tempfile.TemporaryFile() as answer:
        child = os.fork()
        if child == 0:
            _answer(compute, answer)
        status = _ended(child)
        if code := os.waitstatus_to_exitcode(status):
            raise ProcessDied(signal.Signals(-code).name if code < 0 else f"exit code {code}")
        answer.seek(0)
        found = pickle.load(answer)
    if isinstance(found, Exception):
        raise found
    return {name: _unpacked(*packed) for name, packed in found.items()}


def _ended(child: int) -> int:
    """The status with which it ended by itself; one that computes is left to the time limit of the case."""
    look_at = time.monotonic() + LOOKED_AT_SECONDS
    try:
        while not (ended := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() > look_at and _processor_seconds(child) < WAITING * LOOKED_AT_SECONDS:
                raise Waited("in a forked process it waits for ever, as for threads that it has started before")
            time.sleep(_PAUSE)
    except BaseException:  # Ctrl-C and the time limit among them
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    return ended[1]


def _processor_seconds(child: int) -> float:
    """What it has taken so far; without end, where the system does not tell."""
    try:
        fields = Path(f"/proc/{child}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return math.inf
    user, system = fields[11:13]  # 14 and 15 of all, in ticks
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _answer(compute: Callable[[], dict[str, Tensor]], answer: BinaryIO) -> None:
    """The child: write the answer and end, whatever happens."""
    code = 1
    faulthandler.disable()  # the parent tells of the child's end
    try:
        try:
            found: Any = {name: _packed(value) for name, value in compute().items()}
        except Exception as error:
            found = error
        pickle.dump(found, answer)
        answer.flush()
        code = 0
    finally:
        os._exit(code)


def _packed(value: Tensor) -> tuple[torch.dtype, tuple[int, ...], bytes]:
    """Plain bytes, so that the child needs none of torch's serialization."""
    flat = value.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return value.dtype, tuple(value.shape), flat.view(torch.uint8).numpy().tobytes()


def _unpacked(dtype: torch.dtype, shape: tuple[int, ...], data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=dtype).reshape(shape) if data else torch.empty(shape, dtype=dtype)
