"""Let convverify and other checks judge the same wrong and right operators, and compare what they say.

    python benchmarks/verifiers.py [--jobs 2] [--only VERIFIER ...] [--operators NAME ...] [--sample 60] [--plot]

Each pair of operator and verifier runs in a process of its own, forked from a worker that has imported
everything, within a time limit. Answers are appended to a log as JSON lines; a run that was interrupted
goes on behind them. `--sample` lets the standard budget judge that many mutants, drawn with `--seed`,
beside all controls. `--plot` writes a table, the answers and an image to `benchmarks/results/`.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

sys.path.insert(0, str(Path(__file__).parent))

import peers
import torch
from peers import PEERS, Answer
from torch.nn import functional as F
from verifiers_report import markdown, plot

from convverify import __version__
from convverify.measuring import as_done
from convverify.mutants import CONTROLS, FAMILIES, MUTANTS
from convverify.mutants.base import Control, Mutant, declared
from convverify.target import Target
from convverify.verification import verify

RESULTS = Path(__file__).parent / "results"
BUDGETS = {"convverify quick": "quick", "convverify standard": "standard"}
VERIFIERS = (*BUDGETS, *PEERS)
Row = dict[str, Any]


class Pair(NamedTuple):
    """One verifier on one operator."""

    operator: str
    kind: str
    verifier: str


def pair_of(row: Row) -> Pair:
    """The pair that a row is about."""
    return Pair(row["operator"], row["kind"], row["verifier"])


def corpus() -> dict[tuple[str, str], Mutant | Control]:
    """Every mutant and control, by name and kind."""
    operators: dict[tuple[str, str], Mutant | Control] = {(m.name, "mutant"): m for m in MUTANTS}
    return operators | {(c.name, "control"): c for c in CONTROLS}


def families() -> dict[str, str]:
    """The family of each mutant."""
    return {m.name: f.__name__.rpartition(".")[2] for f in FAMILIES for m in declared(f, Mutant)}


def pairs(verifiers: Sequence[str], operators: Sequence[str], sample: int | None, seed: int) -> list[Pair]:
    """What is asked for, operator by operator; `sample` limits the mutants of the standard budget."""
    chosen = sorted(m.name for m in MUTANTS)
    if sample is not None:
        chosen = random.Random(seed).sample(chosen, min(sample, len(chosen)))
    return [
        Pair(name, kind, verifier)
        for name, kind in corpus()
        for verifier in verifiers
        if (not operators or name in operators)
        and (verifier != "convverify standard" or kind == "control" or name in chosen)
    ]


def answer(pair: Pair, seed: int) -> Answer:
    """What a verifier says of an operator, made afresh."""
    entry = corpus()[pair.operator, pair.kind]
    if pair.verifier in PEERS:
        return peers.judged(PEERS[pair.verifier](Target(entry.make(), entry.name, entry.domain)))
    run = verify(
        entry.make(), BUDGETS[pair.verifier], seed=seed, domain=entry.domain, name=entry.name,
        secret_seed=seed, fail_fast=True, jobs=1,
    )  # fmt: skip
    failed = [result.property for result in run.results if result.outcome.is_failure]
    return Answer("rejected" if failed else "accepted", failed[0] if failed else run.outcome)


def _judge(pair: Pair, seed: int, pipe: Connection) -> None:
    """In a process of its own: warm up, judge, and send the row."""
    os.setpgid(0, 0)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    torch.manual_seed(seed)
    for dtype in (torch.float32, torch.float64):
        x, w = (torch.randn(2, 2, 5, 5, dtype=dtype, requires_grad=True) for _ in range(2))
        F.conv2d(x, w).sum().backward()
    started, cpu = time.perf_counter(), _processor_seconds()
    try:
        found = answer(pair, seed)
    except Exception as error:
        found = Answer("lost", f"{type(error).__name__}: {error}")
    seconds, cpu_seconds = time.perf_counter() - started, _processor_seconds() - cpu
    pipe.send({"verdict": found.verdict, "why": found.why, "seconds": seconds, "cpu_seconds": cpu_seconds})


def _processor_seconds() -> float:
    """The processor time of this process and of the children that it has waited for."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def measured(pair: Pair, seed: int, limit: float) -> Row:
    """The row of a pair; lost where the process died or its time was up."""
    context = multiprocessing.get_context("fork")  # from a worker in which nothing has run yet
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_judge, args=(pair, seed, sender))
    process.start()
    sender.close()
    try:
        said = receiver.recv() if receiver.poll(limit) else _lost("the time was up", limit)
    except EOFError:
        said = _lost("the process died", 0.0)
    finally:
        _end(process)
    rounded = {name: round(said[name], 4) for name in ("seconds", "cpu_seconds")}
    return {**pair._asdict(), "seed": seed, **said, **rounded}


def _lost(why: str, seconds: float) -> Row:
    return {"verdict": "lost", "why": why, "seconds": seconds, "cpu_seconds": 0.0}


def _end(process: Any) -> None:
    """End a process and what it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()
    process.join()


def _prepare() -> None:
    """In a worker: import what the verifiers import when first used, and keep to one thread.

    Torch's test helpers forbid for good to set backend flags, which would make operators raise that set
    them; here they do not.
    """
    import torch._dynamo  # noqa: PLC0415 - costly
    import torch._functorch.aot_autograd  # noqa: PLC0415

    with mock.patch.object(torch.backends, "disable_global_flags"):
        import torch.testing._internal.common_methods_invocations  # noqa: PLC0415
        import torch.testing._internal.optests.aot_autograd  # noqa: PLC0415
    torch.set_num_threads(1)


def rows(asked: Iterable[Pair], seed: int, limit: float, jobs: int) -> Iterator[Row]:
    """The rows of what is asked, as they are done."""
    return as_done(measured, [(pair, seed, limit) for pair in asked], jobs, _prepare)


def logged(log: Path, asked: Sequence[Pair], seed: int) -> dict[Pair, Row]:
    """What an earlier run said of the pairs that are asked for; a line cut short is asked again."""
    found: dict[Pair, Row] = {}
    for line in log.read_text().splitlines() if log.exists() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if row["seed"] == seed:
            found[pair_of(row)] = row
    return {pair: found[pair] for pair in asked if pair in found}


def complete(asked: Sequence[Pair], log: Path, seed: int, limit: float, jobs: int) -> list[Row]:
    """The rows of all pairs asked for, in their order: the logged ones, and those made and logged now."""
    known = logged(log, asked, seed)
    left = [pair for pair in asked if pair not in known]
    with log.open("a") as file:
        for row in rows(left, seed, limit, jobs) if left else ():
            file.write("\n" * (file.tell() > 0) + json.dumps(row))
            file.flush()
            known[pair_of(row)] = row
            print(f"{len(known)}/{len(asked)}", *(row[k] for k in ("operator", "verifier", "verdict", "seconds")))
    return [known[pair] for pair in asked]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(VERIFIERS), choices=VERIFIERS, metavar="VERIFIER")
    parser.add_argument("--operators", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--sample", type=int, help="mutants that the standard budget judges")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=180.0, help="seconds for one operator and verifier")
    parser.add_argument("--log", type=Path, default=Path("verifiers.jsonl"))
    parser.add_argument("--plot", action="store_true")
    options = parser.parse_args()
    unknown = sorted(set(options.operators) - {name for name, _ in corpus()})
    if unknown:
        parser.error(f"{unknown[0]!r} is neither a mutant nor a control; reports/mutants/report.md lists them")
    return options


def main() -> None:
    """Judge, print, and write what is asked for."""
    options = _options()
    asked = pairs(options.only, options.operators, options.sample, options.seed)
    found = complete(asked, options.log, options.seed, options.limit, options.jobs)
    kept = {
        "version": __version__, "torch": torch.__version__, "jobs": options.jobs, "seed": options.seed,
        "limit_seconds": options.limit, "sample": options.sample, "families": families(), "rows": found,
    }  # fmt: skip
    print(markdown(kept))
    if options.plot:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "verifiers.json").write_text(_compact(kept))
        (RESULTS / "verifiers.md").write_text(markdown(kept))
        plot(found, RESULTS / "verifiers.svg")


def _compact(kept: dict[str, Any]) -> str:
    """JSON with one row a line."""
    lines = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in kept["rows"])
    head = json.dumps({**kept, "rows": []}, indent=1)
    return head.replace('"rows": []', f'"rows": [\n  {lines}\n ]') + "\n"


if __name__ == "__main__":
    main()
