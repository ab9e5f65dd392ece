"""Other ways to check a convolution, each as it is commonly used.

A peer gets the operator under test and yields trials; a trial raises where the operator is not as the peer
expects. Torch's functions are looked up when a trial runs: an operator that replaces them misleads the
peer as it would mislead its user.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from convverify.answers import Unsupported
from convverify.case import ConvCase
from convverify.geometry import ConvGeometry, GeometryError
from convverify.target import Target

Trial = Callable[[], object]
Trials = Iterator[Trial]
Peer = Callable[[Target], Trials]
_OPTIONS = ("stride", "padding", "dilation", "groups")
_DEFAULTS = {"stride": 1, "padding": 0, "dilation": 1}
NAMESPACE = "convverify_benchmark"
# Three ordinary geometries, small enough for a Jacobian by finite differences.
SMALL = (
    "n2 c3->4 i5x5 k3x3 s1x1 p1x1 d1x1 g1",
    "n2 c2->3 i6x5 k3x2 s2x1 p1x0 d1x1 g1",
    "n1 c4->4 i6x6 k2x2 s1x1 p0x0 d2x2 g2",
)
# As KernelBench's level 1 has them (square, uneven with dilation, depthwise), scaled down to a CPU.
LAYERS = (
    "n4 c3->16 i32x32 k3x3 s1x1 p0x0 d1x1 g1",
    "n4 c8->8 i24x32 k3x5 s2x1 p1x2 d2x1 g1",
    "n4 c8->8 i32x32 k3x3 s1x1 p0x0 d1x1 g8",
)


@dataclass(frozen=True)
class Answer:
    """What a verifier said of an operator: accepted, rejected, unsupported (nothing was checked) or lost."""

    verdict: str
    why: str = ""


def judged(trials: Trials) -> Answer:
    """The answer of a peer, which stops at the first trial that fails; a refusal of the operator is none."""
    passed, refusals = 0, []
    for trial in trials:
        try:
            trial()
            passed += 1
        except Exception as error:
            if not _is_refusal(error):
                return Answer("rejected", _one_line(error))
            refusals.append(_one_line(error))
    if passed:
        return Answer("accepted", f"{passed} trials, {len(refusals)} refused")
    return Answer("unsupported", refusals[0] if refusals else "it does not apply")


def gradcheck_slow(op: Target) -> Trials:
    """`torch.autograd.gradcheck` with its defaults, in float64."""
    return (partial(gradcheck, *_differentiable(op, case)) for case in _cases(op, SMALL, "float64"))


def gradcheck_fast(op: Target) -> Trials:
    """`torch.autograd.gradcheck(fast_mode=True)`, which compares one random projection of the Jacobian."""
    cases = _cases(op, SMALL, "float64")
    return (partial(gradcheck, *_differentiable(op, case), fast_mode=True) for case in cases)


def gradcheck_twice(op: Target) -> Trials:
    """`torch.autograd.gradcheck` and then `gradgradcheck`, with their defaults, in float64."""
    for case in _cases(op, SMALL, "float64"):
        yield partial(gradcheck, *_differentiable(op, case))
        yield partial(_check_twice, op, case)


def opinfo(op: Target) -> Trials:
    """Torch's own samples and error inputs of conv2d, from `common_methods_invocations.op_db`.

    Output and gradients are compared with torch's by `assert_close` with its defaults in float64 and
    float32, and gradients by gradcheck in fast mode, as torch's tests do by default. An error input must be
    refused; those are asked of operators only that claim all that torch does.
    """
    from torch.testing._internal.common_methods_invocations import op_db  # noqa: PLC0415 - takes seconds

    info = next(entry for entry in op_db if entry.name == "nn.functional.conv2d")
    for dtype in (torch.float64, torch.float32):
        for sample in info.sample_inputs("cpu", dtype, requires_grad=True):
            arguments = (sample.input, *sample.args)
            if _claimed(op, arguments, sample.kwargs):
                yield partial(_compare_with_torch, op, arguments, sample.kwargs)
                if dtype == torch.float64:
                    yield partial(_check_sample, op, arguments, sample.kwargs)
    for error in info.error_inputs("cpu") if not op.domain.declared else ():
        sample = error.sample_input
        yield partial(_must_refuse, op, (sample.input, *sample.args), sample.kwargs)


def opcheck_registered(op: Target) -> Trials:
    """`torch.library.opcheck` on each op outside aten that the operator calls, with the arguments it gets.

    It applies to operators that are built on ops registered with torch, and to no others.
    """
    return (partial(_opcheck_called, op, case) for case in _cases(op, SMALL, "float32"))


def opcheck_wrapped(op: Target) -> Trials:
    """`torch.library.opcheck` on the operator registered for the purpose, as a composite of torch's ops.

    Traced with static shapes: operators that were never registered need not stand symbolic ones.
    """
    tests = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_static")
    bias = "Tensor bias, " if "bias" in op.accepts else ""
    with torch.library._scoped_library(NAMESPACE, "FRAGMENT") as library:
        options = "SymInt[] stride, SymInt[] padding, SymInt[] dilation, SymInt groups"
        library.define(f"conv2d(Tensor input, Tensor weight, {bias}{options}) -> Tensor")
        library.impl("conv2d", _in_order(op), "CompositeImplicitAutograd")
        registered = torch.ops.convverify_benchmark.conv2d.default
        for case in _cases(op, SMALL, "float32"):
            _, inputs = _differentiable(op, case)
            arguments = (*inputs, *map(list, _options(case)[:3]), case.geometry.groups)
            yield partial(torch.library.opcheck, registered, arguments, test_utils=tests)


def kernelbench(trials: int, tolerance: float) -> Peer:
    """KernelBench's rule (Ouyang et al. 2025, `src/kernelbench/eval.py`, `run_and_check_correctness`).

    Random normal float32 inputs, no gradients; equal shapes and `torch.allclose` with `atol` and `rtol` of
    1e-2 in its first versions and 1e-4 since; one trial or five, each with a seed of its own.
    """

    def peer(op: Target) -> Trials:
        for case in _cases(op, LAYERS, "float32"):
            for seed in range(trials):
                yield partial(_close_enough, op, case, seed, tolerance)

    return peer


PEERS: dict[str, Peer] = {
    "gradcheck slow": gradcheck_slow,
    "gradcheck fast": gradcheck_fast,
    "gradcheck + gradgradcheck": gradcheck_twice,
    "OpInfo": opinfo,
    "opcheck": opcheck_registered,
    "opcheck, wrapped": opcheck_wrapped,
    "KernelBench 1e-2 x1": kernelbench(1, 1e-2),
    "KernelBench 1e-2 x5": kernelbench(5, 1e-2),
    "KernelBench 1e-4 x1": kernelbench(1, 1e-4),
    "KernelBench 1e-4 x5": kernelbench(5, 1e-4),
}


class _Recorder(TorchDispatchMode):
    """Notes calls of ops that are not torch's own."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace not in ("aten", "prim", "prims", "profiler", "_c10d_functional"):
            leaves = tuple(_leaf(a) if isinstance(a, Tensor) else a for a in args)
            self.calls.append((func, leaves, dict(kwargs or {})))
        return func(*args, **(kwargs or {}))


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_(tensor.is_floating_point())


def _cases(op: Target, lines: tuple[str, ...], dtype: str) -> list[ConvCase]:
    """The geometries as cases, each moved into the operator's domain where it lies outside."""
    bias = "bias" in op.accepts
    fitted = (op.domain.fit(ConvCase(ConvGeometry.parse(line), bias, dtype)) for line in lines)
    return list(dict.fromkeys(case for case in fitted if case is not None))


def _tensors(case: ConvCase, seed: int = 0) -> list[Tensor]:
    """Random normal input, weight and, where there is one, bias."""
    g, draw = case.geometry, torch.Generator().manual_seed(seed)
    shapes = (g.input_shape, g.weight_shape) + (((g.out_channels,),) if case.bias else ())
    return [torch.randn(shape, dtype=case.torch_dtype, generator=draw) for shape in shapes]


def _options(case: ConvCase) -> tuple[Any, ...]:
    g = case.geometry
    return g.stride, g.padding, g.dilation, g.groups


def _call(op: Target, tensors: Any, options: Any) -> Any:
    """Call the operator with torch's full signature."""
    bias = tensors[2] if len(tensors) > 2 else None
    return _as_used(op)(tensors[0], tensors[1], bias, **dict(zip(_OPTIONS, options, strict=True)))


def _as_used(op: Target) -> Callable[..., Any]:
    """The operator itself, if it takes torch's options by name as users write them; else the target adapts."""
    if isinstance(op.operator, type):
        return op
    try:
        inspect.signature(op.operator).bind(None, None, None, **dict.fromkeys(_OPTIONS))
    except TypeError:
        return op
    function: Callable[..., Any] = op.operator
    return function


def _in_order(op: Target) -> Callable[..., Any]:
    """The operator as a function of its tensors and then its options."""

    def conv2d(*arguments: Any) -> Any:
        options = (tuple(o) if isinstance(o, list) else o for o in arguments[-4:])
        return _call(op, arguments[:-4], tuple(options))

    return conv2d


def _differentiable(op: Target, case: ConvCase) -> tuple[Callable[..., Any], list[Tensor]]:
    """The operator as a function of its tensors, and tensors that require gradients."""
    options = _options(case)
    return lambda *tensors: _call(op, tensors, options), [t.requires_grad_() for t in _tensors(case)]


def _claimed(op: Target, arguments: tuple[Any, ...], named: dict[str, Any]) -> bool:
    """Whether a sample lies in the operator's declared domain."""
    tensors = [a for a in arguments if a is not None]
    if not op.domain.declared:
        return True
    if tensors[0].dim() != 4:
        return False
    pairs = {name: _pair(named.get(name, default)) for name, default in _DEFAULTS.items()}
    x, w, dtype = tensors[0], tensors[1], str(tensors[0].dtype).removeprefix("torch.")
    sizes = (x.shape[0], x.shape[1], w.shape[0], tuple(x.shape[2:]), tuple(w.shape[2:]))
    try:
        geometry = ConvGeometry(*sizes, **pairs, groups=named.get("groups", 1))
    except GeometryError:
        return False
    return op.domain.allows(ConvCase(geometry, len(tensors) > 2, dtype))


def _pair(size: Any) -> Any:
    return (size, size) if isinstance(size, int) else size


def _compare_with_torch(op: Target, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    """Output and gradients against torch's."""
    leaves = [a for a in arguments if a is not None]
    results = []
    for function in (_as_used(op), F.conv2d):
        output = function(*arguments, **named)
        cotangent = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).reshape(output.shape)
        try:
            results.append((output, *torch.autograd.grad(output, leaves, cotangent)))
        except NotImplementedError:
            results.append((output,))
    assert_close(*(result[: min(map(len, results))] for result in results))


def _check_twice(op: Target, case: ConvCase) -> None:
    """Gradgradcheck, unless the operator says that it can be differentiated only once.

    What `once_differentiable` marks says so in `backward()`, while `autograd.grad` takes it for constant.
    """
    function, inputs = _differentiable(op, case)
    grads = torch.autograd.grad(function(*inputs).square().sum(), inputs, create_graph=True)
    torch.stack([grad.sum() for grad in grads]).sum().backward()
    gradgradcheck(*_differentiable(op, case))


def _opcheck_called(op: Target, case: ConvCase) -> None:
    function, inputs = _differentiable(op, case)
    with _Recorder() as recorder:
        function(*inputs)
    if not recorder.calls:
        raise Unsupported("it calls no op that is registered with torch")
    for called, arguments, named in recorder.calls:
        torch.library.opcheck(called, arguments, named)


def _check_sample(op: Target, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    leaves = [a for a in arguments if a is not None]
    gradcheck(lambda *tensors: _as_used(op)(*tensors, **named), leaves, fast_mode=True)


def _must_refuse(op: Target, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    try:
        _as_used(op)(*arguments, **named)
    except Exception:
        return
    raise AssertionError(f"{named} on {[list(a.shape) for a in arguments]} was computed, not refused")


def _close_enough(op: Target, case: ConvCase, seed: int, tolerance: float) -> None:
    tensors, options = _tensors(case, seed), _options(case)
    with torch.no_grad():
        expected = F.conv2d(tensors[0], tensors[1], tensors[2] if case.bias else None, *options)
        actual = _call(op, tensors, options)
    assert actual.shape == expected.shape, f"shape {list(actual.shape)} must be {list(expected.shape)}"
    assert torch.allclose(expected, actual, atol=tolerance, rtol=tolerance), "the outputs differ"


def _is_refusal(error: BaseException | None) -> bool:
    """Whether the operator said that it does not do this, perhaps wrapped by the peer."""
    while error is not None:
        said_once = "marked with @once_differentiable" in str(error)
        if isinstance(error, NotImplementedError | Unsupported) or said_once:
            return True
        error = error.__cause__
    return False


def _one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__
