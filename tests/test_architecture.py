"""The layer table: who may import whom, read from the source."""

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Collection, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import convverify
from convverify.properties import FAMILIES

ROOT = Path(convverify.__file__).parent
ANY = {"*"}
TORCH = {"torch"}
SIZES = {"geometry"}
CASES = SIZES | {"case", "comparison", "layouts", "values"}
OPERATORS = CASES | {"answers", "domain", "module_class", "target"}
CHECKS = OPERATORS | {
    "definition", "formulas", "operator", "reference", "demand", "child", "theorem_ids", "threads", "process_state",
    "combinations", "corners", "shapes", "signature", "usual",
}  # fmt: skip

# module: what it may import of convverify, and what of other distributions. "*" is everything.
LAYERS: dict[str, tuple[set[str], set[str]]] = {
    "geometry": (set(), set()),
    "results": (set(), set()),
    "theorem_ids": (set(), set()),
    "budget": (set(), set()),
    "memory": (set(), set()),
    "signature": (set(), set()),
    "definition": (SIZES, set()),
    "formulas": (SIZES, set()),
    "corners": (SIZES, set()),
    "usual": (SIZES, set()),
    "combinations": (SIZES, set()),
    "shapes": (SIZES, set()),
    "comparison": (set(), TORCH),
    "layouts": (set(), TORCH),
    "values": (set(), TORCH),
    "process_state": (set(), TORCH | {"numpy"}),
    "environment": (set(), TORCH | {"numpy", "hypothesis"}),
    "derivation": (SIZES | {"definition", "formulas", "theorem_ids"}, TORCH | {"sympy", "z3", "cvc5"}),
    "operator": (SIZES | {"formulas"}, TORCH),
    "case": (CASES, TORCH),
    "domain": (CASES, set()),
    "demand": ({"case"}, set()),
    "coverage": ({"case"}, set()),
    "pace": ({"case", "geometry"}, set()),
    "answers": (set(), TORCH),
    "module_class": ({"answers", "signature"}, TORCH),
    "target": (CASES | {"answers", "domain", "module_class", "signature"}, TORCH),
    "time_limit": ({"answers", "budget"}, set()),
    "loading": ({"answers", "target"}, set()),
    "adapting": ({"answers", "target"}, TORCH),
    "child": ({"answers"}, TORCH),
    "threads": (set(), TORCH),
    "reference": (CASES | {"definition", "formulas", "operator"}, TORCH),
    "properties": (CHECKS, TORCH),
    "mutants": (SIZES | {"formulas", "operator"}, TORCH),
    "choices": (set(), {"hypothesis"}),
    "strategies": (CASES | {"choices", "domain", "demand"}, {"hypothesis"}),
    "examine": (CHECKS | {"properties", "time_limit"}, TORCH),
    "counterexample": (CHECKS | {"properties", "examine", "results"}, TORCH | {"numpy"}),
    "diagnosis": (CHECKS | {"properties", "mutants", "derivation"}, TORCH),
    "plan": (CHECKS | {"budget", "loading", "properties"}, set()),
    "shrinking": (CHECKS | {"examine", "pace", "properties", "strategies"}, {"hypothesis"}),
    "listing": (CHECKS | {"pace", "plan", "properties", "strategies"}, set()),
    "tally": (CHECKS | {"coverage", "examine", "properties", "results"}, set()),
    "stint": ({"tally"}, set()),
    "explaining": (
        CHECKS | {"counterexample", "diagnosis", "examine", "pace", "plan", "properties", "results", "shrinking"},
        set(),
    ),
    "runner": (
        CHECKS | {"adapting", "examine", "explaining", "listing", "pace", "plan", "properties", "results", "stint",
                  "strategies", "tally", "time_limit"},
        TORCH,
    ),
    "messages": (set(), set()),
    "workers": (set(), set()),
    "supervision": ({"budget", "messages", "results", "workers"}, set()),
    "isolation": ({"messages", "results", "supervision", "workers", "__version__"}, set()),
    "serving": ({"environment", "memory", "messages", "plan", "properties", "runner"}, TORCH),
    "verification": ({"geometry", "isolation", "plan", "results", "runner", "serving"}, TORCH),
    "refused": (CASES | {"domain", "plan", "properties", "shapes", "target"}, set()),
    "worker": ({"isolation", "messages", "plan", "refused", "serving", "shapes", "supervision"}, TORCH),
    "measuring": ({"kill_matrix", "mutants", "results", "verification"}, TORCH),
    "kill_matrix": (set(), set()),
    "report": ({"kill_matrix", "results"}, {"jinja2"}),
    "experiments": (ANY, ANY),
    "cli": (ANY, ANY),
    "pytest_plugin": (ANY, ANY),
    "__init__": (ANY, ANY),
    "__main__": (ANY, ANY),
}


def _source_files() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def _unit(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def _module(file: Path) -> str:
    return ".".join(file.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")


class _WithoutTypes(ast.NodeTransformer):
    """Leaves out what is imported for a type checker alone."""

    def visit_If(self, node: ast.If) -> ast.If | None:
        return None if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" else node


def _imported(text: str, types: bool = True) -> list[str]:
    """The full names of all that a source text imports, inside functions too, and for its types."""
    tree = ast.parse(text)
    names = []
    for node in ast.walk(tree if types else _WithoutTypes().visit(tree)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names]
    return names


def _imports_by_unit() -> dict[str, tuple[set[str], set[str]]]:
    found: dict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for file in _source_files():
        unit = _unit(file)
        for name in _imported(file.read_text(encoding="utf-8")):
            first, *rest = name.split(".")
            if first == "convverify" and rest and rest[0] != unit:
                found[unit][0].add(rest[0])
            elif first != "convverify" and first not in sys.stdlib_module_names:
                found[unit][1].add(first)
    return found


def _imports_by_file() -> dict[str, set[str]]:
    """By module, the modules of convverify that it imports when it runs."""
    files = {_module(file): file for file in _source_files()}
    return {
        module: {
            name if name in files else name.rpartition(".")[0]
            for name in _imported(file.read_text(encoding="utf-8"), types=False)
            if name.startswith("convverify.")
        }
        for module, file in files.items()
    }


def _cycle(graph: Mapping[str, Collection[str]]) -> list[str]:
    """The names along some cycle; none where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


IMPORTS = _imports_by_unit()


def test_every_module_has_a_place_in_the_layer_table():
    assert {_unit(file) for file in _source_files()} <= set(LAYERS)


@pytest.mark.parametrize("unit", sorted(IMPORTS))
def test_module_imports_only_what_its_layer_may(unit: str):
    inside, outside = IMPORTS[unit]
    may_inside, may_outside = LAYERS[unit]
    assert may_inside == ANY or not inside - may_inside, f"{unit} imports {sorted(inside - may_inside)}"
    assert may_outside == ANY or not outside - may_outside, f"{unit} imports {sorted(outside - may_outside)}"


def test_the_layer_table_has_no_cycle():
    """Each module comes after all that it may import, so that the layers are layers."""
    may = {unit: inside & set(LAYERS) - {unit} for unit, (inside, _) in LAYERS.items() if inside != ANY}
    assert not _cycle(may)


def test_no_file_imports_what_imports_it():
    """Also not inside a function: a cycle that a late import hides is one."""
    assert not _cycle(_imports_by_file())


def test_no_family_of_properties_imports_another():
    families = {family.__name__ for family in FAMILIES}
    imports = _imports_by_file()
    assert {name: imports[name] & families for name in families if imports[name] & families} == {}


def test_imports_are_absolute():
    relative = [
        (str(file), name)
        for file in _source_files()
        for name in _imported(file.read_text(encoding="utf-8"))
        if name.startswith(".")
    ]
    assert not relative


def test_the_reader_of_imports_sees_lazy_and_aliased_ones():
    text = "import a.b as c\nif TYPE_CHECKING:\n    import h\ndef f():\n    from convverify import runner, tally as t\n"
    assert _imported(text) == ["a.b", "h", "convverify.runner", "convverify.tally"]
    assert _imported(text, types=False) == ["a.b", "convverify.runner", "convverify.tally"]


def test_a_cycle_is_found():
    assert set(_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}})) == {"b", "c"}
    assert not _cycle({"a": {"b", "c"}, "b": {"c"}})


def test_no_source_file_is_longer_than_a_thousand_lines():
    lengths = {file.name: len(file.read_text(encoding="utf-8").splitlines()) for file in _source_files()}
    assert {name: length for name, length in lengths.items() if length > 1000} == {}


def _lines(function: ast.AST) -> int:
    """How many lines a function has, its docstring not counted."""
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    first = function.body[0]
    docstring = _span(first) if ast.get_docstring(function) else 0
    return _span(function) - docstring


def _span(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_no_function_is_longer_than_forty_lines():
    lengths = {
        f"{_module(file)}.{node.name}": _lines(node)
        for file in _source_files()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: length for name, length in lengths.items() if length > 40} == {}


HEAVY = ("torch", "numpy", "sympy", "hypothesis", "click", "jinja2", "rich")


def _modules_after(statement: str) -> set[str]:
    """The heavy distributions that a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport sys\nprint(*(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "may"),
    [
        ("import convverify", set()),
        ("import convverify.geometry, convverify.results, convverify.theorem_ids", set()),
        ("import convverify.formulas, convverify.definition", set()),
        ("import convverify.report", {"jinja2"}),
        ("import convverify.isolation", set()),
        ("import convverify.cli", {"click"}),
        ("import convverify.cli.verify", {"click", "rich", "jinja2"}),
    ],
)
def test_importing_loads_nothing_heavy(statement: str, may: set[str]):
    assert _modules_after(statement) <= may


def test_a_public_name_loads_what_it_needs_and_no_more():
    assert "torch" not in _modules_after("import convverify; convverify.ConvGeometry; convverify.Outcome")
    assert "torch" in _modules_after("import convverify; convverify.conv2d")


@pytest.mark.parametrize("name", convverify.__all__)
def test_every_public_name_is_there(name: str):
    assert getattr(convverify, name) is not None
    assert name in dir(convverify)


def test_an_unknown_public_name_is_refused_by_name():
    with pytest.raises(AttributeError, match="no attribute 'conv4d'"):
        convverify.conv4d  # noqa: B018 - the access is what is tested
