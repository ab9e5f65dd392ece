"""`conv2d` with the signature and the semantics of `torch.nn.functional.conv2d`."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from convverify.geometry import ConvGeometry, GeometryError
from convverify.operator.function import Forward

IntOrPair = int | tuple[int, int]


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntOrPair = 1,
    padding: IntOrPair | Literal["same", "valid"] = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> Tensor:
    """Convolve `input` with `weight`, as `torch.nn.functional.conv2d` does.

    Args:
        input: `[batch, in_channels, height, width]`, or the same without the batch.
        weight: `[out_channels, in_channels / groups, kernel_height, kernel_width]`.
        bias: `[out_channels]`.

    Raises:
        RuntimeError: what torch refuses: sizes that do not fit, other dtypes or devices.
    """
    if input.dim() == 3:
        return conv2d(input[None], weight, bias, stride, padding, dilation, groups)[0]
    geometry = _geometry(input, weight, bias, stride, padding, dilation, groups)
    output = Forward.apply(input, weight, geometry)
    return output if bias is None else output + bias[:, None, None]


def _geometry(input: Tensor, weight: Tensor, bias: Tensor | None, stride: IntOrPair,
              padding: IntOrPair | str, dilation: IntOrPair, groups: int) -> ConvGeometry:  # fmt: skip
    if input.dim() != 4 or weight.dim() != 4:
        raise RuntimeError(
            f"conv2d: expected a 3D or 4D input and a 4D weight, got {list(input.shape)} "
            f"and {list(weight.shape)}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise RuntimeError(f"conv2d: bias {list(bias.shape)} must be [{weight.shape[0]}]")
    for name, other in (("weight", weight), ("bias", bias)):
        if other is not None and (other.dtype, other.device) != (input.dtype, input.device):
            raise RuntimeError(
                f"conv2d: {name} is {other.dtype} on {other.device}, "
                f"but input is {input.dtype} on {input.device}"
            )
    try:
        geometry = ConvGeometry(
            input.shape[0], input.shape[1], weight.shape[0], tuple(input.shape[2:]),
            tuple(weight.shape[2:]), _pair(stride), padding if isinstance(padding, str) else _pair(padding),
            _pair(dilation), groups,
        )  # fmt: skip
    except GeometryError as error:
        raise RuntimeError(f"conv2d: {error}") from None
    if weight.shape[1] * groups != input.shape[1]:
        raise RuntimeError(
            f"conv2d: weight {list(weight.shape)} with groups={groups} takes "
            f"{weight.shape[1] * groups} in_channels, but input {list(input.shape)} has {input.shape[1]}"
        )
    return geometry


def _pair(value: IntOrPair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)
