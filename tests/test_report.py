"""Reports are made from results alone, whatever text an operator supplied."""

import html.parser
import json
import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import jsonschema
import operators
import pytest
from test_results import EXAMPLE, RESULT, run_of

import convverify
from convverify import kill_matrix, report
from convverify.report import mutants
from convverify.results import Counterexample, Outcome, Result, Run

NASTY = "<script>alert('x')</script> a|b `c` & \"d\"\nsecond line [red]e[/red] {{ 123 * 7 }}"
SCHEMA = json.loads((Path(report.__file__).parent / "schema.json").read_text(encoding="utf-8"))
ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "report-schema.md"


def run_with_everything(text: str = "plain") -> Run:
    results = tuple(
        replace(
            RESULT, property=f"p_{place}", family="forward" if place % 2 else "layout", outcome=outcome,
            reason="" if outcome is Outcome.PASSED else text, device="cuda" if place == 3 else "cpu", statement=text,
            cases=0 if outcome is Outcome.NOT_RUN else 7,
            counterexample=replace(EXAMPLE, line="p: n1", message=text, actual=text, expected=text, script=text)
            if outcome.is_failure
            else None,
        )
        for place, outcome in enumerate(Outcome)
    )  # fmt: skip
    run = replace(run_of(), results=results, devices=("cpu", "cuda"), operator=text, domain=text)
    return replace(run, environment={"torch": text}, coverage={"stride": {"1x1": 3, "2x2": 1}})


class _Page(html.parser.HTMLParser):
    """Collects tags and checks that they are closed in order."""

    VOID = ("meta", "br", "link", "img", "input", "hr")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(run: Run) -> _Page:
    page = _Page()
    page.feed(report.render(run, "report.html"))
    page.close()
    assert page.open == []
    return page


def test_html_needs_nothing_from_elsewhere():
    page = page_of(run_with_everything())
    assert not [(tag, attrs) for tag, attrs in page.seen if "src" in attrs or "href" in attrs]
    assert "script" not in {tag for tag, _ in page.seen}
    text = report.render(run_with_everything(), "report.html")
    assert not re.search(r"https?:|url\(|@import", text)


def test_html_shows_what_the_operator_supplied_as_text():
    page = page_of(run_with_everything(NASTY))
    assert "script" not in {tag for tag, _ in page.seen}
    assert "<script>alert('x')</script>" in page.text
    assert "{{ 123 * 7 }}" in page.text
    assert "861" not in page.text


def test_html_shows_every_result_and_counterexample():
    run = run_with_everything()
    page = page_of(run)
    assert all(result.property in page.text for result in run.results)
    assert all(outcome in page.text for outcome in Outcome)
    assert page.text.count("Smallest case:") == 2
    assert "behaves like" in page.text.lower()
    assert "It did not fail again" in page.text


def tables(markdown: str) -> list[list[str]]:
    """The tables of a Markdown text outside code, each as its rows."""
    found: list[list[str]] = [[]]
    for line in re.sub(r"```.*?```", "", markdown, flags=re.DOTALL).splitlines():
        if line.startswith("|"):
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


def columns(row: str) -> int:
    return len(re.findall(r"(?<!\\)\|", row))


@pytest.mark.parametrize("text", ["plain", NASTY])
def test_markdown_tables_keep_their_columns(text: str):
    found = tables(report.render(run_with_everything(text), "report.md"))
    assert len(found) >= 4
    for table in found:
        assert len({columns(row) for row in table}) == 1, table
        assert re.fullmatch(r"(\| --- )+\|", table[1])


def test_markdown_has_a_row_a_property_and_the_counterexamples():
    run = run_with_everything()
    text = report.render(run, "report.md")
    rows = [row for table in tables(text) for row in table]
    for result in run.results:
        (row,) = (row for row in rows if f"`{result.property}`" in row)
        assert f"({result.device})" in row
        assert result.outcome in row
    assert text.count("**smallest case**: `p: n1`") == 2
    assert "- **behaves like** twice: It doubles" in text


def test_markdown_fences_are_closed():
    lines = report.render(run_with_everything(), "report.md").splitlines()
    assert sum(line.startswith("```") for line in lines) % 2 == 0


@pytest.mark.parametrize("outcome", list(Outcome))
def test_any_single_outcome_renders(outcome: Outcome):
    for name in report.FORMATS:
        assert run_of(outcome).outcome in report.render(run_of(outcome), name)


def test_empty_run_renders():
    for name in report.FORMATS:
        assert "inconclusive" in report.render(run_of(), name)


def test_write_leaves_exactly_three_whole_files(tmp_path: Path):
    folder = tmp_path / "deep" / "er"
    run = run_with_everything()
    files = report.write(run, folder)
    assert sorted(files) == sorted(folder.iterdir())
    assert {file.name for file in files} == {"report.json", "report.md", "report.html"}
    assert Run.from_json((folder / "report.json").read_text(encoding="utf-8")) == run
    report.write(run_of(Outcome.PASSED), folder)
    assert "m:f" in (folder / "report.html").read_text(encoding="utf-8")


def test_report_is_rendered_from_a_file_where_there_is_no_torch(tmp_path: Path):
    stored = tmp_path / "stored.json"
    stored.write_text(run_with_everything().to_json(), encoding="utf-8")
    code = f"""
import sys
for name in ("torch", "numpy", "sympy", "hypothesis"):
    sys.modules[name] = None  # importing it raises
from pathlib import Path
from convverify import kill_matrix, report
from convverify.report import mutants
from convverify.results import Run
report.write(Run.from_json(Path({str(stored)!r}).read_text(encoding="utf-8")), Path({str(tmp_path / "out")!r}))
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "out" / "report.md").read_text(encoding="utf-8").startswith("# plain: falsified")


def test_same_results_give_the_same_text():
    run = run_with_everything()
    for name in report.FORMATS:
        assert report.render(run, name) == report.render(Run.from_json(run.to_json()), name)


def validate(run: Run) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(run.to_json()))


def test_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    "operator", [operators.torch_conv2d, operators.kernel_turned, operators.never_right, operators.input_and_weight]
)
def test_real_reports_validate(operator: object):
    names = ("forward_equals_definition", "wrong_biases_are_refused", "module_equals_nn_conv2d")
    validate(convverify.verify(operator, "quick", "auto", properties=names))


@pytest.mark.parametrize("text", ["plain", NASTY])
def test_report_with_every_outcome_validates(text: str):
    validate(run_with_everything(text))


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": "excellent"},
        {"outcome": "not run"},  # as a verdict
        {"schema_version": 2},
        {"budget": "huge"},
        {"devices": []},
        {"more": 1},
        {"results": [{}]},
    ],
)
def test_schema_refuses_what_is_no_report(change: dict[str, object]):
    found = {**json.loads(run_with_everything().to_json()), **change}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(found, SCHEMA)


def test_schema_refuses_a_pass_without_a_case_and_a_case_of_what_was_not_run():
    for outcome, cases in ((Outcome.PASSED, 0), (Outcome.NOT_RUN, 1)):
        with pytest.raises(jsonschema.ValidationError):
            validate(replace(run_of(), results=(replace(RESULT, outcome=outcome, cases=cases),)))


@pytest.mark.parametrize(
    ("kind", "part"),
    [(Run, SCHEMA), (Result, SCHEMA["$defs"]["result"]), (Counterexample, SCHEMA["$defs"]["counterexample"])],
)
def test_schema_and_document_have_the_fields_of_the_code(kind: type, part: dict[str, object]):
    names = {field.name for field in fields(kind)} | ({"outcome"} if kind is Run else set())
    assert set(part["properties"]) == set(part["required"]) == names
    document = DOCUMENT.read_text(encoding="utf-8")
    assert {name for name in names if f"`{name}`" not in document} == set()


def test_document_and_schema_name_every_outcome():
    document = DOCUMENT.read_text(encoding="utf-8")
    assert {outcome for outcome in Outcome if f"| `{outcome}` |" not in document} == set()
    assert set(SCHEMA["$defs"]["result"]["properties"]["outcome"]["enum"]) == set(Outcome)


def test_every_outcome_has_a_mark_and_every_verdict_a_sentence():
    assert set(report.MARKS) == set(Outcome)
    for size in ((), *((outcome,) for outcome in Outcome)):
        assert report.VERDICTS[run_of(*size).outcome].endswith(".")


def test_the_published_page_of_the_kill_matrix_is_what_the_matrix_says():
    page = (ROOT / "reports" / "mutants" / "report.md").read_text(encoding="utf-8")
    assert page == mutants.render()
    matrix = kill_matrix.kept()
    assert all(f"| `{name}` |" in page for kind in ("mutants", "controls") for name in matrix[kind])
