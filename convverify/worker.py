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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convverify import isolation
from convverify.messages import send, write
from convverify.supervision import RequestError

if TYPE_CHECKING:
    from convverify.plan import Plan


def main() -> None:
    """Verify what stdin asks for."""
    channel = int(sys.argv[1])
    os.set_inheritable(channel, False)
    request = json.loads(sys.stdin.read())

    import torch  # noqa: PLC0415 - after the request is read, so that a refusal of Python's comes first

    torch.set_num_threads(1)
    from convverify.plan import plan_of  # noqa: PLC0415
    from convverify.refused import REFUSALS  # noqa: PLC0415
    from convverify.serving import warm_up  # noqa: PLC0415

    try:
        plan = plan_of(**_arguments(request))
    except REFUSALS as error:
        send(channel, "refused", message=str(error))
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


def _carry_out(plan: Plan, skip: set[tuple[str, str]], channel: int) -> None:
    """Carry out a plan but for the (property, device) pairs in `skip`: in forks, where that can be."""
    from convverify.serving import described, forkable, serve  # noqa: PLC0415

    turns = [turn for turn, (prop, device) in enumerate(plan.turns) if (prop.name, device) not in skip]
    message = described(plan)
    write(channel, message)
    if not (forkable(plan) and _single_threaded()):
        serve(plan, turns, channel)
        return
    message["blanks"] = [message["blanks"][turn] for turn in turns]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # so that the forks are ended, too
    heard = functools.partial(write, channel)
    try:
        record = isolation.in_forks(functools.partial(serve, plan), message, turns, plan.jobs, heard)
    except RequestError as error:
        send(channel, "refused", message=str(error))
        return
    send(channel, "done", stopped=record.stopped)


def _single_threaded() -> bool:
    """Whether a fork lacks nothing: one that has been loaded with threads of its own may wait for them for ever."""
    tasks = Path("/proc/self/task")
    return not tasks.is_dir() or len(list(tasks.iterdir())) == 1


def _arguments(request: dict[str, Any]) -> dict[str, Any]:
    """The request in terms of `plan_of`."""
    names = ("budget", "device", "seed", "secret_seed", "domain", "properties", "shapes", "fail_fast", "case", "jobs")
    return {"operator": request["target"], **{name: request[name] for name in names}}


if __name__ == "__main__":
    main()
