"""What CONTRIBUTING says is so."""

import ast
import re
from pathlib import Path

import convverify

PACKAGE = Path(convverify.__file__).parent
ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MODULES = {
    file.stem if file.parent == PACKAGE else file.parent.name: file
    for file in (*PACKAGE.glob("*.py"), *PACKAGE.glob("*/__init__.py"))
}


def first_line(file: Path) -> str:
    return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def test_each_module_is_listed_once_with_the_first_line_of_its_docstring():
    house = TEXT[TEXT.index("## The house") : TEXT.index("## How to add a property")]
    listed = [line for line in house.splitlines() if line.startswith("- ")]
    assert sorted(listed) == sorted(f"- `{name}`: {first_line(file)}" for name, file in MODULES.items())


def test_every_file_that_is_named_is_there():
    named = re.findall(r"`((?:convverify|tests|docs)/[\w./]+)`", TEXT)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []
