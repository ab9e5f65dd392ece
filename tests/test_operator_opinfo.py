"""torch's own samples and error inputs, run against our convolutions."""

from __future__ import annotations

import itertools
import warnings

import pytest
import torch
from torch.autograd import forward_ad
from torch.nn import functional as F

from convverify import operator as ours

pytest.importorskip("expecttest", reason="torch.testing._internal needs it")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db

torch.set_num_threads(1)
pytestmark = [
    # Both are torch's own: of its forward mode at first use, and of its 'same' padding.
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning"),
]
NAMES = ("conv1d", "conv2d", "conv3d", "conv_transpose2d")
OPS = {op.name.rpartition(".")[2]: op for op in op_db if op.name in {f"nn.functional.{n}" for n in NAMES}}
PAIRS = [(n, dtype) for n in NAMES for dtype in sorted(OPS[n].supported_dtypes("cpu"), key=str)]
DIFFERENTIABLE = [pair for pair in PAIRS if pair[1].is_floating_point or pair[1].is_complex]
SECOND = [(n, dtype) for n in NAMES for dtype in (torch.float64, torch.complex128)]
TOLERANCES = {
    torch.float32: {"atol": 2e-4, "rtol": 1e-4},
    torch.complex64: {"atol": 2e-4, "rtol": 1e-4},
}
HALVES = (torch.float16, torch.bfloat16)


def samples(name, dtype, requires_grad=False):
    for sample in OPS[name].sample_inputs("cpu", dtype, requires_grad=requires_grad):
        yield (sample.input, *sample.args), sample.kwargs


def both(name):
    return getattr(ours, name), getattr(F, name)


def close(actual, expected, dtype):
    """Equal but for rounding: halves are summed in float32, and so are near what float64 gives."""
    if dtype not in HALVES:
        torch.testing.assert_close(actual, expected, **TOLERANCES.get(dtype, {}))
        return
    for one, other in zip(as_tuple(actual), as_tuple(expected), strict=True):
        assert one.dtype == dtype
        unit = torch.finfo(dtype).eps * max(1.0, other.abs().max().item() if other.numel() else 0.0)
        torch.testing.assert_close(one.double(), other.double(), atol=2 * unit, rtol=0)


def as_tuple(tensors):
    return (tensors,) if isinstance(tensors, torch.Tensor) else tensors


def judged(function, arguments, dtype):
    """Torch's own halves are summed in halves in places: its float64 judges them."""
    if function.__module__.startswith("convverify") or dtype not in HALVES:
        return arguments
    return tuple(
        a.detach().double().requires_grad_(a.requires_grad) if isinstance(a, torch.Tensor) else a
        for a in arguments
    )


def leaves(arguments):
    return [a for a in arguments if isinstance(a, torch.Tensor) and a.requires_grad]


@pytest.mark.parametrize(("name", "dtype"), PAIRS, ids=str)
def test_output(name, dtype):
    actual, expected = both(name)
    seen = 0
    for arguments, keywords in samples(name, dtype):
        result, reference = actual(*arguments, **keywords), expected(*arguments, **keywords)
        close(result, expected(*judged(expected, arguments, dtype), **keywords), dtype)
        assert result.stride() == reference.stride()
        seen += 1
    assert seen > 3


@pytest.mark.parametrize(("name", "dtype"), DIFFERENTIABLE, ids=str)
def test_gradients(name, dtype):
    for arguments, keywords in samples(name, dtype, requires_grad=True):
        grads = []
        for function in both(name):
            own = judged(function, arguments, dtype)
            output = function(*own, **keywords)
            cotangent = torch.linspace(-1, 1, output.numel()).to(dtype).view(output.shape).to(output.dtype)
            grads.append(torch.autograd.grad(output, leaves(own), cotangent))
        close(*grads, dtype)


@pytest.mark.parametrize(("name", "dtype"), DIFFERENTIABLE, ids=str)
def test_forward_mode(name, dtype):
    for arguments, keywords in samples(name, dtype, requires_grad=True):
        tangents = [torch.rand_like(a) if isinstance(a, torch.Tensor) else None for a in arguments]
        found = []
        for function in both(name):
            with forward_ad.dual_level():
                duals = [
                    a if t is None else forward_ad.make_dual(a.detach(), t)
                    for a, t in zip(
                        judged(function, arguments, dtype), judged(function, tangents, dtype), strict=True
                    )
                ]
                found.append(forward_ad.unpack_dual(function(*duals, **keywords)).tangent)
        close(*found, dtype)


@pytest.mark.parametrize(("name", "dtype"), SECOND, ids=str)
def test_second_order(name, dtype):
    for arguments, keywords in itertools.islice(samples(name, dtype, requires_grad=True), 12):
        found = []
        for function in both(name):
            inputs = leaves(arguments)
            output = function(*arguments, **keywords)
            g = torch.linspace(-1, 1, output.numel()).to(dtype).view(output.shape).requires_grad_()
            first = torch.autograd.grad(output, inputs, g, create_graph=True)
            weighted = sum((grad * grad.detach().cos()).sum().abs() for grad in first)
            found.append(torch.autograd.grad(weighted, [*inputs, g], allow_unused=True))
        for actual, expected in zip(*found, strict=True):
            zero = torch.zeros(())
            torch.testing.assert_close(
                zero if actual is None else actual, zero if expected is None else expected,
                check_dtype=False,
            )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_errors(name):
    op = OPS[name]
    if op.error_inputs_func is None:
        pytest.skip(f"torch lists no error inputs for {name}")
    actual, expected = both(name)
    for error in op.error_inputs("cpu"):
        sample = error.sample_input
        with pytest.raises(error.error_type):
            expected(sample.input, *sample.args, **sample.kwargs)
        with pytest.raises((error.error_type, ValueError, RuntimeError)):
            actual(sample.input, *sample.args, **sample.kwargs)


@pytest.mark.parametrize("name", NAMES)
def test_gradcheck(name):
    for arguments, keywords in itertools.islice(samples(name, torch.float64, requires_grad=True), 5):

        def call(*tensors, keywords=keywords, rest=arguments):  # fmt: skip
            own = iter(tensors)
            return getattr(ours, name)(
                *(next(own) if isinstance(a, torch.Tensor) else a for a in rest), **keywords
            )

        tensors = [a for a in arguments if isinstance(a, torch.Tensor)]
        torch.autograd.gradcheck(call, tensors, fast_mode=True, check_forward_ad=True)
        torch.autograd.gradgradcheck(
            call, tensors, fast_mode=True, check_fwd_over_rev=True, check_rev_over_rev=True
        )
