"""Peak memory of ours beside torch.nn.functional.conv2d on every convolution of ResNet-50, batch 8.

    python benchmarks/memory.py [--budget BYTES] [--write]

Each measurement is a process of its own, forked after the imports: how far the resident set rises above
where it stood before, over the making of the operands and one forward and backward pass in float32. Linux only.
"""

from __future__ import annotations

import argparse
import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch.nn import functional as F

from convverify.operator import conv2d, memory_budget

RESULTS = Path(__file__).parent / "results"
# in_channels, height and width, out_channels, kernel, stride, padding
RESNET50 = [
    (3, 224, 64, 7, 2, 3), (64, 56, 64, 1, 1, 0), (64, 56, 64, 3, 1, 1), (64, 56, 256, 1, 1, 0),
    (256, 56, 64, 1, 1, 0), (256, 56, 128, 1, 1, 0), (128, 56, 128, 3, 2, 1), (128, 28, 512, 1, 1, 0),
    (256, 56, 512, 1, 2, 0), (512, 28, 128, 1, 1, 0), (128, 28, 128, 3, 1, 1), (512, 28, 256, 1, 1, 0),
    (256, 28, 256, 3, 2, 1), (256, 14, 1024, 1, 1, 0), (512, 28, 1024, 1, 2, 0), (1024, 14, 256, 1, 1, 0),
    (256, 14, 256, 3, 1, 1), (1024, 14, 512, 1, 1, 0), (512, 14, 512, 3, 2, 1), (512, 7, 2048, 1, 1, 0),
    (1024, 14, 2048, 1, 2, 0), (2048, 7, 512, 1, 1, 0), (512, 7, 512, 3, 1, 1),
]  # fmt: skip
OPERATORS = {"ours": conv2d, "torch": F.conv2d}


def resident(field: str) -> int:
    """VmRSS, or VmHWM, the highest that it was; in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {field} in /proc/self/status")


def child(sender: Connection, name: str, layer: tuple[int, ...], budget: int | None) -> None:
    """Send how far one forward and backward pass made the resident set rise."""
    torch.set_num_threads(1)
    for kernel in (1, 3):  # libraries are mapped as they are first used
        step(name, (64, 16, 64, kernel, 1, kernel // 2), 1)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    with memory_budget(1 << 60 if budget is None else budget):
        step(name, layer, 8)
    sender.send(resident("VmHWM") - before)


def step(name: str, layer: tuple[int, ...], batch: int) -> None:
    """One forward and backward pass, operands and all."""
    ci, size, co, k, stride, padding = layer
    x = torch.ones(batch, ci, size, size, requires_grad=True)
    w = torch.ones(co, ci, k, k, requires_grad=True)
    output = OPERATORS[name](x, w, None, stride, padding)
    torch.autograd.grad(output, (x, w), torch.ones_like(output))


def peak(name: str, layer: tuple[int, ...], budget: int | None = None) -> int:
    """The rise in bytes, measured in a fresh process."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=child, args=(sender, name, layer, budget))
    process.start()
    found: int = receiver.recv()
    process.join()
    return found


def main() -> None:
    """Print the table, and write it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--budget", type=int, help="measure ours also within this many bytes of scratch")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/memory.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = ["| in, size, out, k, stride, pad | ours MiB | torch MiB | ours / torch | in the budget |",
             "| --- | --- | --- | --- | --- |"]  # fmt: skip
    worst = 0.0
    for layer in RESNET50:
        own, reference = peak("ours", layer), peak("torch", layer)
        small = f"{peak('ours', layer, options.budget) / 2**20:.1f}" if options.budget else ""
        worst = max(worst, own / reference)
        lines.append(
            f"| {','.join(map(str, layer))} | {own / 2**20:.1f} | {reference / 2**20:.1f} "
            f"| {own / reference:.2f} | {small} |"
        )
        print(lines[-1], flush=True)
    lines += ["", f"Worst ratio {worst:.2f}; budget {options.budget} bytes."]
    print(lines[-1])
    if options.write:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "memory.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
