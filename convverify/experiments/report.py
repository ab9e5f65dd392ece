"""The experiment's report, made from its record alone: JSON, Markdown, and a figure where matplotlib is."""

from __future__ import annotations

import os
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from convverify.experiments.record import (
    ACCURACY_POINTS,
    DOUBT,
    JUDGED_STEPS,
    MARGIN,
    Record,
    Trace,
    Verdict,
)

PAGE, NUMBERS, FIGURE = "report.md", "report.json", "curves.svg"

# What each variant is, in the report's words.
LAYERS = {
    "torch": "`nn.Conv2d` in both layers",
    "convverify": "ours in both layers",
    "first": "ours in the first layer only, as the article did",
    "article": "the article's unfold and einsum in both layers",
    "article-first": "the article's unfold and einsum in the first layer only",
}
VERDICTS = {
    Verdict.AGREE: "Every variant agrees with `nn.Conv2d`, in all that this run could judge.",
    Verdict.DISAGREE: "At least one variant does not do what `nn.Conv2d` does.",
    Verdict.INCONCLUSIVE: "No variant is shown to differ from `nn.Conv2d`, and at equal weights all agree with it; but "
    "not everything lies within what was asked for, and torch's own twins show that rounding alone may be why.",
    Verdict.INTERRUPTED: "The run was interrupted; what it had measured shows no disagreement.",
}
# The article's own table: 5 epochs on a GPU.
ARTICLE = (("`nn.Conv2d`", 99.2, 33.72), ("its own layer", 99.1, 76.49))


class Row(NamedTuple):
    """One line of the report's tables."""

    name: str
    layers: str
    accuracy: float | None
    gap: tuple[float, float] | None
    gaps: list[float]
    seconds: float
    ratio: float | None
    step_ratio: float | None
    loss_difference: float
    early_loss_difference: float
    weight_difference: float
    early_weight_difference: float
    share: float | None
    local_loss: float | None
    local_gradient: float | None
    local_shares: tuple[float, float]


def write(record: Record, folder: Path) -> list[Path]:
    """Write the report; returns its files.

    Raises:
        OSError: the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = [_put(folder / NUMBERS, record.to_json())]  # first: all else can be made from it
    figure = draw(record)
    written.append(_put(folder / PAGE, render(record, figure is not None)))
    if figure is not None:
        written.append(_put(folder / FIGURE, figure))
    return written


def _put(file: Path, text: str) -> Path:
    """Write a whole file at once: a reader never sees half a report."""
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, file)
    return file


def render(record: Record, figure: bool) -> str:
    """The Markdown page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("convverify.experiments"), trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters |= {"figures": figures, "times": times, "points": "{:+.2f}".format}
    return environment.get_template("lenet.md.jinja").render(
        record=record, settings=record.settings, verdict=VERDICTS[record.verdict],
        disagreements=record.disagreements() + record.drifts(), rows=rows(record), article=ARTICLE,
        figure=FIGURE if figure else "", twin=_row("twin", "", record, record.twins[0]),
        twin_shares=record.twin_shares(), local_bounds=record.local_bounds(),
        control=_row("control", "", record, record.control),
        control_step=record.first_outside(record.control.losses),
        limits={"steps": JUDGED_STEPS, "margin": MARGIN, "points": ACCURACY_POINTS, "doubt": DOUBT},
    )  # fmt: skip


def rows(record: Record) -> list[Row]:
    """One line for each variant."""
    return [_row(name, LAYERS.get(name, name), record, trace) for name, trace in record.traces.items()]


def _row(name: str, layers: str, record: Record, trace: Trace) -> Row:
    differences = record.differences(trace.losses)
    is_yardstick = name == "torch"
    return Row(
        name, layers, trace.accuracies[-1] if trace.accuracies else None,
        record.accuracy_gap(name) if name in record.rivals else None,
        record.accuracy_gaps(name) if name in record.rivals else [], sum(trace.seconds),
        record.time_ratio(trace), record.step_ratio(trace),
        max(differences, default=0.0), max(differences[: record.judged], default=0.0),
        max(trace.weight_differences, default=0.0),
        max(trace.weight_differences[: record.judged], default=0.0),
        None if is_yardstick else record.share(trace.losses),
        max(trace.local_losses, default=None), max(trace.local_gradients, default=None),
        record.local_shares(trace),
    )  # fmt: skip


def figures(value: float | None) -> str:
    """A measured difference in three digits; a dash for what was not measured."""
    return "–" if value is None else "0" if value == 0 else f"{value:.2e}"


def times(value: float | None) -> str:
    """A ratio in two decimals."""
    return "–" if value is None else f"{value:.2f}"


def draw(record: Record) -> str | None:
    """The curves as SVG; nothing without matplotlib."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - optional, the extra `plot`
        from matplotlib.figure import Figure  # noqa: PLC0415 - likewise
    except ImportError:
        return None
    from io import StringIO  # noqa: PLC0415 - only here

    # Text stays text, and the same numbers give the same file.
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "convverify", "path.simplify_threshold": 0.5}
    with mpl.rc_context(style):
        figure = Figure(figsize=(12, 7.2), layout="constrained")
        panels = figure.subplots(2, 2).flatten()
        _draw_losses(panels[0], record)
        _draw_early_differences(panels[1], record)
        _draw_weights(panels[2], record)
        _draw_times(panels[3], record)
        text = StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _draw_losses(axes: Any, record: Record) -> None:
    """Means of 20 steps: all variants lie on one another, and so does the noise."""
    for name, trace in record.traces.items():
        sums = [0.0, *accumulate(trace.losses)]
        width = min(20, record.steps)
        means = [(sums[end] - sums[end - width]) / width for end in range(width, record.steps + 1)]
        axes.plot(range(width, record.steps + 1), means, label=name, color=_colour(record, name), linewidth=1)
    axes.set(title="loss, mean of 20 steps", xlabel="step", yscale="log")
    axes.legend()


def _draw_early_differences(axes: Any, record: Record) -> None:
    steps = range(1, record.judged + 1)
    for twin in record.twins:
        axes.plot(steps, _seen(record.differences(twin.losses)[: record.judged]), color="0.8", linewidth=0.7)
    for name, trace in record.rivals.items():
        axes.plot(
            steps,
            _seen(record.differences(trace.losses)[: record.judged]),
            label=name,
            color=_colour(record, name),
            linewidth=1,
        )
    axes.plot(steps, _seen(record.differences(record.control.losses)[: record.judged]), "k:", label="TF32 (wrong)")
    axes.plot(steps, record.bound(), "k", label="bound", linewidth=1.5)
    axes.set(title="difference of the loss to torch's (grey: torch's twins)", xlabel="step", yscale="log")
    axes.legend()


def _draw_weights(axes: Any, record: Record) -> None:
    steps = range(1, record.steps + 1)
    axes.plot(steps, _seen(record.twins[0].weight_differences), label="torch's twin", color="0.7")
    for name, trace in record.rivals.items():
        axes.plot(steps, _seen(trace.weight_differences), label=name, color=_colour(record, name), linewidth=1)
    axes.set(title="largest difference of a weight to torch's", xlabel="step", yscale="log")
    axes.legend()


def _draw_times(axes: Any, record: Record) -> None:
    for name, trace in record.traces.items():
        seconds = list(accumulate(trace.seconds))
        axes.plot(range(1, record.steps + 1), seconds, label=name, color=_colour(record, name), linewidth=1)
    axes.set(title="seconds of training", xlabel="step")
    axes.legend()


def _colour(record: Record, name: str) -> str:
    """The same colour for a variant in every panel."""
    return f"C{list(record.traces).index(name)}"


def _seen(values: list[float]) -> list[float]:
    """A logarithm has no place for zero: a gap in the line instead."""
    return [value if value > 0 else float("nan") for value in values]
