"""What a worker and who supervises it say to each other: JSON objects, one a line."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, Literal, TypedDict

Message = dict[str, Any]


class PlanMessage(TypedDict):
    """What a worker is going to do, and by which plan: the first thing that it says.

    `blanks` holds a result for each property on each device, as long as it has not been run.
    """

    kind: Literal["plan"]
    blanks: list[dict[str, Any]]
    operator: str
    domain: str
    budget: str
    case_seconds: float
    environment: dict[str, str]
    devices: Sequence[str]
    seed: int
    secret_seed: int
    fail_fast: bool


def send(channel: int, kind: str, **fields: Any) -> None:
    """Say something of a kind: at, result, done or refused."""
    write(channel, {"kind": kind, **fields})


def write(channel: int, message: Message | PlanMessage) -> None:
    """Send a message through a descriptor."""
    data = (json.dumps(message) + "\n").encode()
    while data:
        data = data[os.write(channel, data) :]
