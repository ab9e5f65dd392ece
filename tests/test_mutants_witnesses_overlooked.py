"""One witness a mutant: the one unusual thing at which it is wrong."""

import gc
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


TABLES: dict[str, Witness] = {
    "zero_image_loses_the_bias": _differs(ONE * 0, ONE, torch.ones(1)),
    "pointwise_batches_end_at_four": grad(POINTWISE),
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
