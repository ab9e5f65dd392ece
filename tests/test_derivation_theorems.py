"""Every theorem holds, refutes its wrong variants, and is published as it stands."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from convverify.cli.prove import cited_by
from convverify.derivation.claims import Claim
from convverify.derivation.index_sum import ProofError
from convverify.derivation.logic import eq, le
from convverify.derivation.pages import TIMES, files, index_page
from convverify.derivation.solvers import available
from convverify.derivation.symbolic_geometry import symbols
from convverify.derivation.theorem import Check, Control, Theorem, check
from convverify.derivation.theorems import THEOREMS
from convverify.theorem_ids import THEOREM_IDS

PROOFS = Path(__file__).parents[1] / "proofs"

# The first digits of SHA-256 of each statement. A statement may be put in better words, and then its line
# here changes too; what an ID means may not.
STATEMENTS = {
    "FW-1": "5741d449", "FW-ALL": "9b4ba4e5", "GI-1": "b5b2cb92", "GI-2": "4948c080", "GI-3": "a72a6c66",
    "GI-4": "269aae07", "GI-5": "4a2af994", "GI-6": "d5450408", "GI-ALL": "a4b3dc21", "GW-1": "29260724",
    "GW-2": "ffb6152d", "GW-3": "2a50d681", "GW-ALL": "1c9d28e8", "GB-1": "52e4a5a3", "DB-1": "267f0946",
    "DB-2": "f5e7c34c", "DB-3": "ca23042f", "AD-1": "eb5edef0", "AD-2": "c4955513", "GR-1": "9399f810",
    "GR-2": "85084c04", "GR-3": "6bd6fa34", "TC-1": "30063e53", "SP-1": "382a292a", "FF-1": "6fae3c87",
    "WG-1": "5c44da4a", "WG-2": "d486e5e8", "FIN-1": "a7302b68", "FIN-2": "d0525568", "PRG-1": "91317c9e",
    "PRG-2": "3c201f1a", "CG-1": "2e1cbd33", "EX-1": "4671b76a", "SZ-1": "64b8e568", "RB-1": "5573e873",
    "BL-1": "a9d99ce0", "BC-1": "1ecee551", "SEED-1": "27eaca7e", "SEED-2": "2aab1022",
}  # fmt: skip


@pytest.mark.parametrize("identifier", THEOREMS)
def test_holds_with_controls_and_is_published_as_it_stands(identifier: str) -> None:
    verdict = check(THEOREMS[identifier], available())
    assert verdict.failures == []
    assert verdict.witnesses
    cited = cited_by()
    for path, text in files([verdict], cited).items():
        assert (PROOFS / path).read_text(encoding="utf-8") == text, f"run `convverify prove {identifier}`"


def test_index_and_nothing_else_is_published() -> None:
    assert (PROOFS / "README.md").read_text(encoding="utf-8") == index_page(cited_by())
    pages = {f"{identifier}.md" for identifier in THEOREMS} | {"README.md", TIMES}
    assert {path.name for path in PROOFS.glob("*.md")} == pages
    problems = set()
    for theorem in THEOREMS.values():
        claims = theorem.claims()
        problems |= {claim.name for claim in claims} | {claim.possible().name for claim in claims}
        problems |= {claim.name for _, claim in theorem.wrong_claims()}
    assert {path.stem for path in (PROOFS / "smt").iterdir()} == problems


def test_the_two_tables_have_the_same_ids() -> None:
    assert set(THEOREMS) == set(THEOREM_IDS)
    assert all(identifier == theorem.id for identifier, theorem in THEOREMS.items())


def test_no_statement_changed() -> None:
    digests = {key: hashlib.sha256(text.encode()).hexdigest()[:8] for key, text in THEOREM_IDS.items()}
    assert digests == STATEMENTS


@pytest.mark.parametrize("identifier", THEOREMS)
def test_page_has_every_part_and_balanced_mathematics(identifier: str) -> None:
    text = (PROOFS / f"{identifier}.md").read_text(encoding="utf-8")
    for heading in ("Derivation", "Method", "What was checked", "Negative controls",
                    "Properties that rest on it", "How to recheck"):  # fmt: skip
        assert f"\n## {heading}\n" in text
    for mathematics in re.findall(r"```math\n(.*?)\n```", text, re.DOTALL) + re.findall(r"\$`(.*?)`\$", text):
        assert mathematics.count("{") == mathematics.count("}")
        left, right = (re.findall(rf"\\{side}(?!arrow)", mathematics) for side in ("left", "right"))
        assert len(left) == len(right)
        assert not re.search(r"[\t\r\f\b\v\a]", mathematics)


A, B = symbols("A B")
TRUE = Claim("true", (A, B), (le(0, A), le(0, B)), le(0, A + B))
FALSE = Claim("false", (A, B), (le(0, A), le(0, B)), le(A, B))
EMPTY = Claim("empty", (A, B), (le(1, A), le(A, 0)), le(A, B))


def _theorem(**parts: object) -> Theorem:
    right = Control("wrong", lambda: "a witness")
    return Theorem("X-1", "", "", "", str, **{"controls": (right,), **parts})  # type: ignore[arg-type]


def _fails() -> str:
    raise ProofError("no")


def _breaks() -> str:
    raise ZeroDivisionError


@pytest.mark.parametrize("solvers", [(), available()])
@pytest.mark.parametrize(
    ("theorem", "proved"),
    [
        (_theorem(), True),
        (_theorem(claims=lambda: (TRUE,)), True),
        (_theorem(claims=lambda: (FALSE,)), False),
        (_theorem(claims=lambda: (EMPTY,)), False),
        (_theorem(wrong_claims=lambda: (("wrong", FALSE),)), True),
        (_theorem(wrong_claims=lambda: (("not wrong", TRUE),)), False),
        (_theorem(controls=()), False),
        (_theorem(controls=(Control("let pass", lambda: None),)), False),
        (_theorem(checks=(Check("fails", _fails),)), False),
        (_theorem(checks=(Check("breaks", _breaks),)), False),
    ],
)
def test_only_what_holds_and_can_fail_is_proved(
    theorem: Theorem, proved: bool, solvers: tuple[str, ...]
) -> None:
    assert check(theorem, solvers).proved is proved


def test_without_solvers_it_says_what_was_not_checked() -> None:
    verdict = check(THEOREMS["GI-1"], ())
    assert verdict.proved
    assert "3 claims not put to z3 and cvc5" in verdict.unchecked[0]


def test_smallest_counterexample_first() -> None:
    assert FALSE.counterexample(3) == {"A": 1, "B": 0}
    assert TRUE.counterexample(3) is None
    assert Claim("sum", (A, B), (eq(A + B, 3),), le(A, 1)).counterexample(3) == {"A": 2, "B": 1}
