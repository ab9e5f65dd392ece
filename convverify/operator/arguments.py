"""What the functionals accept: arguments as torch writes them, to a geometry; the rest is refused."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, NoReturn

import torch
from torch import Tensor

from convverify.geometry import ConvGeometry, GeometryError, Sizes

Ints = int | Sequence[int]
PaddingArgument = Ints | Literal["same", "valid"]


def ints(function: str, name: str, value: Ints, spatial: int) -> Sizes:
    """One entry per spatial dimension; a single number stands for all of them.

    Raises:
        TypeError: not integers.
        RuntimeError: neither one number nor as many as there are dimensions.
    """
    entries = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    for entry in entries:
        if isinstance(entry, bool) or not isinstance(entry, (int, torch.SymInt)):
            raise TypeError(f"{function}: {name}={value!r} must be an int or a tuple of ints")
    if len(entries) == 1:
        return entries * spatial
    if len(entries) != spatial:
        raise RuntimeError(f"{function}: {name}={value} must have 1 or {spatial} entries, not {len(entries)}")
    return entries


def integer(function: str, name: str, value: int) -> int:
    """A single number.

    Raises:
        TypeError: anything else.
    """
    if isinstance(value, bool) or not isinstance(value, (int, torch.SymInt)):
        raise TypeError(f"{function}: {name}={value!r} must be an int")
    return value


def paddings(function: str, value: PaddingArgument, spatial: int) -> Sizes:
    """The padding as ints, 'same' as no entries at all."""
    if not isinstance(value, str):
        return ints(function, "padding", value, spatial)
    if value == "valid":
        return (0,) * spatial
    if value != "same":
        raise RuntimeError(f"{function}: padding={value!r} must be 'same', 'valid' or ints")
    return ()


def check_tensors(function: str, input: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """Refuse what is no strided tensor of one dtype on one device.

    Raises:
        TypeError: not a tensor.
        RuntimeError: dtypes, devices or layouts that do not go together.
    """
    for name, tensor in (("input", input), ("weight", weight), ("bias", bias)):
        if tensor is None and name == "bias":
            continue
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{function}: {name} must be a Tensor, not {type(tensor).__name__}")
        if tensor.dtype != input.dtype or tensor.device != input.device:
            raise RuntimeError(
                f"{function}: {name} is {tensor.dtype} on {tensor.device}, but input is {input.dtype} on "
                f"{input.device}; they must be the same"
            )
        if tensor.layout is not torch.strided:
            raise RuntimeError(f"{function}: {name} has layout {tensor.layout}, it must be torch.strided")
    if input.dtype == torch.bool:
        raise RuntimeError(f"{function}: input is torch.bool, it must be of a number type")


def check_dims(function: str, input: Sizes, weight: Sizes, spatial: int) -> None:
    """Refuse shapes of the wrong length.

    Raises:
        RuntimeError: naming the lengths expected.
    """
    if len(weight) != spatial + 2:
        raise RuntimeError(f"{function}: weight {list(weight)} must have {spatial + 2} dimensions")
    if len(input) not in (spatial + 1, spatial + 2):
        raise RuntimeError(
            f"{function}: input {list(input)} must have {spatial + 2} dimensions, or {spatial + 1} unbatched"
        )


@lru_cache(maxsize=4096)
def conv_geometry(function: str, input: Sizes, weight: Sizes, bias: Sizes | None, stride: Sizes,
                  padding: Sizes, dilation: Sizes, groups: int) -> ConvGeometry:  # fmt: skip
    """The geometry of a batched input and a weight of these shapes.

    Raises:
        RuntimeError: sizes that fit no convolution, with the value and what it should be.
    """
    if bias is not None and bias != weight[:1]:
        raise RuntimeError(f"{function}: bias {list(bias)} must be [{weight[0]}]")
    if groups >= 1 and weight[1] * groups != input[1]:
        raise RuntimeError(
            f"{function}: weight {list(weight)} with groups={groups} takes {weight[1] * groups} in_channels, "
            f"but input {list(input)} has {input[1]}"
        )
    try:
        return ConvGeometry(
            input[0], input[1], weight[0], input[2:], weight[2:], stride, padding or "same", dilation, groups
        )
    except GeometryError as error:
        _refuse(function, error)


def transpose_shape(function: str, input: Sizes, weight: Sizes, stride: Sizes, padding: Sizes,
                    output_padding: Sizes, dilation: Sizes, groups: int) -> Sizes:  # fmt: skip
    """The shape of the transposed convolution's output.

    Raises:
        RuntimeError: sizes that fit no transposed convolution, with the value and what it should be.
    """
    if input[1] != weight[0]:
        raise RuntimeError(
            f"{function}: weight {list(weight)} takes {weight[0]} in_channels, but input {list(input)} has {input[1]}"
        )
    lowest = (("groups", (groups,), 1), ("stride", stride, 1), ("padding", padding, 0),
              ("output_padding", output_padding, 0), ("dilation", dilation, 1))  # fmt: skip
    for name, value, low in lowest:
        if min(value) < low:
            raise RuntimeError(f"{function}: {name}={value} must be at least {low}")
    if weight[0] % groups:
        raise RuntimeError(f"{function}: groups={groups} must divide in_channels={weight[0]}")
    for extra, s, d in zip(output_padding, stride, dilation, strict=True):
        if extra >= max(s, d):
            raise RuntimeError(
                f"{function}: output_padding={output_padding} must be smaller than stride={stride} or "
                f"dilation={dilation}"
            )
    axes = zip(input[2:], weight[2:], stride, padding, output_padding, dilation, strict=True)
    sizes = tuple((n - 1) * s - 2 * p + d * (k - 1) + extra + 1 for n, k, s, p, extra, d in axes)
    if min(input[2:]) < 1 or min(weight[2:]) < 1 or min(sizes) < 1:
        raise RuntimeError(
            f"{function}: input {list(input)} and weight {list(weight)} give an output of size "
            f"{list(sizes)}; every size must be at least 1"
        )
    return (input[0], weight[1] * groups, *sizes)


def _refuse(function: str, error: GeometryError) -> NoReturn:
    raise RuntimeError(f"{function}: {error}") from None
