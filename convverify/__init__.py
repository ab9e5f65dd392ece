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
    from convverify.operator.functional import conv2d as conv2d
    from convverify.properties import CATALOGUE as CATALOGUE
    from convverify.pytest_plugin import parametrize_with_properties as parametrize_with_properties
    from convverify.results import Outcome as Outcome
    from convverify.results import Result as Result
    from convverify.results import Run as Run
    from convverify.runner import verify as verify
    from convverify.target import Target as Target

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
    "conv2d": "convverify.operator.functional",
    "parametrize_with_properties": "convverify.pytest_plugin",
    "verify": "convverify.runner",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
