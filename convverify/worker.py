"""The worker of `convverify.isolation`: reads a request from stdin, writes results to a pipe.

Run as `python -m convverify.worker FD`; not meant to be run by hand.
"""

from __future__ import annotations

import functools
import json
import os
import sys
import traceback
from collections import Counter
from dataclasses import asdict
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
    serve(plan, request["skip"], channel)
    os._exit(0)  # whatever threads and exit handlers the operator has left behind


def serve(plan: Any, skip: list[list[str]], channel: int) -> None:
    """Carry out a plan but for the (property, device) pairs in `skip`, and send what comes of it."""
    try:
        _execute(plan, skip, functools.partial(_send, channel))
    except Exception as error:  # an operator's errors are caught where it is called: this one is ours
        where = traceback.extract_tb(error.__traceback__)[-1]
        message = f"convverify itself failed, in {where.name}: {type(error).__name__}: {error}"
        _send(channel, "refused", message=message)


def _send(channel: int, kind: str, **fields: Any) -> None:
    data = (json.dumps({"kind": kind, **fields}) + "\n").encode()
    while data:
        data = data[os.write(channel, data) :]


def _arguments(request: dict[str, Any]) -> dict[str, Any]:
    """The request in terms of `plan_of`."""
    from convverify import shapes  # noqa: PLC0415

    names = ("budget", "device", "seed", "secret_seed", "domain", "properties", "fail_fast", "case")
    return {
        "operator": request["target"],
        "shapes": shapes.named(request["shapes"]) if request["shapes"] else (),
        **{name: request[name] for name in names},
    }


def _execute(plan: Any, skip: list[list[str]], send: Any) -> None:
    from convverify import environment, memory, runner  # noqa: PLC0415

    if "cuda" not in plan.devices:  # whose driver reserves more than there is
        memory.limit()
    blanks = [asdict(runner.blank(prop, device)) for device in plan.devices for prop in plan.properties]
    send("plan", blanks=blanks, operator=plan.op.name, budget=plan.budget.name, devices=plan.devices,
         seed=plan.seed, secret_seed=plan.secret_seed, domain=plan.op.domain.text,
         case_seconds=plan.budget.case_seconds, environment=environment.describe())  # fmt: skip
    plan.watch = lambda prop, case: send("case", property=prop.name, device=case.device, case=str(case))
    coverage: Counter[tuple[str, str]] = Counter()
    for result in runner.execute(plan, coverage, skip={(name, device) for name, device in skip}):
        send("result", result=asdict(result), coverage=[[*key, count] for key, count in coverage.items()])
        coverage.clear()
    send("done")


if __name__ == "__main__":
    main()
