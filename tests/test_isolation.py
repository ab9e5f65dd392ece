"""Operators that would take the verifier down with them, were it not in another process."""

import dataclasses
import os
import sys
import time
from pathlib import Path

import pytest

from convverify.isolation import Request, verify_isolated
from convverify.results import Outcome, Result, Run
from convverify.supervision import RequestError

PROPERTIES = ("forward_equals_definition", "forward_equals_torch", "zero_steps_are_refused")
HEADER = """
import ctypes, os, signal, sys, time
import torch
conv2d = torch.nn.functional.conv2d
calls = 0
"""


def operator_file(folder: Path, body: str, name: str = "operator_under_test.py") -> str:
    """A target whose body runs before torch's conv2d does."""
    lines = "\n    ".join(body.splitlines())
    text = (
        f"{HEADER}\ndef conv(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):\n"
        f"    global calls\n    calls += 1\n    {lines}\n"
        "    return conv2d(input, weight, bias, stride, padding, dilation, groups)\n"
    )
    (folder / name).write_text(text, encoding="utf-8")
    return f"{folder / name}:conv"


def verified(folder: Path, body: str, **options: object) -> Run:
    request = Request(operator_file(folder, body), "quick", **{"properties": PROPERTIES, "secret_seed": 1, **options})
    return verify_isolated(request)


def test_right_operator_passes_and_the_worker_reports_as_the_runner_does(tmp_path: Path):
    told: list[tuple[str, int]] = []
    request = Request(operator_file(tmp_path, ""), "quick", seed=4, secret_seed=9, properties=PROPERTIES)
    run = verify_isolated(request, lambda result, total: told.append((result.property, total)))
    assert run.outcome is Outcome.PASSED
    assert sorted(told) == sorted((name, len(PROPERTIES)) for name in PROPERTIES)
    assert (run.seed, run.secret_seed, run.budget) == (4, 9, "quick")
    assert run.operator == request.target
    assert run.coverage["dtype"]["float64"] > 0
    assert run.environment["torch threads"] == "1"
    assert Run.from_json(run.to_json()) == run


def test_this_process_does_not_load_what_the_worker_does():
    assert "operator_under_test" not in sys.modules


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("if weight.numel() > 1: os.kill(os.getpid(), signal.SIGSEGV)", "died of SIGSEGV"),
        ("if weight.numel() > 1: os.abort()", "died of SIGABRT"),
        ("if weight.numel() > 1: os._exit(0)", "ended its process (exit code 0)"),  # as if all had been done
    ],
)
def test_a_dead_process_is_a_counterexample_and_the_rest_goes_on(tmp_path: Path, body: str, reason: str):
    run = verified(tmp_path, body, properties=("forward_equals_definition", "bias_layout_is_irrelevant"))
    assert [result.outcome for result in run.results] == [Outcome.ERRORED, Outcome.ERRORED]
    assert all(reason in result.reason for result in run.results)
    for result in run.results:
        assert result.counterexample is not None
        assert result.counterexample.line.startswith(f"{result.property}: n")
    assert run.outcome is Outcome.ERRORED


def test_a_null_pointer_is_survived(tmp_path: Path):
    run = verified(tmp_path, "if input.shape[-1] != input.shape[-2]: ctypes.string_at(0)", properties=PROPERTIES[:1])
    assert "died of SIGSEGV" in run.results[0].reason


def test_what_the_process_printed_last_is_told(tmp_path: Path):
    body = "print('out of cheese', file=sys.stderr, flush=True)\nos._exit(3)"
    run = verified(tmp_path, body, properties=PROPERTIES[:1])
    assert run.results[0].reason.endswith("the last it printed: out of cheese")


def test_child_processes_of_the_operator_are_ended_too(tmp_path: Path):
    body = (
        "if calls == 1:\n    import subprocess\n    child = subprocess.Popen(['sleep', '300'])\n"
        f"    open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))"
    )
    verified(tmp_path, body, properties=PROPERTIES[2:])
    pid = int((tmp_path / "pid").read_text())
    for _ in range(50):
        if not _runs(pid):
            return
        time.sleep(0.1)
    pytest.fail(f"process {pid} is still there")


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return not Path("/proc").exists()
    return state != "Z"


def test_forks_end_with_the_process_that_made_them(tmp_path: Path):
    """Also where the run is given up: the hanging operator's process is not left behind."""
    pids = tmp_path / "pids"
    body = f"with open({str(pids)!r}, 'a') as file: file.write(f'{{os.getpid()}}\\n')"

    def interrupt(result: Result, total: int) -> None:
        raise KeyboardInterrupt

    request = Request(operator_file(tmp_path, body), "quick", properties=PROPERTIES, jobs=2)
    verify_isolated(request, interrupt)
    workers = set(map(int, pids.read_text().split()))
    assert workers
    assert not any(map(_runs, workers))


def test_an_operator_that_has_threads_from_its_loading_on_keeps_them(tmp_path: Path):
    """A fork would wait for them for ever."""
    target = operator_file(tmp_path, "next(iter(pool.map(abs, [1])))")
    file = Path(target.rpartition(":")[0])
    loading = "from concurrent.futures import ThreadPoolExecutor as Pool\npool = Pool(1)\nlist(pool.map(abs, [1]))\n"
    file.write_text(loading + file.read_text(encoding="utf-8"), encoding="utf-8")
    run = verify_isolated(Request(target, "quick", properties=PROPERTIES, secret_seed=1, jobs=2))
    assert [result.outcome for result in run.results] == [Outcome.PASSED] * len(PROPERTIES)


def test_jobs_share_the_work_and_find_the_same(tmp_path: Path):
    pids = tmp_path / "pids"
    body = (
        f"with open({str(pids)!r}, 'a') as file: file.write(f'{{os.getpid()}}\\n')\n"
        "if max(weight.shape[2:]) > 1: return conv2d(input, weight.flip(2), bias, stride, padding, dilation, groups)"
    )
    names = (*PROPERTIES, "gradients_equal_torch", "bias_layout_is_irrelevant", "batch_splits_and_permutes")
    one = verified(tmp_path, body, properties=names, jobs=1)
    assert len(set(pids.read_text().split())) == 1
    two = verified(tmp_path, body, properties=names, jobs=2)
    assert len(set(pids.read_text().split())) == 3
    assert [(r.property, r.outcome) for r in one.results] == [(r.property, r.outcome) for r in two.results]


def test_output_of_the_operator_does_not_reach_the_report(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    run = verified(tmp_path, "print('{\"kind\": \"done\"}', flush=True)", properties=PROPERTIES[:1])
    assert run.outcome is Outcome.PASSED
    assert capfd.readouterr().out == ""


def test_interruption_keeps_what_is_known_and_leaves_the_rest_not_run(tmp_path: Path):
    def interrupt(result: Result, total: int) -> None:
        raise KeyboardInterrupt

    request = Request(operator_file(tmp_path, ""), "quick", properties=PROPERTIES)
    run = verify_isolated(request, interrupt)
    assert [result.outcome for result in run.results] == [Outcome.PASSED, Outcome.NOT_RUN, Outcome.NOT_RUN]
    assert run.results[1].reason == "interrupted"
    assert run.outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": "no_such_module_here:conv"}, "target module 'no_such_module_here' cannot be imported"),
        ({"target": "convverify:nothing"}, "has no attribute 'nothing'"),
        ({"domain": "round"}, "domain part 'round'"),
        ({"properties": ("nothing",)}, "there is no property 'nothing'"),
        ({"shapes": "vgg"}, "there are no shapes 'vgg'; there are lenet, resnet50"),
        ({"case": "n1"}, "'n1' is not a case"),
        ({"jobs": 0}, "jobs=0 must be at least 1"),
    ],
)
def test_a_refused_request_is_one_clear_error(change: dict[str, object], message: str):
    request = dataclasses.replace(Request("convverify:conv2d", "quick", properties=PROPERTIES), **change)
    with pytest.raises(RequestError) as caught:
        verify_isolated(request)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_target_whose_import_ends_the_process_is_refused(tmp_path: Path):
    file = tmp_path / "ends.py"
    file.write_text("import os\nos.write(2, b'bye\\n')\nos._exit(5)\n", encoding="utf-8")
    with pytest.raises(RequestError, match=r"while the target was loaded, .*exit code 5.*: bye"):
        verify_isolated(Request(f"{file}:conv", "quick"))


def test_a_fault_of_the_verifier_itself_is_one_line(tmp_path: Path):
    """Told through both processes: no operator is blamed for it."""
    body = "from convverify import tally\ndef broken(*args): raise KeyError('ours')\ntally.Tally.add = broken"
    with pytest.raises(RequestError, match=r"convverify itself failed, in broken: KeyError: 'ours'"):
        verified(tmp_path, body)
