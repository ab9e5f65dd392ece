"""What a verification is told before it starts, and how that is read from what a user chooses."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from convverify.budget import BUDGETS, Budget
from convverify.case import ConvCase
from convverify.geometry import ConvGeometry
from convverify.loading import load
from convverify.properties import CATALOGUE, named
from convverify.properties.base import Property
from convverify.target import Target

LAYER_PRODUCTS = 50_000
MOST_JOBS = 2  # side by side, where no number is asked for


@dataclass
class Plan:
    """Everything that a verification is told, before it starts."""

    op: Target
    budget: Budget
    devices: tuple[str, ...] = ("cpu",)
    seed: int = 0
    secret_seed: int = 0
    properties: tuple[Property, ...] = CATALOGUE
    shapes: tuple[ConvGeometry, ...] = ()
    fail_fast: bool = False
    case: ConvCase | None = None
    jobs: int = 1
    watch: Callable[[Property, ConvCase], None] = lambda prop, case: None

    @property
    def turns(self) -> tuple[tuple[Property, str], ...]:
        """What is to be checked, in order: each property on each device."""
        return tuple((prop, device) for device in self.devices for prop in self.properties)


class ChoiceError(ValueError):
    """A budget, a device or a number of jobs that is none."""


def plan_of(
    operator: object,
    budget: str = "standard",
    device: str = "cpu",
    seed: int = 0,
    domain: str | None = None,
    name: str = "",
    properties: Sequence[str] = (),
    shapes: Sequence[ConvGeometry] = (),
    secret_seed: int | None = None,
    fail_fast: bool = False,
    case: str = "",
    jobs: int | None = None,
) -> Plan:
    """The plan that these choices mean; `case` is the line of a single one to check.

    Without a number of `jobs` there are as many as cores, two at most.

    Raises:
        TargetError, DomainError, UnknownPropertyError, ChoiceError: what is asked for cannot be done.
    """
    if budget not in BUDGETS:
        raise ChoiceError(f"budget {budget!r} is not one of {', '.join(BUDGETS)}")
    if isinstance(operator, str):
        op = load(operator, domain or "")
    else:
        op = operator if isinstance(operator, Target) else Target(operator, name, domain or "")
    secret = secrets.randbits(31) if secret_seed is None else secret_seed
    plan = Plan(
        op, BUDGETS[budget], devices(device), seed, secret,
        tuple(map(named, properties)) or catalogue(BUDGETS[budget], bool(shapes)), tuple(shapes), fail_fast,
        ConvCase.parse(case) if case else None,
    )  # fmt: skip
    return replace(plan, jobs=min(len(plan.turns), _jobs(jobs)))


def _jobs(asked: int | None) -> int:
    if asked is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(MOST_JOBS, cores)
    if asked < 1:
        raise ChoiceError(f"jobs={asked} must be at least 1")
    return asked


def catalogue(budget: Budget, layers: bool = False) -> tuple[Property, ...]:
    """The properties that a budget has room for; for whole layers, those whose reference is fast enough."""
    return tuple(
        prop for prop in CATALOGUE
        if (budget.costly or not prop.demand.costly) and (not layers or prop.demand.products >= LAYER_PRODUCTS)
    )  # fmt: skip


def devices(device: str) -> tuple[str, ...]:
    """The devices that a choice means, absent ones included.

    Raises:
        ChoiceError: the choice is none of cpu, cuda and auto.
    """
    known = {"cpu": ("cpu",), "cuda": ("cuda",), "auto": ("cpu", "cuda")}
    if device not in known:
        raise ChoiceError(f"device {device!r} is not one of {', '.join(known)}")
    return known[device]
