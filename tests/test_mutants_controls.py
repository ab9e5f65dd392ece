"""Every control is right wherever it answers."""

from typing import Any

import pytest
import torch
from test_mutants_cases import GENERAL, ORDINARY, derivatives, operands, same, torch_conv2d

from convverify.mutants import CONTROLS
from convverify.mutants.base import Control
from convverify.target import Target

pytestmark = pytest.mark.filterwarnings("ignore")
CASES = (
    *ORDINARY,
    GENERAL,
    "n2 c3->3 i7x7 k3x3 s1x1 p1x1 d1x1 g1",
    "n2 c4->4 i6x5 k2x4 s1x1 psame d1x1 g2",
    "n2 c3->6 i5x7 k2x3 s1x1 p1x1 d2x2 g3",
    "n1 c2->2 i4x5 k1x2 s3x3 p2x2 d1x1 g1",
    "n0 c2->2 i4x5 k2x2 s1x1 p0x0 d1x1 g1",
)
REFUSED: tuple[tuple[list[tuple[int, ...]], dict[str, Any]], ...] = (
    ([(1, 3, 4, 4), (2, 2, 2, 2)], {}),
    ([(1, 3, 4, 4), (2, 1, 2, 2)], {"groups": 2}),
    ([(1, 2, 4, 4), (2, 2, 5, 2)], {}),
    ([(1, 2, 4, 4), (2, 2, 2, 2), (1,)], {}),
    ([(1, 2, 4, 4), (2, 2, 2, 2)], {"padding": -1}),
    ([(1, 2, 4, 4), (2, 2, 2, 2)], {"stride": 0}),
    ([(1, 2, 4, 4), (2, 2, 2, 2)], {"padding": "same", "stride": 2}),
)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def _operator(control: Control) -> Any:
    """The control; a module class as the function that it is asked as."""
    op: Any = control.make()
    return Target(op).call if issubclass(op if isinstance(op, type) else object, torch.nn.Module) else op


def _answers(control: Control, tensors: list[Any], options: Any, order: int) -> bool:
    """Whether the control answers at all; if so it must be right."""
    op: Any = _operator(control)
    if control.name == "once_differentiable" and order > 1:
        return False
    if isinstance(op, type):  # an autograd.Function of input and weight, of a narrow domain
        if options["groups"] > 1 or tensors[1].shape[2] != tensors[1].shape[3] or len(tensors) > 2:
            return False
        if {*options["stride"], *options["dilation"]} != {1} or options["padding"] != (0, 0):
            return False
        function, op = op, lambda x, w, **_: function.apply(x, w)
    try:
        actual = derivatives(op, tensors, options, order)
    except NotImplementedError:
        return False
    assert same(actual, derivatives(torch_conv2d, tensors, options, order))
    return True


@pytest.mark.parametrize("control", CONTROLS, ids=lambda c: c.name)
def test_control_is_right_to_second_order(control: Control):
    answered = 0
    for text in CASES:
        for bias in (False, True):
            for dtype in (torch.float64, torch.float32):
                for order in (0, 1, 2) if dtype == torch.float64 else (0, 1):
                    tensors, options = operands(text, bias=bias, dtype=dtype)
                    answered += _answers(control, tensors, options, order)
    assert answered


@pytest.mark.parametrize("control", CONTROLS, ids=lambda c: c.name)
def test_control_refuses_what_torch_refuses(control: Control):
    op = _operator(control)
    if isinstance(op, type):
        return
    for shapes, options in REFUSED:
        with pytest.raises((RuntimeError, ValueError, NotImplementedError)):
            op(*(torch.ones(s) for s in shapes), **options)


@pytest.mark.parametrize("control", CONTROLS, ids=lambda c: c.name)
def test_control_takes_an_image_without_batch(control: Control):
    op: Any = _operator(control)
    if isinstance(op, type) or control.name == "batched_only":
        pytest.skip("takes batches only")
    x, w = torch.randn(2, 5, 5), torch.randn(3, 2, 3, 3)
    torch.testing.assert_close(
        op(x, w, torch.ones(3)), torch_conv2d(x, w, torch.ones(3)), rtol=1e-4, atol=1e-4
    )


def _jvp(op: Any, x: Any, w: Any, b: Any) -> Any:
    return torch.func.jvp(op, (x, w, b), (w.sum() * x, x.sum() * w, b))[1]


def _vmap(op: Any, x: Any, w: Any, b: Any) -> Any:
    return torch.func.vmap(op, (1, None, None))(torch.stack([x, -x], 1), w, b)


def _per_sample(op: Any, x: Any, w: Any, b: Any) -> Any:
    slope = torch.func.grad(lambda w, x: op(x[None], w, b).square().sum())
    return torch.func.vmap(slope, (None, 0))(w, x)


def _inference(op: Any, *tensors: Any) -> Any:
    with torch.inference_mode():
        return op(*tensors).clone()


def _channels_last(op: Any, x: Any, w: Any, b: Any) -> Any:
    return op(x.contiguous(memory_format=torch.channels_last), w.mT.contiguous().mT, b)


def _meta(op: Any, *tensors: Any) -> Any:
    out = op(*(t.to("meta") for t in tensors))
    return torch.zeros(out.shape, dtype=out.dtype)


def _autocast(op: Any, *tensors: Any) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        return op(*(t.float() for t in tensors))


WAYS = (_jvp, _vmap, _per_sample, _inference, _channels_last, _meta, _autocast)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__[1:])
@pytest.mark.parametrize("control", CONTROLS, ids=lambda c: c.name)
def test_control_is_right_in_other_ways_of_calling_or_refuses(control: Control, way: Any):
    if control.name == "library_custom_op" and way is _jvp:
        pytest.skip("torch itself drops tangents, without a word, at every op of torch.library")
    op: Any = _operator(control)
    if isinstance(op, type):
        pytest.skip("an autograd.Function of two arguments")
    tensors, _ = operands("n2 c2->3 i6x5 k3x3 s1x1 p0x0 d1x1 g1")
    try:
        actual = way(op, *tensors)
    except (NotImplementedError, RuntimeError) as error:
        pytest.skip(str(error))
    assert same([actual], [way(torch_conv2d, *tensors)])
