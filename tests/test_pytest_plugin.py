"""The pytest face, in pytest runs of its own."""

import os
import subprocess
import sys

import pytest

from convverify.budget import BUDGETS
from convverify.properties import CATALOGUE
from convverify.pytest_plugin import parametrize_with_properties

pytest_plugins = ["pytester"]

PRELUDE = """
import torch
import convverify

conv2d = torch.nn.functional.conv2d

def right(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return conv2d(input, weight, bias, stride, padding, dilation, groups)

def wrong(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return conv2d(input, weight.flip(-1), bias, stride, padding, dilation, groups)

def narrow(input, weight):
    return conv2d(input, weight)
"""
CHOSEN = "forward_equals_definition or zero_steps_are_refused or wrong_biases_are_refused"


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Run pytest on a test module, with no plugins but this and xdist."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def go(body: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(PRELUDE + body)
        plugins = ("-p", "convverify.pytest_plugin", "-p", "xdist", "-p", "no:cacheprovider")
        return pytester.runpytest_subprocess(*plugins, *arguments)

    return go


def _decorated(operator: str, options: str = "") -> str:
    return f"\n@convverify.parametrize_with_properties({operator}{options})\ndef test_it(check):\n    check()\n"


@pytest.mark.parametrize("budget", BUDGETS)
def test_there_is_one_test_a_property_of_the_budget_with_its_name_as_id(run, budget: str):
    result = run(_decorated("right"), "--collect-only", "-q", "--strict-markers", "--convverify-budget", budget)
    ids = [line.partition("::")[2] for line in result.outlines if "::" in line]
    asked = [prop for prop in CATALOGUE if BUDGETS[budget].costly or not prop.demand.costly]
    assert ids == [f"test_it[{prop.name}]" for prop in asked]


def test_right_operator_passes_also_on_two_workers(run):
    result = run(_decorated("right"), "-n", "2", "-k", CHOSEN)
    result.assert_outcomes(passed=3)


def test_wrong_operator_fails_with_its_counterexample_and_no_traceback(run):
    result = run(_decorated("wrong"), "-k", "forward_equals_definition")
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "forward_equals_definition: falsified" in text
    assert "smallest case: forward_equals_definition: n1 c1->1 i1x2 k1x2 s1x1 p0x0 d1x1 g1 float64 cpu" in text
    assert "behaves like: kernel_flipped" in text
    assert "expected:" in text
    assert "actual:" in text
    assert "import torch" in text
    assert "convverify/pytest_plugin.py" not in text


def test_what_the_operator_does_not_take_is_skipped_with_the_reason(run):
    result = run(_decorated("narrow"), "-k", CHOSEN, "-rs")
    result.assert_outcomes(passed=1, skipped=2)
    assert "unsupported: it takes no bias" in result.stdout.str()


def test_what_the_decorator_says_holds_and_the_command_line_says_the_rest(run):
    body = """
@convverify.parametrize_with_properties(right, domain="square", budget="quick")
def test_it(check):
    assert check.options == {"budget": "quick", "seed": 9, "device": "cpu"}
    assert check().outcome == "passed"
"""
    result = run(body, "-k", CHOSEN, "-rs", "--convverify-seed", "9")
    result.assert_outcomes(passed=1, skipped=2)
    assert "unsupported: what it refuses is outside the domain it declares" in result.stdout.str()


def test_wrong_option_is_a_usage_error(run):
    result = run(_decorated("right"), "--convverify-budget", "huge")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "invalid choice: 'huge'" in result.stderr.str()


def test_absent_device_is_skipped_never_passed(run):
    result = run(_decorated("right", ", device='cuda'") + "\nimport pytest\n", "-k", "zero_steps", "-rs")
    if "1 passed" in result.stdout.str():
        pytest.skip("there is a CUDA device here")
    result.assert_outcomes(skipped=1)
    assert "not run: there is no cuda device here" in result.stdout.str()


def test_a_test_without_an_argument_is_refused_at_once():
    def test_nothing():
        pass

    with pytest.raises(TypeError, match="test_nothing must take an argument: the check that it is to call"):
        parametrize_with_properties(lambda input, weight: None)(test_nothing)


def test_a_budget_that_is_none_is_refused_at_once():
    with pytest.raises(ValueError, match="budget 'huge' is not one of quick, standard, thorough"):
        parametrize_with_properties(lambda input, weight: None, budget="huge")


def test_options_are_listed_in_the_help(run):
    result = run("", "--help")
    assert "verification of convolution operators:" in result.stdout.str()
    assert "--convverify-budget" in result.stdout.str()


@pytest.mark.parametrize(
    "statement",
    ["import convverify.pytest_plugin", "import pytest; pytest.main(['-p', 'convverify.pytest_plugin', '--version'])"],
)
def test_the_plugin_loads_neither_torch_nor_sympy_until_used(statement: str):
    code = f"{statement}\nimport sys\nprint([m for m in ('torch', 'sympy', 'hypothesis') if m in sys.modules])"
    environment = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    assert done.stdout.splitlines()[-1] == "[]"

