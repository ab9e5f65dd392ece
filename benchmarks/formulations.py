"""Time every formulation of each map beside torch's: the measurements behind `kernels/choice.py`.

    python benchmarks/formulations.py [--dtype float32] [--turns 9] [--write]

Ratios of medians to torch's own map, measured in turns on one thread. The one that is chosen is in bold.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from layers import LAYERS
from torch.nn import functional as F

from convverify.geometry import ConvGeometry
from convverify.operator.kernels import choice, closed_forms
from convverify.operator.memory import PIECE

RESULTS = Path(__file__).parent / "results"
MODULES = tuple(module for module in choice.FORMULATIONS if module is not closed_forms)  # too slow, and never chosen
MAPS = ("forward", "grad_input", "grad_weight")


def geometry_of(layer: tuple[int, ...]) -> ConvGeometry:
    """The layer as a geometry."""
    n, ci, size, co, k, stride, padding, dilation, groups = layer
    return ConvGeometry(n, ci, co, (size,) * 2, (k,) * 2, (stride,) * 2, (padding,) * 2, (dilation,) * 2, groups)


def candidates(name: str, geometry: ConvGeometry) -> Iterator[tuple[str, Any]]:
    """The formulations that take this geometry."""
    for module in MODULES:
        if choice.takes(module, name, geometry):
            yield module.__name__.rpartition(".")[2], getattr(module, name)


def torchs(name: str, g: ConvGeometry, operands: tuple[torch.Tensor, ...]) -> Callable[[], Any]:
    """Torch's own map."""
    x, k, cotangent = operands
    rest = (g.stride, g.padding, g.dilation)
    if name == "forward":
        return lambda: F.conv2d(x, k, None, *rest, g.groups)
    mask = (name == "grad_input", name == "grad_weight", False)
    return lambda: torch.ops.aten.convolution_backward(cotangent, x, k, None, *rest, False, (0, 0), g.groups, mask)


def row(name: str, geometry: ConvGeometry, dtype: torch.dtype, turns: int) -> str:
    """The ratios of one map on one layer."""
    x, k, g = (
        torch.randn(s, dtype=dtype) for s in (geometry.input_shape, geometry.weight_shape, geometry.output_shape)
    )
    own = {"forward": (x, k), "grad_input": (g, k), "grad_weight": (x, g)}[name]
    chosen = getattr(choice, name)(geometry, x.dtype, "cpu", None)
    tasks = {"torch": torchs(name, geometry, (x, k, g))}
    marks = {}
    for title, kernel in candidates(name, geometry):
        marks[title] = "**" if kernel is chosen else ""
        tasks[title] = lambda kernel=kernel: kernel(geometry, *own, torch.contiguous_format, PIECE)
    times: dict[str, list[float]] = {title: [] for title in tasks}
    for turn in range(turns + 1):
        for title, task in tasks.items():
            start = time.perf_counter()
            task()
            if turn:
                times[title].append(time.perf_counter() - start)
    medians = {title: statistics.median(values) for title, values in times.items()}
    ratios = ", ".join(f"{m}{t} {medians[t] / medians['torch']:.2f}{m}" for t, m in marks.items())
    return f"| {geometry} | {name} | {medians['torch'] * 1e3:.2f} | {ratios} |"


def main() -> None:
    """Print the table, and write it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--dtype", nargs="+", default=["float32", "float64"])
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/formulations.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    for dtype in options.dtype:
        lines += ["", f"{dtype}", "", "| layer | map | torch ms | ratios to torch |", "| --- | --- | --- | --- |"]
        for layer in (layer for family in LAYERS.values() for layer in family):
            for name in MAPS:
                lines.append(row(name, geometry_of(layer), getattr(torch, dtype), options.turns))
                print(lines[-1], flush=True)
    if options.write:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "formulations.md").write_text("\n".join(lines[1:]) + "\n")


if __name__ == "__main__":
    main()
