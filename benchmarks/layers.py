"""Time our operator beside torch.nn.functional.conv2d on 21 layers, and print the ratios.

    python benchmarks/layers.py [--dtype float32 float64] [--seconds 0.6] [--plot]

Each layer is measured forward and backward (both gradients) in turns, ours and torch's one after the
other, on one thread; the ratio is the median of the turns'. torch.mm's rate at the same time is printed as a
measure of the machine. `--plot` writes a table, the figures and an image to `benchmarks/results/`.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from convverify.operator import conv2d

RESULTS = Path(__file__).parent / "results"
# batch, in_channels, height and width, out_channels, kernel, stride, padding, dilation, groups
LAYERS = {
    "LeNet": [
        (64, 1, 28, 32, 3, 1, 0, 1, 1), (64, 32, 26, 64, 3, 1, 0, 1, 1),
        (256, 1, 28, 32, 3, 1, 0, 1, 1), (256, 32, 26, 64, 3, 1, 0, 1, 1),
    ],
    "small": [(2, 4, 10, 6, 5, 1, 0, 1, 1)],
    "ResNet": [
        (8, 64, 56, 64, 3, 1, 1, 1, 1), (8, 128, 28, 128, 3, 1, 1, 1, 1), (8, 256, 14, 256, 3, 1, 1, 1, 1),
        (16, 512, 7, 512, 3, 1, 1, 1, 1), (8, 128, 56, 128, 3, 2, 1, 1, 1), (4, 3, 224, 64, 7, 2, 3, 1, 1),
    ],
    "dilated": [(4, 64, 56, 64, 3, 1, 2, 2, 1), (4, 256, 28, 256, 3, 1, 4, 4, 1)],
    "1x1": [
        (8, 64, 56, 256, 1, 1, 0, 1, 1), (8, 256, 56, 64, 1, 1, 0, 1, 1), (8, 512, 7, 2048, 1, 1, 0, 1, 1),
    ],
    "depthwise": [
        (8, 32, 112, 32, 3, 1, 1, 1, 32), (8, 144, 56, 144, 3, 1, 1, 1, 144),
        (8, 512, 14, 512, 3, 1, 1, 1, 512), (8, 144, 56, 144, 3, 2, 1, 1, 144),
    ],
    "grouped": [(8, 128, 56, 128, 3, 1, 1, 1, 32)],
}  # fmt: skip
Step = Callable[[], Any]


def steps(layer: tuple[int, ...], dtype: torch.dtype) -> dict[str, Step]:
    """One forward and backward pass of each operator on the same tensors."""
    n, ci, size, co, k, stride, padding, dilation, groups = layer
    x = torch.randn(n, ci, size, size, dtype=dtype, requires_grad=True)
    w = torch.randn(co, ci // groups, k, k, dtype=dtype, requires_grad=True)
    shape = F.conv2d(x, w, None, stride, padding, dilation, groups).shape
    g = torch.randn(shape, dtype=dtype)

    def step(operator: Callable[..., torch.Tensor]) -> Step:
        return lambda: torch.autograd.grad(operator(x, w, None, stride, padding, dilation, groups), (x, w), g)

    return {"ours": step(conv2d), "torch": step(F.conv2d)}


def multiplication(dtype: torch.dtype) -> Step:
    """A square matrix product of one million elements an operand."""
    a, b = torch.randn(1024, 1024, dtype=dtype), torch.randn(1024, 1024, dtype=dtype)
    return lambda: torch.mm(a, b)


def turns(tasks: dict[str, Step], seconds: float) -> dict[str, list[float]]:
    """The times of each, measured in turns for about as long as asked, six turns at least."""
    for task in tasks.values():
        task()
    times: dict[str, list[float]] = {name: [] for name in tasks}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times["ours"]) < 6:
        tasks = dict(reversed(tasks.items()))  # whoever comes second finds the caches as the first left them
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            times[name].append(time.perf_counter() - start)
    return times


def measure(family: str, layer: tuple[int, ...], dtype: torch.dtype, seconds: float) -> dict[str, Any]:
    """One row of the table."""
    n, ci, _, co, k, *_, groups = layer
    tasks = steps(layer, dtype)
    times = turns(tasks, seconds)
    found = {name: statistics.median(values) for name, values in times.items()}
    mm = statistics.median(turns({"ours": multiplication(dtype)}, seconds / 10)["ours"])
    _, _, size, _, _, stride, padding, dilation, _ = layer
    out = (size + 2 * padding - dilation * (k - 1) - 1) // stride + 1
    products = 3 * n * co * out * out * (ci // groups) * k * k  # forward and both gradients
    return {
        "family": family,
        "layer": ",".join(map(str, layer)),
        "dtype": str(dtype).removeprefix("torch."),
        "ratio": statistics.median(a / b for a, b in zip(times["ours"], times["torch"], strict=True)),
        "ours_ms": found["ours"] * 1e3,
        "torch_ms": found["torch"] * 1e3,
        "ours_gflops": 2 * products / found["ours"] / 1e9,
        "torch_gflops": 2 * products / found["torch"] / 1e9,
        "mm_gflops": 2 * 1024**3 / mm / 1e9,
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, float]:
    """What the project's targets are about."""
    lenet = [row for row in rows if row["family"] == "LeNet"][:2]
    return {
        "geometric_mean": math.exp(statistics.fmean(math.log(row["ratio"]) for row in rows)),
        "worst": max(row["ratio"] for row in rows),
        "lenet_batch_64": sum(r["ratio"] * r["torch_ms"] for r in lenet) / max(sum(r["torch_ms"] for r in lenet), 1e-9),
    }


def markdown(rows: list[dict[str, Any]]) -> str:
    """The table."""
    lines = [
        "| layer | dtype | ours / torch | ours ms | torch ms | ours GFLOP/s | torch GFLOP/s | mm GFLOP/s |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        lines.append(
            f"| {row['family']} {row['layer']} | {row['dtype']} | {row['ratio']:.2f} "
            f"| {row['ours_ms']:.2f} | {row['torch_ms']:.2f} | {row['ours_gflops']:.0f} | {row['torch_gflops']:.0f} | "
            f"{row['mm_gflops']:.0f} |"
        )
    return "\n".join(lines)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """A bar a layer and dtype; the line is torch."""
    import matplotlib as mpl  # noqa: PLC0415  only who plots needs it

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    dtypes = sorted({row["dtype"] for row in rows})
    figure, axes = plt.subplots(figsize=(9, 7), layout="constrained")
    names = list(dict.fromkeys(f"{row['family']} {row['layer']}" for row in rows))
    for number, dtype in enumerate(dtypes):
        own = [row for row in rows if row["dtype"] == dtype]
        places = [names.index(f"{row['family']} {row['layer']}") + 0.4 * number for row in own]
        axes.barh(places, [row["ratio"] for row in own], height=0.38, label=dtype)
    axes.set_yticks([n + 0.2 * (len(dtypes) - 1) for n in range(len(names))], names, fontsize=8)
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("time of ours over torch.nn.functional.conv2d, forward and backward, one thread")
    axes.legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, print, and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--dtype", nargs="+", default=["float32", "float64"])
    parser.add_argument("--family", nargs="+", default=list(LAYERS))
    parser.add_argument("--seconds", type=float, default=0.6, help="for each layer and dtype")
    parser.add_argument("--plot", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows, totals = [], {}
    for dtype in options.dtype:
        for family in options.family:
            for layer in LAYERS[family]:
                rows.append(measure(family, layer, getattr(torch, dtype), options.seconds))
                print(markdown(rows[-1:]).splitlines()[-1], flush=True)
        totals[dtype] = summary([row for row in rows if row["dtype"] == dtype])
        print(dtype, {name: round(value, 3) for name, value in totals[dtype].items()}, flush=True)
    if options.plot:
        RESULTS.mkdir(exist_ok=True)
        kept = {"torch": torch.__version__, "summary": totals, "rows": rows}
        (RESULTS / "layers.json").write_text(json.dumps(kept, indent=1) + "\n")
        (RESULTS / "layers.md").write_text(markdown(rows) + "\n")
        plot(rows, RESULTS / "layers.png")


if __name__ == "__main__":
    main()
