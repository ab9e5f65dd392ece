"""The state of the process that a convolution has no business to change."""

from __future__ import annotations

import random
import warnings
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
        "NumPy's random state": hash(str(np.random.get_state())),
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
        "torch's conv2d": (functional.conv2d, torch.conv2d, torch.autograd.grad, torch.equal, torch.allclose),
    }


def advance_random_states() -> None:
    """Move all generators on, lest an operator that seeds them alike in each call should look innocent."""
    torch.rand(())
    random.random()
    np.random.random()


def restore(state: State) -> None:
    """Put back what an operator may have changed, so that it harms no later check."""
    torch.set_default_dtype(state["the default dtype"])
    if torch.get_num_threads() != state["the number of threads"]:
        torch.set_num_threads(state["the number of threads"])
    torch.set_grad_enabled(state["grad mode"])
    torch.use_deterministic_algorithms(state["deterministic algorithms"])
    torch.set_anomaly_enabled(state["anomaly mode"])
    torch.set_float32_matmul_precision(state["matmul precision"])
    torch.set_flush_denormal(state["subnormal numbers"] == "0.0")
    functional.conv2d, torch.conv2d, torch.autograd.grad, torch.equal, torch.allclose = state["torch's conv2d"]
    torch.backends.mkldnn.enabled = state["oneDNN's flag"]
