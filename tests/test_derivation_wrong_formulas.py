"""One index wrong in any closed form: a theorem that names it fails."""

from __future__ import annotations

import inspect
import types

import pytest
from click.testing import CliRunner

from convverify import formulas
from convverify.cli.prove import command
from convverify.derivation.theorem import check
from convverify.derivation.theorems import THEOREMS

# what stands in formulas.py, what is put in its place, in which occurrence, and which theorems must fail
MUTATIONS = [
    ("xp.pad(x, geometry.pads)", "xp.pad(x, [(b + 1, a - 1) for b, a in geometry.pads])",
     "forward", "FW-ALL FIN-1"),
    ("xp.pad(x, geometry.pads)", "xp.pad(x, [(b + 1, a) for b, a in geometry.pads])",
     "forward", "FW-ALL FIN-1"),
    ("geometry.stride, geometry.dilation", "geometry.dilation, geometry.stride", "forward", "FW-ALL FIN-1"),
    ("ngi{o}{a},gci{a}->ngc{o}", "ngi{o}{a},gic{a}->ngc{o}", "forward", "FW-ALL FIN-1"),
    ("axis.reach - axis.before,", "axis.reach - axis.before + 1,", "grad_input", "GI-1 GI-2 GI-ALL FIN-1"),
    ("(axis.reach - axis.before, axis.reach - axis.after + axis.remainder)",
     "(axis.reach - axis.before + 1, axis.reach - axis.after + axis.remainder - 1)", "grad_input",
     "GI-1 GI-ALL FIN-1 DB-3 FIN-2"),
    ("axis.after + axis.remainder", "axis.after + axis.remainder + 1", "grad_input", "GI-2 GI-ALL FIN-1"),
    ("axis.after + axis.remainder", "axis.after", "grad_input", "GI-2 GI-ALL FIN-1"),
    ("axis.reach - axis.before,", "axis.kernel - 1 - axis.before,", "grad_input", "GI-2 GI-ALL FIN-1"),
    ("xp.rotate180(k, geometry.spatial)", "k", "grad_input", "GI-1 GI-ALL FIN-1 DB-3 FIN-2"),
    ("xp.insert_zeros(g, geometry.stride)", "g", "grad_input", "GI-2 GI-ALL FIN-1"),
    ("(1,) * geometry.spatial, geometry.dilation", "(1,) * geometry.spatial, (1,) * geometry.spatial",
     "grad_input", "GI-2 GI-ALL FIN-1"),
    ("(axis.before, axis.after - axis.remainder)", "(axis.before, axis.after)",
     "grad_weight", "GW-1 GW-ALL FIN-1"),
    ("(axis.before, axis.after - axis.remainder)", "(axis.before - axis.remainder, axis.after)",
     "grad_weight", "GW-3 GW-ALL FIN-1"),
    ("(axis.before, axis.after - axis.remainder)", "(axis.before + 1, axis.after - axis.remainder - 1)",
     "grad_weight", "GW-3 GW-ALL FIN-1 DB-2 FIN-2"),
    ("geometry.dilation, geometry.stride", "geometry.stride, geometry.dilation",
     "grad_weight", "GW-ALL FIN-1"),
    ("ngi{a}{o},ngc{o}->gci{a}", "ngi{a}{o},ngc{o}->gic{a}", "grad_weight", "GW-ALL FIN-1"),
    ("xp.einsum(f\"nc{o}->c\", g)", "xp.einsum(f\"nc{o}->c\", xp.pad(g, ((0, -1),) * geometry.spatial))",
     "grad_bias", "GB-1 FIN-1"),
]  # fmt: skip


def _mutated(old: str, new: str, name: str) -> types.FunctionType:
    source = inspect.getsource(getattr(formulas, name))
    assert source.count(old) == 1, f"{name} no longer holds {old!r} once"
    namespace = dict(vars(formulas))
    exec(source.replace(old, new), namespace)
    function: types.FunctionType = namespace[name]
    return function


@pytest.mark.parametrize(("old", "new", "name", "theorems"), MUTATIONS)
def test_a_wrong_closed_form_is_found(
    monkeypatch: pytest.MonkeyPatch, old: str, new: str, name: str, theorems: str
) -> None:
    monkeypatch.setattr(formulas, name, _mutated(old, new, name))
    for identifier in theorems.split():
        verdict = check(THEOREMS[identifier], ())
        assert not verdict.proved, f"{identifier} holds although {name} has {new!r}"
        assert not all("control" in failure for failure in verdict.failures), verdict.failures


def test_prove_fails_and_names_the_theorem(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setattr(
        formulas, "grad_input", _mutated("axis.after + axis.remainder", "axis.after", "grad_input")
    )
    result = CliRunner().invoke(command, ["GI-2", "GB-1", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "failed: GI-2" in result.output
    assert "GB-1     proved" in result.output
