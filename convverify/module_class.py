"""A module class called like a function: each call makes a module and gives it weight and bias."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from convverify.answers import OperatorError, Unsupported
from convverify.signature import is_default

_OF_A_MODULE = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True, "padding_mode": "zeros"}


def built(
    module_class: type[torch.nn.Module], in_channels: int, out_channels: int, kernel: tuple[int, ...],
    *, device: Any, dtype: Any, **options: Any,
) -> Any:  # fmt: skip
    """A module of these channels and kernel on a device and in a dtype, which its constructor need not take.

    Raises:
        Unsupported: an option that it does not take is not at its default, or it takes square kernels only.
    """
    for name in [name for name in options if not takes(module_class, name)]:
        if not is_default(options.pop(name), _OF_A_MODULE.get(name)):
            raise Unsupported(f"its constructor takes no {name}")

    def made(size: Any) -> Any:
        if takes(module_class, "device") and takes(module_class, "dtype"):
            return module_class(in_channels, out_channels, size, device=device, dtype=dtype, **options)
        with torch.device(device):
            return module_class(in_channels, out_channels, size, **options).to(dtype)

    try:
        return made(kernel)
    except TypeError as error:
        if len(set(kernel)) > 1:
            raise Unsupported(f"its constructor takes no kernel of unequal sizes: {error}") from error
    return made(kernel[0])


def takes(module_class: type[torch.nn.Module], name: str) -> bool:
    """Whether the constructor of a module takes an argument of this name."""
    taken = inspect.signature(module_class).parameters
    return name in taken or any(p.kind is p.VAR_KEYWORD for p in taken.values())


def as_function(module_class: type[torch.nn.Module]) -> Callable[..., Any]:
    """The module class as a callable with the signature of `torch.nn.functional.conv2d`."""

    def call(
        input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, groups: int = 1,
    ) -> Any:  # fmt: skip
        sizes = weight.shape[1] * groups, weight.shape[0], tuple(weight.shape[2:])
        # its own parameters are drawn, which vmap would not have it do, and not used
        with torch.random.fork_rng(devices=[]), torch._C._DisableFuncTorch():
            module = built(
                module_class, *sizes, stride=stride, padding=padding, dilation=dilation, groups=groups,
                bias=bias is not None, device=weight.device, dtype=weight.dtype,
            )  # fmt: skip
        parameters = {_parameter(module, "weight"): weight}
        if bias is not None:
            parameters[_parameter(module, "bias")] = bias
        return torch.func.functional_call(module, parameters, (input,))

    return call


def _parameter(module: torch.nn.Module, role: str) -> str:
    """The name of a module's weight or bias, of its own or of the one module inside that has such a one.

    Raises:
        Unsupported: it has no weight, or several: there is nothing to ask it by.
        OperatorError: it was asked for a bias and has none.
    """
    names = [name for name, _ in module.named_parameters()]
    found = [name for name in names if name == role or name.endswith(f".{role}")]
    if len(found) != 1:
        refusal = Unsupported if role == "weight" else OperatorError
        raise refusal(f"of a module's parameters one must be called {role}; it has {', '.join(names) or 'none'}")
    return found[0]
