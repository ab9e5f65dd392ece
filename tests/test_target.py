import functools
import sys
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch

from convverify.adapting import adapt
from convverify.answers import OperatorError, OperatorHang, Unsupported
from convverify.domain import Domain
from convverify.loading import load
from convverify.plan import plan_of
from convverify.target import PARAMETERS, Target, TargetError

torch_conv2d = torch.nn.functional.conv2d
X, K = torch.arange(9.0).view(1, 1, 3, 3), torch.arange(4.0).view(1, 1, 2, 2)


def conv(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    return torch_conv2d(input, weight, bias, stride, padding, dilation, groups)


def narrow(input, weight):
    return torch_conv2d(input, weight)


class OldStyle(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input, weight, bias):
        return torch_conv2d(input, weight, bias)


class NewStyle(torch.autograd.Function):
    @staticmethod
    def forward(input, weight):
        return torch_conv2d(input, weight)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)


def test_function_takes_what_its_signature_says():
    assert Target(conv).accepts == PARAMETERS
    assert Target(lambda x, w: None).accepts == ("input", "weight")
    assert Target(lambda x, w, b, s: None).accepts == ("input", "weight", "bias", "stride")
    assert Target(lambda *anything: None).accepts == PARAMETERS
    assert Target(lambda x, w, *, block=1: None).accepts == ("input", "weight")


def test_builtin_that_does_not_say_takes_everything():
    assert Target(torch.conv2d).accepts == PARAMETERS
    assert torch.equal(Target(torch.conv2d)(X, K), torch_conv2d(X, K))


def test_callable_object_and_bound_method_are_operators():
    class Holder:
        def __call__(self, input, weight):
            return torch_conv2d(input, weight)

        def method(self, input, weight, bias=None):
            return torch_conv2d(input, weight, bias)

    assert Target(Holder()).accepts == ("input", "weight")
    assert Target(Holder().method).accepts == ("input", "weight", "bias")
    assert torch.equal(Target(Holder())(X, K), torch_conv2d(X, K))


@pytest.mark.parametrize(("function", "accepts"), [(OldStyle, 3), (NewStyle, 2)])
def test_function_class_is_asked_what_its_forward_takes_without_the_context(function: type, accepts: int):
    target = Target(function)
    assert target.accepts == PARAMETERS[:accepts]
    assert torch.equal(target(X, K), torch_conv2d(X, K))
    assert not target.has_defaults


@pytest.mark.parametrize("bias", [None, torch.ones(2)])
def test_module_class_computes_with_the_given_parameters(bias: torch.Tensor | None):
    x, k = torch.arange(72.0).view(2, 4, 3, 3), torch.arange(16.0).view(2, 2, 2, 2)
    target = Target(torch.nn.Conv2d)
    assert target.module_class is torch.nn.Conv2d
    expected = torch_conv2d(x, k, bias, 2, 1, 1, 2)
    assert torch.equal(target(x, k, bias, 2, 1, 1, 2), expected)


def test_function_is_no_module_class():
    assert Target(conv).module_class is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.ones(1),), "it takes no bias"),
        ((None, 2), "it takes no stride"),
        ((None, (1, 2)), "it takes no stride"),
        ((None, 1, 1), "it takes no padding"),
        ((None, 1, "same"), "it takes no padding"),
        ((None, 1, 0, 2), "it takes no dilation"),
        ((None, 1, 0, 1, 2), "it takes no groups"),
    ],
)
def test_argument_that_the_operator_does_not_take_is_unsupported(arguments: tuple[object, ...], message: str):
    target = Target(narrow)
    with pytest.raises(Unsupported, match=message):
        target(X, K, *arguments)


@pytest.mark.parametrize("arguments", [(None, (1, 1), (0, 0), (1, 1), 1), (None, 1, 0, 1, 1), ()])
def test_default_arguments_are_left_away_for_a_narrow_operator(arguments: tuple[object, ...]):
    assert torch.equal(Target(narrow)(X, K, *arguments), torch_conv2d(X, K))


def raising(error: BaseException):
    def operator(input, weight):
        raise error

    return operator


def test_not_implemented_is_an_answer():
    with pytest.raises(Unsupported, match="NotImplementedError: no groups"):
        Target(raising(NotImplementedError("no groups\nand more")))(X, K)


@pytest.mark.parametrize(
    "error", [ValueError("square kernels only"), TypeError("no strings"), AssertionError("groups must be 1")]
)
def test_an_argument_refused_with_a_reason_is_an_answer(error: Exception):
    with pytest.raises(Unsupported, match=f"{type(error).__name__}: {error}"):
        Target(raising(error))(X, K)


def multiplied_by_a_wrong_matrix(input, weight):
    return numpy.ones((2, 3)) @ numpy.ones((2, 3))


def asserted_without_a_word(input, weight):
    raise AssertionError


@pytest.mark.parametrize(
    "operator", [lambda x, w: int("three"), lambda x, w: x.unknown(), lambda x, w: len(3),
                 multiplied_by_a_wrong_matrix, asserted_without_a_word],
)  # fmt: skip
def test_an_accident_inside_is_the_operators(operator):
    with pytest.raises(OperatorError):
        Target(operator)(X, K)


@pytest.mark.parametrize("error", [RuntimeError("odd"), SystemExit(3), GeneratorExit(), RecursionError("deep")])
def test_any_other_error_is_the_operators(error: BaseException):
    with pytest.raises(OperatorError, match=type(error).__name__):
        Target(raising(error))(X, K)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OperatorHang()])
def test_interrupt_and_hang_come_through(error: BaseException):
    with pytest.raises(type(error)):
        Target(raising(error))(X, K)


def test_names_and_domains():
    assert Target(conv).name == f"{__name__}:conv"
    assert Target(conv, "mine").name == "mine"
    assert Target(conv, domain="square").domain == Domain.parse("square")
    assert Target(conv, domain=Domain()).domain.declared is False


def test_defaults_are_seen():
    assert Target(conv).has_defaults
    assert Target(lambda x, w: None).has_defaults
    assert not Target(lambda x, w, b: None).has_defaults


@pytest.mark.parametrize("operator", [None, 3, "conv", X])
def test_what_cannot_be_called_is_refused(operator: object):
    with pytest.raises(TargetError, match="is not callable"):
        Target(operator)


@pytest.mark.parametrize("operator", [lambda: None, lambda x: None, lambda *, x, w: None])
def test_what_takes_less_than_input_and_weight_is_refused(operator: object):
    with pytest.raises(TargetError, match=r"\(input, weight\) is the least"):
        Target(operator)


def test_load_by_module_file_and_nested_name(tmp_path: Path):
    assert load("torch.nn.functional:conv2d").operator is torch.nn.functional.conv2d
    assert load("convverify:conv2d").name == "convverify:conv2d"
    file = tmp_path / "loaded_by_file.py"
    file.write_text("class Box:\n    @staticmethod\n    def conv(input, weight): return 'called'\n", encoding="utf-8")
    target = load(f"{file}:Box.conv", "square")
    assert target(X, K) == "called"
    assert target.domain.text == "square"


def test_load_finds_modules_of_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "local_module_of_a_test.py").write_text("def conv(input, weight): return 1\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert load("local_module_of_a_test:conv").accepts == ("input", "weight")


@pytest.mark.parametrize("spec", ["conv", "conv:", ":conv", "", "file.py"])
def test_load_refuses_what_names_no_attribute(spec: str):
    with pytest.raises(TargetError, match="must name a module or file and an attribute"):
        load(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("no_such_module_here:conv", "cannot be imported: No module named 'no_such_module_here'"),
        ("no_such_file.py:conv", "target file 'no_such_file.py' does not exist"),
        ("convverify.geometry:nothing", "has no attribute 'nothing'; it has .*ConvGeometry"),
        ("convverify.geometry:ConvGeometry.nothing", "has no attribute 'ConvGeometry.nothing'"),
        ("math:pi", "is a float, which is not callable"),
    ],
)
def test_load_refuses_with_the_reason(spec: str, message: str):
    with pytest.raises(TargetError, match=message):
        load(spec)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise RuntimeError('first\\nsecond')", "failed to import: RuntimeError: first$"),
        ("import sys; sys.exit(4)", "failed to import: SystemExit: 4"),
        ("import no_such_module_here", "cannot be imported: No module named"),
        ("1 +", "failed to import: SyntaxError"),
    ],
)
def test_load_refuses_a_file_that_does_not_import(tmp_path: Path, text: str, message: str):
    file = tmp_path / "does_not_import.py"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(TargetError, match=message):
        load(f"{file}:conv")


def test_a_partial_of_a_builtin_takes_what_precedes_the_fixed_argument():
    assert Target(functools.partial(torch.conv2d, padding=1)).accepts == ("input", "weight", "bias", "stride")


class Undemanding(torch.nn.Module):
    """A module whose constructor takes neither device nor dtype."""

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True):
        super().__init__()
        of = torch.nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        self.weight, self.bias, self.options = of.weight, of.bias, (stride, padding, dilation, groups)

    def forward(self, input):
        return torch_conv2d(input, self.weight, self.bias, *self.options)


def test_a_module_class_need_not_take_device_and_dtype():
    image, kernel = torch.ones(1, 1, 3, 3, dtype=torch.float64), torch.ones(1, 1, 2, 2, dtype=torch.float64)
    assert torch.equal(Target(Undemanding)(image, kernel), torch_conv2d(image, kernel))


class WithTable(torch.nn.Conv2d):
    """A module that makes a table when it is built."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.register_buffer("table", torch.arange(self.out_channels), persistent=False)

    def forward(self, input):
        return super().forward(input)[..., self.table, :, :]


def test_a_module_is_built_where_its_operands_are_and_draws_no_random_numbers_of_ours():
    image, kernel = torch.ones(1, 1, 3, 3, dtype=torch.float64), torch.ones(2, 1, 2, 2, dtype=torch.float64)
    before = torch.get_rng_state()
    assert torch.equal(Target(WithTable)(image, kernel), torch_conv2d(image, kernel))
    assert torch.equal(torch.get_rng_state(), before)


@torch.library.custom_op("convverify_tests::conv", mutates_args=())
def _registered(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None, s: list[int], p: list[int]) -> torch.Tensor:
    return torch.nn.functional.conv2d(x, w, b, s, p)


def test_a_custom_op_is_given_lists_where_its_schema_has_them():
    target = Target(_registered)
    assert target.accepts == ("input", "weight", "bias", "stride", "padding")
    assert not target.has_defaults
    x, w = torch.randn(1, 1, 4, 5), torch.randn(1, 1, 2, 2)
    assert torch.equal(target(x, w, None, 2, (1, 0)), torch.nn.functional.conv2d(x, w, None, 2, (1, 0)))


def test_want_of_memory_is_a_limit_not_a_fault():
    def hungry(input, weight):
        return torch.empty(2**60)

    def greedy(input, weight):
        raise MemoryError

    for operator in (hungry, greedy):
        with pytest.raises(Unsupported):
            Target(operator)(torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1))


class Around(torch.nn.Module):
    def __init__(self, *arguments, **options):
        super().__init__()
        self.inner = torch.nn.Conv2d(*arguments, **options)

    def forward(self, input):
        return self.inner(input)


class Normed(torch.nn.Conv2d):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        torch.nn.utils.parametrizations.weight_norm(self)


class WithoutBias(torch.nn.Conv2d):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.bias = None


def test_parameters_of_the_one_module_inside_are_found():
    assert torch.equal(Target(Around)(X, K, torch.ones(1)), torch_conv2d(X, K, torch.ones(1)))


def test_a_module_without_a_weight_cannot_be_asked():
    with pytest.raises(Unsupported, match=r"one must be called weight; it has .*parametrizations\.weight\.original0"):
        Target(Normed)(X, K)


def test_a_module_that_loses_its_bias_is_in_error():
    with pytest.raises(OperatorError, match="one must be called bias; it has weight"):
        Target(WithoutBias)(X, K, torch.ones(1))
    assert torch.equal(Target(WithoutBias)(X, K), torch_conv2d(X, K))


def of_one_number(input, weight, bias=None, stride=1, padding=0):
    height = (input.shape[2] + 2 * padding - weight.shape[2]) // stride + 1
    output = torch_conv2d(input, weight, bias, stride, padding)
    return output.reshape(*output.shape[:2], height, -1)


def of_numbers_in_the_backward(input, weight, bias=None, stride=1):
    class Conv(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, k):
            ctx.save_for_backward(x, k)
            return torch_conv2d(x, k, bias, stride)

        @staticmethod
        def backward(ctx, g):
            x, k = ctx.saved_tensors
            size = tuple((n - 1) * stride + k.shape[2] for n in g.shape[2:])
            return torch.nn.grad.conv2d_input((*x.shape[:2], *size), k, g, stride), None

    return Conv.apply(input, weight)


def of_pairs(input, weight, bias=None, stride=(1, 1)):
    height, width = stride
    return torch_conv2d(input, weight, bias, (height, width))


def nothing(input, weight, bias=None, stride=1):
    raise RuntimeError("never")


def of_needed_pairs(input, weight, bias, stride):
    return of_pairs(input, weight, bias, stride)


def of_a_needed_bias(input, weight, bias, stride=1):
    return torch_conv2d(input, weight, bias.clone(), stride)


def of_no_bias_at_all(input, weight, bias=None, stride=1):
    return torch_conv2d(input, weight, bias.clone(), stride)


def of_anything_but_groups(*arguments):
    if len(arguments) > 6:
        raise TypeError(f"takes 6 arguments, not {len(arguments)}")
    return torch_conv2d(*arguments)


@functools.wraps(torch_conv2d)
def wrapped_with_options_by_name(input, weight, **options):
    return torch_conv2d(input, weight, **options)


wrapped_with_options_by_name.__wrapped__ = conv


class FunctionOfNeededPairs(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input, weight, bias, stride):
        height, width = stride
        return of_pairs(input, weight, bias, (height, width))

    @staticmethod
    def backward(ctx, g):
        return None, None, None, None


@pytest.mark.parametrize(
    ("operator", "words", "accepts"),
    [
        (torch_conv2d, None, 7), (conv, None, 7), (narrow, None, 2), (nothing, None, 4),
        (of_one_number, {"isotropic"}, 5), (of_numbers_in_the_backward, {"isotropic"}, 4),
        (of_pairs, {"pairs"}, 4), (of_needed_pairs, {"pairs"}, 4), (FunctionOfNeededPairs, {"pairs"}, 4),
        (of_a_needed_bias, {"bias"}, 4),
        (of_no_bias_at_all, None, 4),  # its default says that it does without
        (of_anything_but_groups, set(), 6), (wrapped_with_options_by_name, set(), 7),
    ],
)  # fmt: skip
def test_an_operator_that_raises_is_called_as_it_works(operator: object, words: set[str] | None, accepts: int):
    op = Target(operator)
    before = op.domain.words
    assert adapt(op) is (words is not None)
    assert len(op.accepts) == accepts
    assert op.domain.words - before == (words or set())
    assert not adapt(op)


def test_how_an_operator_is_called_is_learnt_without_changing_the_callers_target():
    target = Target(of_pairs)
    plan = plan_of(target)
    assert adapt(plan.op)
    assert plan.op.domain.words == {"pairs"}
    assert target.domain.words == set()


def test_a_default_that_is_a_number_says_that_numbers_are_taken():
    def of_pairs_only(input, weight, bias=None, stride=1):
        return of_pairs(input, weight, bias, stride)

    assert not adapt(Target(of_pairs_only))


class WithoutDilation(torch.nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(out_channels, in_channels, *kernel_size))
        self.bias = torch.nn.Parameter(torch.zeros(out_channels))
        self.options = stride, padding

    def forward(self, input):
        return torch_conv2d(input, self.weight, self.bias, *self.options)


def test_a_module_is_asked_only_for_what_its_constructor_takes():
    target, bias = Target(WithoutDilation), torch.ones(len(K))
    assert torch.equal(target(X, K, bias, 1, 1), torch_conv2d(X, K, bias, 1, 1))
    with pytest.raises(Unsupported, match="its constructor takes no dilation"):
        target(X, K, bias, 1, 0, 2)
    with pytest.raises(Unsupported, match="its constructor takes no bias"):
        target(X, K)


@pytest.mark.parametrize(
    ("operator", "accepts"),
    [
        (lambda input, weight, bias=None, padding=0: None, ("input", "weight", "bias", "padding")),
        (lambda x, w, stride=1, padding=0, dilation=1: None, ("input", "weight", "stride", "padding", "dilation")),
        (lambda x, w, b, pad: None, ("input", "weight", "bias", "padding")),
        (lambda x, w, s=1, p=0, d=1, g=1: None, ("input", "weight", "stride", "padding", "dilation", "groups")),
        (lambda x, w, stride=1, block=32: None, ("input", "weight", "stride")),
        (lambda x, w, b, step, pad: None, PARAMETERS[:5]),  # not known, and so the fourth
        (lambda x, w, b, padding, stride: None, PARAMETERS[:5]),  # in another order than torch has
        (lambda x, w, bias=None, stride=1, padding=0, dilation=1, groups=1, block=32: None, PARAMETERS),
    ],
)
def test_names_say_which_options_are_left_out(operator: Callable[..., None], accepts: tuple[str, ...]):
    assert Target(operator).accepts == accepts


def test_options_that_are_left_out_are_not_given_and_must_be_at_their_defaults():
    def padded(input, weight, bias=None, padding=0):
        return torch.conv2d(input, weight, bias, 1, padding)

    x, k = torch.ones(1, 1, 4, 4), torch.ones(1, 1, 2, 2)
    assert torch.equal(Target(padded)(x, k, None, 1, 1), torch.conv2d(x, k, padding=1))
    with pytest.raises(Unsupported, match="it takes no stride"):
        Target(padded)(x, k, None, 2, 1)


def test_options_by_name_alone_are_given_by_name():
    def conv(input, weight, bias=None, *, padding=0, stride=1, groups=1):
        return torch.conv2d(input, weight, bias, stride, padding, 1, groups)

    op, x, k = Target(conv), torch.ones(1, 1, 5, 5), torch.ones(1, 1, 2, 2)
    assert op.accepts == ("input", "weight", "bias", "stride", "padding", "groups")
    expected = torch.conv2d(x, k, stride=2, padding=1)
    assert torch.equal(op(x, k, None, 2, 1), expected)
    assert torch.equal(op.call(x, k, stride=2, padding=1), expected)
    assert op.signature.spelled(list("abcdefg")) == "a, b, c, stride=d, padding=e, groups=g"


def test_what_a_partial_has_fixed_is_not_asked_for():
    def conv(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)

    accepts = ("input", "weight", "bias", "padding", "dilation", "groups")
    assert Target(functools.partial(conv, stride=1)).accepts == accepts


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("negative padding is not supported", Unsupported),
        ("'im2col' not implemented for 'Half'", Unsupported),
        ("Unsupported dtype", Unsupported),
        ("the derivative for 'aten::col2im' is not implemented", OperatorError),
        ("shapes do not match", OperatorError),
    ],
)
def test_a_runtime_error_is_a_refusal_where_it_says_so(message: str, kind: type[Exception]):
    def raising(input, weight):
        raise RuntimeError(message)

    with pytest.raises(kind, match=message):
        Target(raising)(X, K)


class SquareKernels(torch.nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True):
        super().__init__()
        self.options = stride, kernel_size // 2 if padding is None else padding, dilation, groups
        self.weight = torch.nn.Parameter(torch.ones(out_channels, in_channels // groups, *[kernel_size] * 2))
        self.bias = torch.nn.Parameter(torch.ones(out_channels)) if bias else None

    def forward(self, input):
        return torch_conv2d(input, self.weight, self.bias, *self.options)


def test_a_module_whose_kernel_is_one_number_is_asked_for_square_kernels():
    op, x, square = Target(SquareKernels), torch.ones(1, 1, 4, 4), torch.ones(1, 1, 2, 2)
    assert torch.equal(op(x, square), torch_conv2d(x, square))
    with pytest.raises(Unsupported, match="takes no kernel of unequal sizes"):
        op(x, torch.ones(1, 1, 1, 2))


@pytest.mark.parametrize(
    ("message", "answer"),
    [("input must be float32, got float64", Unsupported), ("out of order", OperatorError)],
)
def test_a_runtime_error_that_states_a_restriction_is_a_refusal(message: str, answer: type):
    def operator(input, weight):
        raise RuntimeError(message)

    with pytest.raises(answer, match=message):
        Target(operator)(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 2, 2))


def test_what_torch_says_of_a_restriction_is_an_accident():
    def operator(input, weight):
        return torch.conv2d(input, weight[0])

    with pytest.raises(OperatorError, match="xpected"):
        Target(operator)(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 2, 2))
