"""What the benchmark of verifiers shows: its table, its lists and its image."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]
YARDSTICK = "gradcheck slow"


def summary(rows: Sequence[Row]) -> dict[str, Row]:
    """Counts and times of each verifier, in the order in which they come."""
    found = {}
    for verifier in dict.fromkeys(row["verifier"] for row in rows):
        own = [row for row in rows if row["verifier"] == verifier]
        mutants, controls = ([row for row in own if row["kind"] == kind] for kind in ("mutant", "control"))
        kills, alarms = _count(mutants, "rejected"), _count(controls, "rejected")
        found[verifier] = {
            "mutants": len(mutants), "kills": kills, "kill_rate": kills / len(mutants) if mutants else None,
            "controls": len(controls), "alarms": alarms,
            "unsupported": _count(own, "unsupported"), "lost": _count(own, "lost"),
            "median_seconds": statistics.median(row["seconds"] for row in own),
            "median_seconds_on_controls": statistics.median([row["seconds"] for row in controls] or [0.0]),
            "median_cpu_seconds": statistics.median(row["cpu_seconds"] for row in own),
            "total_seconds": sum(row["seconds"] for row in own),
        }  # fmt: skip
    if YARDSTICK in found:
        unit = found[YARDSTICK]["median_cpu_seconds"]
        for entry in found.values():
            entry["ratio"] = entry["median_cpu_seconds"] / unit if unit else None
    return found


def markdown(kept: dict[str, Any]) -> str:
    """The report."""
    rows: list[Row] = kept["rows"]
    parts = [_introduction(kept), _table(rows), _together(rows), _notes(kept), _by_family(rows, kept["families"])]
    parts += [_missed(rows), _alarms(rows)]
    return "\n\n".join(part for part in parts if part) + "\n"


def plot(rows: Sequence[Row], path: Path) -> None:
    """Kill rate and false alarms of each verifier against its median seconds."""
    import matplotlib as mpl  # noqa: PLC0415 - only where a plot is asked for

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "convverify"
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, (above, below) = plt.subplots(
        2, 1, sharex=True, figsize=(8.5, 7.5), height_ratios=(3, 1.4), layout="constrained"
    )
    colours = plt.get_cmap("tab20")
    for place, (verifier, entry) in enumerate(summary(rows).items()):
        mark: Row = {"color": colours(place % 20), "marker": "*" if verifier.startswith("convverify") else "o", "s": 90}
        seconds = max(entry["median_seconds"], 1e-4)
        if entry["kill_rate"] is not None:
            label = f"{verifier} ({entry['kills']}/{entry['mutants']})"
            above.scatter(seconds, 100 * entry["kill_rate"], label=label, **mark)
        if entry["controls"]:
            below.scatter(seconds, 100 * entry["alarms"] / entry["controls"], **mark)
    above.set(xscale="log", ylim=(-3, 103), ylabel="wrong operators rejected, %")
    below.set(ylabel="right operators rejected, %", ylim=(-1.5, None))
    below.set_xlabel("median seconds an operator, in the same run on one machine")
    above.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    for axes in (above, below):
        axes.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _count(rows: Sequence[Row], verdict: str) -> int:
    return sum(row["verdict"] == verdict for row in rows)


def _introduction(kept: dict[str, Any]) -> str:
    rows: list[Row] = kept["rows"]
    sizes = [len({row["operator"] for row in rows if row["kind"] == kind}) for kind in ("mutant", "control")]
    return (
        "# Verifiers side by side\n\n"
        f"{sizes[0]} wrong operators (mutants) and {sizes[1]} right ones (controls) of convverify "
        f"{kept['version']}, judged in one run with torch {kept['torch']} on CPU, seed {kept['seed']}, one "
        f"thread a process. Each pair ran in a fresh process, {kept['jobs']} at a time."
    )


def _table(rows: Sequence[Row]) -> str:
    lines = [
        (
            "| verifier | mutants rejected | rate | controls rejected | nothing checked | lost | median s | "
            f"on controls | total s | CPU time / {YARDSTICK} |"
        ),
        "| --- |" + " --- |" * 9,
    ]
    for verifier, e in summary(rows).items():
        rate = "" if e["kill_rate"] is None else f"{100 * e['kill_rate']:.1f} %"
        ratio = f"{e['ratio']:.3g}" if e.get("ratio") is not None else ""
        lines.append(
            f"| {verifier} | {e['kills']} of {e['mutants']} | {rate} | {e['alarms']} of {e['controls']} | "
            f"{e['unsupported']} | {e['lost']} | {e['median_seconds']:.3f} | "
            f"{e['median_seconds_on_controls']:.3f} | {e['total_seconds']:.0f} | {ratio} |"
        )
    return "\n".join(lines)


def _together(rows: Sequence[Row]) -> str:
    """What the other checks say if a single rejection is enough."""
    peers = [row for row in rows if not row["verifier"].startswith("convverify")]
    if not peers:
        return ""
    shares = []
    for kind in ("mutant", "control"):
        judged = {row["operator"] for row in peers if row["kind"] == kind}
        rejected = {row["operator"] for row in peers if row["kind"] == kind and row["verdict"] == "rejected"}
        shares.append(f"{len(rejected)} of {len(judged)} {kind}s")
    return f"All checks but convverify together reject {' and '.join(shares)}."


def _notes(kept: dict[str, Any]) -> str:
    sample = (
        f" The standard budget judged a sample of {kept['sample']} mutants, drawn with seed {kept['seed']}, and "
        "all controls."
        if kept["sample"]
        else ""
    )
    return (
        "Gradcheck compares an operator's gradients with its own output, so that a wrong output with matching "
        "gradients is none of its concern; OpInfo's samples are compared with torch as well. "
        "A verifier stops at its first finding; convverify then shrinks and explains it, within its time. "
        "An operator that convverify calls inexact is not rejected. 'Nothing checked' are operators that "
        "refused every case of a verifier, or to which it does not apply: opcheck applies to the ops that an "
        "operator registers with torch, and 'opcheck, wrapped' registers each operator for the purpose. "
        f"'Lost' are those whose process died or took over {kept['limit_seconds']:g} s. Seconds were measured "
        "with other work on the machine: the last column, the ratio of the medians of CPU time, carries over "
        f"better; convverify's budgets count processor time.{sample}\n\n"
        "The corpus was written by convverify's authors and holds what they thought of, in many families that "
        "the other checks never meant to cover; the table by family shows where each is at home. The layers "
        "of KernelBench's rule are smaller than its own, so that a CPU bears them."
    )


def _by_family(rows: Sequence[Row], families: dict[str, str]) -> str:
    mutants = [row for row in rows if row["kind"] == "mutant"]
    verifiers = list(dict.fromkeys(row["verifier"] for row in mutants))
    lines = [f"| family | {' | '.join(verifiers)} |", "| --- |" + " --- |" * len(verifiers)]
    for family in dict.fromkeys(families[row["operator"]] for row in mutants):
        cells = []
        for verifier in verifiers:
            own = [r for r in mutants if families[r["operator"]] == family and r["verifier"] == verifier]
            cells.append(f"{_count(own, 'rejected')}/{len(own)}")
        lines.append(f"| {family.replace('_', ' ')} | {' | '.join(cells)} |")
    return "## Mutants rejected, by family\n\n" + "\n".join(lines) if mutants else ""


def _missed(rows: Sequence[Row]) -> str:
    """What convverify missed, and who did not."""
    lines = []
    for verifier in dict.fromkeys(row["verifier"] for row in rows):
        if not verifier.startswith("convverify"):
            continue
        for row in rows:
            if (row["verifier"], row["kind"]) == (verifier, "mutant") and row["verdict"] != "rejected":
                others = [
                    other["verifier"] for other in rows
                    if (other["operator"], other["kind"]) == (row["operator"], "mutant")
                    and other["verdict"] == "rejected"
                ]  # fmt: skip
                by = f"rejected by {', '.join(others)}" if others else "rejected by none"
                lines.append(f"- {verifier}: {row['operator']} ({row['why']}), {by}")
    return "## Mutants that convverify did not reject\n\n" + ("\n".join(lines) or "None.")


def _alarms(rows: Sequence[Row]) -> str:
    lines = [
        f"- {row['verifier']}: {row['operator']} ({row['why']})"
        for row in rows
        if row["kind"] == "control" and row["verdict"] == "rejected"
    ]
    return "## Controls rejected\n\n" + ("\n".join(lines) or "None.")
