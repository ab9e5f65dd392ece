"""The errors that mean: what was asked for cannot be done. Each is one clear line for the user."""

from __future__ import annotations

from convverify.case import CaseError
from convverify.domain import DomainError
from convverify.geometry import GeometryError
from convverify.plan import ChoiceError
from convverify.properties import UnknownPropertyError
from convverify.shapes import UnknownShapesError
from convverify.target import TargetError

REFUSALS = (
    CaseError, ChoiceError, DomainError, GeometryError, TargetError, UnknownPropertyError, UnknownShapesError,
)  # fmt: skip
