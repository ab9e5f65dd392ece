"""The script of a counterexample: how it comes by the operator."""

import functools
import runpy
from dataclasses import replace
from pathlib import Path

import operators
import pytest
import torch

from convverify.case import ConvCase, Operands
from convverify.counterexample import script
from convverify.loading import load
from convverify.properties import named
from convverify.target import Target

CASE = ConvCase.parse("n1 c1->1 i2x2 k1x1 s1x1 p0x0 d1x1 g1 float64 cpu layout=contiguous values=integers seed=0")
FILE = """
import torch

class Net:
    @staticmethod
    def conv(input, weight):
        return torch.conv2d(input, weight)

def conv(input, weight):
    return torch.conv2d(input, weight)
"""


class Holder:
    @classmethod
    def conv(cls, input, weight):
        return torch.conv2d(input, weight)


def made() -> object:
    def conv(input, weight):
        return torch.conv2d(input, weight)

    return conv


def lines_of(op: Target) -> list[str]:
    return script(op, CASE, named("forward_equals_torch")).splitlines()


@pytest.mark.parametrize(
    ("op", "line"),
    [
        (Target(operators.kernel_turned), "from operators import kernel_turned"),
        (Target(operators.kernel_turned, "mine"), "from operators import kernel_turned"),
        (Target(Holder.conv), "operator = Holder.conv"),
        (load("torch.nn.functional:conv2d"), "from torch.nn.functional import conv2d"),
        (load("torch:nn.functional.conv2d"), "operator = nn.functional.conv2d"),
    ],
    ids=["function", "renamed", "method", "module", "path"],
)
def test_an_operator_that_a_name_leads_to_is_imported(op: Target, line: str):
    assert line in lines_of(op)


@pytest.mark.parametrize(
    "op",
    [
        Target(torch.nn.functional.conv2d),  # which calls itself torch:_VariableFunctionsClass.conv2d
        Target(made()),
        Target(lambda x, w: torch.conv2d(x, w, None)),
        Target(functools.partial(torch.conv2d, bias=None)),
        Target(made(), "operators:kernel_turned"),
        Target(made(), "no_such_module:conv"),
    ],
    ids=["builtin", "local", "lambda", "partial", "of-another", "of-none"],
)
def test_an_operator_that_no_name_leads_to_is_asked_for(op: Target):
    lines = lines_of(op)
    assert "operator = ...  # put your operator here" in lines
    assert not any(line.startswith(("from ", "import runpy")) for line in lines)
    compile("\n".join(lines), "script", "exec")


def test_what_is_named_in_the_main_program_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    operator = made()
    operator.__module__, operator.__qualname__ = "__main__", "conv"
    monkeypatch.setattr("__main__.conv", operator, raising=False)
    assert "operator = ...  # put your operator here" in lines_of(Target(operator))


@pytest.mark.parametrize("attribute", ["conv", "Net.conv"])
def test_the_script_runs_an_operator_of_a_file(attribute: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "an_operator.py").write_text(FILE, encoding="utf-8")
    file = tmp_path / "script.py"
    target = load(f"{tmp_path / 'an_operator.py'}:{attribute}")
    file.write_text(script(target, CASE, named("forward_equals_torch")), encoding="utf-8")
    runpy.run_path(str(file))
    assert "operator\noutput\n(1, 1, 2, 2)" in capsys.readouterr().out


class Doubled(torch.nn.Conv2d):
    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize("bias", [False, True])
def test_a_module_class_is_made_into_a_module_with_the_weight_and_bias(bias: bool, capsys: pytest.CaptureFixture[str]):
    case = replace(CASE, bias=bias)
    lines = [line for line in script(Target(Doubled), case, named("forward_equals_torch")).splitlines()
             if "import Doubled" not in line and not line.startswith("operator =")]  # fmt: skip
    exec("\n".join(lines), {"operator": Doubled})
    by_operator, by_torch = capsys.readouterr().out.split("torch\noutput")
    assert "operator\noutput\n(1, 1, 2, 2)" in by_operator
    expected = torch.conv2d(*(getattr(Operands(case), role) for role in ("input", "weight", "bias")))
    assert str(2 * expected).splitlines()[0] in by_operator
    assert str(expected).splitlines()[0] in by_torch
