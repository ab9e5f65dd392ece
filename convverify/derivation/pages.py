"""The published pages. They hold nothing that differs from run to run, so that CI can compare them.

How long each check took does differ, and is in `TIMES.md`, which is not compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from convverify.derivation.theorem import Theorem, Verdict
from convverify.derivation.theorems import THEOREMS
from convverify.theorem_ids import THEOREM_IDS

CitedBy = Mapping[str, Sequence[str]]
TIMES = "TIMES.md"

READING_ORDER = """\
A reader who knows calculus can follow the two gradient formulas, from the definition on, on three pages:
[FW-ALL](FW-ALL.md) (what is differentiated), [GW-ALL](GW-ALL.md) (the gradient by the kernel) and
[GI-ALL](GI-ALL.md) (the gradient by the input: why the kernel turns, why zeros are inserted, what is padded).
[CG-1](CG-1.md) is the chain rule on a computational graph, and [SEED-1](SEED-1.md) what all this says of the
article's own operator. "Convolution" means cross-correlation, as in PyTorch."""

CLOSING = f"""
`convverify prove` checks all of them and writes these pages; `convverify prove --check` fails where a page no
longer says what the code proves. `smt/` holds the problems that went to SMT solvers, each with its expected
answer. `coq/` holds a proof of both gradient formulas for the proof assistant Coq, which restates them: two
axes, all sizes, strides, dilations and paddings, no axioms; `convverify prove --coq` has it checked.
[{TIMES}]({TIMES}) says how long each check took when the pages were written. `convverify cite ID` prints a
citation. An ID never changes its meaning.
"""


def theorem_page(verdict: Verdict, cited_by: CitedBy) -> str:
    """One theorem's page."""
    theorem = verdict.theorem
    parts = [
        f"# {theorem.id}: {theorem.title}",
        THEOREM_IDS[theorem.id],
        theorem.statement,
        _hypotheses(theorem),
        "## Derivation\n\n" + theorem.derivation(),
        "## Method\n\n" + theorem.method,
        "## What was checked\n\n" + _checked(verdict),
        "## Negative controls\n\n" + _controls(verdict),
        "## Properties that rest on it\n\n" + _properties(cited_by.get(theorem.id, ())),
        "## How to recheck\n\n" + _recheck(verdict),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def index_page(cited_by: CitedBy) -> str:
    """The table of all theorems."""
    rows = [
        f"| [{theorem.id}]({theorem.id}.md) | {THEOREM_IDS[theorem.id]} | "
        f"{len(cited_by.get(theorem.id, ()))} |"
        for theorem in THEOREMS.values()
    ]
    return "\n".join(
        [
            "# The proofs",
            "",
            READING_ORDER,
            "",
            "| ID | statement | properties that rest on it |",
            "| --- | --- | --- |",
            *rows,
            CLOSING,
        ]
    )


def times_page(verdicts: Sequence[Verdict], solvers: Sequence[str]) -> str:
    """How long each check took; not compared."""
    rows = [f"| {verdict.theorem.id} | {verdict.seconds:.2f} |" for verdict in verdicts]
    total = sum(verdict.seconds for verdict in verdicts)
    return "\n".join(
        [
            "# How long the checks took",
            "",
            f"Seconds on one core, with {', '.join(solvers) or 'no SMT solver'}; {total:.1f} in all.",
            "",
            "| ID | seconds |",
            "| --- | ---: |",
            *rows,
            "",
        ]
    )


def files(verdicts: Sequence[Verdict], cited_by: CitedBy) -> dict[str, str]:
    """Every compared file by its path under `proofs/`."""
    found = {f"{verdict.theorem.id}.md": theorem_page(verdict, cited_by) for verdict in verdicts}
    for verdict in verdicts:
        found.update({f"smt/{name}.smt2": text for name, _, text in verdict.problems})
    if len(verdicts) == len(THEOREMS):
        found["README.md"] = index_page(cited_by)
    return found


def _hypotheses(theorem: Theorem) -> str:
    if not theorem.hypotheses:
        return ""
    return "## Hypotheses\n\n" + "\n".join(f"- {hypothesis}" for hypothesis in theorem.hypotheses)


def _checked(verdict: Verdict) -> str:
    lines = [f"- {what}: {found}" for what, found in verdict.findings]
    if verdict.problems:
        lines.append("- put to z3 and to cvc5, each with its expected answer:")
        lines += [f"  - [`{name}`](smt/{name}.smt2): {expected}" for name, expected, _ in verdict.problems]
    return "\n".join(lines) + f"\n\nTimes are in [{TIMES}]({TIMES})."


def _controls(verdict: Verdict) -> str:
    introduction = "Wrong variants, put to the same machinery and refuted; with the smallest witness found:"
    return "\n".join([introduction, "", *(f"- {fault}: {found}" for fault, found in verdict.witnesses)])


def _properties(names: Sequence[str]) -> str:
    return "\n".join(f"- `{name}`" for name in names) or "None yet."


def _recheck(verdict: Verdict) -> str:
    lines = [f"```sh\nconvverify prove {verdict.theorem.id}\n```"]
    if verdict.problems:
        lines.append(
            "The SMT problems ask for a counterexample: `unsat` means that there is none. Any solver that "
            "reads SMT-LIB 2.6 will do:"
        )
        names = [name for name, _, _ in verdict.problems]
        lines.append("```sh\n" + "\n".join(f"z3 proofs/smt/{name}.smt2" for name in names) + "\n```")
    return "\n\n".join(lines)
