"""How the process of a worker is started: as a program of its own, or as a fork of this process."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Protocol

ENDING_SECONDS = 2.0


class Process(Protocol):
    """What a worker's process is asked; as `subprocess.Popen` answers it."""

    pid: int

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""

    def wait(self) -> int:
        """The exit code, once it has ended."""


@dataclass(frozen=True)
class Worker:
    """A running worker: its process, the descriptor that its messages come from, what it prints."""

    process: Process
    messages: int
    noise: IO[bytes]

    def last_words(self) -> str:
        """The end of what it printed."""
        self.noise.seek(0)
        return self.noise.read()[-2000:].decode(errors="replace").strip()


class Fork:
    """A child of `os.fork`, in the manner of `subprocess.Popen`."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.code: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._reaped(os.WNOHANG)

    def wait(self) -> int:
        """The exit code, once it has ended."""
        code = self._reaped(0)
        assert code is not None
        return code

    def _reaped(self, options: int) -> int | None:
        if self.code is None:
            pid, status = os.waitpid(self.pid, options)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code


class Turns:
    """Numbers that this process and its forks take in turn, each number once, until none is left."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self.read, write = os.pipe()
        os.write(write, b"".join(number.to_bytes(2, "big") for number in numbers))
        os.close(write)

    def __iter__(self) -> Iterator[int]:
        while token := os.read(self.read, 2):
            yield int.from_bytes(token, "big")

    def close(self) -> None:
        """Take no more."""
        os.close(self.read)


def exit_code(process: Process, seconds: float) -> int | None:
    """The exit code of a process that is about to end; None if it is still there after so long."""
    end = time.monotonic() + seconds
    while (code := process.poll()) is None and time.monotonic() < end:
        time.sleep(0.005)
    return code


@contextlib.contextmanager
def spawned(request: bytes) -> Iterator[Worker]:
    """A worker in a new interpreter, which reads the request from stdin; it is ended at last."""
    read, write = os.pipe()
    with tempfile.TemporaryFile() as noise:
        process = subprocess.Popen(
            [sys.executable, "-m", "convverify.worker", str(write)],
            stdin=subprocess.PIPE, stdout=noise, stderr=noise, pass_fds=[write], start_new_session=True,
        )  # fmt: skip
        os.close(write)
        try:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # that it died at once is told from its end
                process.stdin.write(request)
                process.stdin.close()
            yield Worker(process, read, noise)
        finally:
            os.close(read)
            _ask_to_end(process)
            _end(process)


@contextlib.contextmanager
def forked(serve: Callable[[int], None]) -> Iterator[Worker]:
    """A worker that is a copy of this process and runs `serve` with the descriptor for its messages."""
    read, write = os.pipe()
    with tempfile.TemporaryFile() as noise:
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads, of which the copy needs none
            pid = os.fork()
        if pid == 0:
            os.close(read)
            _serve(serve, write, noise)
        os.close(write)
        process = Fork(pid)
        try:
            yield Worker(process, read, noise)
        finally:
            os.close(read)
            _end(process)


def _serve(serve: Callable[[int], None], channel: int, noise: IO[bytes]) -> None:
    """The forked child, in a session of its own, where Ctrl-C does not reach it: serve, and end."""
    code = 1
    try:
        faulthandler.disable()  # the parent tells of this process's end
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.setsid()
        for stream in (1, 2):
            os.dup2(noise.fileno(), stream)
        sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)  # whatever stood in for them
        serve(channel)
        code = 0
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def _ask_to_end(process: Process) -> None:
    """Let a worker end the forks that it has made itself: they are in sessions of their own."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
        exit_code(process, ENDING_SECONDS)


def _end(process: Process) -> None:
    """End the worker and whatever it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.poll() is None:  # a fork that has not got a session of its own yet
        os.kill(process.pid, signal.SIGKILL)
    process.wait()
