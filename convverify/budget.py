"""How much a verification may spend."""

from __future__ import annotations

from dataclasses import dataclass

SLEEPING = 3  # how many times longer a case may take than it computes, on a machine that is shared


@dataclass(frozen=True)
class Budget:
    """`examples` are drawn for a property of weight 1; `seconds` bound the whole run, shrinking included.

    `corners` is the share of the listed corners, sweeps and usual layers that is visited.
    """

    name: str
    examples: int
    seconds: float
    corners: float
    shrink_seconds: float
    case_seconds: float
    costly: bool = True


BUDGETS = {
    budget.name: budget
    for budget in (
        Budget("quick", 30, seconds=4.0, corners=0.5, shrink_seconds=0.8, case_seconds=20.0, costly=False),
        Budget("standard", 200, seconds=24.0, corners=1.0, shrink_seconds=2.0, case_seconds=30.0),
        Budget("thorough", 2000, seconds=600.0, corners=1.0, shrink_seconds=10.0, case_seconds=120.0),
    )
}
