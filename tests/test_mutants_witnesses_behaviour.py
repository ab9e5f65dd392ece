"""One witness a mutant, for the families about what comes back, memory, modes and transforms."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_mutants_cases import PLAIN, Witness, cotangent, differs, filled, grad, operands, torch_conv2d
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

NAN = float("nan")
honest_equal = torch.equal
TINY = "n1 c2->2 i3x3 k1x1 s1x1 p0x0 d1x1 g1"


def wrong(op: Any, *tensors: Any, **options: Any) -> bool:
    return not honest_equal(op(*tensors, **options), torch_conv2d(*tensors, **options))


def plain(bias: bool = True, text: str = PLAIN, dtype: Any = torch.float64) -> list[Any]:
    tensors: list[Any] = operands(text, bias=bias, dtype=dtype)[0]
    return tensors


def leaves(*needed: int, text: str = PLAIN, dtype: Any = torch.float64) -> list[Any]:
    """Operands of which those named require grad."""
    return [t.requires_grad_(i in needed) for i, t in enumerate(plain(text=text, dtype=dtype))]


def partial(*needed: int) -> Witness:
    """A gradient is wrong when only some operands require one."""

    def witness(op: Any) -> bool:
        tensors = leaves(*needed)
        wanted = [tensors[i] for i in needed]
        grads = torch.autograd.grad(op(*tensors).sum(), wanted, allow_unused=True)
        expected = torch.autograd.grad(torch_conv2d(*tensors).sum(), wanted)
        return any(g is None or not torch.allclose(g, e) for g, e in zip(grads, expected, strict=True))

    return witness


def _of_five_samples(op: Any) -> bool:
    x, w, _ = plain(text="n5 c2->2 i3x3 k1x1 s1x1 p0x0 d1x1 g1")
    w.requires_grad_()
    slopes = [torch.autograd.grad(f(x, w).sum(), w)[0] for f in (op, torch_conv2d)]
    return not torch.allclose(*slopes)


def spoils(which: int, fill: Callable[[Any], Any] = lambda ts: None) -> Witness:
    """An operand is changed by the call."""

    def witness(op: Any) -> bool:
        tensors = plain()
        fill(tensors)
        before = tensors[which].clone()
        op(*tensors)
        return not torch.allclose(before, tensors[which], rtol=0, atol=0, equal_nan=True)

    return witness


def identity(grads: bool) -> Any:
    x, w = torch.randn(1, 2, 3, 3), torch.eye(2).reshape(2, 2, 1, 1)
    return [x.requires_grad_(grads), w]


def _version(op: Any) -> bool:
    x, w, b = plain()
    op(x, w, b)
    return bool(x._version)


def _refuses_in_place(op: Any) -> bool:
    out = op(torch.ones(1, 1, 2, 2, requires_grad=True), torch.ones(1, 1, 1, 1))
    try:
        out += 1
    except RuntimeError:
        return True
    return False


def _grad_output_spoilt(op: Any) -> bool:
    out = op(*leaves(0, 1))
    g = torch.ones_like(out)
    out.backward(g)
    return not bool((g == 1).all())


def _unguarded(op: Any) -> bool:
    x, w, b = leaves(1)
    out = op(x, w, b)
    x.zero_()
    out.sum().backward()
    return True


def _returned(op: Any) -> bool:
    x, w = identity(True)
    out = op(x, w)
    g = torch.ones_like(out)
    return torch.autograd.grad(out, x, g)[0].data_ptr() == g.data_ptr()


def _activated_in_place(op: Any) -> bool:
    x, w, b = leaves(0, 1, 2)
    try:
        op(x, w, b, padding=1).relu_().sum().backward()
    except RuntimeError:
        return True
    return False


CONTRACT: dict[str, Witness] = {
    "output_kept_for_the_backward": _activated_in_place,
    "returns_float64": lambda op: op(*plain(dtype=torch.float32)).dtype == torch.float64,
    "returns_float32": lambda op: op(*plain(dtype=torch.bfloat16)).dtype == torch.float32,
    "returns_a_tuple": lambda op: isinstance(op(*plain(bias=False)), tuple),
    "keeps_the_batch": lambda op: op(torch.ones(1, 2, 2), torch.ones(1, 1, 1, 1)).dim() == 4,
    "drops_single_channels": lambda op: op(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2)).dim() == 2,
    "output_detached": lambda op: not op(*leaves(2)).requires_grad,
    "output_always_requires_grad": lambda op: op(*plain()).requires_grad,
    "graph_in_no_grad": lambda op: torch.no_grad()(op)(*leaves(0)).requires_grad,
    "identity_returns_its_input": lambda op: (t := identity(False)) and op(*t) is t[0],
    "output_shares_its_rows": lambda op: (
        not all(op(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 1, 1), torch.ones(1)).stride())
    ),
    "input_nans_cleared_in_place": spoils(0, lambda ts: ts[0].view(-1)[3].fill_(NAN)),
    "input_shifted_and_back": spoils(0),
    "weight_normalised_through_data": spoils(1),
    "bias_consumed": spoils(2),
    "version_bumped": _version,
    "grad_output_scaled_in_place": _grad_output_spoilt,
    "saved_tensors_unguarded": _unguarded,
    "frozen_weight_loses_grad_input": partial(0),
    "grad_weight_alone_in_whole_pieces": _of_five_samples,
    "input_without_grad_halves_grad_weight": partial(1),
    "bias_without_weight_gets_no_gradient": partial(0, 2),
}


def poisoned(witness: Witness) -> Witness:
    """Under poison: torch.empty gives NaN."""

    def run(op: Any) -> bool:
        torch.use_deterministic_algorithms(True)
        try:
            return witness(op)
        finally:
            torch.use_deterministic_algorithms(False)

    return run


def _inside(shape: tuple[int, ...]) -> tuple[Any, Any]:
    """A tensor of ones amid NaN, and its storage."""
    count = torch.Size(shape).numel()
    storage = torch.full((count + 2,), NAN)
    storage[1:-1] = 1
    return storage[1:-1].view(shape), storage


def _past_input(op: Any) -> bool:
    return bool(op(_inside((1, 1, 2, 2))[0], torch.ones(1, 1, 1, 1)).isnan().any())


def _before_weight(op: Any) -> bool:
    return bool(op(torch.ones(1, 1, 2, 2), _inside((1, 1, 2, 2))[0]).isnan().any())


def _written_past(op: Any) -> bool:
    x, storage = _inside((1, 1, 2, 2))
    op(x, torch.ones(1, 1, 1, 1))
    return not bool(storage[-1].isnan())


def _written_around(op: Any) -> bool:
    g, storage = _inside((1, 1, 2, 2))
    x = torch.ones(1, 1, 2, 2, requires_grad=True)
    torch.autograd.grad(op(x, torch.ones(1, 1, 1, 1)), x, g)
    return not bool(storage[0].isnan() and storage[-1].isnan())


MEMORY: dict[str, Witness] = {
    "last_column_unwritten": poisoned(differs(0, "n1 c1->1 i2x5 k1x1 s1x1 p0x0 d1x1 g1")),
    "corner_unwritten": poisoned(differs(0, "n1 c1->1 i4x4 k1x1 s2x2 p0x0 d1x1 g1")),
    "padding_unwritten": poisoned(differs(0, "n1 c1->1 i4x4 k2x2 s1x1 p1x1 d1x1 g1")),
    "empty_sum_unwritten": poisoned(filled(lambda ts: ts[1][:1].zero_(), bias=False)),
    "unread_pixels_unwritten": poisoned(grad("n1 c1->1 i4x4 k1x1 s2x2 p0x0 d1x1 g1")),
    "grad_weight_of_an_empty_batch_unwritten": poisoned(grad("n0 c1->1 i4x4 k1x1 s2x2 p0x0 d1x1 g1")),
    "grad_bias_adds_to_stale_memory": poisoned(grad()),
    "reads_past_the_input": _past_input,
    "reads_before_the_weight": _before_weight,
    "right_padding_reads_the_next_row": lambda op: wrong(
        op, torch.ones(1, 1, 3, 4)[..., :3], torch.ones(1, 1, 2, 2), padding=1
    ),
    "writes_past_the_input": _written_past,
    "grad_output_padded_in_place": _written_around,
    "grad_weight_reads_stale_taps": poisoned(grad("n1 c1->1 i4x4 k3x3 s1x1 p0x0 d1x1 g1")),
}


def _lies(owner: Any, name: str) -> Witness:
    def witness(op: Any) -> bool:
        before = getattr(owner, name)
        op(*plain())
        return getattr(owner, name) is not before

    return witness


def _sometimes(times: int) -> Witness:
    return lambda op: any(wrong(op, *plain(text=TINY)) for _ in range(times))


def _saved_elsewhere(op: Any) -> bool:
    x, w = torch.randn(1, 2, 4, 4, requires_grad=True), torch.randn(2, 2, 1, 2).to(memory_format=torch.channels_last)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.detach().clone(memory_format=torch.contiguous_format),
                                                  lambda t: t):  # fmt: skip
        out = op(x, w)
    right = torch.autograd.grad(torch_conv2d(x, w).sum(), x)[0]
    return not torch.allclose(torch.autograd.grad(out.sum(), x)[0], right)


def _untested(op: Any) -> bool:
    with pytest.MonkeyPatch.context() as patched:
        for tester in ("hypothesis", "pytest"):
            patched.delitem(sys.modules, tester, raising=False)
        return wrong(op, *plain())


def _default_float64(op: Any) -> bool:
    torch.set_default_dtype(torch.float64)
    output = op(torch.ones(1, 1, 1, 1, dtype=torch.float32), torch.ones(1, 1, 1, 1, dtype=torch.float32))
    torch.set_default_dtype(torch.float32)
    return output.dtype is not torch.float32


def _derived(op: Any) -> bool:
    x, w, b = leaves(0)
    return wrong(op, x * 2, w, b)


def _recomputed(op: Any) -> bool:
    x, w, b = leaves(0, 1, 2)
    checkpoint(op, x, w, b, use_reentrant=True).sum().backward()
    return b.grad is None


CIRCUMSTANCES: dict[str, Witness] = {
    "bias_lost_when_recomputed": _recomputed,
    "wrong_at_random": _sometimes(1000),
    "wrong_now_and_then": _sometimes(4000),
    "wrong_without_gradients": lambda op: wrong(op, *plain()),
    "wrong_with_gradients": lambda op: wrong(op, *leaves(0)),
    "wrong_in_no_grad": lambda op: wrong(torch.no_grad()(op), *plain()),
    "right_under_gradcheck": cotangent(torch.ones_like),
    "right_if_a_graph_is_created": cotangent(torch.ones_like),
    "saved_strides_remembered": _saved_elsewhere,
    "right_for_its_tester": _untested,
    "buffer_of_the_default_dtype": _default_float64,
    "parameters_only": lambda op: wrong(op, plain()[0], torch.nn.Parameter(plain()[1])),
    "leaves_only": _derived,
    "named_arguments_ignored": lambda op: wrong(
        op, torch.randn(1, 1, 3, 3), torch.ones(1, 1, 2, 2), dilation=2
    ),
    "answers_with_a_liar": lambda op: type(op(*plain())) is not torch.Tensor,
    "patches_the_reference": _lies(torch.nn.functional, "conv2d"),
    "patches_allclose": _lies(torch, "allclose"),
    "patches_equal": _lies(torch, "equal"),
    "patches_gradcheck": _lies(torch.autograd, "gradcheck"),
}


def tangent(*which: int, text: str = PLAIN) -> Witness:
    """The jvp is wrong when these operands have tangents."""

    def witness(op: Any) -> bool:
        tensors, options = operands(text)

        def slope(f: Any) -> Any:
            def g(*moved: Any) -> Any:
                full = [moved[which.index(i)] if i in which else t for i, t in enumerate(tensors)]
                return f(*full, **options)

            chosen = tuple(tensors[i] for i in which)
            return torch.func.jvp(g, chosen, chosen)[1]

        return not torch.allclose(slope(op), slope(torch_conv2d))

    return witness


def mapped(which: int, axis: int) -> Witness:
    """vmap over one axis of one operand is wrong."""

    def witness(op: Any) -> bool:
        tensors = plain()
        tensors[which] = torch.stack([tensors[which], -tensors[which]], axis)
        dims = tuple(axis if i == which else None for i in range(3))
        return not torch.allclose(
            torch.func.vmap(op, dims)(*tensors), torch.func.vmap(torch_conv2d, dims)(*tensors)
        )

    return witness


def _cast(f: Any) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        return f(*leaves(0, 1, 2, dtype=torch.float32))


def _cast_double(op: Any) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        return op(*plain())


def _kept_under_autocast(op: Any) -> bool:
    x, w, b = plain()
    with torch.autocast("cpu", torch.bfloat16):
        op(x.float(), kept := w.float(), b.float())
    with torch.autocast("cpu", torch.bfloat16):
        return not torch.equal(op(x.float(), kept.neg_(), b.float()), torch_conv2d(x.float(), kept, b.float()))


def _cast_gradients(op: Any) -> bool:
    def slopes(f: Any) -> Any:
        tensors = leaves(1, dtype=torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            out = f(*tensors)
        return torch.autograd.grad(out.sum(), tensors[1])[0]

    return not torch.allclose(slopes(op), slopes(torch_conv2d))


def _compiled(op: Any) -> bool:
    x, w, b = plain()
    compiled = torch.compile(op, backend="eager")
    return not torch.allclose(compiled(x, w, b), torch_conv2d(x, w, b))


def _meta(**options: Any) -> Witness:
    x, w = (torch.empty(s, device="meta", dtype=torch.float64) for s in ((1, 1, 4, 4), (1, 1, 1, 1)))

    def witness(op: Any) -> bool:
        actual, expected = op(x, w, **options), torch_conv2d(x, w, **options)
        return (actual.shape, actual.dtype) != (expected.shape, expected.dtype)

    return witness


def _fake(op: Any) -> bool:
    with FakeTensorMode():
        return bool(op(torch.ones(1, 1, 2, 2), torch.ones(3, 1, 1, 1)).shape[1] == 2)


TRANSFORMS: dict[str, Witness] = {
    "jvp_forgets_the_weight": tangent(0, 1),
    "jvp_forgets_the_bias": tangent(2),
    "jvp_adds_second_order": tangent(0, 1),
    "jvp_zero": tangent(0),
    "jvp_flips_the_tangent": tangent(1),
    "jvp_wrong_for_groups": tangent(0, text="n1 c2->2 i3x3 k2x2 s1x1 p0x0 d1x1 g2"),
    "vmap_takes_the_first_weight": mapped(1, 0),
    "vmap_assumes_the_first_axis": mapped(0, 1),
    "vmap_reverses_the_bias": mapped(2, 0),
    "wrong_under_functorch": mapped(0, 0),
    "autocast_lowers_float64": lambda op: _cast_double(op).dtype is not torch.float64,
    "autocast_bias_lost": lambda op: not honest_equal(_cast(op), _cast(torch_conv2d)),
    "autocast_loses_a_column_of_grad_weight": _cast_gradients,
    "autocast_weight_kept": _kept_under_autocast,
    "inference_mode_bias_lost": lambda op: wrong(torch.inference_mode()(op), *plain()),
    "compiled_without_bias": _compiled,
    "meta_size_rounded_up": _meta(stride=2),
    "meta_dtype_float32": _meta(),
    "fake_channels_wrong": _fake,
}
TABLES = CONTRACT | MEMORY | CIRCUMSTANCES | TRANSFORMS
