"""Operators that answer rightly and leave the process changed."""

from __future__ import annotations

import random
import warnings
from typing import Any

import torch
from torch import Tensor

from convverify.mutants.base import Operator, mutant, stateful_mutant
from convverify.mutants.toolkit import Call, concrete, conv, grad_input, operator, with_parts


@mutant("process_state_is_untouched")
@operator
def consumes_random_numbers(c: Call) -> Tensor:
    """A random number is drawn from torch's generator."""
    if concrete(c.input, c.weight, c.bias):
        torch.rand(())
    return c.torch()


@mutant("process_state_is_untouched")
@operator
def seeds_the_generator(c: Call) -> Tensor:
    """torch's generator is seeded, for reproducibility."""
    if concrete(c.input, c.weight, c.bias):
        torch.manual_seed(0)
    return c.torch()


@mutant("process_state_is_untouched")
@operator
def consumes_python_random_numbers(c: Call) -> Tensor:
    """A random number is drawn from Python's generator."""
    random.random()
    return c.torch()


@stateful_mutant("process_state_is_untouched")
def backward_consumes_random_numbers() -> Operator:
    """The backward pass draws a random number from torch's generator."""

    def drawing(g: Tensor, *rest: Any) -> Tensor:
        if concrete(g):
            torch.rand(())
        return grad_input(g, *rest)

    return with_parts(grad_input=drawing)


@mutant("process_state_is_untouched")
@operator
def sets_default_dtype(c: Call) -> Tensor:
    """The default dtype becomes that of the input."""
    if c.input.dtype in (torch.float64, torch.float32):
        torch.set_default_dtype(c.input.dtype)
    return c.torch()


@mutant("process_state_is_untouched")
@operator
def sets_threads(c: Call) -> Tensor:
    """The number of threads is changed by calls with more than a hundred pixels and stays so."""
    if c.input.numel() > 100:
        torch.set_num_threads(2 if torch.get_num_threads() == 1 else 1)
    return c.torch()


@mutant("exact_gradgradcheck")
@operator
def leaves_gradients_off(c: Call) -> Tensor:
    """Gradients stay switched off after a call whose operands require none."""
    out = c.torch()
    if not out.requires_grad and not torch.is_inference_mode_enabled():
        torch.set_grad_enabled(False)
    return out


@mutant("process_state_is_untouched")
@operator
def sets_deterministic(c: Call) -> Tensor:
    """Deterministic algorithms are switched on and stay so."""
    torch.use_deterministic_algorithms(True)
    return c.torch()


@mutant("process_state_is_untouched")
@operator
def flushes_denormals(c: Call) -> Tensor:
    """The processor is told to flush subnormal numbers and stays so."""
    out = c.torch()
    torch.set_flush_denormal(True)
    return out


@mutant("process_state_is_untouched")
@operator
def flushes_denormals_for_large_inputs(c: Call) -> Tensor:
    """From an input of more than 4096 elements on, subnormal numbers are flushed."""
    out = c.torch()
    if c.input.numel() > 4096:
        torch.set_flush_denormal(True)
    return out


@mutant("non_finite_values_arrive")
@operator
def leaves_anomaly_detection_on(c: Call) -> Tensor:
    """Anomaly detection is switched on and stays so."""
    torch.autograd.set_detect_anomaly(True)
    return c.torch()


@mutant("process_state_is_untouched")
@operator
def silences_warnings(c: Call) -> Tensor:
    """A filter that ignores all warnings is left behind."""
    warnings.filterwarnings("ignore", message="convolution")
    return c.torch()


@mutant("process_state_is_untouched")
@operator
def ignores_all_warnings(c: Call) -> Tensor:
    """All warnings are ignored from the first call on."""
    warnings.simplefilter("ignore")
    return c.torch()


@mutant("process_state_is_untouched")
def leaves_gradients_off_when_refusing(input: Tensor, weight: Tensor, bias: Tensor | None = None,
                                       *options: Any, **named: Any) -> Tensor:  # fmt: skip
    """Gradients stay switched off after a call that was refused."""
    enabled = torch.is_grad_enabled()
    torch.set_grad_enabled(False)
    conv(input[:1] if input.dim() == 4 else input, weight, bias, *options, **named)
    torch.set_grad_enabled(enabled)
    return conv(input, weight, bias, *options, **named)


@mutant("process_state_is_untouched")
def leaves_default_dtype_when_refusing(input: Tensor, weight: Tensor, bias: Tensor | None = None,
                                       *options: Any, **named: Any) -> Tensor:  # fmt: skip
    """The default dtype stays float64 after a call that was refused."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    out = conv(input, weight, bias, *options, **named)
    torch.set_default_dtype(default)
    return out
