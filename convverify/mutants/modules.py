"""Modules beside nn.Conv2d that are wrong on purpose."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from convverify.mutants.base import Mutant


class DilationLost(nn.Conv2d):
    """The constructor forgets the dilation."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, *rest: Any, **named: Any,
    ) -> None:  # fmt: skip
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, 1, *rest, **named)


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


def _mutant(kind: type[nn.Module]) -> Mutant:
    fault = (kind.__doc__ or "").splitlines()[0].rstrip(".")
    return Mutant(kind.__name__, fault, "module_equals_nn_conv2d", lambda: kind)


dilation_lost, weight_renamed, bias_halved = map(_mutant, (DilationLost, WeightRenamed, BiasHalved))
