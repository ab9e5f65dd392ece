"""The command line: what it prints, what it writes, and how it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from test_isolation import operator_file

from convverify import domain, kill_matrix, measuring
from convverify.budget import BUDGETS
from convverify.cli import COMMANDS, main
from convverify.cli.options import must_be_writable, writing
from convverify.cli.verify import folder_name
from convverify.kill_matrix import Entry
from convverify.results import Outcome, Run
from convverify.shapes import SHAPES

ONE = ("--budget", "quick", "--property", "forward_equals_torch")
SHORT = ("--budget", "quick", "--property", "zero_steps_are_refused")
CASE = "forward_equals_torch: n1 c1->1 i5x2 k2x2 s1x1 p0x0 d1x1 g1 float64 cpu layout=contiguous values=integers seed=0"


def convverify(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def verify(folder: Path, target: str, *arguments: str) -> tuple[Result, Run]:
    result = convverify("verify", target, *arguments, "--out", str(folder / "out"))
    return result, Run.from_json((folder / "out" / "report.json").read_text(encoding="utf-8"))


def assert_refused(result: Result, message: str) -> None:
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stderr.startswith("convverify: ")
    assert "Traceback" not in result.output
    assert result.stdout == ""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test in a folder of its own, with nothing in it; wide enough that no line is folded."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("COLUMNS", "200")


def test_passing_operator_exits_0_and_leaves_its_report(tmp_path: Path):
    result, run = verify(tmp_path, "torch.nn.functional:conv2d", *ONE)
    assert result.exit_code == 0
    assert run.outcome is Outcome.PASSED
    assert "passed — 1 passed" in result.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.json", "report.md", "report.html"}
    assert str(tmp_path / "out" / "report.md") in result.stdout


def test_nothing_is_written_outside_the_report_folder(tmp_path: Path):
    verify(tmp_path, operator_file(tmp_path, ""), *SHORT)
    assert not list((tmp_path / "work").iterdir())
    assert {path.name for path in tmp_path.iterdir()} <= {"work", "out", "operator_under_test.py", "__pycache__"}


def test_the_report_folder_is_named_after_the_target(tmp_path: Path):
    result = convverify("verify", operator_file(tmp_path, ""), *SHORT)
    assert result.exit_code == 0
    assert Path("reports/operator_under_test.conv/report.json").is_file()


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("convverify:conv2d", "convverify.conv2d"),
        ("torch.nn.functional:conv2d", "torch.nn.functional.conv2d"),
        ("path/to/file.py:my_conv", "file.my_conv"),
        ("../../etc/x.py:../y", "x...-y"),
        ("a b:c/d", "a-b.c-d"),
        (":", "report"),
    ],
)
def test_folder_name_is_one_plain_folder(target: str, name: str):
    assert folder_name(target) == name
    assert "/" not in folder_name(target)


def test_wrong_operator_exits_1_with_case_both_sides_and_script(tmp_path: Path):
    target = operator_file(tmp_path, "weight = weight.flip(-1)")
    result, run = verify(tmp_path, target, *ONE, "--domain", "no bias")
    assert result.exit_code == 1
    assert run.outcome is Outcome.FALSIFIED
    example = run.results[0].counterexample
    assert example is not None
    assert example.line in result.stdout
    assert f"convverify replay '{example.line}' {target} --domain 'no bias'" in result.stdout.splitlines()
    assert re.search(r"expected +actual", result.stdout)
    assert "import torch" in result.stdout
    script = tmp_path / "script.py"
    script.write_text(example.script, encoding="utf-8")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    printed = done.stdout.split("torch\n")
    assert len(printed) == 3
    assert printed[0].startswith("operator\noutput\n(1, 1, 1, 1)\n")
    assert printed[0].partition("tensor")[2] != printed[1].partition("tensor")[2]


def test_replay_fails_on_the_counterexample_and_passes_on_a_right_operator(tmp_path: Path):
    target = operator_file(tmp_path, "weight = weight.flip(-1)")
    _, run = verify(tmp_path, target, *ONE)
    example = run.results[0].counterexample
    assert example is not None
    wrong = convverify("replay", example.line, target)
    assert wrong.exit_code == 1
    assert example.message in wrong.stdout
    assert example.line in wrong.stdout
    right = convverify("replay", example.line, "torch.nn.functional:conv2d")
    assert right.exit_code == 0
    assert "passed — 1 passed" in right.stdout
    assert not list((tmp_path / "work").iterdir())


def test_replay_of_an_unsupported_case_is_inconclusive(tmp_path: Path):
    target = operator_file(tmp_path, "raise NotImplementedError('not today')")
    result = convverify("replay", CASE, target)
    assert result.exit_code == 3
    assert "not today" in result.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_replay_on_an_absent_device_is_not_run():
    result = convverify("replay", CASE.replace(" cpu", " cuda"))
    assert result.exit_code == 3
    assert "1 not run" in result.stdout
    assert "not run on cuda: there is no cuda device here" in result.stderr


def test_unsupported_operator_exits_3(tmp_path: Path):
    result, run = verify(tmp_path, operator_file(tmp_path, "raise NotImplementedError('not today')"), *ONE)
    assert result.exit_code == 3
    assert run.outcome is Outcome.INCONCLUSIVE
    assert "1 unsupported" in result.stdout


def test_crashing_operator_exits_1_with_a_report(tmp_path: Path):
    result, run = verify(tmp_path, operator_file(tmp_path, "os.kill(os.getpid(), signal.SIGSEGV)"), *ONE)
    assert result.exit_code == 1
    assert "died of SIGSEGV" in run.results[0].reason
    assert "died of SIGSEGV" in result.stderr


def test_domain_and_seeds_reach_the_report(tmp_path: Path):
    arguments = (*SHORT, "--domain", "square", "--seed", "7", "--secret-seed", "8")
    result, run = verify(tmp_path, "torch.nn.functional:conv2d", *arguments)
    assert (run.domain, run.seed, run.secret_seed) == ("square", 7, 8)
    assert run.results[0].outcome is Outcome.UNSUPPORTED
    assert result.exit_code == 3


def test_named_shapes_are_verified(tmp_path: Path):
    result, run = verify(tmp_path, "torch.nn.functional:conv2d", *ONE, "--shapes", "lenet")
    assert result.exit_code == 0
    assert run.results[0].cases == 2
    assert run.coverage["kernel"] == {"3x3": 2}


def test_function_class_is_a_target(tmp_path: Path):
    file = tmp_path / "function.py"
    file.write_text(
        "import torch\n"
        "class Conv(torch.autograd.Function):\n"
        "    @staticmethod\n"
        "    def forward(ctx, input, weight):\n"
        "        ctx.save_for_backward(input, weight)\n"
        "        return torch.conv2d(input, weight)\n"
        "    @staticmethod\n"
        "    def backward(ctx, grad_output):\n"
        "        input, weight = ctx.saved_tensors\n"
        "        return (torch.nn.grad.conv2d_input(input.shape, weight, grad_output),\n"
        "                torch.nn.grad.conv2d_weight(input, weight.shape, grad_output))\n",
        encoding="utf-8",
    )
    result, run = verify(tmp_path, f"{file}:Conv", *ONE, "--property", "gradients_equal_definition")
    assert result.exit_code == 0
    assert [entry.outcome for entry in run.results] == [Outcome.PASSED, Outcome.PASSED]
    assert all(entry.cases >= 5 for entry in run.results)
    assert run.coverage["bias"].keys() == {"no"}


def test_properties_as_json_are_the_catalogue():
    result = convverify("properties", "--json")
    rows = json.loads(result.stdout)
    assert result.exit_code == 0
    assert {"name", "family", "statement", "cites", "kills"} == set(rows[0])
    assert "forward_equals_torch" in {row["name"] for row in rows}


def test_properties_are_listed_with_every_name_on_a_line_of_its_own():
    result = convverify("properties")
    names = {row["name"] for row in json.loads(convverify("properties", "--json").stdout)}
    lines = {line.strip() for line in result.stdout.splitlines()}
    assert result.exit_code == 0
    assert {f"{len(names)} properties", *names} <= lines


def test_help_names_every_command_and_version_is_told():
    result = convverify("--help")
    assert result.exit_code == 0
    assert all(f"  {name}" in result.stdout for name in COMMANDS)
    assert convverify("--version").stdout.startswith("convverify, version ")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str):
    result = convverify(command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: main {command}")


def test_help_tells_every_word_of_a_domain_and_every_choice():
    text = convverify("verify", "--help").stdout
    lines = [line.strip() for line in text.splitlines()]
    assert all(any(line.startswith(f"{word}  ") for line in lines) for word in domain._WORDS)
    assert all(name in text for name in (*domain._SIZES, *SHAPES, *BUDGETS) if name != "kernel_size")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify", "no_such_module_here:conv"], "target module 'no_such_module_here' cannot be imported"),
        (["verify", "missing.py:conv"], "target file 'missing.py' does not exist"),
        (["verify", "convverify:nothing"], "has no attribute 'nothing'"),
        (["verify", "torch:float32"], "is a dtype, which is not callable"),
        (["verify", "justaname"], "must name a module or file and an attribute"),
        (["verify", "--domain", "round"], "domain part 'round' is none of"),
        (["verify", "--property", "forward_equals_torhc"], "did you mean forward_equals_torch?"),
        (["verify", "--shapes", "vgg"], "there are no shapes 'vgg'"),
        (["replay", "forward_equals_torch"], "is not of the form 'property: case'"),
        (["replay", "forward_equals_torch: n1 c1->1"], "is not a case such as"),
        (["replay", CASE.replace("float64", "float65")], "dtype 'float65' is not one of"),
        (["replay", CASE.replace("k2x2", "k9x9")], "the kernel reaches over 9 elements of axis 0"),
        (["replay", CASE.replace("torch", "tarch")], "there is no property 'forward_equals_tarch'; did you mean"),
        (["replay", CASE.replace("layout=contiguous", "layout=input:odd")], "'odd' is neither a layout"),
        (["replay", CASE.replace(" cpu", " tpu")], "device 'tpu' is not one of cpu, cuda"),
        (["replay", CASE.replace("i5x2 k2x2 s1x1 p0x0 d1x1", "i5 k2 s1 p0 d1")], "input_size=(5,) must have 2 entries"),
    ],
)
def test_bad_request_exits_2_with_one_line(arguments: list[str], message: str, tmp_path: Path):
    result = convverify(*arguments)
    assert_refused(result, message)
    assert not list(Path("reports").rglob("*.json"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_module_here", "No module named 'no_such_module_here'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(0)", "SystemExit: 0"),
        ("def (", "SyntaxError"),
        ("conv = 7", "is a int, which is not callable"),
        ("def conv(x): pass", "takes 1 arguments; (input, weight) is the least"),
    ],
)
def test_target_file_that_cannot_be_used_exits_2_with_one_line(text: str, message: str, tmp_path: Path):
    file = tmp_path / "broken.py"
    file.write_text(text, encoding="utf-8")
    assert_refused(convverify("verify", f"{file}:conv", *SHORT), message)


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify", "--budget", "huge"],
        ["verify", "--device", "tpu"],
        ["verify", "--seed", "x"],
        ["mutants", "--jobs", "0"],
        ["nothing"],
        ["replay"],
    ],
)
def test_wrong_usage_exits_2_without_a_traceback(arguments: list[str]):
    result = convverify(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert "Error: " in result.stderr


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("verify", "--out"), "the report"),
        (("lenet", "--out"), "the report"),
        (("mutants", "--write", "--out"), "its page"),
        (("prove", "--out"), "the proofs"),
        (("graph", "article", "--out"), "the graph"),
    ],
)
def test_unwritable_place_is_refused_before_any_work(arguments: tuple[str, ...], what: str, tmp_path: Path):
    file, nowhere = tmp_path / "a-file", tmp_path / "link"
    file.write_text("mine", encoding="utf-8")
    nowhere.symlink_to(tmp_path / "absent")
    started = time.perf_counter()
    for folder in (file / "x", file / "x" / "y", nowhere / "x", tmp_path / ("long" * 100) / "x"):
        assert_refused(convverify(*arguments, str(folder)), f"{what} cannot be written to")
    assert time.perf_counter() - started < 20
    assert {path.name for path in tmp_path.iterdir()} == {"a-file", "link", "work"}


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which even root makes nothing")
def test_a_folder_that_only_seems_writable_is_refused():
    assert_refused(convverify("prove", "GB-1", "--out", "/proc/proofs"), "cannot be written to /proc/proofs: ")


def test_a_place_that_is_not_there_yet_is_writable_and_left_alone(tmp_path: Path):
    must_be_writable("the report", tmp_path / "a" / "b")
    must_be_writable("the report", Path("a/b"))
    assert [path.name for path in tmp_path.rglob("*")] == ["work"]


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path):
    (tmp_path / "folder.dot").mkdir()
    with pytest.raises(SystemExit), writing("the graph", tmp_path / "folder.dot"):
        (tmp_path / "folder.dot").write_text("digraph {}", encoding="utf-8")


def test_a_graph_is_written_into_a_folder_of_its_own(tmp_path: Path):
    for option in ("--out", "--output"):  # as it was called first
        file = tmp_path / option / "x.dot"
        assert convverify("graph", "article", option, str(file)).exit_code == 0
        assert file.read_text(encoding="utf-8").startswith("digraph {")


@pytest.mark.parametrize("arguments", [["verify", "missing.py:conv"], ["replay", "nothing"]])
def test_as_a_program_it_ends_the_same_way(arguments: list[str]):
    done = subprocess.run([sys.executable, "-m", "convverify", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1


def test_interrupt_leaves_a_report_in_which_the_rest_is_not_run(tmp_path: Path):
    target = operator_file(tmp_path, f"open({str(tmp_path / 'started')!r}, 'w').close()\ntime.sleep(0.05)")
    names = ("zero_steps_are_refused", "forward_equals_torch", "gradients_equal_torch", "every_size_is_right")
    chosen = [word for name in names for word in ("--property", name)]
    listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # a background job does not
    program = f"{listening}; from convverify.cli import main; main()"
    command = [sys.executable, "-c", program, "verify", target, *chosen, "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for _ in range(600):
        if (tmp_path / "started").exists():
            break
        time.sleep(0.1)
    time.sleep(1)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    run = Run.from_json((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert process.returncode == 3
    assert "Traceback" not in errors
    assert [result.property for result in run.results] == list(names)
    assert run.results[-1].outcome is Outcome.NOT_RUN
    assert run.results[-1].reason == "interrupted"
    assert run.outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (("--no-controls",), "leave nothing out"),
        (("--fail-fast",), "leave nothing out"),
        (("kernel_flipped", "--fail-fast"), "leave nothing out"),
        (("kernel_flipped", "--budget", "standard"), "a matrix of the quick budget, not of standard"),
    ],
)
def test_mutants_keeps_no_matrix_that_lacks_or_mixes_something(asked, why):
    assert_refused(convverify("mutants", "--write", *asked), why)


def test_mutants_puts_a_row_into_the_matrix(monkeypatch, tmp_path):
    before = json.loads(kill_matrix.MATRIX.read_text(encoding="utf-8"))
    before["mutants"]["forgotten"] = before["mutants"]["kernel_flipped"]
    copy = tmp_path / "matrix.json"
    copy.write_text(json.dumps(before), encoding="utf-8")
    monkeypatch.setattr(kill_matrix, "MATRIX", copy)
    entry = Entry("kernel_flipped", "Flipped.", "falsified", ("forward_equals_torch",), 1.0, 0.25)
    monkeypatch.setattr(measuring, "measure", lambda names, *_: iter([entry] if names else []))
    done = convverify("mutants", "kernel_flipped", "--write", "--out", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    after = json.loads(copy.read_text(encoding="utf-8"))
    row = {"fault": "Flipped.", "caught_by": ["forward_equals_torch"], "seconds_to_kill": 0.25}
    del before["mutants"]["forgotten"]
    assert after["mutants"] == before["mutants"] | {"kernel_flipped": row}
    assert after["controls"] == before["controls"]
    assert (tmp_path / "out" / "report.md").exists()


def test_mutants_refuses_a_name_that_it_does_not_know():
    assert_refused(convverify("mutants", "kernel_floppy"), "there is no mutant or control 'kernel_floppy'")


def test_mutants_refuses_to_verify_nothing():
    asked = ("loop_over_taps", "unfold_and_matmul", "--no-controls")
    assert_refused(convverify("mutants", *asked), "nothing to verify: loop_over_taps, unfold_and_matmul are controls")


@pytest.mark.parametrize(
    ("name", "caught_by", "code", "said"),
    [
        ("kernel_flipped", ("a_property",), 0, "1 of 1 mutants caught"),
        ("kernel_flipped", (), 1, "not: kernel_flipped"),
        ("loop_over_taps", (), 0, "1 controls, 0 blamed: none"),
        ("loop_over_taps", ("a_property",), 1, "blamed by a_property"),
    ],
)
def test_mutants_fails_for_a_survivor_and_for_a_blamed_control(name, caught_by, code, said, monkeypatch):
    entry = Entry(name, "", "falsified" if caught_by else "passed", caught_by, 1.0, 1.0 if caught_by else None)
    monkeypatch.setattr(measuring, "measure", lambda names, *_: iter([entry] if names else []))
    done = convverify("mutants", name)
    assert done.exit_code == code
    assert said in done.stdout


def test_interrupted_mutants_show_what_was_measured_and_write_nothing(monkeypatch, tmp_path):
    def measure(names, *_):
        yield Entry(names[0], "", "falsified", ("a_property",), 1.0, 1.0)
        raise KeyboardInterrupt

    monkeypatch.setattr(measuring, "measure", measure)
    done = convverify("mutants", "--write", "--out", str(tmp_path / "out"))
    assert done.exit_code == 3
    assert "1 of 1 mutants caught" in done.stdout
    assert "nothing was written" in done.stderr
    assert not (tmp_path / "out").exists()
