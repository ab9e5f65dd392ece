"""What the README says is so."""

import re
import shlex
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from convverify import kill_matrix
from convverify.cli import COMMANDS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SENTENCES = " ".join(README.split())
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.S)
EXAMPLES = [text for language, text in BLOCKS if language == "python"]


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_python_example_runs(example: str):
    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def test_ci_runs_the_two_lines_that_stand_first():
    install, tests = BLOCKS[0][1].strip().splitlines()
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert tests in ci.splitlines()
    for step in install.split(" && ")[:-1]:
        assert step in ci


def test_every_command_exists_and_each_is_named():
    named = set(re.findall(r"convverify (\w+)", " ".join(text for language, text in BLOCKS if language == "sh")))
    assert named <= set(COMMANDS)
    table = README[README.index("| command | |") :].partition("\n\n")[0]
    first_cells = " ".join(row.split("|")[1] for row in table.splitlines())
    assert set(COMMANDS) == set(re.findall(r"`(?:convverify )?(\w+)`", first_cells))


def test_the_cases_that_it_replays_fail_as_it_says():
    shape_error, wrong_shape = [line for line in README.splitlines() if line.startswith("convverify replay '")]
    for line, message in ((shape_error, "is invalid for input of size 2"), (wrong_shape, "has shape [1, 1, 4, 4]")):
        command = [sys.executable, "-m", *shlex.split(line)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=ROOT)
        assert done.returncode == 1, done.stderr
        assert message in done.stdout


def test_every_local_link_leads_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_nothing_is_left_to_be_filled_in():
    assert "<!--" not in README


def test_the_corpus_is_as_large_as_it_says():
    from convverify.mutants import CONTROLS, MUTANTS

    assert f"{len(MUTANTS)} operators that are wrong on purpose and {len(CONTROLS)} that are" in README


def test_what_the_checker_catches_is_what_its_matrix_says():
    matrix = kill_matrix.kept()
    survivors = kill_matrix.survivors(kill_matrix.rows(matrix["mutants"]))
    seconds = [row["seconds_to_kill"] for row in matrix["mutants"].values() if row["caught_by"]]
    assert f"rejects {len(matrix['mutants']) - len(survivors)} of the former" in SENTENCES
    assert f"half of them within {statistics.median(seconds):.1f} seconds" in SENTENCES
    assert "none of the latter" in SENTENCES
    assert kill_matrix.blamed(kill_matrix.rows(matrix["controls"])) == []


def test_the_figures_of_other_verifiers_are_those_published():
    table = (ROOT / "benchmarks" / "results" / "verifiers.md").read_text(encoding="utf-8")
    rejected = dict(re.findall(r"^\| ([\w +]+) \| (\d+) of \d+ ", table, flags=re.MULTILINE))
    (mutants,) = set(re.findall(r"\d+ of (\d+) \| [\d.]+ %", table))
    assert (
        f"On {mutants} of them `gradcheck` rejects {rejected['gradcheck slow']}, with `gradgradcheck` "
        f"{rejected['gradcheck + gradgradcheck']}, the samples of torch's own tests {rejected['OpInfo']}"
    ) in SENTENCES
