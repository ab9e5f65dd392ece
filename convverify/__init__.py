"""convverify: a property-based verification suite for convolution operators in PyTorch.

Importing this package imports neither torch nor sympy; the public names load what they need on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convverify.geometry import ConvGeometry as ConvGeometry
    from convverify.operator.functional import conv2d as conv2d

__version__ = "0.1.0"

_HOMES = {
    "ConvGeometry": "convverify.geometry",
    "conv2d": "convverify.operator.functional",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
