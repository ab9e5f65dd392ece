"""The closed forms under proof, and the wrong ones that the same machinery must refute."""

# ruff: noqa: D103  what is wrong with a form is said once, in the table at the end

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from convverify import formulas

Form = Callable[..., Any]


@dataclass(frozen=True)
class Forms:
    """Four closed forms over an array namespace."""

    forward: Form
    grad_input: Form
    grad_weight: Form
    grad_bias: Form


def shipped() -> Forms:
    """The functions that the autograd Function runs, looked up when asked for."""
    return Forms(formulas.forward, formulas.grad_input, formulas.grad_weight, formulas.grad_bias)


@dataclass(frozen=True)
class WrongForm:
    """A closed form that is wrong on purpose, in place of `slot`."""

    fault: str
    slot: str
    form: Form

    @property
    def forms(self) -> Forms:
        """The shipped forms with this one in place of the right one."""
        return replace(shipped(), **{self.slot: self.form})


def _correlate_back(xp: Any, geometry: Any, g: Any, k: Any, pads: Any, turned: bool = True) -> Any:
    """The text of grad_input, with its padding and its rotation to choose."""
    g = xp.split(xp.pad(xp.insert_zeros(g, geometry.stride), pads), 1, geometry.groups)
    k = xp.split(xp.rotate180(k, geometry.spatial) if turned else k, 0, geometry.groups)
    g = xp.windows(g, geometry.kernel_size, (1,) * geometry.spatial, geometry.dilation)
    u, a = "xyz"[: geometry.spatial], "abd"[: geometry.spatial]
    return xp.merge(xp.einsum(f"ngc{u}{a},gci{a}->ngi{u}", g, k), 1)


def _right_pads(geometry: Any) -> list[tuple[Any, Any]]:
    return [(axis.reach - axis.before, axis.reach - axis.after + axis.remainder) for axis in geometry.axes]


def unturned(xp: Any, geometry: Any, g: Any, k: Any) -> Any:
    return _correlate_back(xp, geometry, g, k, _right_pads(geometry), turned=False)


def undilated_pad(xp: Any, geometry: Any, g: Any, k: Any) -> Any:
    """Pads by K-1-P in front, and keeps the size right at the far end."""
    pads = [
        (axis.kernel - 1 - axis.before, 2 * axis.reach - axis.kernel + 1 - axis.after + axis.remainder)
        for axis in geometry.axes
    ]
    return _correlate_back(xp, geometry, g, k, pads)


def unremaindered(xp: Any, geometry: Any, g: Any, k: Any) -> Any:
    pads = [(axis.reach - axis.before, axis.reach - axis.after) for axis in geometry.axes]
    return _correlate_back(xp, geometry, g, k, pads)


def remainder_in_front(xp: Any, geometry: Any, g: Any, k: Any) -> Any:
    pads = [(axis.reach - axis.before + axis.remainder, axis.reach - axis.after) for axis in geometry.axes]
    return _correlate_back(xp, geometry, g, k, pads)


def uninserted(xp: Any, geometry: Any, g: Any, k: Any) -> Any:
    """Inserts no zeros, and fills up at the far end."""
    pads = [
        (axis.reach - axis.before, axis.slack - axis.output + 1 + axis.reach - axis.after)
        for axis in geometry.axes
    ]
    g = xp.split(xp.pad(g, pads), 1, geometry.groups)
    k = xp.split(xp.rotate180(k, geometry.spatial), 0, geometry.groups)
    g = xp.windows(g, geometry.kernel_size, (1,) * geometry.spatial, geometry.dilation)
    u, a = "xyz"[: geometry.spatial], "abd"[: geometry.spatial]
    return xp.merge(xp.einsum(f"ngc{u}{a},gci{a}->ngi{u}", g, k), 1)


def _correlate_weight(xp: Any, geometry: Any, x: Any, g: Any, pads: Any, stride: Any, dilation: Any) -> Any:
    x = xp.split(xp.pad(x, pads), 1, geometry.groups)
    g = xp.split(g, 1, geometry.groups)
    x = xp.windows(x, geometry.output_size, stride, dilation)
    o, a = "xyz"[: geometry.spatial], "abd"[: geometry.spatial]
    return xp.merge(xp.einsum(f"ngi{a}{o},ngc{o}->gci{a}", x, g), 0)


def uncropped(xp: Any, geometry: Any, x: Any, g: Any) -> Any:
    return _correlate_weight(xp, geometry, x, g, geometry.pads, geometry.dilation, geometry.stride)


def unexchanged(xp: Any, geometry: Any, x: Any, g: Any) -> Any:
    """Keeps stride and dilation in their places, where the sizes allow it."""
    pads = [(axis.before, axis.after - axis.remainder) for axis in geometry.axes]
    return _correlate_weight(xp, geometry, x, g, pads, geometry.stride, geometry.dilation)


def cropped_in_front(xp: Any, geometry: Any, x: Any, g: Any) -> Any:
    pads = [(axis.before - axis.remainder, axis.after) for axis in geometry.axes]
    return _correlate_weight(xp, geometry, x, g, pads, geometry.dilation, geometry.stride)


def unpadded(xp: Any, geometry: Any, x: Any, k: Any) -> Any:
    """Puts all of the padding at the far end."""
    pads = [(0, axis.before + axis.after) for axis in geometry.axes]
    x = xp.split(xp.pad(x, pads), 1, geometry.groups)
    k = xp.split(k, 0, geometry.groups)
    x = xp.windows(x, geometry.kernel_size, geometry.stride, geometry.dilation)
    o, a = "xyz"[: geometry.spatial], "abd"[: geometry.spatial]
    return xp.merge(xp.einsum(f"ngi{o}{a},gci{a}->ngc{o}", x, k), 1)


def turned_forward(xp: Any, geometry: Any, x: Any, k: Any) -> Any:
    return formulas.forward(xp, geometry, x, xp.rotate180(k, geometry.spatial))


def groups_transposed(xp: Any, geometry: Any, x: Any, k: Any) -> Any:
    """Takes every G-th input channel for a group, in place of neighbouring ones."""
    x = xp.split(xp.pad(x, geometry.pads), 1, geometry.in_channels // geometry.groups)
    k = xp.split(k, 0, geometry.groups)
    x = xp.windows(x, geometry.kernel_size, geometry.stride, geometry.dilation)
    o, a = "xyz"[: geometry.spatial], "abd"[: geometry.spatial]
    return xp.merge(xp.einsum(f"nig{o}{a},gci{a}->ngc{o}", x, k), 1)


def short_bias(xp: Any, geometry: Any, g: Any) -> Any:
    """Leaves out the last position of every axis."""
    o = "xyz"[: geometry.spatial]
    return xp.einsum(f"nc{o}->c", xp.pad(g, ((0, -1),) * geometry.spatial))


NO_ROTATION = WrongForm("the kernel is not turned by 180 degrees", "grad_input", unturned)
PAD_UNDILATED = WrongForm("padding K-1 in place of D(K-1)", "grad_input", undilated_pad)
NO_REMAINDER = WrongForm("the far end is not padded by the remainder", "grad_input", unremaindered)
REMAINDER_IN_FRONT = WrongForm("the remainder is padded in front", "grad_input", remainder_in_front)
NO_ZEROS = WrongForm("no zeros are inserted for the stride", "grad_input", uninserted)
UNCROPPED = WrongForm("the remainder is not cropped", "grad_weight", uncropped)
UNEXCHANGED = WrongForm("stride and dilation are not exchanged", "grad_weight", unexchanged)
CROPPED_IN_FRONT = WrongForm("the remainder is cropped in front", "grad_weight", cropped_in_front)
PAD_BEHIND = WrongForm("all padding is put at the far end", "forward", unpadded)
TURNED_FORWARD = WrongForm("the kernel is turned, as in mathematics' convolution", "forward", turned_forward)
GROUPS_TRANSPOSED = WrongForm("a group takes every G-th input channel", "forward", groups_transposed)
SHORT_BIAS = WrongForm("the last position is left out", "grad_bias", short_bias)
