"""The worker of `convverify.isolation`: reads a request from stdin, writes messages to a pipe.

It loads torch and the target, and has forks of itself, which need not load them again, do what is asked for.
Run as `python -m convverify.worker FD`; not meant to be run by hand.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any


def main() -> None:
    """Verify what stdin asks for."""
    channel = int(sys.argv[1])
    os.set_inheritable(channel, False)
    request = json.loads(sys.stdin.read())

    import torch  # noqa: PLC0415 - after the request is read, so that a refusal of Python's comes first

    torch.set_num_threads(1)
    from convverify.plan import plan_of  # noqa: PLC0415
    from convverify.refused import REFUSALS  # noqa: PLC0415
    from convverify.verification import warm_up  # noqa: PLC0415

    try:
        plan = plan_of(**_arguments(request))
    except REFUSALS as error:
        _send(channel, "refused", message=str(error))
        return
    if plan.case is None:
        warm_up()
    code = 1
    try:
        _carry_out(plan, {(name, device) for name, device in request["skip"]}, channel)
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)  # whatever threads and exit handlers the operator has left behind


def _carry_out(plan: Any, skip: set[tuple[str, str]], channel: int) -> None:
    """Carry out a plan but for the (property, device) pairs in `skip`: in forks, where that can be."""
    from convverify import isolation, supervision  # noqa: PLC0415

    turns = [turn for turn, (prop, device) in enumerate(plan.turns) if (prop.name, device) not in skip]
    message = described(plan)
    _write(channel, message)
    if not (forkable(plan) and _single_threaded()):
        serve(plan, turns, channel)
        return
    message["blanks"] = [message["blanks"][turn] for turn in turns]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that the forks are ended, too
    write = functools.partial(_write, channel)
    try:
        record = isolation.in_forks(functools.partial(serve, plan), message, turns, plan.jobs, write)
    except supervision.RequestError as error:
        _send(channel, "refused", message=str(error))
        return
    _send(channel, "done", stopped=record.stopped)


def serve(plan: Any, turns: Iterable[int], channel: int) -> None:
    """Carry out these turns of a plan, and send what comes of it."""
    try:
        _execute(plan, turns, functools.partial(_send, channel))
    except Exception as error:  # an operator's errors are caught where it is called: this one is ours
        where = traceback.extract_tb(error.__traceback__)[-1]
        message = f"convverify itself failed, in {where.name}: {type(error).__name__}: {error}"
        _send(channel, "refused", message=message)


def described(plan: Any) -> dict[str, Any]:
    """The message that tells what is going to be done, and by which plan."""
    from convverify import environment, runner  # noqa: PLC0415

    return {
        "kind": "plan",
        "blanks": [asdict(runner.blank(prop, device)) for prop, device in plan.turns],
        "operator": plan.op.name,
        "domain": plan.op.domain.text,
        "budget": plan.budget.name,
        "case_seconds": plan.budget.case_seconds,
        "environment": environment.describe(),
        **{name: getattr(plan, name) for name in ("devices", "seed", "secret_seed", "fail_fast")},
    }


def forkable(plan: Any) -> bool:
    """Whether a fork can do what is planned; CUDA cannot be used on both sides of one."""
    import torch  # noqa: PLC0415

    on_cuda = "cuda" in plan.devices and torch.cuda.is_available()
    return hasattr(os, "fork") and not on_cuda and not torch.cuda.is_initialized()


def _single_threaded() -> bool:
    """Whether a fork lacks nothing: one that has been loaded with threads of its own may wait for them for ever."""
    tasks = Path("/proc/self/task")
    return not tasks.is_dir() or len(list(tasks.iterdir())) == 1


def _arguments(request: dict[str, Any]) -> dict[str, Any]:
    """The request in terms of `plan_of`."""
    names = ("budget", "device", "seed", "secret_seed", "domain", "properties", "shapes", "fail_fast", "case", "jobs")
    return {"operator": request["target"], **{name: request[name] for name in names}}


def _execute(plan: Any, turns: Iterable[int], send: Any) -> None:
    from convverify import memory, runner  # noqa: PLC0415

    if "cuda" not in plan.devices:  # whose driver reserves more than there is
        memory.limit()

    def at(prop: Any, device: str, case: str) -> None:
        send("at", property=prop.name, device=device, case=case)

    def announced() -> Iterator[int]:
        for turn in turns:
            prop, device = plan.turns[turn]
            at(prop, device, "")
            yield turn

    plan.watch = lambda prop, case: at(prop, case.device, str(case))
    coverage: Counter[tuple[str, str]] = Counter()
    direct = {prop.name for prop in plan.properties if prop.direct}
    for result in runner.execute(plan, coverage, announced()):
        send("result", result=asdict(result), direct=result.property in direct,
             coverage=[[*key, count] for key, count in coverage.items()])  # fmt: skip
        coverage.clear()
    send("done", stopped="")


def _send(channel: int, kind: str, **fields: Any) -> None:
    _write(channel, {"kind": kind, **fields})


def _write(channel: int, message: dict[str, Any]) -> None:
    data = (json.dumps(message) + "\n").encode()
    while data:
        data = data[os.write(channel, data) :]


if __name__ == "__main__":
    main()
