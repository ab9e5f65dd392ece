"""Where a mutant differs from torch: one call, described by its geometry, and what is compared."""

from collections.abc import Callable
from typing import Any

import torch

from convverify.geometry import ConvGeometry

Witness = Callable[[Any], bool]

torch_conv2d = torch.conv2d
GENERAL = "n3 c4->6 i9x8 k3x2 s2x1 p1x2 d1x2 g2"
PLAIN = "n2 c4->5 i7x6 k3x2 s1x1 p1x0 d1x1 g1"
ORDINARY = (PLAIN, "n1 c2->3 i4x4 k1x1 s1x1 p0x0 d1x1 g1", "n2 c2->2 i6x6 k2x2 s2x2 p0x0 d1x1 g1")


def operands(text: str, bias: bool = True, dtype: torch.dtype = torch.float64, scale: float = 1.0) -> Any:
    g = ConvGeometry.parse(text)
    draw = torch.Generator().manual_seed(len(text))
    shapes = (g.input_shape, g.weight_shape) + (((g.out_channels,),) if bias else ())
    tensors = [(torch.randn(s, generator=draw, dtype=torch.float64) * scale).to(dtype) for s in shapes]
    padding = g.padding if isinstance(g.padding, str) else tuple(g.padding)
    return tensors, {"stride": g.stride, "padding": padding, "dilation": g.dilation, "groups": g.groups}


def derivatives(op: Any, tensors: list[Any], options: Any, order: int) -> list[Any]:
    """The output, or all derivatives of one order with respect to all operands and grad_output."""
    leaves = [t.detach().clone().requires_grad_() for t in tensors]
    out = op(*leaves, **options)
    draw = torch.Generator().manual_seed(7)
    results = [out]
    for _ in range(order):
        seeds = [torch.randn(r.shape, generator=draw, dtype=torch.float64).to(r.dtype) for r in results]
        seeds = [s.requires_grad_() for s in seeds]
        live = [(r, s) for r, s in zip(results, seeds, strict=True) if r.requires_grad]
        if not live:
            return [torch.zeros(())]
        outs, cotangents = zip(*live, strict=True)
        results = torch.autograd.grad(outs, leaves, cotangents, create_graph=True, allow_unused=True)
        results = [torch.zeros_like(x) if r is None else r for r, x in zip(results, leaves, strict=True)]
        leaves += [s for _, s in live]
    return [r.detach() for r in results]


def same(actual: list[Any], expected: list[Any]) -> bool:
    if [a.shape for a in actual] != [e.shape for e in expected]:
        return False
    if [a.dtype for a in actual] != [e.dtype for e in expected]:
        return False
    digits = {torch.float64: 1e-9, torch.complex128: 1e-9, torch.float32: 1e-3}.get(expected[0].dtype, 3e-2)
    tolerance = {"rtol": digits, "atol": digits}
    return all(
        torch.allclose(a, e, equal_nan=True, **tolerance) for a, e in zip(actual, expected, strict=True)
    )


def agrees(op: Any, text: str, order: int = 0, **how: Any) -> bool:
    tensors, options = operands(text, **how)
    return same(derivatives(op, tensors, options, order), derivatives(torch_conv2d, tensors, options, order))


def differs(order: int, text: str = GENERAL, **how: Any) -> Witness:
    """A witness: the operator is wrong on this geometry, in its derivatives of this order."""
    return lambda op: not agrees(op, text, order, **how)


def out(text: str = GENERAL, **how: Any) -> Witness:
    return differs(0, text, **how)


def grad(text: str = GENERAL, **how: Any) -> Witness:
    return differs(1, text, **how)


def second(text: str = GENERAL, **how: Any) -> Witness:
    return differs(2, text, **how)


def third(text: str = GENERAL, **how: Any) -> Witness:
    return differs(3, text, **how)


def laid(arrange: Callable[[Any], Any], text: str = PLAIN, **how: Any) -> Witness:
    """The output is wrong where one operand lies in memory as `arrange` puts it."""

    def witness(op: Any) -> bool:
        tensors, options = operands(text, **how)
        tensors = arrange(tensors)
        expected = torch_conv2d(*[t.clone(memory_format=torch.contiguous_format) for t in tensors], **options)
        return not same([op(*tensors, **options)], [expected])

    return witness


def cotangent(arrange: Callable[[Any], Any], text: str = PLAIN, **how: Any) -> Witness:
    """The gradients are wrong for a grad_output that `arrange` makes of the output."""

    def witness(op: Any) -> bool:
        tensors, options = operands(text, **how)
        leaves = [t.requires_grad_() for t in tensors]
        expected = torch_conv2d(*leaves, **options)
        g = arrange(expected.detach())
        wanted = torch.autograd.grad(expected, leaves, g.clone(memory_format=torch.contiguous_format))
        return not same(list(torch.autograd.grad(op(*leaves, **options), leaves, g)), list(wanted))

    return witness


def filled(fill: Callable[[Any], Any], order: int = 0, text: str = PLAIN, **how: Any) -> Witness:
    """The operator is wrong once `fill` has changed the operands in place."""

    def witness(op: Any) -> bool:
        tensors, options = operands(text, **how)
        fill(tensors)
        wanted = derivatives(torch_conv2d, tensors, options, order)
        return not same(derivatives(op, tensors, options, order), wanted)

    return witness


def accepted(*shapes: tuple[int, ...], dtypes: Any = (), **options: Any) -> Witness:
    """The operator answers what torch refuses."""

    def witness(op: Any) -> bool:
        dtypes_ = (*dtypes, *[torch.float32] * 3)
        tensors = [torch.ones(s, dtype=d) for s, d in zip(shapes, dtypes_, strict=False)]
        try:
            torch_conv2d(*tensors, **options)
        except (RuntimeError, TypeError, ValueError):
            op(*tensors, **options)
            return True
        return False

    return witness
