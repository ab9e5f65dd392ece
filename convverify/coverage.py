"""What part of the space a case lies in: the rows of the report's coverage table."""

from __future__ import annotations

from convverify.case import ConvCase


def features(case: ConvCase) -> list[tuple[str, str]]:
    """(dimension, value) pairs of a case."""
    g = case.geometry
    rows = [
        ("stride", "x".join(map(str, g.stride))),
        ("dilation", "x".join(map(str, g.dilation))),
        ("kernel", "x".join(map(str, g.kernel_size)) if max(g.kernel_size) <= 5 else "over 5"),
        ("padding", g.padding if isinstance(g.padding, str) else _padding(case)),
        ("groups", _groups(case)),
        ("dtype", case.dtype),
        ("values", case.values),
        ("bias", "yes" if case.bias else "no"),
        ("remainder", "x".join(str(min(axis.remainder, 1)) for axis in g.axes)),
        ("products", f"below 10^{len(str(max(1, g.products)))}"),
    ]
    return rows + [(f"layout of {role}", layout) for role, layout in case.layouts.items()]


def _padding(case: ConvCase) -> str:
    axes = case.geometry.axes
    if not any(axis.before for axis in axes):
        return "none"
    return "reaches over the kernel" if any(a.before > a.reach for a in axes) else "inside the kernel's reach"


def _groups(case: ConvCase) -> str:
    g = case.geometry
    if g.groups == 1:
        return "one"
    if g.groups == g.in_channels:
        return "depthwise" if g.groups == g.out_channels else "depthwise with a multiplier"
    return "one output each" if g.groups == g.out_channels else "general"
