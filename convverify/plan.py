"""What a verification is told before it starts, and how that is read from what a user chooses."""

from __future__ import annotations

import copy
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from convverify import shapes as networks
from convverify.budget import BUDGETS, Budget
from convverify.case import DEVICES, ConvCase
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
    """A choice that cannot be made: of a budget, a device, a number of jobs, of what is to be checked."""


def plan_of(
    operator: object,
    budget: str = "standard",
    device: str = "cpu",
    seed: int = 0,
    domain: str | None = None,
    name: str = "",
    properties: Sequence[str] = (),
    shapes: str | Sequence[ConvGeometry] = (),
    secret_seed: int | None = None,
    fail_fast: bool = False,
    case: str = "",
    jobs: int | None = None,
) -> Plan:
    """The plan that these choices mean; `case` is the line of a single one to check, on its own device.

    Without a number of `jobs` there are as many as cores, two at most.

    Raises:
        TargetError, DomainError, UnknownPropertyError, UnknownShapesError, CaseError, ChoiceError: what is asked for
            cannot be done.
    """
    if budget not in BUDGETS:
        raise ChoiceError(f"budget {budget!r} is not one of {', '.join(BUDGETS)}")
    if isinstance(properties, str):
        raise ChoiceError(f"properties={properties!r} must be a sequence of names, such as [{properties!r}]")
    op, layers, asked = _target(operator, name, domain or ""), _layers(shapes), _planar(case) if case else None
    secret = secrets.randbits(31) if secret_seed is None else secret_seed
    plan = Plan(
        op, BUDGETS[budget], (asked.device,) if asked else devices(device), seed, secret,
        tuple(map(named, properties)) or catalogue(BUDGETS[budget], bool(layers)), layers, fail_fast, asked,
    )  # fmt: skip
    return replace(plan, jobs=min(len(plan.turns), _jobs(jobs)))


def _target(operator: object, name: str, domain: str) -> Target:
    """The target to verify: never the caller's own, which is not to learn here how it is called."""
    if isinstance(operator, str):
        op = load(operator, domain)
        op.name = name or op.name
        return op
    if not isinstance(operator, Target):
        return Target(operator, name, domain)
    for what, said in (("name", name), ("domain", domain)):
        if said:
            raise ChoiceError(f"{what}={said!r} must be given to the Target {operator.name}, not beside it")
    return copy.copy(operator)


def _layers(shapes: str | Sequence[ConvGeometry]) -> tuple[ConvGeometry, ...]:
    """The layers of a network's name, or those given."""
    if isinstance(shapes, str):
        return networks.named(shapes) if shapes else ()
    for layer in shapes:
        if not isinstance(layer, ConvGeometry):
            raise ChoiceError(f"shapes hold {layer!r}, not a ConvGeometry; names are {', '.join(networks.SHAPES)}")
        _check_plane(layer)
    return tuple(shapes)


def _planar(line: str) -> ConvCase:
    case = ConvCase.parse(line)
    _check_plane(case.geometry)
    return case


def _check_plane(geometry: ConvGeometry) -> None:
    if geometry.spatial != 2:
        raise ChoiceError(f"input_size={geometry.input_size} must have 2 entries, as for conv2d")


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
    known = {**{name: (name,) for name in DEVICES}, "auto": DEVICES}
    if device not in known:
        raise ChoiceError(f"device {device!r} is not one of {', '.join(known)}")
    return known[device]
