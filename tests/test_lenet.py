"""The article's experiment on data small enough for a test."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor, nn
from torch.nn import functional as F

from convverify.cli import lenet as cli
from convverify.cli import main
from convverify.experiments import contender, lenet, mnist, network, report
from convverify.experiments.article import ArticleConv2d
from convverify.experiments.mnist import DataError, Mnist, Samples
from convverify.experiments.network import VARIANTS, Basis, LeNet, initial_state
from convverify.experiments.record import MARGIN, Record, Settings, Trace, Verdict

BATCH = 8


def samples(count: int, seed: int) -> Samples:
    """Blurred noise on a black border, as digits lie."""
    chance = np.random.default_rng(seed)
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 6:22, 6:22] = chance.integers(0, 256, (count, 16, 16))
    return Samples(images, (np.arange(count) % 10).astype(np.uint8))


@pytest.fixture(scope="module")
def data() -> Mnist:
    return Mnist(samples(3 * BATCH, 0), samples(10, 1), False)


@pytest.fixture
def folder(tmp_path: Path, data: Mnist) -> Path:
    place = tmp_path / "mnist"
    place.mkdir()
    for half, prefix in ((data.train, "train"), (data.test, "t10k")):
        for array, name in ((half.images, "images-idx3"), (half.labels, "labels-idx1")):
            sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
            content = bytes((0, 0, 8, array.ndim)) + sizes + array.tobytes()
            (place / f"{prefix}-{name}-ubyte").write_bytes(content)
    return place


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three steps of eight images, two twins."""
    monkeypatch.setattr(lenet, "BATCH", BATCH)
    monkeypatch.setattr(lenet, "TWINS", 2)


@pytest.fixture(scope="module")
def record(data: Mnist) -> Record:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lenet, "BATCH", BATCH)
        patch.setattr(lenet, "TWINS", 3)
        return lenet.train(Settings(variants=tuple(VARIANTS)), data)


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["lenet", *map(str, arguments)])


# What the article's operator computes.


def test_article_operator_is_the_convolution() -> None:
    chance = torch.Generator().manual_seed(0)
    draw: Callable[..., Tensor] = lambda *shape: torch.randint(-9, 10, shape, generator=chance).double()  # noqa: E731
    input, weight = draw(2, 3, 6, 6).requires_grad_(), draw(4, 3, 3, 3).requires_grad_()
    grad_output = draw(2, 4, 4, 4)
    actual, expected = ArticleConv2d.apply(input, weight), F.conv2d(input, weight)
    assert torch.equal(actual, expected)
    ours, torchs = (torch.autograd.grad(out, (input, weight), grad_output) for out in (actual, expected))
    assert all(torch.equal(a, b) for a, b in zip(ours, torchs, strict=True))


def test_article_operator_is_silently_wrong_on_a_rectangle() -> None:
    assert ArticleConv2d.apply(torch.ones(1, 1, 5, 2), torch.ones(1, 1, 2, 2)).shape == (1, 1, 4, 4)


def test_article_operator_skips_the_gradient_nobody_needs() -> None:
    weight = torch.ones(1, 1, 2, 2, requires_grad=True)
    ArticleConv2d.apply(torch.ones(1, 1, 3, 3), weight).sum().backward()
    assert torch.equal(weight.grad, torch.full((1, 1, 2, 2), 4.0))  # type: ignore[arg-type]


# Twins are torch's network.


@pytest.mark.parametrize("seed", range(2))
def test_a_basis_changes_nothing_but_the_order_of_sums(data: Mnist, seed: int) -> None:
    basis = Basis.drawn(torch.Generator().manual_seed(seed))
    start = {
        name: tensor.double() if tensor.is_floating_point() else tensor for name, tensor in initial_state(0).items()
    }
    images, labels = next(contender.batches(data.train, torch.arange(3), 3, "cpu"))
    batch = (images.double(), labels)
    decisions = network.Decisions(*(d.double() for d in LeNet(VARIANTS["torch"]).decisions(images)))
    own = contender.Contender(VARIANTS["torch"], initial_state(0), "cpu")
    twin = contender.Contender(VARIANTS["torch"], initial_state(0), "cpu", basis)
    (loss, gradient), (other, turned) = (c.at(start, *batch, decisions) for c in (own, twin))
    assert loss == pytest.approx(other, rel=1e-13)
    assert contender.largest_difference(turned, gradient) < 1e-12 * contender.largest_entry(gradient)
    assert contender.largest_difference(basis.back(basis.into(start)), start) == 0


def test_decisions_make_the_same_network(data: Mnist) -> None:
    model = LeNet(VARIANTS["torch"])
    images, _ = next(contender.batches(data.train, torch.arange(5), 5, "cpu"))
    statistics = model.norm.running_mean.clone()
    decisions = model.decisions(images)
    assert torch.equal(model.norm.running_mean, statistics)
    assert torch.allclose(model(images, decisions), model(images), rtol=0, atol=1e-6)


def test_tf32_layer_keeps_eleven_bits() -> None:
    exact = torch.tensor([1 + 2.0**-10, -3.0, 0.0])
    assert torch.equal(network._to_tf32(exact), exact)
    assert torch.equal(network._to_tf32(torch.tensor([1 + 2.0**-11, 1 + 2.0**-12])), torch.tensor([1 + 2.0**-10, 1]))


# The training.


def test_every_variant_agrees(record: Record) -> None:
    assert record.steps == record.judged == 3
    assert record.disagreements() == []
    for trace in record.traces.values():
        assert len(trace.losses) == len(trace.seconds) == len(trace.weight_differences) == 3
        assert len(trace.accuracies) == 1
        assert min(trace.seconds) > 0
    for trace in record.rivals.values():
        assert max(record.differences(trace.losses)) < 1e-3
        assert len(trace.local_losses) == len(trace.local_gradients) == 3
    assert record.traces["torch"].weight_differences == [0, 0, 0]
    assert record.time_ratio(record.traces["torch"]) == record.step_ratio(record.traces["torch"]) == 1


def test_goes_on_after_the_judged_steps(data: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("lenet", "record", "report"):
        monkeypatch.setattr(f"convverify.experiments.{module}.JUDGED_STEPS", 1)
    monkeypatch.setattr(lenet, "BASES", 1)
    record = lenet.train(Settings(variants=("torch", "first")), data)
    assert [len(trace.losses) for trace in record.traces.values()] == [3, 3]
    assert [len(trace.losses) for trace in (*record.twins, record.control)] == [3, 1, 1]
    assert [len(trace.losses) for trace in record.turned["first"]] == [3]
    assert len(record.bound()) == len(record.traces["first"].local_losses) == 1
    assert len(record.accuracy_gaps("first")) == 2
    assert len(report.write(record, tmp_path)) >= 2


def test_the_control_is_outside_its_bound(record: Record) -> None:
    assert record.local_shares(record.control)[0] > 1
    assert record.first_outside(record.control.losses) is not None


class ForgetsToRotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(input, weight)
        return F.conv2d(input, weight)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Any:
        input, weight = ctx.saved_tensors
        grad_input = F.conv2d(grad_output, weight.transpose(0, 1), padding=weight.shape[-1] - 1)
        return grad_input, torch.nn.grad.conv2d_weight(input, weight.shape, grad_output)


class WrongLayer(nn.Conv2d):
    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        output: Tensor = ForgetsToRotate.apply(input, weight)
        return output if bias is None else output + bias[:, None, None]


def test_a_wrong_gradient_disagrees(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VARIANTS, "convverify", (WrongLayer, WrongLayer))
    result = invoke("--data", folder, "--variants", "convverify", "--out", tmp_path / "out")
    assert result.exit_code == 1, result.output
    assert "at torch's weights the gradient" in " ".join(result.output.split())
    assert "# LeNet on MNIST: disagree" in (tmp_path / "out" / report.PAGE).read_text()


def test_leaves_the_process_as_it_was(data: Mnist) -> None:
    torch.set_num_threads(2)
    try:
        seen = torch.get_rng_state()
        lenet.train(Settings(subset=BATCH, variants=("torch",)), data)
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.get_rng_state(), seen)
        assert torch.backends.mkldnn.enabled
    finally:
        torch.set_num_threads(1)


def test_the_same_seed_gives_the_same_losses(data: Mnist, record: Record) -> None:
    again = lenet.train(Settings(variants=("torch", "convverify")), data)
    assert again.traces["convverify"].losses == record.traces["convverify"].losses
    other = lenet.train(Settings(variants=("torch",), subset=BATCH, seed=1), data)
    assert other.traces["torch"].losses[0] != again.traces["torch"].losses[0]


def test_refuses_a_subset_larger_than_the_data(data: Mnist) -> None:
    with pytest.raises(DataError, match="--subset 25 must be at most 24, as many images as there are"):
        lenet.train(Settings(subset=25), data)


# What follows from the numbers.


def made(losses: list[float], accuracy: float = 90.0, **settings: Any) -> Record:
    """A record whose twin strays by 0.01 in the first step and by less later."""
    torchs = Trace([2.0, 1.0], [1.0, 3.0], [0.0, 0.0], [], [], [90.0])
    twin = Trace([2.01, 1.001], [1.0, 1.0], [0.1, 0.1], [1e-3, 1e-3], [1e-2, 1e-2], [90.0])
    rival = Trace(losses, [2.0, 3.0], [0.1, 0.2], [1e-3, 1e-3], [1e-2, 1e-2], [accuracy])
    asked = Settings(variants=("torch", "convverify"), **settings)
    facts: dict[str, Any] = {"published": False, "train images": 2, "test images": 1}
    return Record(asked, facts, {"python": "3"}, {"torch": torchs, "convverify": rival}, [twin], rival)


def test_the_learning_rate_falls_to_zero_where_asked(data: Mnist, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    own = contender.Contender.step

    def step(self: contender.Contender, images: Tensor, labels: Tensor, rate: float) -> tuple[float, float]:
        rates.append(rate)
        result = own(self, images, labels, rate)
        assert self.optimizer.param_groups[0]["lr"] == rate
        return result

    monkeypatch.setattr(lenet, "BATCH", BATCH)
    monkeypatch.setattr(lenet, "TWINS", 1)
    monkeypatch.setattr(contender.Contender, "step", step)
    for decay, falling in ((False, [1.0, 1.0, 1.0]), (True, [1.0, 2 / 3, 1 / 3])):
        rates.clear()
        lenet.train(Settings(variants=("torch",), decay=decay), data)
        everyone = [contender.LEARNING_RATE * share for share in falling for _ in ("torch", "twin", "control")]
        assert rates == pytest.approx(everyone)


def test_the_bound_never_shrinks() -> None:
    assert made([2.0, 1.0]).bound() == pytest.approx([MARGIN * 0.01] * 2, rel=1e-4)


def test_leaving_the_twins_bound_alone_is_inconclusive() -> None:
    drifting = made([2.0, 1.05])
    assert drifting.verdict is Verdict.INCONCLUSIVE
    assert drifting.drifts() == ["convverify: the loss of step 2 differs by 0.05, bound 0.04"]
    assert made([2.0, float("nan")]).verdict is Verdict.INCONCLUSIVE
    assert made([2.03, 1.03]).verdict is Verdict.AGREE


def test_accuracy_is_judged_on_a_full_run_only() -> None:
    assert made([2.0, 1.0], 89.8).verdict is Verdict.AGREE
    assert made([2.0, 1.0], 89.7).disagreements() == [
        "convverify: accuracy differs by -0.30 points, must be within 0.20"
    ]
    assert made([2.0, 1.0], 80.0, subset=2).verdict is Verdict.AGREE
    assert made([2.0, 1.0], 80.0, epochs=2).verdict is Verdict.AGREE


def test_accuracy_is_the_mean_over_bases_within_what_that_may_be_off() -> None:
    def turned(*accuracies: float) -> Record:
        record = made([2.0, 1.0], 89.7)
        record.twins *= len(accuracies)
        record.turned = {"convverify": [Trace(accuracies=[accuracy]) for accuracy in accuracies]}
        return record

    agreeing, doubtful, wrong = turned(90.1, 89.9), turned(89.9, 89.4), turned(89.7, 89.7, 89.7, 89.7)
    assert agreeing.accuracy_gaps("convverify") == pytest.approx([-0.3, 0.1, -0.1])
    assert agreeing.verdict is Verdict.AGREE
    assert doubtful.verdict is Verdict.INCONCLUSIVE
    (sentence,) = doubtful.drifts()
    assert sentence == "convverify: accuracy differs by -0.33 points, more than 0.2, which may be off by 0.67"
    assert wrong.disagreements() == ["convverify: accuracy differs by -0.30 points, must be within 0.20"]
    page = report.render(doubtful, figure=False)
    assert "| -0.33 ± 0.67 points |" in page
    assert "| `convverify` | -0.30, -0.10, -0.60 |" in page


def test_ratios_of_time() -> None:
    built = made([2.0, 1.0])
    assert built.time_ratio(built.traces["convverify"]) == 5 / 4
    assert built.step_ratio(built.traces["convverify"]) == 1.5


def test_json_comes_back(record: Record) -> None:
    again = Record.from_json(record.to_json())
    assert again.settings == record.settings
    assert again.traces == record.traces
    assert again.to_json() == record.to_json()
    with pytest.raises(ValueError, match="no report of `convverify lenet`"):
        Record.from_json("{}")


# The report.


def test_report_has_page_numbers_and_curves(record: Record, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    files = report.write(record, tmp_path)
    assert [file.name for file in files] == ["report.json", "report.md", "curves.svg"]
    page = files[1].read_text()
    for words in ("| 76.49 | 2.27 |", "only the *first* layer", "![Loss", "wrong on purpose", "`article`", "not** the"):
        assert words in page
    assert files[2].read_text().startswith("<?xml")
    assert json.loads(files[0].read_text())["verdict"] == record.verdict


def test_report_without_matplotlib_has_no_picture(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert [file.name for file in report.write(record, tmp_path)] == ["report.json", "report.md"]
    assert "![" not in (tmp_path / "report.md").read_text()


# The command.


def test_command_trains_and_reports(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = invoke("--data", folder, "--variants", "first", "--subset", BATCH, "--out", out)
    assert result.exit_code == 0, result.output
    assert "agree" in result.stdout
    record = Record.from_json((out / report.NUMBERS).read_text())
    assert record.settings.variants == ("torch", "first")
    assert record.steps == 1
    assert "Accuracy is shown and not judged" in (out / report.PAGE).read_text()


def test_command_renders_again(record: Record, tmp_path: Path) -> None:
    report.write(record, tmp_path)
    before = (tmp_path / report.PAGE).read_text()
    (tmp_path / report.PAGE).unlink()
    result = invoke("--render", tmp_path / report.NUMBERS)
    assert result.exit_code == cli.EXIT_CODES[record.verdict], result.output
    assert (tmp_path / report.PAGE).read_text() == before


def interrupting(at: int, method: str) -> Callable[..., Any]:
    """The method of the race, with Ctrl-C in the call of that number."""
    original, calls = getattr(lenet.Race, method), iter(range(1, 100))

    def once(*arguments: Any) -> Any:
        if next(calls) == at:
            raise KeyboardInterrupt
        return original(*arguments)

    return once


@pytest.mark.parametrize(("method", "at", "steps"), [("step", 2, 1), ("_local", 3, 2), ("evaluate", 1, 3)])
def test_ctrl_c_keeps_what_was_measured(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, at: int, steps: int
) -> None:
    monkeypatch.setattr(lenet.Race, method, interrupting(at, method))
    result = invoke("--data", folder, "--variants", "convverify", "--out", tmp_path)
    assert result.exit_code == 3, result.output
    assert f"interrupted after {steps} steps" in result.output
    assert f"**Interrupted** after {steps} steps" in (tmp_path / report.PAGE).read_text()
    record = Record.from_json((tmp_path / report.NUMBERS).read_text())
    assert record.interrupted
    assert record.steps == steps
    assert not record.traces["torch"].accuracies


def test_ctrl_c_before_the_first_step_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lenet.Race, "step", interrupting(1, "step"))
    refused(invoke("--data", folder, "--variants", "torch", "--out", tmp_path), "interrupted before the first step")
    assert not (tmp_path / report.PAGE).exists()


def refused(result: Result, message: str) -> None:
    """Exit code 2 and one line, no traceback."""
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert isinstance(result.exception, SystemExit)


def test_refusals_are_one_line(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = ("--out", tmp_path / "out")
    refused(invoke("--data", tmp_path / "absent", *out), "must be a folder with the four files")
    refused(invoke("--data", folder, "--variants", "torch,mine", *out), "--variants names 'mine', must be among torch")
    refused(invoke("--data", folder, "--subset", 1000, *out), "--subset 1000 must be at most 24")
    (tmp_path / "file").touch()
    refused(invoke("--data", folder, "--out", tmp_path / "file"), "the report cannot be written to")
    refused(invoke("--render", tmp_path / "absent.json"), "absent.json cannot be read: No such file")
    refused(invoke("--render", folder / "t10k-labels-idx1-ubyte"), "t10k-labels-idx1-ubyte: ")
    (folder / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03")
    refused(invoke("--data", folder, *out), "train-images-idx3-ubyte is truncated: 4 bytes")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    refused(invoke("--data", folder, "--device", "cuda", *out), "torch finds no CUDA device here")


def test_offline_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*arguments: Any, **options: Any) -> Any:
        raise OSError("network is unreachable")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", offline)
    refused(invoke("--out", tmp_path / "out"), "MNIST cannot be downloaded")


@pytest.mark.parametrize("arguments", [("--epochs", "0"), ("--subset", "0"), ("--seed", "-1"), ("--device", "tpu")])
def test_bad_options_are_refused(arguments: tuple[str, str]) -> None:
    assert invoke(*arguments).exit_code == 2


def test_help_teaches_without_torch() -> None:
    text = invoke("--help").output
    for words in (*cli.VARIANTS, "--data", "Exit code", "Ctrl-C"):
        assert words in text


def test_the_command_knows_every_variant() -> None:
    assert set(report.LAYERS) == set(VARIANTS) == set(cli.VARIANTS)
    assert replace(Settings(), seed=1).variants == ("torch", "convverify", "first", "article")
    assert set(Settings().variants) <= set(VARIANTS)
    assert mnist.SIZE == 28
