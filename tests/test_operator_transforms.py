"""Compilers, exporters, functional transforms, autocast, layouts: what surrounds the arithmetic."""

from __future__ import annotations

import pytest
import torch
from torch import func
from torch.nn import functional as F

from convverify import operator as ours

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
SHAPES = {1: ((2, 4, 9), (6, 2, 3)), 2: ((2, 4, 7, 6), (6, 2, 3, 2)), 3: ((2, 4, 5, 6, 4), (6, 2, 3, 2, 2))}
REST = {"stride": 2, "padding": 1, "dilation": 1, "groups": 2}


def integers(*shape, dtype=torch.float64, requires_grad=False):
    return torch.randint(-3, 4, shape).to(dtype).requires_grad_(requires_grad)


def functions(spatial):
    return getattr(ours, f"conv{spatial}d"), getattr(F, f"conv{spatial}d")


def tensors(spatial, **keywords):
    x, k = SHAPES[spatial]
    return integers(*x, **keywords), integers(*k, **keywords), integers(k[0], **keywords)


@pytest.mark.parametrize("spatial", [1, 2, 3])
@pytest.mark.parametrize("padding", [1, "same", "valid"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.filterwarnings("ignore:Using padding='same'")  # torch's own, about its speed
def test_bit_exact_on_integers(spatial, padding, dtype):
    rest = {**REST, "padding": padding, "stride": 1}
    arguments = tensors(spatial, dtype=dtype, requires_grad=True)
    found = []
    for function in functions(spatial):
        output = function(*arguments, **rest)
        first = torch.autograd.grad(output.square().sum(), arguments, create_graph=True)
        found.append((output, *first, *torch.autograd.grad(sum(f.square().sum() for f in first), arguments)))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize(
    "shapes",
    [((2, 4, 5), (6, 2, 3)), ((1, 2, 3, 4), (4, 1, 2, 3)), ((1, 2, 2, 3, 2), (2, 1, 2, 2, 1))],
    ids=str,
)
def test_exact_gradcheck(shapes):
    """A difference with step 1 has no truncation error: on integers even the checks are exact."""
    own = functions(len(shapes[0]) - 2)[0]

    def call(*tensors):
        return own(*tensors, **REST)

    arguments = [integers(*shape, requires_grad=True) for shape in (*shapes, shapes[1][:1])]
    cotangent = integers(*call(*arguments).shape, requires_grad=True)
    torch.autograd.gradcheck(
        call, arguments, eps=1, atol=0, rtol=0, check_forward_ad=True, check_batched_grad=True,
        check_batched_forward_grad=True,
    )  # fmt: skip
    torch.autograd.gradgradcheck(
        call, arguments, cotangent, eps=1, atol=0, rtol=0, check_fwd_over_rev=True, check_batched_grad=True
    )


def test_complex_gradcheck():
    x, k = torch.randn(1, 2, 4, 3, dtype=torch.complex128), torch.randn(2, 1, 2, 2, dtype=torch.complex128)
    arguments = x.requires_grad_(), k.requires_grad_()

    def call(x, k):
        return ours.conv2d(x, k.conj(), groups=2)

    torch.autograd.gradcheck(call, arguments, check_forward_ad=True)
    torch.autograd.gradgradcheck(call, arguments, check_fwd_over_rev=True)


def test_lazy_bits():
    x, k = torch.randn(1, 2, 4, 3, dtype=torch.complex64), torch.randn(2, 2, 2, 2, dtype=torch.complex64)
    torch.testing.assert_close(ours.conv2d(x.conj(), k), F.conv2d(x.conj().resolve_conj(), k))
    imaginary = x.conj().imag
    assert imaginary.is_neg()
    torch.testing.assert_close(ours.conv2d(imaginary, k.real), F.conv2d(imaginary.resolve_neg(), k.real))


@pytest.mark.parametrize("spatial", [1, 2, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_opcheck(spatial, bias):
    x, k, b = tensors(spatial, requires_grad=True)
    rest = (*((REST[name],) * spatial for name in ("stride", "padding", "dilation")), REST["groups"])
    ops = torch.ops.convverify
    arguments = (x, k, b if bias else None, *rest)
    torch.library.opcheck(ops.convolution.default, arguments)
    if bias:
        return
    g = ops.convolution(*arguments).detach().requires_grad_()
    torch.library.opcheck(ops.convolution_grad_input.default, (g, k, x.shape[2:], *rest))
    torch.library.opcheck(ops.convolution_grad_weight.default, (x, g, k.shape[2:], *rest))


@pytest.mark.parametrize("spatial", [1, 2, 3])
@pytest.mark.parametrize("dynamic", [False, True])
def test_compile(spatial, dynamic):
    torch._dynamo.reset()
    own = functions(spatial)[0]
    arguments = tensors(spatial, requires_grad=True)

    def step(*tensors):
        return own(*tensors, **REST).square()

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    expected = torch.autograd.grad(step(*arguments).sum(), arguments)
    actual = torch.autograd.grad(compiled(*arguments).sum(), arguments)
    assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


def test_compile_unbatched_same_and_transposed():
    torch._dynamo.reset()

    def step(x, k):
        y = ours.conv2d(x, k, padding="same", groups=2)
        return ours.conv_transpose2d(y, k, stride=2, output_padding=1, groups=2)

    x, k = integers(4, 5, 6), integers(4, 2, 3, 2)
    assert torch.equal(torch.compile(step, fullgraph=True, backend="aot_eager")(x, k), step(x, k))


def test_export():
    module = ours.Conv2d(4, 6, 3, stride=2, padding=1, groups=2)
    batch, height = torch.export.Dim("batch", min=1, max=64), torch.export.Dim("height", min=5, max=64)
    program = torch.export.export(
        module, (torch.randn(2, 4, 7, 6),), dynamic_shapes={"input": {0: batch, 2: height}}
    )
    assert "convverify.convolution" in str(program.graph)
    x = torch.randn(5, 4, 9, 6)
    assert torch.equal(program.module()(x), module(x))


@pytest.mark.parametrize("dims", [(0, None, None), (None, 0, None), (1, 1, 0), (2, None, 0), (None, None, 0)])
def test_vmap(dims):
    shapes = ((2, 4, 6, 5), (6, 2, 3, 2), (6,))
    arguments = [
        integers(*(shape if dim is None else (*shape[:dim], 3, *shape[dim:])))
        for shape, dim in zip(shapes, dims, strict=True)
    ]
    found = [
        func.vmap(lambda *t, f=f: f(*t, stride=2, padding=1, groups=2), in_dims=dims)(*arguments)
        for f in functions(2)
    ]
    assert torch.equal(*found)


def test_per_sample_gradients():
    x, k, b = tensors(2)

    def loss(k, b, sample, f):
        return f(sample, k, b, **REST).square().sum()

    own, reference = (
        func.vmap(func.grad(lambda k, b, s, f=f: loss(k, b, s, f), argnums=(0, 1)), in_dims=(None, None, 0))(
            k, b, x
        )
        for f in functions(2)
    )
    assert all(torch.equal(a, b) for a, b in zip(own, reference, strict=True))


@pytest.mark.parametrize("transform", [func.jacrev, func.jacfwd, func.hessian], ids=lambda t: t.__name__)
def test_functional_transforms(transform):
    x, k = integers(1, 2, 4, 3), integers(2, 2, 2, 2)
    own, reference = (transform(lambda k, f=f: f(x, k).pow(3).sum((0, 2, 3)))(k) for f in functions(2))
    torch.testing.assert_close(own, reference, rtol=0, atol=0)


def test_autocast():
    x, k, b = tensors(2, dtype=torch.float32, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = ours.conv2d(x, k, b, **REST)
        assert output.dtype == torch.bfloat16
        inside = torch.autograd.grad(output.sum(), (x, k, b), retain_graph=True)
        assert ours.conv2d(x.double(), k.double(), groups=2).dtype == torch.float64
        assert ours.conv2d(x.bfloat16(), k, groups=2).dtype == torch.bfloat16
    outside = torch.autograd.grad(output.sum(), (x, k, b))
    for a, c in zip(inside, outside, strict=True):
        assert a.dtype == torch.float32
        assert torch.equal(a, c)


def test_autocast_does_not_reach_inside():
    x, k = torch.full((1, 1, 3, 3), 257.0, dtype=torch.float64), torch.ones(1, 1, 3, 3, dtype=torch.float64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ours.conv2d(x, k).item() == 9 * 257


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_are_summed_in_float32(dtype):
    x, k = torch.ones(1, 3000, 1, 1, dtype=dtype), torch.ones(1, 3000, 1, 1, dtype=dtype)
    assert ours.conv2d(x, k).item() == torch.tensor(3000.0).to(dtype).item()


@pytest.mark.parametrize("spatial", [2, 3])
@pytest.mark.parametrize("last", [(True, False), (False, True), (True, True)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_memory_format(spatial, last, dtype):
    format = {2: torch.channels_last, 3: torch.channels_last_3d}[spatial]
    x, k, b = tensors(spatial, dtype=dtype)
    x, k = (t.contiguous(memory_format=format) if to else t for t, to in zip((x, k), last, strict=True))
    own, reference = (f(x, k, b, **REST) for f in functions(spatial))
    assert own.stride() == reference.stride()
    assert torch.equal(own, reference)
    meta = functions(spatial)[0](x.to("meta"), k.to("meta"), b.to("meta"), **REST)
    assert meta.stride() == own.stride()


def test_expanded_cotangent_and_fresh_results():
    x, k, b = tensors(2, requires_grad=True)
    kept = [t.detach().clone() for t in (x, k, b)]
    output = ours.conv2d(x, k, b, **REST)
    grads = torch.autograd.grad(output.sum(), (x, k, b))
    expected = torch.autograd.grad(F.conv2d(x, k, b, **REST).sum(), (x, k, b))
    assert all(torch.equal(a, c) for a, c in zip(grads, expected, strict=True))
    pointers = {t.untyped_storage().data_ptr() for t in (x, k, b)}
    assert not pointers & {t.untyped_storage().data_ptr() for t in (output, *grads)}
    assert all(torch.equal(a, c) for a, c in zip((x, k, b), kept, strict=True))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
def test_integer_types(dtype):
    x, k = integers(1, 2, 5, 4).abs().to(dtype), integers(2, 2, 2, 2).abs().to(dtype)
    assert torch.equal(ours.conv2d(x, k), F.conv2d(x, k))


@pytest.mark.parametrize("op", [(1, 1), (0, 1), (2, 0), (2, 2)])
def test_output_padding_beyond_the_stride(op):
    x, k, b = integers(2, 4, 3, 4), integers(4, 3, 2, 3), integers(6)
    own, reference = (
        f(x, k, b, stride=(1, 2), padding=(1, 2), output_padding=op, groups=2, dilation=3)
        for f in (ours.conv_transpose2d, F.conv_transpose2d)
    )
    assert torch.equal(own, reference)


def test_inference_mode():
    with torch.inference_mode():
        x, k, b = tensors(2)
        assert torch.equal(ours.conv2d(x, k, b, **REST), F.conv2d(x, k, b, **REST))
