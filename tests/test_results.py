import itertools
import json
from dataclasses import replace

import pytest

from convverify.results import EXIT_CODES, SCHEMA_VERSION, Counterexample, Outcome, Result, Run

EXAMPLE = Counterexample(
    "p: n1", "output is 1, not 2", "[1]", "[2]", "import torch\n", "p: n2", False, ("twice: It doubles",), "y = x"
)
RESULT = Result("p", "forward", "It holds.", ("FW-1", "EX-1"), "cpu", Outcome.PASSED, 7, 2, 0.5, "", "exact", 1e-9)


def run_of(*outcomes: Outcome) -> Run:
    results = tuple(replace(RESULT, property=f"p{i}", outcome=outcome) for i, outcome in enumerate(outcomes))
    return Run("m:f", "quick", ("cpu",), 1, 2, "square", results, 1.5, {"torch": "2"}, {"stride": {"1x1": 3}}, "0.1.0")


def test_run_survives_json_and_back():
    run = run_of(Outcome.PASSED, Outcome.FALSIFIED, Outcome.NOT_RUN)
    run = replace(run, results=(*run.results, replace(RESULT, counterexample=EXAMPLE, miss_probability=None)))
    assert Run.from_json(run.to_json()) == run


def test_json_is_plain_text_with_the_verdict():
    found = json.loads(run_of(Outcome.PASSED, Outcome.ERRORED).to_json())
    assert found["outcome"] == "errored"
    assert found["schema_version"] == SCHEMA_VERSION
    assert found["results"][0]["outcome"] == "passed"
    assert run_of(Outcome.PASSED).to_json().endswith("}\n")


def test_text_of_any_script_survives():
    run = replace(run_of(Outcome.PASSED), operator='ж"\\\n<b>')
    assert Run.from_json(run.to_json()).operator == 'ж"\\\n<b>'
    assert "ж" in run.to_json()


@pytest.mark.parametrize("text", ["", "[]", "{}", "7", '{"schema_version": 1}', "not json"])
def test_what_is_no_report_is_refused(text: str):
    with pytest.raises(ValueError, match="not a verification report"):
        Run.from_json(text)


def test_report_of_another_version_is_refused_by_number():
    text = run_of(Outcome.PASSED).to_json().replace('"schema_version": 1', '"schema_version": 99')
    with pytest.raises(ValueError, match="schema_version=99, this reads 1"):
        Run.from_json(text)


@pytest.mark.parametrize("change", [("passed", "excellent"), ('"cites"', '"sites"')])
def test_report_with_a_broken_result_is_refused(change: tuple[str, str]):
    with pytest.raises(ValueError, match=r"excellent|sites|cites"):
        Run.from_json(run_of(Outcome.PASSED).to_json().replace(*change))


P, F, E, X, C, U, N, K = (
    Outcome.PASSED, Outcome.FALSIFIED, Outcome.ERRORED, Outcome.INEXACT, Outcome.INCONCLUSIVE,
    Outcome.UNSUPPORTED, Outcome.NOT_RUN, Outcome.KNOWN_FAILURE,
)  # fmt: skip


@pytest.mark.parametrize(
    ("outcomes", "verdict"),
    [
        ((P,), P),
        ((P, U), P),
        ((P, K), P),
        ((P, U, K), P),
        ((P, X), X),
        ((X, U), X),
        ((P, C), C),
        ((P, X, C), C),
        ((P, N), C),
        ((P, F), F),
        ((P, E), E),
        ((F, E), F),
        ((E, C, N, X), E),
        ((U,), C),
        ((N,), C),
        ((K,), C),
        ((), C),
    ],
)
def test_verdict_is_the_gravest_outcome_whatever_the_order(outcomes: tuple[Outcome, ...], verdict: Outcome):
    for order in itertools.permutations(outcomes):
        assert run_of(*order).outcome is verdict


def test_only_checked_runs_pass():
    """Of all sets of outcomes, those that pass contain a pass and nothing undecided or failed."""
    for size in range(4):
        for outcomes in itertools.combinations(Outcome, size):
            if run_of(*outcomes).outcome is P:
                assert P in outcomes
                assert not set(outcomes) & {F, E, C, N, X}


@pytest.mark.parametrize(("outcome", "code"), [(P, 0), (X, 0), (F, 1), (E, 1), (C, 3), (N, 3), (U, 3), (K, 3)])
def test_exit_code_says_the_verdict(outcome: Outcome, code: int):
    assert run_of(outcome).exit_code == code


def test_every_outcome_of_a_run_has_an_exit_code_and_only_failures_are_one():
    sets = itertools.chain.from_iterable(itertools.combinations(Outcome, size) for size in range(len(Outcome) + 1))
    assert {run_of(*outcomes).outcome for outcomes in sets} == set(EXIT_CODES)
    assert {outcome for outcome in Outcome if outcome.is_failure} == {F, E}
    assert {outcome for outcome, code in EXIT_CODES.items() if code == 1} == {F, E}
    assert 2 not in EXIT_CODES.values()


def test_refusals_alone_are_no_pass():
    refused = replace(RESULT, outcome=U)
    right_refusal = replace(RESULT, property="q", family="refusals")
    assert replace(run_of(P), results=(refused, right_refusal)).outcome is C
    assert replace(run_of(P), results=(right_refusal,)).outcome is P
    assert replace(run_of(P), results=(RESULT, refused, right_refusal)).outcome is P
