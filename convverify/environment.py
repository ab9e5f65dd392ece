"""What a run depends on beside the operator."""

from __future__ import annotations

import platform

import hypothesis
import numpy as np
import torch


def describe() -> dict[str, str]:
    """Versions and machine, for the report."""
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "hypothesis": hypothesis.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "torch threads": str(torch.get_num_threads()),
        "cuda device": cuda,
        "TF32 in matmul": str(torch.backends.cuda.matmul.allow_tf32),
        "TF32 in cuDNN": str(torch.backends.cudnn.allow_tf32),
    }
