import random
import re
import threading
import time

import numpy as np
import operators
import pytest
import torch

import convverify
from convverify import process_state, runner, shapes
from convverify.budget import BUDGETS, Budget
from convverify.case import ConvCase
from convverify.comparison import Equation
from convverify.demand import Demand
from convverify.domain import DomainError
from convverify.examine import TORCHS_ERROR, Kind, examine, excused
from convverify.geometry import ConvGeometry
from convverify.mutants import CONTROLS
from convverify.plan import ChoiceError, Plan, plan_of
from convverify.properties import CATALOGUE, UnknownPropertyError, named
from convverify.properties.base import Property
from convverify.results import Outcome
from convverify.target import Target, TargetError
from convverify.verification import verify

FORWARD = ("forward_equals_torch",)
LINE_OF_PIXELS = ConvGeometry.parse("n1 c1->1 i5 k2 s1 p0 d1 g1")
FAST = (
    "forward_equals_definition", "forward_equals_torch", "gradients_equal_formulas", "gradients_are_adjoint",
    "grad_output_layout_is_irrelevant", "operands_are_unchanged",
)  # fmt: skip


def outcome(operator: object, name: str = "forward_equals_torch", **options: object) -> convverify.Result:
    return verify(operator, "quick", properties=(name,), **{"secret_seed": 1, **options}).results[0]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("operator", [torch.nn.functional.conv2d, convverify.conv2d], ids=["torch", "shipped"])
def test_right_operator_passes_the_quick_catalogue(operator: object, seed: int):
    run = verify(operator, "quick", seed=seed)
    right = ("passed", "unsupported", "known failure")
    unexpected = [(r.property, r.outcome, r.reason) for r in run.results if r.outcome not in right]
    assert not unexpected
    assert run.outcome is Outcome.PASSED


@pytest.mark.parametrize("name", ["Conv2d", "nn.Conv2d"])
def test_right_module_class_passes(name: str):
    module = convverify.Conv2d if name == "Conv2d" else torch.nn.Conv2d
    run = verify(module, "quick", properties=(*FAST, "module_equals_nn_conv2d"))
    assert run.outcome is Outcome.PASSED
    assert all(result.cases for result in run.results)


WRONG = {
    operators.kernel_turned: "forward_equals_definition",
    operators.padding_forgotten: "forward_equals_torch",
    operators.dilation_ignored: "forward_equals_torch",
    operators.square_only: "forward_equals_torch",
    operators.returns_another_shape: "forward_equals_torch",
    operators.returns_another_dtype: "forward_equals_torch",
    operators.wrong_backward: "gradients_equal_formulas",
}


@pytest.mark.parametrize("operator", WRONG, ids=lambda operator: operator.__name__)
def test_wrong_operator_is_falsified_with_a_small_case_that_fails_again(operator: object):
    result = outcome(operator, WRONG[operator])
    assert result.outcome is Outcome.FALSIFIED
    example = result.counterexample
    assert example is not None
    assert example.reproducible
    name, _, line = example.line.partition(": ")
    case = ConvCase.parse(line)
    assert name == WRONG[operator]
    g = case.geometry
    assert (g.batch, g.in_channels, g.out_channels, g.groups) == (1, 1, 1, 1)
    assert sum(g.input_size) <= 4
    assert sum(g.kernel_size) <= 3
    assert (case.dtype, case.layout, case.values, case.bias) == ("float64", "contiguous", "integers", False)
    again = examine(named(name), Target(operator), case)
    assert again.kind is Kind.UNEQUAL
    assert again.message == example.message
    assert example.message == result.reason


def test_padding_forgotten_shrinks_to_the_smallest_case():
    example = outcome(operators.padding_forgotten).counterexample
    assert example is not None
    geometry = ConvCase.parse(example.line.partition(": ")[2]).geometry
    assert geometry.input_shape == (1, 1, 1, 1)
    assert geometry.weight_shape == (1, 1, 1, 1)
    assert sorted(geometry.pads) == [(0, 0), (1, 1)]


def test_counterexample_shows_both_values_and_a_script_that_runs():
    example = outcome(operators.dilation_ignored).counterexample
    assert example is not None
    assert example.actual != example.expected
    assert "import torch" in example.script
    lines = [line for line in example.script.splitlines() if not line.startswith(("from operators", "operator ="))]
    printed: list[tuple[object, ...]] = []
    scope = {"operator": operators.dilation_ignored, "print": lambda *words, sep=" ": printed.append(words)}
    exec("\n".join(lines), scope)
    assert [words[:2] for words in printed] == [
        ("operator", "output"),  # of a shape that has no gradient for the case's grad_output
        ("torch", "output"),
        ("torch", "gradients"),
    ]
    assert printed[0][2] != printed[1][2]


def test_known_fault_is_called_by_its_name():
    example = outcome(operators.kernel_turned).counterexample
    assert example is not None
    assert any(fault.startswith("kernel_flipped:") for fault in example.behaves_like)


def test_operator_that_depends_on_its_calls_is_not_called_reproducible_or_is_caught_anyway():
    result = outcome(operators.wrong_every_third_call())
    assert result.outcome is Outcome.FALSIFIED
    assert result.counterexample is not None


def test_not_implemented_means_unsupported_and_the_rest_is_still_checked():
    result = outcome(operators.groups_not_supported)
    assert result.outcome is Outcome.PASSED
    assert result.unsupported_cases > 0
    assert result.cases > 0
    assert "no groups here" in result.reason


def test_operator_that_supports_nothing_is_inconclusive_never_passed():
    def nothing(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        raise NotImplementedError("not yet")

    run = verify(nothing, "quick", properties=FAST)
    assert {result.outcome for result in run.results} == {Outcome.UNSUPPORTED}
    assert all("not yet" in result.reason and not result.cases for result in run.results)
    assert run.outcome is Outcome.INCONCLUSIVE
    assert run.exit_code == 3


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        (operators.never_right, "RuntimeError: out of order"),
        (operators.returns_none, "it returned None, not a tensor"),
        (operators.returns_a_list, "it returned a list, not a tensor"),
        (operators.exits, "SystemExit: 0"),
    ],
)
def test_broken_operator_is_errored_and_says_how(operator: object, message: str):
    run = verify(operator, "quick", properties=FAST)
    assert {result.outcome for result in run.results} == {Outcome.ERRORED}
    assert all(message in result.reason for result in run.results)
    assert all(result.counterexample is not None for result in run.results)
    assert run.outcome is Outcome.ERRORED
    assert run.exit_code == 1


def test_wrong_shape_is_named():
    result = outcome(operators.returns_another_shape)
    assert "output has shape [1, 1, 1, 1, 1], not [1, 1, 1, 1]" in result.reason


def test_wrong_dtype_is_named():
    assert "output has dtype torch.bfloat16, not torch.float64" in outcome(operators.returns_another_dtype).reason


def test_hang_is_caught_and_ends_the_run(monkeypatch: pytest.MonkeyPatch):
    short = Budget("quick", 5, 2.0, 0.1, 0.2, case_seconds=0.3, costly=False)
    monkeypatch.setitem(BUDGETS, "quick", short)
    started = time.perf_counter()
    run = verify(operators.sleeps, "quick", properties=FAST, jobs=1)
    assert time.perf_counter() - started < 10
    first, *rest = run.results
    assert first.outcome is Outcome.ERRORED
    assert "did not come back within 0.3 s" in first.reason
    assert first.counterexample is not None
    assert {result.outcome for result in rest} == {Outcome.NOT_RUN}
    assert all("hung" in result.reason for result in rest)


@pytest.mark.parametrize(
    ("operator", "outcome"),
    [(operators.slow_on_long_images, Outcome.PASSED), (operators.hangs_on_long_images, Outcome.ERRORED)],
)
def test_slow_is_not_hanging(monkeypatch: pytest.MonkeyPatch, operator, outcome: Outcome):
    short = Budget("quick", 5, 2.0, 1.0, 0.2, case_seconds=1.0, costly=False)
    monkeypatch.setitem(BUDGETS, "quick", short)
    run = verify(operator, "quick", properties=("large_layers_are_right",), jobs=1)
    assert run.outcome is outcome, run.results[0].reason


def test_operator_is_never_asked_outside_its_domain():
    calls: list[operators.Call] = []
    text = "square, stride=1, padding<=1, dilation=1, groups=1, no bias, kernel=2|3, contiguous, dtype=float64"
    run = verify(operators.recording(calls), "quick", isolated=False, domain=text)
    assert run.outcome is Outcome.PASSED
    assert run.domain == text
    assert len(calls) > 200
    for call in calls:
        assert not call.bias
        assert (call.stride, call.dilation, call.groups) == (1, 1, 1)
        assert call.padding in (0, 1, "valid")
        assert call.dtype is torch.float64
        assert call.kernel_size in ((2, 2), (3, 3))
        assert call.input_shape[-1] == call.input_shape[-2]


def test_square_operator_is_wrong_outside_and_right_inside_its_domain():
    assert outcome(operators.square_only).outcome is Outcome.FALSIFIED
    assert outcome(operators.square_only, domain="square").outcome is Outcome.PASSED


def test_prefix_operator_is_asked_only_what_it_takes():
    run = verify(operators.input_and_weight, "quick")
    assert not [(r.property, r.reason) for r in run.results if r.outcome.is_failure]
    by_name = {result.property: result for result in run.results}
    checked = by_name["forward_equals_torch"]
    assert checked.outcome is Outcome.PASSED
    assert checked.cases >= 5
    assert run.coverage["stride"].keys() == {"1x1"}
    assert run.coverage["bias"].keys() == {"no"}
    assert by_name["wrong_biases_are_refused"].outcome is Outcome.UNSUPPORTED


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_absent_device_is_not_run_and_never_passed():
    run = verify(operators.torch_conv2d, "quick", "cuda", properties=FAST)
    assert {result.outcome for result in run.results} == {Outcome.NOT_RUN}
    assert all(result.cases == 0 and result.reason == "there is no cuda device here" for result in run.results)
    assert run.outcome is Outcome.INCONCLUSIVE
    both = verify(operators.torch_conv2d, "quick", "auto", properties=FORWARD)
    assert [(r.device, r.outcome) for r in both.results] == [("cpu", Outcome.PASSED), ("cuda", Outcome.NOT_RUN)]
    assert both.outcome is Outcome.INCONCLUSIVE


def _cases_of(**options: object) -> list[str]:
    plan = plan_of(operators.torch_conv2d, "quick", properties=("input_layout_is_irrelevant",), **options)
    seen: list[str] = []
    plan.watch = lambda prop, case: seen.append(str(case))
    plan.budget = Budget("quick", 20, 60.0, 0.2, 1.0, 20.0)
    list(runner.execute(plan, runner.Counter()))
    return seen


def test_same_seeds_give_the_same_cases_and_others_give_others():
    first = _cases_of(seed=3, secret_seed=5)
    assert len(first) >= 20
    assert first == _cases_of(seed=3, secret_seed=5)
    assert first != _cases_of(seed=4, secret_seed=5)
    other_secret = _cases_of(seed=3, secret_seed=6)
    assert first != other_secret
    assert first[: len(first) // 2] == other_secret[: len(first) // 2]


def test_secret_seed_differs_from_run_to_run_and_is_told():
    runs = [verify(operators.torch_conv2d, "quick", properties=("zero_steps_are_refused",)) for _ in range(3)]
    assert len({run.secret_seed for run in runs}) > 1


def test_process_state_is_restored_after_an_operator_that_changes_it():
    def meddling(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        torch.set_default_dtype(torch.float64)
        torch.use_deterministic_algorithms(True)
        torch.set_float32_matmul_precision("medium")
        torch._C._set_mkldnn_enabled(False)
        torch.nn.functional.conv2d = operators.kernel_turned
        return operators.torch_conv2d(input, weight, bias, stride, padding, dilation, groups)

    before = process_state.process_state()
    result = outcome(meddling, "process_state_is_untouched")
    after = process_state.process_state()
    changed = {name for name in before if before[name] != after[name]} - {
        "torch's random state", "Python's random state", "NumPy's random state",
    }  # fmt: skip
    assert result.outcome is Outcome.FALSIFIED
    assert not changed
    assert torch.nn.functional.conv2d is operators.torch_conv2d


def test_verifying_leaves_the_callers_random_streams_alone():
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    expected = torch.rand(3), random.random(), np.random.random()
    torch.manual_seed(1)
    random.seed(1)
    np.random.seed(1)
    verify(operators.torch_conv2d, "quick", properties=FORWARD)
    actual = torch.rand(3), random.random(), np.random.random()
    assert torch.equal(actual[0], expected[0])
    assert actual[1:] == expected[1:]


def test_many_verifications_in_one_process_are_independent():
    for _ in range(20):
        assert outcome(operators.kernel_turned, "forward_equals_definition").outcome is Outcome.FALSIFIED
        assert outcome(operators.torch_conv2d, "zero_steps_are_refused").outcome is Outcome.PASSED


def test_verification_works_on_another_thread_than_the_main_one():
    found: list[Outcome] = []
    thread = threading.Thread(target=lambda: found.append(outcome(operators.torch_conv2d).outcome))
    thread.start()
    thread.join()
    assert found == [Outcome.PASSED]


def test_results_come_in_the_order_of_the_catalogue_and_one_by_one():
    told: list[str] = []
    names = [prop.name for prop in CATALOGUE if prop.name in FAST]
    for jobs in (1, 2):
        told.clear()
        run = verify(
            operators.torch_conv2d, "quick", properties=names, progress=lambda r: told.append(r.property), jobs=jobs
        )
        assert names == [result.property for result in run.results]
        assert told == names if jobs == 1 else sorted(told) == sorted(names)


def test_fail_fast_leaves_the_rest_not_run():
    run = verify(operators.kernel_turned, "quick", properties=FAST, fail_fast=True, jobs=1)
    assert run.results[0].outcome is Outcome.FALSIFIED
    assert {result.outcome for result in run.results[1:]} == {Outcome.NOT_RUN}
    assert run.results[1].reason == "forward_equals_definition failed first"


def test_fail_fast_of_two_jobs_names_whichever_failed_first():
    run = verify(operators.kernel_turned, "quick", properties=FAST, fail_fast=True, jobs=2)
    failed = [result.property for result in run.results if result.outcome is Outcome.FALSIFIED]
    assert failed
    left = {result.reason for result in run.results if result.outcome is Outcome.NOT_RUN}
    assert left <= {f"{name} failed first" for name in failed}


def test_named_shapes_are_checked_instead_of_drawn_cases():
    layers = shapes.named("lenet")
    calls: list[operators.Call] = []
    run = verify(operators.recording(calls), "quick", isolated=False, properties=FORWARD, shapes=layers)
    assert run.results[0].cases == len(layers)
    assert {call.input_shape[1:] for call in calls} == {g.input_shape[1:] for g in layers}


def test_a_passing_run_says_what_it_established_and_where_it_looked():
    run = verify(operators.torch_conv2d, "quick", properties=("forward_equals_definition",))
    result = run.results[0]
    assert re.fullmatch(r"exact on \d+ cases", result.established)
    assert 0 < int(result.established.split()[2]) <= result.cases
    assert result.miss_probability is not None
    assert result.miss_probability < 1e-10
    assert sum(run.coverage["dtype"].values()) == result.cases
    assert run.environment["torch"] == torch.__version__
    assert run.version == convverify.__version__


def _result_of(check, operator=operators.torch_conv2d):
    prop = Property("some", "none", "Something holds.", (), "", check, Demand())
    (result,) = runner.execute(Plan(Target(operator), BUDGETS["quick"], properties=(prop,)), runner.Counter())
    return result


def test_zeros_alone_establish_nothing():
    def vacuous(op: Target, case: ConvCase):
        yield Equation("nothing", torch.zeros(3), torch.zeros(3))

    result = _result_of(vacuous)
    assert result.outcome is Outcome.INCONCLUSIVE
    assert result.reason == "every case compared zeros alone"


def test_a_check_that_fails_by_itself_says_nothing_of_the_operator():
    def broken(op: Target, case: ConvCase):
        yield Equation("never", {}["missing"], 1)

    result = _result_of(broken)
    assert result.outcome is Outcome.INCONCLUSIVE
    assert "the check itself fails" in result.reason
    assert "KeyError" in result.reason


def test_what_cannot_be_compared_is_an_error_of_the_operator():
    def sparse(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        return operators.torch_conv2d(input, weight, bias, stride, padding, dilation, groups).to_sparse()

    result = outcome(sparse)
    assert result.outcome is Outcome.ERRORED
    assert "cannot be checked" in result.reason


@pytest.mark.parametrize(
    ("equation", "established"),
    [
        (Equation("a number", 1, 1), "held"),
        (Equation("a tensor", torch.ones(2), torch.ones(2)), "exact"),
        (Equation("a sum", torch.ones(2), torch.ones(2), exact=False, magnitude=1.0), "within the rounding bound"),
    ],
)
def test_what_a_pass_establishes_is_what_was_compared(equation: Equation, established: str):
    def check(op: Target, case: ConvCase):
        yield Equation("something", True, True)
        yield equation

    result = _result_of(check)
    assert re.fullmatch(rf"{established} on \d+ cases", result.established)


def test_rounding_up_to_a_transforms_bound_is_inexact():
    def noisy(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        output = operators.torch_conv2d(input, weight, bias, stride, padding, dilation, groups)
        largest = output.abs().amax(tuple(range(1, output.dim())), keepdim=True)  # of each sample
        return output + torch.finfo(output.dtype).eps * largest

    result = outcome(noisy)
    assert result.outcome is Outcome.INEXACT
    assert result.counterexample is None


def test_what_torch_itself_fails_is_a_known_failure_or_not_judged(monkeypatch: pytest.MonkeyPatch):
    prop, case = named("forward_equals_torch"), ConvCase.parse(
        "n1 c1->1 i5x5 k3x3 s1x1 p1x1 d1x1 g1 float64 cpu layout=contiguous values=integers seed=1"
    )
    wrong, otherwise = Target(operators.padding_forgotten), Target(operators.kernel_turned)
    for op, kinds in ((wrong, ("unequal", "known failure")), (otherwise, ("unequal", "unsupported"))):
        found = examine(prop, op, case)
        assert excused(prop, op, case, found) is found  # torch is right here
        with monkeypatch.context() as broken:
            broken.setattr("convverify.examine.TORCH", (wrong,))
            assert (found.kind.value, excused(prop, op, case, found).kind.value) == kinds
    op = Target(operators.torch_conv2d)
    right = examine(prop, op, case)
    assert excused(prop, op, case, right) is right


def test_what_holds_without_onednn_is_not_judged_in_half_precision_alone():
    def library_is_wrong(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        output = operators.torch_conv2d(input, weight, bias, stride, padding, dilation, groups)
        return output * 2 if torch.backends.mkldnn.enabled else output

    for prop, dtype, kind in (("low_precision_is_exact", "bfloat16", "unsupported"),
                              ("forward_equals_torch", "float32", "unequal")):  # fmt: skip
        case = ConvCase.parse(
            f"n1 c1->1 i3x3 k2x2 s1x1 p0x0 d1x1 g1 {dtype} cpu layout=contiguous values=integers seed=1"
        )
        op = Target(library_is_wrong)
        found = examine(named(prop), op, case)
        assert found.kind is Kind.UNEQUAL
        assert excused(named(prop), op, case, found).kind.value == kind
    assert torch.backends.mkldnn.enabled


def test_what_onednn_fails_at_random_is_not_judged_where_it_reads_what_nobody_wrote():
    calls: list[int] = []

    def library_fails_once(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        calls.append(1)
        output = operators.torch_conv2d(input, weight, bias, stride, padding, dilation, groups)
        return output * 2 if len(calls) == 1 else output

    prop = named("low_precision_is_exact")
    for size, kind in (("5x2", "unsupported"), ("5x4", "unequal")):  # one column, and two
        case = ConvCase.parse(
            f"n1 c1->1 i{size} k2x2 s3x2 p0x0 d1x1 g1 bfloat16 cpu layout=contiguous values=integers seed=1"
        )
        calls.clear()
        found = examine(prop, Target(library_fails_once), case)
        assert found.kind is Kind.UNEQUAL
        assert excused(prop, Target(library_fails_once), case, found).kind.value == kind


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"budget": "huge"}, ChoiceError, "budget 'huge' is not one of quick, standard, thorough"),
        ({"device": "tpu"}, ChoiceError, "device 'tpu' is not one of cpu, cuda, auto"),
        ({"domain": "round"}, DomainError, "domain part 'round' is none of"),
        ({"properties": ("forward_equals_torhc",)}, UnknownPropertyError, "did you mean forward_equals_torch"),
        ({"properties": "forward_equals_torch"}, ChoiceError, "must be a sequence of names, such as"),
        ({"shapes": "vgg"}, shapes.UnknownShapesError, "there are no shapes 'vgg'; there are lenet, resnet50"),
        ({"shapes": ("lenet",)}, ChoiceError, "shapes hold 'lenet', not a ConvGeometry; names are lenet, resnet50"),
        ({"shapes": (LINE_OF_PIXELS,)}, ChoiceError, r"input_size=\(5,\) must have 2 entries, as for conv2d"),
    ],
)
def test_what_cannot_be_carried_out_is_refused(options: dict[str, object], error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        verify(operators.torch_conv2d, **options)


@pytest.mark.parametrize(("what", "said"), [("name", "mine"), ("domain", "square")])
def test_what_a_target_says_itself_is_not_said_beside_it(what: str, said: str):
    with pytest.raises(ChoiceError, match=f"{what}='{said}' must be given to the Target operators:kernel_turned, not"):
        plan_of(Target(operators.kernel_turned), **{what: said})


def test_a_plan_takes_a_name_for_any_operator_and_that_of_a_network_for_its_layers():
    assert plan_of("torch:conv2d", name="mine").op.name == plan_of(torch.conv2d, name="mine").op.name == "mine"
    assert plan_of("torch:conv2d").op.name == "torch:conv2d"
    assert plan_of(torch.conv2d, shapes="lenet").shapes == shapes.SHAPES["lenet"]


@pytest.mark.parametrize("operator", [None, 7, "no colon", lambda x: x])
def test_what_is_no_operator_is_refused(operator: object):
    with pytest.raises(TargetError):
        verify(operator, "quick", properties=FORWARD)


@pytest.mark.skipif(torch.__version__.split("+")[0] != "2.13.0", reason="says how torch 2.13.0 fails")
def test_torch_ends_its_process_where_every_window_lies_in_the_padding():
    """When torch is mended this fails: then `Demand.takes` and the property need no exception for it."""
    result = outcome(operators.torch_conv2d, "windows_in_the_padding_give_the_bias")
    assert result.outcome is Outcome.KNOWN_FAILURE, result
    assert "as torch itself does, it ends its process (SIGSEGV)" in result.reason


@pytest.mark.skipif(torch.__version__.split("+")[0] != "2.13.0", reason="says how torch 2.13.0 fails")
def test_torch_is_wrong_without_a_batch_in_channels_last_and_groups():
    """When torch is mended this fails: then `examine.TORCH` need not hold its way sample by sample."""
    case = ConvCase.parse(
        "n1 c4->2 i4x5 k2x2 s1x1 p0x0 d1x1 g2 float64 cpu layout=input:channels_last,weight:channels_last "
        "values=integers seed=0"
    )
    by_sample = next(control for control in CONTROLS if control.name == "one_sample_at_a_time").make()
    for name, op in (("unbatched_input_is_right", operators.torch_conv2d), ("usual_layers_are_right", by_sample)):
        found = examine(named(name), Target(op), case)
        assert found.kind is Kind.UNEQUAL
        assert found.message.startswith("grad_weight")
        assert excused(named(name), Target(op), case, found).kind is Kind.KNOWN


@pytest.mark.skipif(torch.__version__.split("+")[0] != "2.13.0", reason="says how torch 2.13.0 fails")
def test_torch_refuses_the_strides_of_some_weights_when_it_is_asked_for_the_gradient():
    """When torch is mended this fails: then `examine.TORCHS_ERROR` is not needed."""
    def restrided(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        channels_last = weight.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        only_filter = channels_last.as_strided(weight.shape, (1, *channels_last.stride()[1:]))
        return operators.torch_conv2d(input, only_filter, bias, stride, padding, dilation, groups)

    case = ConvCase.parse(
        "n1 c2->1 i3x3 k2x2 s1x1 p0x0 d1x1 g1 float64 cpu layout=input:channels_last values=integers seed=0"
    )
    prop, op = named("gradients_equal_torch"), Target(restrided)
    found = examine(prop, op, case)
    assert found.kind is Kind.ERROR
    assert TORCHS_ERROR in found.message
    assert excused(prop, op, case, found).kind is Kind.UNSUPPORTED


def test_an_operator_that_torch_compiled_is_judged_by_its_results():
    control = next(control for control in CONTROLS if control.name == "unfold_and_matmul").make()
    case = "n1 c1->1 i3x3 k2x2 s1x1 p1x1 d1x1 g1 float64 cpu layout=contiguous values=integers seed=0"
    plan = plan_of(torch.compile(control, backend="aot_eager"), properties=["backward_accumulates"], case=case)
    assert [result.outcome for result in runner.execute(plan, runner.Counter())] == [Outcome.PASSED]


@pytest.mark.parametrize("seed", range(3))
def test_an_operator_of_numbers_is_asked_with_numbers_from_its_first_error_on(seed: int):
    def of_numbers(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        if not all(isinstance(option, int) for option in (stride, padding, dilation)):
            raise KeyError("a number is needed")
        return operators.torch_conv2d(input, weight, bias, stride, padding, dilation, groups)

    for name in ("forward_equals_definition", "every_size_is_right", "input_layout_is_irrelevant"):
        assert outcome(of_numbers, name, seed=seed).outcome is Outcome.PASSED


@pytest.mark.parametrize("name", ["forward_equals_definition", "every_operand_bit_counts", "calls_are_independent"])
def test_an_operator_of_pairs_that_needs_a_bias_is_asked_with_these(name: str):
    def of_pairs(input, weight, bias, stride, padding, dilation, groups):
        (height, width), (top, left), (down, right) = stride, padding, dilation
        output = operators.torch_conv2d(input, weight, None, (height, width), (top, left), (down, right), groups)
        return output + bias.view(-1, 1, 1)

    result = outcome(of_pairs, name)
    assert result.outcome is (Outcome.PASSED if name != "every_operand_bit_counts" else Outcome.UNSUPPORTED), result
