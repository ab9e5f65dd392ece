"""The commands prove, cite, readback and graph."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from convverify import __version__
from convverify.cli import cite, graph, prove, readback
from convverify.derivation import coq
from convverify.theorem_ids import THEOREM_IDS

SMALL = "n1 c1->1 i3x3 k2x2 s1x1 p0x0 d1x1 g1"


def test_prove_writes_and_then_compares(tmp_path: Path) -> None:
    run = CliRunner().invoke(prove.command, ["GI-3", "GB-1", "--out", str(tmp_path)])
    if "not checked" in run.output:
        pytest.skip("needs both SMT solvers")
    assert run.exit_code == 0
    assert {path.name for path in tmp_path.glob("*.md")} == {"GI-3.md", "GB-1.md"}
    again = ["GI-3", "GB-1", "--out", str(tmp_path), "--check"]
    assert CliRunner().invoke(prove.command, again).exit_code == 0
    (tmp_path / "GI-3.md").write_text("something else", encoding="utf-8")
    changed = CliRunner().invoke(prove.command, again)
    assert changed.exit_code == 1
    assert "GI-3.md does not match the code" in changed.output
    assert "GB-1.md does not" not in changed.output


def test_prove_without_solvers_says_so_and_leaves_the_page(tmp_path: Path) -> None:
    run = CliRunner().invoke(prove.command, ["GI-3", "GB-1", "--solver", "none", "--out", str(tmp_path)])
    assert run.exit_code == 0
    assert "GI-3     not checked: 1 claim" in run.output
    assert "pages left as they were, for want of a solver: GI-3" in run.output
    assert [path.name for path in tmp_path.iterdir()] == ["GB-1.md"]


def test_prove_without_solvers_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(prove, "available", lambda: ())
    run = CliRunner().invoke(prove.command, ["GW-2", "--out", str(tmp_path)])
    assert run.exit_code == 0
    assert "not checked" in run.output
    asked = CliRunner().invoke(prove.command, ["GW-2", "--solver", "z3", "--out", str(tmp_path)])
    assert asked.exit_code == 2
    assert "z3 is not installed" in asked.output


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (prove.command, ["XX-1"]),
        (prove.command, ["GI-3", "--solver", "none", "--solver", "z3"]),
        (cite.command, ["XX-1"]),
        (readback.command, ["convverify:conv2d", "n1"]),
        (readback.command, ["convverify:nothing", SMALL]),
        (readback.command, ["convverify:conv2d", "n2 c4->6 i10x10 k5x5 s1x1 p0x0 d1x1 g1"]),
        (graph.command, ["convverify:nothing"]),
        (graph.command, ["convverify:conv2d", "n1"]),
    ],
)
def test_bad_requests_are_refused_in_one_line(command: object, arguments: list[str]) -> None:
    result = CliRunner().invoke(command, arguments)  # type: ignore[arg-type]
    assert result.exit_code == 2
    assert len(result.output.strip().splitlines()) == 1
    assert result.output.startswith("convverify: ")
    assert "Traceback" not in result.output


@pytest.mark.parametrize("identifier", THEOREM_IDS)
def test_cite(identifier: str) -> None:
    result = CliRunner().invoke(cite.command, [identifier])
    assert result.exit_code == 0
    assert f"Theorem {identifier} of convverify {__version__}" in result.output
    assert f"@misc{{convverify-{identifier.lower()}," in result.output
    unescaped = result.output[result.output.index("@misc") :].replace("\\^{}", "")
    assert unescaped.count("{") == unescaped.count("}")


def test_cite_takes_lower_case_and_tells_the_nearest() -> None:
    assert "Theorem GI-ALL of" in CliRunner().invoke(cite.command, ["gi-all"]).output
    near = CliRunner().invoke(cite.command, ["gi-al"])
    assert near.exit_code == 2
    assert near.output.startswith("convverify: no theorem is called 'GI-AL'; did you mean GI-ALL")
    assert "RB-1" not in near.output
    assert "RB-1" in CliRunner().invoke(cite.command, ["?"]).output


def test_coq_is_asked_only_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(prove, "installed", lambda: False)
    result = CliRunner().invoke(prove.command, ["GB-1", "--coq", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "coqc" in result.output


@pytest.mark.skipif(not coq.installed(), reason="needs Coq")
def test_coq_accepts_the_proof_and_refuses_a_wrong_one(tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "proofs" / "coq" / "Convolution.v"
    assert "2 theorems, no axioms" in coq.check(script)
    text = script.read_text(encoding="utf-8")
    for old, new in (
        ("* k (Z.of_nat KH - 1 - a1) (Z.of_nat KW - 1 - a2)).", "* k a1 a2)."),
        ("(D1 * (Z.of_nat KH - 1) - P1)", "(Z.of_nat KH - 1 - P1)"),
        ("D1 * a1 + S1 * o1 - P1) (D2", "S1 * a1 + D1 * o1 - P1) (D2"),
        ("Proof. induction n as [|n IH]; simpl; [reflexivity|rewrite IH; reflexivity]. Qed.", "Admitted."),
    ):
        assert old in text
        wrong = tmp_path / "Wrong.v"
        wrong.write_text(text.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(coq.CoqError):
            coq.check(wrong)


def test_readback_of_right_and_wrong_operators(tmp_path: Path) -> None:
    right = CliRunner().invoke(readback.command, ["convverify:conv2d", SMALL])
    assert right.exit_code == 0
    assert "17 of 17 elements are as defined" in right.output
    assert "its graph is certified" in right.output
    (tmp_path / "mine.py").write_text(
        "from convverify import conv2d\ndef twice(x, k, *others):\n    return 2 * conv2d(x, k, *others)\n"
    )
    wrong = CliRunner().invoke(readback.command, [f"{tmp_path / 'mine.py'}:twice", SMALL, "--only-wrong"])
    assert wrong.exit_code == 1
    assert "0 of 17 elements are as defined" in wrong.output
    assert "its graph, run on polynomials, differs" in wrong.output


@pytest.mark.parametrize(
    ("body", "geometry", "why"),
    [
        ("raise KeyError('x')", SMALL, "nothing could be read back: it raised OperatorError: KeyError: 'x'"),
        ("return x", SMALL, "nothing could be read back: has shape"),
        ("return conv2d(x, k)", "n1 c1->1 i3 k2 s1 p0 d1 g1", "on input_size=(3,); conv2d has two axes): it"),
    ],
)
def test_readback_of_nothing_says_so_and_why(body: str, geometry: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(f"from convverify import conv2d\ndef mine(x, k):\n    {body}\n", encoding="utf-8")
    nothing = CliRunner().invoke(readback.command, [f"{tmp_path / 'mine.py'}:mine", geometry])
    assert nothing.exit_code == 1
    assert why in nothing.output
    assert "0 of 0" not in nothing.output
    assert len(nothing.output.splitlines()) == 1


def test_graph_of_the_article_and_of_an_operator(tmp_path: Path) -> None:
    assert CliRunner().invoke(graph.command, ["article"]).output.startswith("digraph {")
    target = tmp_path / "graph.dot"
    result = CliRunner().invoke(graph.command, ["convverify:conv2d", "--out", str(target)])
    assert result.exit_code == 0
    assert "ForwardBackward" in target.read_text(encoding="utf-8")


def test_svg_without_graphviz_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(graph, "svg", lambda dot: None)
    result = CliRunner().invoke(graph.command, ["article", "--out", str(tmp_path / "graph.svg")])
    assert result.exit_code == 2
    assert not (tmp_path / "graph.svg").exists()


@pytest.mark.parametrize("module", ["convverify.theorem_ids", "convverify.cli.cite"])
def test_citing_imports_neither_torch_nor_sympy(module: str) -> None:
    program = f"import sys, {module}; assert not {{'torch', 'sympy'}} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_theorems_import_neither_torch_nor_a_solver() -> None:
    program = (
        "import sys, convverify.derivation.theorems, convverify.derivation.pages\n"
        "assert not {'torch', 'z3', 'cvc5'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
