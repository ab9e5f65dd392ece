"""Modules beside nn.Conv2d that are wrong on purpose."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from convverify.mutants.base import Mutant


class DilationLost(nn.Conv2d):
    """The constructor forgets the dilation."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, *rest: Any, **named: Any,
    ) -> None:  # fmt: skip
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, 1, *rest, **named)


class OptionsInAnotherOrder(nn.Conv2d):
    """The constructor has groups before dilation, which exchanges them where they are given by position."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        groups: int = 1, dilation: Any = 1, bias: bool = True, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, device=device, dtype=dtype
        )


class DtypeIgnored(nn.Conv2d):
    """Parameters are made in the default dtype, whichever is asked for."""

    def __init__(self, *sizes: Any, dtype: Any = None, **options: Any) -> None:
        super().__init__(*sizes, **options)


class LayersShareTheirWeight(nn.Conv2d):
    """Layers of one shape begin with the same memory as their weight."""

    made: ClassVar[dict[Any, Tensor]] = {}

    def __init__(self, *sizes: Any, **options: Any) -> None:
        super().__init__(*sizes, **options)
        key = self.weight.shape, self.weight.dtype, self.weight.device
        self.weight = nn.Parameter(self.made.setdefault(key, self.weight.detach()))


class WeightIsNoParameter(nn.Module):
    """weight and bias are tensors that require gradients, but no Parameters: no optimizer finds them."""

    def __init__(self, *sizes: Any, **options: Any) -> None:
        super().__init__()
        layer = nn.Conv2d(*sizes, **options)
        self.weight = layer.weight.detach().clone().requires_grad_()
        self.bias = None if layer.bias is None else layer.bias.detach().clone().requires_grad_()
        self.options = layer.stride, layer.padding, layer.dilation, layer.groups

    def forward(self, input: Tensor) -> Tensor:
        return torch.conv2d(input, self.weight, self.bias, *self.options)  # type: ignore[arg-type]


class GraphOfTheWeightKept(nn.Conv2d):
    """What it computes from the weight is kept, its graph included, until the weight changes."""

    kept: tuple[Any, Tensor] | None = None

    def forward(self, input: Tensor) -> Tensor:
        key = id(self.weight), self.weight._version, self.weight.dtype, torch.is_grad_enabled()
        if self.kept is None or self.kept[0] != key:
            self.kept = key, self.weight * torch.ones_like(self.weight)
        output: Tensor = self._conv_forward(input, self.kept[1], self.bias)
        return output


class FirstWeightKept(nn.Conv2d):
    """The Parameter that was its weight at the first call is used ever after."""

    first: Tensor | None = None

    def forward(self, input: Tensor) -> Tensor:
        if self.__dict__.get("first") is None:
            self.__dict__["first"] = self.weight
        output: Tensor = self._conv_forward(input, self.__dict__["first"], self.bias)
        return output


class WeightRenamed(nn.Conv2d):
    """The weight has another name in the state dict, so that checkpoints do not load."""

    def _save_to_state_dict(self, destination: dict[str, Tensor], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}kernel"] = destination.pop(f"{prefix}weight")


class BiasHalved(nn.Conv2d):
    """The bias is added at half its value."""

    def forward(self, input: Tensor) -> Tensor:
        output = super().forward(input)
        return output if self.bias is None else output - self.bias[:, None, None] / 2


class PaddingModeIgnored(nn.Conv2d):
    """Whatever the padding_mode, the padding is zeros."""

    def forward(self, input: Tensor) -> Tensor:
        return torch.conv2d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class PaddingAxesExchanged(nn.Conv2d):
    """What is not padded with zeros is padded by the width's padding in height, and the reverse."""

    def forward(self, input: Tensor) -> Tensor:
        if self.padding_mode == "zeros":
            return super().forward(input)
        pads = self._reversed_padding_repeated_twice
        padded = functional.pad(input, pads[2:] + pads[:2], self.padding_mode)
        return torch.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class OddPixelBefore(nn.Conv2d):
    """What is padded by name, and not with zeros, has its odd pixel before the image, not behind it."""

    def forward(self, input: Tensor) -> Tensor:
        if self.padding_mode == "zeros" or self.padding != "same":
            return super().forward(input)
        left, right, top, bottom = self._reversed_padding_repeated_twice
        padded = functional.pad(input, (right, left, bottom, top), self.padding_mode)
        return torch.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class PaddingWithoutGradient(nn.Conv2d):
    """What is not padded with zeros is padded with detached pixels, whose gradient is lost."""

    def forward(self, input: Tensor) -> Tensor:
        if self.padding_mode == "zeros":
            return super().forward(input)
        inside = functional.pad(input, self._reversed_padding_repeated_twice)
        padded = functional.pad(input, self._reversed_padding_repeated_twice, self.padding_mode)
        border = (padded - inside).detach()
        return torch.conv2d(inside + border, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class CopyWithoutPaddingMode(nn.Conv2d):
    """What is copied or pickled comes back with padding_mode='zeros'."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({**state, "padding_mode": "zeros"})  # type: ignore[no-untyped-call]


class CopySharesParameters(nn.Conv2d):
    """A deep copy has the parameters of the original, and changes them when it learns."""

    def __deepcopy__(self, memo: dict[int, Any]) -> CopySharesParameters:
        return copy.copy(self)


class EvaluationDiffers(nn.Conv2d):
    """In evaluation the output is scaled by 1 + 2**-12."""

    def forward(self, input: Tensor) -> Tensor:
        output = super().forward(input)
        return output if self.training else output * (1 + 2**-12)


class HooksPassedBy(nn.Conv2d):
    """A call goes straight to forward: no hook is called."""

    def __call__(self, input: Tensor) -> Tensor:
        return self.forward(input)


class QuietWeightKept(nn.Conv2d):
    """Where nothing is recorded, the weight is a copy made at the first such call."""

    kept: Tensor | None = None

    def forward(self, input: Tensor) -> Tensor:
        if self.kept is None and not torch.is_grad_enabled():
            self.kept = self.weight.detach().clone()
        weight = self.weight if torch.is_grad_enabled() or self.kept is None else self.kept
        output: Tensor = self._conv_forward(input, weight, self.bias)
        return output


class PlanOfTheFirstImage(nn.Conv2d):
    """The size of the output is that of the first call, to which every later output is cropped."""

    plan: torch.Size | None = None

    def forward(self, input: Tensor) -> Tensor:
        output = super().forward(input)
        self.plan = self.plan or output.shape[-2:]
        return output[..., : self.plan[0], : self.plan[1]]


class LastInputKept(nn.Conv2d):
    """Inputs are copied to memory that the module keeps, where a backward pass finds what the last call left."""

    kept: Tensor | None = None

    def forward(self, input: Tensor) -> Tensor:
        if self.kept is None or (self.kept.shape, self.kept.dtype) != (input.shape, input.dtype):
            self.kept = torch.empty_like(input.detach())
        self.kept.data.copy_(input.detach())
        nothing = self._conv_forward(input - input.detach(), self.weight.detach(), None)
        output: Tensor = self._conv_forward(self.kept.detach(), self.weight, self.bias) + nothing
        return output


def _mutant(kind: type[nn.Module], caught_by: str = "module_equals_nn_conv2d") -> Mutant:
    fault = (kind.__doc__ or "").splitlines()[0].rstrip(".")
    return Mutant(kind.__name__, fault, caught_by, lambda: kind)


dilation_lost, weight_renamed, bias_halved = map(_mutant, (DilationLost, WeightRenamed, BiasHalved))
padding_mode_ignored, padding_axes_exchanged, padding_without_gradient, copy_without_padding_mode, odd_pixel_before = (
    _mutant(kind, "padding_modes_equal_nn_conv2d")
    for kind in (
        PaddingModeIgnored, PaddingAxesExchanged, PaddingWithoutGradient, CopyWithoutPaddingMode, OddPixelBefore,
    )
)  # fmt: skip
copy_shares_parameters = _mutant(CopySharesParameters, "module_inputs_may_change")
evaluation_differs = _mutant(EvaluationDiffers, "module_modes_equal_nn_conv2d")
graph_of_the_weight_kept, first_weight_kept = (
    _mutant(kind, "module_modes_equal_nn_conv2d") for kind in (GraphOfTheWeightKept, FirstWeightKept)
)
weight_is_no_parameter = _mutant(WeightIsNoParameter)
options_in_another_order, dtype_ignored, layers_share_their_weight = (
    _mutant(kind, "modules_are_made_as_nn_conv2d")
    for kind in (OptionsInAnotherOrder, DtypeIgnored, LayersShareTheirWeight)
)
hooks_passed_by = _mutant(HooksPassedBy, "module_modes_equal_nn_conv2d")
quiet_weight_kept = _mutant(QuietWeightKept, "module_modes_equal_nn_conv2d")
plan_of_the_first_image, last_input_kept = (
    _mutant(kind, "module_inputs_may_change") for kind in (PlanOfTheFirstImage, LastInputKept)
)
