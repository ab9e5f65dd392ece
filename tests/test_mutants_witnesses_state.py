"""One witness a mutant, for the families that remember or leave the process changed."""

import contextlib
import io
import random
import threading
import warnings
from collections.abc import Callable
from typing import Any

import torch
from test_mutants_cases import Witness, torch_conv2d

ONE = torch.ones(1, 1, 1, 1)


def image(seed: int = 0, size: int = 4) -> Any:
    return torch.randn(1, 1, size, size, generator=torch.Generator().manual_seed(seed))


def wrong(op: Any, *tensors: Any, **options: Any) -> bool:
    return not torch.allclose(op(*tensors, **options), torch_conv2d(*tensors, **options))


def on_call(number: int) -> Witness:
    """Right until its n-th call."""
    return lambda op: [wrong(op, image(k), ONE) for k in range(number)] == [*[False] * (number - 1), True]


def sequence(*calls: tuple[Any, ...], **options: Any) -> Witness:
    """Right on the first calls, wrong on the last."""
    return lambda op: [wrong(op, *call, **options) for call in calls] == [*[False] * (len(calls) - 1), True]


def changed(change: Callable[[Any], Any]) -> Witness:
    """Wrong once the weight has been changed between two calls."""

    def witness(op: Any) -> bool:
        w = torch.ones(1, 1, 2, 2)
        before = wrong(op, x := image(), w)
        change(w)
        return not before and wrong(op, x, w)

    return witness


def _parameter_changed(op: Any) -> bool:
    w = torch.nn.Parameter(torch.ones(1, 1, 2, 2))
    with torch.no_grad():
        before = wrong(op, x := image(), w)
        w.mul_(2)
        return not before and wrong(op, x, w)


def _two_plans(op: Any) -> bool:
    x, w = image(size=5), torch.ones(1, 1, 2, 1)
    first = wrong(op, x, w, stride=(2, 2), dilation=(1, 1))
    return not first and wrong(op, x, w, stride=(2, 2), dilation=(2, 1))


def _refused_before(op: Any) -> bool:
    x, w, b = image(), torch.ones(1, 1, 2, 2), torch.ones(1)
    with contextlib.suppress(RuntimeError):
        op(x, torch.ones(1, 2, 2, 2), b)
    return wrong(op, x, w, b)


def _interleaved(op: Any) -> bool:
    x, w = image(size=5).requires_grad_(), torch.ones(1, 1, 2, 2)
    first = op(x, w, padding=1)
    op(x, w, padding=1, dilation=2, stride=2)
    try:
        (found,) = torch.autograd.grad(first.sum(), x)
    except RuntimeError:  # the other options do not fit
        return True
    return not torch.equal(found, torch.autograd.grad(torch_conv2d(x, w, padding=1).sum(), x)[0])


def _overwritten(op: Any) -> bool:
    first = op(image(1), ONE)
    kept = first.clone()
    op(image(2), ONE)
    return not torch.equal(first, kept)


def _slopes(op: Any, x: Any) -> Any:
    w = torch.ones(1, 1, 2, 2, requires_grad=True)
    return torch.autograd.grad(op(x, w).sum(), w)[0]


def _gradient_overwritten(op: Any) -> bool:
    first = _slopes(op, image(1))
    kept = first.clone()
    _slopes(op, image(2))
    return not torch.equal(first, kept)


def _two_forwards(op: Any) -> bool:
    w = torch.ones(1, 1, 2, 2, requires_grad=True)
    first = op(image(1), w)
    op(image(2), w)
    return not torch.allclose(torch.autograd.grad(first.sum(), w)[0], _slopes(torch_conv2d, image(1)))


def _backward_twice(op: Any) -> bool:
    x = image().requires_grad_()
    out = op(x, ONE).sum()
    grads = [torch.autograd.grad(out, x, retain_graph=True)[0] for _ in range(2)]
    return not torch.equal(*grads)


def _second_gradient(op: Any) -> bool:
    _slopes(op, image(1))
    return not torch.equal(_slopes(op, image(2)), _slopes(torch_conv2d, image(2)))


def _other_thread(op: Any) -> bool:
    found = [wrong(op, image(), ONE, torch.ones(1))]
    thread = threading.Thread(target=lambda: found.append(wrong(op, image(), ONE, torch.ones(1))))
    thread.start()
    thread.join()
    return found == [False, True]


def _two_threads(op: Any) -> bool:
    found = [wrong(op, image(), ONE)]
    torch.set_num_threads(2)
    found.append(wrong(op, image(), ONE))
    torch.set_num_threads(1)
    return found == [False, True]


def _interrupted(op: Any) -> bool:
    """A call during which another one is made, as another thread would: wrong, though both are right alone."""

    class Interrupting(torch.Tensor):
        def sum(self, *args: Any, **options: Any) -> Any:
            op(image(2), ONE)
            return super().sum(*args, **options)

    bias = torch.zeros(1)
    return not wrong(op, image(1), ONE, bias) and wrong(op, image(1), ONE, bias.as_subclass(Interrupting))


def refused(op: Any) -> None:
    with contextlib.suppress(RuntimeError):
        op(image(), torch.ones(1, 2, 1, 1))


def _after_refusal(op: Any) -> bool:
    refused(op)
    return wrong(op, image(), ONE) and not wrong(op, image(), ONE)


def _keeps_a_quiet_result(op: Any) -> bool:
    x = image().requires_grad_()
    with torch.no_grad():
        op(x, ONE)
    return not op(x, ONE).requires_grad


STATE: dict[str, Witness] = {
    "quiet_result_given_again": _keeps_a_quiet_result,
    "wrong_from_the_second_call": on_call(2),
    "wrong_from_the_fortieth_call": on_call(40),
    "wrong_after_three_hundred_calls": on_call(300),
    "first_call_cold": lambda op: wrong(op, image(), ONE) and not wrong(op, image(), ONE),
    "answers_cached_by_shape": sequence((image(1), ONE), (image(2), ONE)),
    "answers_cached_by_address": changed(lambda w: w.mul_(2)),
    "packed_weights_stale": changed(lambda w: w.mul_(2)),
    "parameters_packed_by_identity": _parameter_changed,
    "packed_weights_miss_data_writes": changed(lambda w: w.data.mul_(2)),
    "plan_kept_by_shape": _two_plans,
    "output_buffer_reused": _overwritten,
    "grad_buffer_reused": _gradient_overwritten,
    "backward_of_the_latest_call": _two_forwards,
    "second_backward_doubled": _backward_twice,
    "gradients_accumulate": _second_gradient,
    "other_threads_wrong": _other_thread,
    "bias_lost_after_a_refusal": _refused_before,
    "options_of_the_last_call": _interleaved,
    "wrong_on_two_threads": _two_threads,
    "workspace_shared_by_threads": _interrupted,
    "wrong_after_a_refusal": _after_refusal,
}


def leaves_changed(probe: Callable[[], Any], restore: Callable[[Any], Any], use: Any = None) -> Witness:
    """What `probe` reads is another after the call; it is then restored."""

    def witness(op: Any) -> bool:
        before = probe()
        (use or (lambda op: op(image(size=11), ONE)))(op)
        after = probe()
        restore(before)
        return bool(before != after)

    return witness


def _random_state() -> bytes:
    return bytes(torch.get_rng_state().numpy())


def _restore_random(state: bytes) -> None:
    torch.set_rng_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))


def _flushed() -> bool:
    return bool((torch.tensor([1e-310], dtype=torch.float64) * 1).item() == 0)


def _backward(op: Any) -> None:
    op(image().requires_grad_(), ONE).sum().backward()


def _prints(op: Any) -> bool:
    with contextlib.redirect_stdout(io.StringIO()) as written:
        op(image(), ONE)
    return bool(written.getvalue())


def _filters(op: Any) -> bool:
    with warnings.catch_warnings():
        warnings.resetwarnings()
        before = list(warnings.filters)
        op(image(), ONE)
        return before != warnings.filters


GRAD_MODE = (torch.is_grad_enabled, torch.set_grad_enabled)
PROCESS: dict[str, Witness] = {
    "consumes_random_numbers": leaves_changed(_random_state, _restore_random),
    "seeds_the_generator": leaves_changed(_random_state, _restore_random),
    "consumes_python_random_numbers": leaves_changed(random.getstate, random.setstate),
    "backward_consumes_random_numbers": leaves_changed(_random_state, _restore_random, _backward),
    "sets_default_dtype": leaves_changed(
        torch.get_default_dtype, torch.set_default_dtype, lambda op: op(image().double(), ONE.double())
    ),
    "sets_threads": leaves_changed(torch.get_num_threads, torch.set_num_threads),
    "leaves_gradients_off": leaves_changed(*GRAD_MODE),
    "sets_deterministic": leaves_changed(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms
    ),
    "flushes_denormals_for_large_inputs": leaves_changed(
        _flushed, torch.set_flush_denormal, use=lambda op: op(image(size=65), ONE)
    ),
    "flushes_denormals": leaves_changed(_flushed, torch.set_flush_denormal),
    "leaves_anomaly_detection_on": leaves_changed(
        torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly
    ),
    "silences_warnings": _filters,
    "ignores_all_warnings": _filters,
    "leaves_gradients_off_when_refusing": leaves_changed(*GRAD_MODE, refused),
    "leaves_default_dtype_when_refusing": leaves_changed(
        torch.get_default_dtype, torch.set_default_dtype, refused
    ),
}
TABLES = STATE | PROCESS
