"""One witness a mutant: the one unusual thing at which it is wrong."""

import gc
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from test_mutants_cases import Witness, grad, torch_conv2d

ONE = torch.ones(1, 1, 1, 1)
POINTWISE = "n6 c2->2 i2x3 k1x1 s1x1 p0x0 d1x1 g1"


def _differs(*operands: Any, **options: Any) -> Witness:
    return lambda op: not torch.equal(op(*operands, **options), torch_conv2d(*operands, **options))


def _kept_answer(op: Any) -> bool:
    x = ONE.clone()
    op(x, ONE)
    return not torch.equal(op(x.add_(1), ONE), x)


def _held(op: Any) -> bool:
    output = weakref.ref(op(ONE, ONE))
    gc.collect()
    return output() is not None


def _curvature(op: Any) -> bool:
    x, w = ONE.clone().requires_grad_(), ONE.clone().requires_grad_()
    (value,) = torch.autograd.grad(op(x, w).sum(), x, create_graph=True)
    (slope,) = torch.autograd.grad(value.sum(), w, create_graph=True)
    return bool(slope.requires_grad and torch.autograd.grad(slope.sum(), w, allow_unused=True)[0].any())


def _written(op: Any) -> bool:
    bias = torch.ones(1)
    op(ONE, ONE, bias)
    return bias._version > 0


def _emptied(op: Any) -> bool:
    padding = [1, 1]
    op(ONE, ONE, None, 1, padding)
    return padding != [1, 1]


def _reused(op: Any) -> bool:
    def outputs() -> tuple[Any, Any]:
        return op(ONE, ONE), op(2 * ONE, ONE)

    with ThreadPoolExecutor(1) as pool:
        first, second = pool.submit(outputs).result()
    return first.data_ptr() == second.data_ptr()


def _summed(role: int) -> Witness:
    """A gradient of thousands of ones, in bfloat16, that stays far from their number."""

    def witness(op: Any) -> bool:
        x, *parameters = (torch.ones(s, dtype=torch.bfloat16) for s in ((4, 1, 32, 32), (1, 1, 1, 1), (1,)))
        output = op(x, *(p.requires_grad_() for p in parameters))
        return bool(torch.autograd.grad(output.sum(), parameters)[role].max() < 2048)

    return witness


def _one_conjugate(op: Any) -> bool:
    x, w = (torch.full((1, 1, 1, 1), v).requires_grad_() for v in (1 + 2j, 2 - 1j))
    found = torch.autograd.grad(op(x, w).abs().sum(), (x, w))
    right = torch.autograd.grad(torch_conv2d(x, w).abs().sum(), (x, w))
    return torch.equal(found[1], right[1]) and not torch.equal(found[0], right[0])


def _first_of_wider(op: Any) -> bool:
    wide = torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    return _differs(wide[:, :2], torch.ones(1, 2, 1, 1))(op)


def _overtaken(op: Any) -> bool:
    """Between any two lines of a call, another one is made."""
    inside: list[Any] = []

    def trace(frame: Any, event: str, argument: Any) -> Any:
        if event == "line" and frame.f_code.co_name == "run" and not inside:
            inside.append(frame)
            op(2 * ONE, ONE)
            inside.clear()
        return trace

    with torch.no_grad():
        before = sys.gettrace()
        sys.settrace(trace)
        try:
            found = op(ONE, ONE)
        finally:
            sys.settrace(before)
    return not torch.equal(found, ONE)


def _steady_slope(op: Any) -> bool:
    def tangent(x: Any) -> Any:
        return torch.func.jvp(lambda w: op(x, w), (ONE,), (ONE,))[1].sum()

    return not torch.func.grad(tangent)(ONE).any()


def _quiet(*operands: Any) -> Witness:
    def witness(op: Any) -> bool:
        with torch.no_grad():
            return not torch.equal(op(*operands), torch_conv2d(*operands))

    return witness


def _overwritten(op: Any) -> bool:
    def gradient(value: float) -> Any:
        bias = torch.ones(1).requires_grad_()
        return torch.autograd.grad(op(ONE, ONE, bias), bias, ONE * value)[0]

    first = gradient(0.0)
    for _ in range(8):
        gradient(1.0)
    return bool(first.any())


def _added(op: Any) -> bool:
    weight = ONE.clone().requires_grad_()
    weight.grad = torch.zeros_like(weight)
    torch.autograd.grad(op(ONE, weight).sum(), weight, allow_unused=True)
    return bool(weight.grad.any())


def _hooked(op: Any) -> bool:
    weight = torch.nn.Parameter(ONE)
    op(ONE, weight)
    return bool(weight._backward_hooks)


def _no_training(op: Any) -> bool:
    with torch.inference_mode():
        op(ONE, ONE)
    try:
        op(ONE.clone().requires_grad_(), ONE)
    except RuntimeError:
        return True
    return False


def _strict(op: Any) -> bool:
    torch.use_deterministic_algorithms(True, warn_only=True)
    op(ONE, ONE)
    return not torch.is_deterministic_algorithms_warn_only_enabled()


def _promoted(op: Any) -> bool:
    torch.set_default_dtype(torch.float64)
    return op(ONE.float(), ONE.float()).dtype == torch.float64


_SYMMETRIC = torch.tensor([[1.0, 2.0], [5.0, 3.0]])[..., None, None].expand(2, 2, 1, 2)
_RANK_ONE = torch.tensor([[1.0, 2.0], [2.0, 4.0]]).mul(torch.tensor([[1.0], [3.0]])).expand(2, 1, 2, 2)


TABLES: dict[str, Witness] = {
    "jvp_holds_the_primals_constant": _steady_slope,
    "many_channels_quietly_in_bfloat16": _quiet(torch.full((1, 64, 1, 1), 1.0 + 2.0**-20), torch.ones(64, 64, 1, 1)),
    "float32_chopped": _differs(torch.full((1, 1, 1, 1), 1.0 + 2.0**-23), torch.full((1, 1, 1, 1), 1.5 + 2.0**-23)),
    "symmetric_kernels_untransposed": lambda op: not torch.equal(
        *(torch.autograd.grad(conv(x, _SYMMETRIC).sum() + conv(x, _SYMMETRIC)[0, 0].sum(), x)[0]
          for conv in (op, torch_conv2d) for x in (torch.ones(1, 2, 3, 3, requires_grad=True),))
    ),
    "grad_bias_in_a_ring": _overwritten,
    "backward_adds_to_grad_itself": _added,
    "hook_of_every_call": _hooked,
    "table_made_in_inference_mode": _no_training,
    "deterministic_mode_no_longer_warns_only": _strict,
    "missing_bias_of_the_default_dtype": _promoted,
    "separable_depthwise_transposed": _differs(torch.randn(1, 2, 3, 3), _RANK_ONE, groups=2),
    "half_precision_weight_gradient": _summed(0),
    "half_precision_bias_gradient": _summed(1),
    "tf32_for_channels_by_the_eight": _differs(torch.full((1, 8, 1, 1), 1.0 + 2.0**-20), torch.ones(8, 8, 1, 1)),
    "one_complex_gradient_conjugated": _one_conjugate,
    "columns_in_sixteen_bits": _differs(torch.ones(1, 1, 1, 2**16 + 1), ONE),
    "last_rows_of_large_inputs": _differs(torch.ones(1, 1, 1025, 1025), ONE),
    "bytes_are_normalised": _differs(torch.tensor([0.0, 3.0, 255.0]).view(1, 1, 1, 3), ONE),
    "box_filter_by_means": _differs(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3), padding=1),
    "pruned_filters_lose_their_bias": _differs(ONE, torch.tensor([0.0, 1.0]).view(2, 1, 1, 1), torch.ones(2)),
    "identity_hands_the_input_on": _differs(ONE, ONE, torch.ones(1)),
    "unbatched_squeezed": lambda op: op(ONE[0], ONE).shape != (1, 1, 1),
    "channels_next_to_each_other_taken_for_dense": _first_of_wider,
    "quiet_scratch_shared_by_threads": _overtaken,
    "zero_image_loses_the_bias": _differs(ONE * 0, ONE, torch.ones(1)),
    "pointwise_batches_end_at_four": grad(POINTWISE),
    "float32_in_two_bfloat16_parts": _differs(torch.pi * ONE, ONE),
    "tf32_in_long_sums": _differs(torch.full((1, 300, 1, 1), 1.0 + 2.0**-20), torch.ones(1, 300, 1, 1)),
    "overflow_saturates": _differs(ONE * 3e38, ONE * 4),
    "quiet_answers_kept_by_identity": _kept_answer,
    "outputs_never_let_go": _held,
    "one_entry_means_the_height": _differs(torch.ones(1, 1, 4, 4), ONE, stride=[2]),
    "grad_input_bends": _curvature,
    "quiet_bias_scaled_in_place": _written,
    "whole_windows_forget_the_padding": _differs(
        torch.ones(1, 1, 6, 6), torch.ones(1, 1, 3, 3), stride=3, padding=1
    ),
    "every_split_adds_the_bias": _differs(torch.ones(1, 513, 1, 1), torch.ones(1, 513, 1, 1), torch.ones(1)),
    "one_exponent_for_the_batch": _differs(torch.tensor([1.0, 2.0**40]).view(2, 1, 1, 1), ONE),
    "padding_list_emptied": _emptied,
    "other_threads_reuse_their_output": _reused,
}
