"""The state of the process that a convolution has no business to change."""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.nn import functional

State = dict[str, Any]


def process_state() -> State:
    """What is compared before and after a call."""
    return {
        "torch's random state": hash(torch.get_rng_state().numpy().tobytes()),
        "Python's random state": hash(random.getstate()),
        "NumPy's random state": _numpy_state(),
        "the default dtype": torch.get_default_dtype(),
        "the number of threads": torch.get_num_threads(),
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "anomaly mode": torch.is_anomaly_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        "matmul precision": torch.get_float32_matmul_precision(),
        # as text: where subnormals count as zero, they also compare equal to it
        "subnormal numbers": str(float(torch.tensor([1e-310], dtype=torch.float64) * 1)),
        "the warning filters": tuple(map(str, warnings.filters)),
        "the default device": str(torch.get_default_device()),
        "cuDNN's flags": (torch.backends.cudnn.enabled, torch.backends.cudnn.allow_tf32),
        "oneDNN's flag": torch.backends.mkldnn.enabled,
        "torch's functions": (functional.conv2d, torch.conv2d, torch.autograd.grad, torch.equal, torch.allclose),
    }


def _numpy_state() -> int:
    name, keys, *rest = np.random.get_state(legacy=True)
    return hash((name, np.asarray(keys).tobytes(), *rest))


def advance_random_states() -> None:
    """Move all generators on, lest an operator that seeds them alike in each call should look innocent."""
    torch.rand(())
    random.random()
    np.random.random()


@contextlib.contextmanager
def kept() -> Iterator[State]:
    """The state of the process, random generators included, put back at the end."""
    state = process_state()
    generators = torch.get_rng_state(), random.getstate(), np.random.get_state()
    try:
        yield state
    finally:
        restore(state)
        torch.set_rng_state(generators[0])
        random.setstate(generators[1])
        np.random.set_state(generators[2])


def restore(state: State) -> None:
    """Put back what an operator may have changed, so that it harms no later check."""
    now = process_state()
    for name, put in _SETTERS.items():
        if now[name] != state[name]:
            put(state[name])


def _put_functions(functions: tuple[Any, ...]) -> None:
    functional.conv2d, torch.conv2d, torch.autograd.grad, torch.equal, torch.allclose = functions


# not through torch.backends, whose flags refuse to be set once torch's own tests have been imported
_SETTERS: dict[str, Callable[[Any], object]] = {
    "the default dtype": torch.set_default_dtype,
    "the number of threads": torch.set_num_threads,
    "grad mode": torch.set_grad_enabled,
    "deterministic algorithms": lambda on: torch._C._set_deterministic_algorithms(on, warn_only=False),
    "anomaly mode": torch.set_anomaly_enabled,
    "matmul precision": torch.set_float32_matmul_precision,
    "subnormal numbers": lambda value: torch.set_flush_denormal(value == "0.0"),
    "the default device": torch.set_default_device,
    "oneDNN's flag": torch._C._set_mkldnn_enabled,
    "torch's functions": _put_functions,
}
