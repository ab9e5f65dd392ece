"""Tensors computed in a forked process, where the computation may end the process that does it."""

from __future__ import annotations

import faulthandler
import os
import pickle
import signal
import tempfile
import time
from collections.abc import Callable
from typing import Any, BinaryIO

import torch
from torch import Tensor

from convverify.answers import OperatorHang, Unsupported

LIMIT_SECONDS = 10.0  # that a child may take
WAITING = 0.1  # the part of them that one which waits may compute
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
        OperatorHang: it computed, and had no answer within its time.
        Waited: it did nothing until its time was up.
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
    """The status with which it ended by itself."""
    deadline = time.monotonic() + LIMIT_SECONDS
    try:
        while time.monotonic() < deadline:
            if (ended := os.waitpid(child, os.WNOHANG))[0]:
                return ended[1]
            time.sleep(_PAUSE)
    except BaseException:  # Ctrl-C, or the time limit of the case
        _killed(child)
        raise
    if _killed(child) < WAITING * LIMIT_SECONDS:
        raise Waited("in a forked process it waits for ever, as for threads that it has started before")
    raise OperatorHang


def _killed(child: int) -> float:
    """The seconds of processor time that it took until it was ended."""
    os.kill(child, signal.SIGKILL)
    usage = os.wait4(child, 0)[2]
    return usage.ru_utime + usage.ru_stime


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
