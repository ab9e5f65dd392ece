"""convverify: a property-based verification suite for convolution operators in PyTorch.

Importing this package imports neither torch nor sympy; the public names load what they need on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convverify.budget import BUDGETS as BUDGETS
    from convverify.case import ConvCase as ConvCase
    from convverify.geometry import ConvGeometry as ConvGeometry
    from convverify.operator import Conv1d as Conv1d
    from convverify.operator import Conv2d as Conv2d
    from convverify.operator import Conv3d as Conv3d
    from convverify.operator import conv1d as conv1d
    from convverify.operator import conv2d as conv2d
    from convverify.operator import conv3d as conv3d
    from convverify.operator import conv_transpose2d as conv_transpose2d
    from convverify.operator import memory_budget as memory_budget
    from convverify.properties import CATALOGUE as CATALOGUE
    from convverify.pytest_plugin import parametrize_with_properties as parametrize_with_properties
    from convverify.results import Outcome as Outcome
    from convverify.results import Result as Result
    from convverify.results import Run as Run
    from convverify.target import Target as Target
    from convverify.verification import verify as verify

__version__ = "0.1.0"

_HOMES = {
    "BUDGETS": "convverify.budget",
    "CATALOGUE": "convverify.properties",
    "ConvCase": "convverify.case",
    "ConvGeometry": "convverify.geometry",
    "Outcome": "convverify.results",
    "Result": "convverify.results",
    "Run": "convverify.results",
    "Target": "convverify.target",
    **dict.fromkeys(
        ("Conv1d", "Conv2d", "Conv3d", "conv1d", "conv2d", "conv3d", "conv_transpose2d", "memory_budget"),
        "convverify.operator",
    ),
    "parametrize_with_properties": "convverify.pytest_plugin",
    "verify": "convverify.verification",
}

__all__ = [
    "BUDGETS",
    "CATALOGUE",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvCase",
    "ConvGeometry",
    "Outcome",
    "Result",
    "Run",
    "Target",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose2d",
    "memory_budget",
    "parametrize_with_properties",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
