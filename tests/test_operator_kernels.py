"""Each formulation against formulas.py, exactly, on integers; and the choice among them."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convverify import formulas, operator
from convverify.geometry import ConvGeometry, GeometryError
from convverify.operator import compute, kernels
from convverify.operator.arrays import TorchArrays
from convverify.operator.kernels import bags, choice, closed_forms, depthwise, product, rows, taps, windows

torch.set_num_threads(1)
XP = TorchArrays()
MAPS = ("forward", "grad_input", "grad_weight")
DTYPES = (torch.float32, torch.float64, torch.complex64, torch.int64)
MODULES = {m.__name__.rpartition(".")[2]: m for m in choice.FORMULATIONS if m is not closed_forms}
FLOATS = ("bags", "unfolded")  # of which torch's operations take no other dtypes
PAIRS = [(m, name) for m in MODULES for name in MAPS if hasattr(MODULES[m], name)]


@st.composite
def geometries(draw, kind="columns"):
    spatial = 2 if kind in ("columns", "unfolded") else draw(st.sampled_from((1, 2, 2, 3)))

    def sizes(low, high):
        return draw(st.tuples(*[st.integers(low, high)] * spatial))

    groups = draw(st.integers(1, 3))
    channels = [groups * draw(st.integers(1, 3)) for _ in range(2)]
    if kind in ("bags", "depthwise"):
        groups = draw(st.integers(2, 4))
        channels = [groups, groups]
    elif kind in ("windows", "scatter", "pointwise"):
        groups = 1
    kernel, stride, padding, dilation = sizes(1, 3), sizes(1, 3), sizes(0, 3), sizes(1, 2)
    if kind == "pointwise":
        kernel, stride, padding = [(entry,) * spatial for entry in (1, 1, 0)]
    if kind == "windows":
        stride = (1,) * spatial if draw(st.booleans()) else stride
    least = [max(1, d * (k - 1) + 1 - 2 * p) for k, p, d in zip(kernel, padding, dilation, strict=True)]
    size = tuple(low + draw(st.integers(0, 4)) for low in least)
    same = max(stride) == 1 and draw(st.integers(0, 5)) == 0
    return ConvGeometry(
        draw(st.integers(1, 3)),
        *channels,
        size,
        kernel,
        stride,
        "same" if same else padding,
        dilation,
        groups,
    )


def operands(geometry, name, dtype, seed):
    generator = torch.Generator().manual_seed(seed)

    def integers(shape):
        return torch.randint(-4, 5, shape, generator=generator).to(dtype)

    x, k, g = map(integers, (geometry.input_shape, geometry.weight_shape, geometry.output_shape))
    return {"forward": (x, k), "grad_input": (g, k), "grad_weight": (x, g)}[name]


@pytest.mark.parametrize(("module", "name"), PAIRS)
def test_formulation_is_the_formula(module, name):
    seen = []

    @settings(max_examples=60, deadline=None, database=None, derandomize=True)
    @given(
        geometries(module), st.sampled_from(DTYPES[:2] if module in FLOATS else DTYPES), st.integers(0, 9),
        st.sampled_from((1, 300, 5000, 1 << 22)),
        st.booleans(), st.sampled_from(("plain", "transposed", "expanded")),
    )  # fmt: skip
    def check(geometry, dtype, seed, limit, last, layout):
        if not choice.takes(MODULES[module], name, geometry):
            return
        first, second = operands(geometry, name, dtype, seed)
        if layout == "transposed":
            first = first.transpose(-1, 0).contiguous().transpose(-1, 0)
        if layout == "expanded":
            second = second[:1].expand_as(second)
        format = torch.channels_last if last and geometry.spatial == 2 else torch.contiguous_format
        kept = first.clone(), second.clone()
        actual = getattr(MODULES[module], name)(geometry, first, second, format, limit)
        assert torch.equal(actual, getattr(formulas, name)(XP, geometry, first, second))
        assert actual.is_contiguous(memory_format=format)
        assert torch.equal(first, kept[0])
        assert torch.equal(second, kept[1])
        seen.append(geometry)

    check()
    assert len(seen) >= 15


# Past the sizes at which formulations change, with tails: oneDNN's products, several pieces, long lines.
LARGE = [
    "n5 c17->19 i21x23 k3x3 s1x1 p1x1 d1x1 g1", "n2 c64->33 i30x31 k3x2 s1x1 p2x1 d2x1 g1",
    "n2 c40->24 i33x29 k3x3 s2x2 p1x1 d1x1 g1", "n3 c3->16 i61x67 k7x7 s2x2 p3x3 d1x1 g1",
    "n2 c96->80 i17x19 k1x1 s1x1 p0x0 d1x1 g1", "n20 c130->70 i7x5 k1x1 s1x1 p0x0 d1x1 g1",
    "n3 c40->40 i45x47 k3x3 s1x1 p1x1 d1x1 g40", "n2 c37->37 i40x41 k3x3 s2x2 p1x1 d1x1 g37",
    "n2 c32->48 i25x26 k3x3 s1x1 p1x1 d1x1 g8", "n64 c1->32 i28x28 k3x3 s1x1 p0x0 d1x1 g1",
    "n9 c32->64 i26x26 k3x3 s1x1 p0x0 d1x1 g1", "n2 c16->16 i9x10x11 k3x3x3 s1x1x1 p1x1x1 d1x1x1 g1",
    "n3 c40->30 i301 k5 s1 p2 d3 g1", "n2 c40->30 i301 k5 s3 p2 d1 g1",
]  # fmt: skip


@pytest.mark.parametrize("text", LARGE)
@pytest.mark.parametrize("name", MAPS)
def test_large(text, name):
    geometry = ConvGeometry.parse(text)
    for dtype in (torch.float32, torch.float64):
        first, second = operands(geometry, name, dtype, 1)
        expected = getattr(formulas, name)(XP, geometry, first, second)
        arguments = (first, second, None, geometry) if name == "forward" else (first, second, geometry)
        assert torch.equal(getattr(compute, name)(*arguments), expected)
        for module, own in PAIRS:
            if own == name and module != "taps" and choice.takes(MODULES[module], name, geometry):
                kernel = getattr(MODULES[module], name)
                actual = kernel(geometry, first, second, torch.contiguous_format, 1 << 20)
                assert torch.equal(actual, expected), module


@pytest.mark.parametrize("text", LARGE)
def test_not_finite_reaches_its_field_only(text):
    geometry = ConvGeometry.parse(text)
    for name in MAPS:
        first, second = operands(geometry, name, torch.float32, 2)
        spoiled = first if name != "grad_weight" else second
        for operand in {id(first): first, id(spoiled): spoiled}.values():
            kept = operand.clone()
            place = tuple(n // 2 if dim % 2 else n - 1 for dim, n in enumerate(operand.shape))
            for value in (float("nan"), float("inf")):
                operand[place] = value
                arguments = (first, second, None, geometry) if name == "forward" else (first, second, geometry)
                actual = getattr(compute, name)(*arguments)
                expected = getattr(formulas, name)(XP, geometry, first, second)
                assert torch.equal(actual.isfinite(), expected.isfinite())
                assert torch.equal(actual[actual.isfinite()], expected[expected.isfinite()])
            operand.copy_(kept)


def test_product_without_onednn(monkeypatch):
    a, b = torch.randint(-3, 4, (70, 80)).float(), torch.randint(-3, 4, (90, 80)).float()
    monkeypatch.setattr(product, "_has_idle_avx512", lambda: True)
    first = product.product(a, b)
    monkeypatch.setattr(product, "_onednn", lambda: None)
    assert not product.prefers_onednn(a)
    assert torch.equal(product.product(a, b), first)


@pytest.mark.parametrize(
    ("capability", "says", "idle"),
    [
        ("AVX512", "GenuineIntel", False),
        ("AVX512", "AuthenticAMD", True),
        ("AVX512", None, True),
        ("AVX2", "AuthenticAMD", False),
    ],
)
def test_the_processor_is_what_torch_and_linux_say(monkeypatch, tmp_path, capability, says, idle):
    file = tmp_path / "cpuinfo"
    if says is not None:
        file.write_text(f"processor\t: 0\nvendor_id\t: {says}\n" + "flags\t\t: fpu vme\n" * 99)
    monkeypatch.setattr(product, "Path", lambda path: file)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert product._has_idle_avx512.__wrapped__() is idle


@pytest.mark.parametrize("idle", [True, False])
def test_choice_follows_the_faster_product(monkeypatch, idle):
    monkeypatch.setattr(product, "_has_idle_avx512", lambda: idle)
    monkeypatch.setattr(product, "_onednn", lambda: torch.mm)
    geometry = ConvGeometry.parse(LARGE[0])
    for name in MAPS:
        chosen = getattr(choice, name).__wrapped__
        assert chosen(geometry, torch.float32, "cpu", None) is getattr(windows if idle else rows, name)
        assert chosen(geometry, torch.float64, "cpu", None) is getattr(rows, name)
        assert chosen(geometry, torch.float32, "cuda", None) is getattr(windows, name)


@pytest.mark.parametrize("name", MAPS)
def test_bags_where_their_rows_are_long_and_added_up_in_vectors(name):
    long, short, strided, flat = (
        ConvGeometry.parse(f"n2 c40->40 i{size}x{size} k{rows}x3 s{step}x{step} p1x1 d1x1 g40")
        for size, step, rows in ((45, 1, 3), (14, 1, 3), (45, 2, 3), (45, 1, 1))
    )
    chosen = getattr(choice, name)
    of_sums = bags if name == "grad_weight" else depthwise
    assert chosen(long, torch.float32, "cpu", None) is getattr(bags, name)
    for geometry, dtype, device in (
        (long, torch.float64, "cpu"), (long, torch.float32, "cuda"), (short, torch.float32, "cpu"),
        (strided, torch.float32, "cpu"), (flat, torch.float32, "cpu"),
    ):  # fmt: skip
        assert chosen(geometry, dtype, device, None) is getattr(of_sums, name)


def test_budget_chooses_the_smaller_formulation():
    geometry = ConvGeometry.parse(LARGE[0])
    assert choice.forward(geometry, torch.float32, "cpu", None) in (windows.forward, rows.forward)
    assert choice.forward(geometry, torch.float32, "cpu", 10_000) is taps.forward
    x, k = operands(geometry, "forward", torch.float32, 3)
    expected = operator.conv2d(x, k, padding=1)
    with operator.memory_budget(10_000):
        assert torch.equal(operator.conv2d(x, k, padding=1), expected)
    with pytest.raises(ValueError, match="at least 0"), operator.memory_budget(-1):
        pass


def test_every_formulation_is_listed():
    names = [f"{kernels.__name__}.{found.name}" for found in pkgutil.iter_modules(kernels.__path__)]
    having = {module for module in map(import_module, names) if any(hasattr(module, name) for name in MAPS)}
    assert having - {choice} == set(choice.FORMULATIONS)


@settings(max_examples=200, deadline=None, database=None, derandomize=True)
@given(
    st.data(), st.sampled_from(list(MODULES)), st.sampled_from(MAPS), st.sampled_from(("cpu", "cuda")),
    st.sampled_from((None, 100, 10_000)),
)  # fmt: skip
def test_choice_picks_what_is_listed_and_takes_the_geometry(data, module, name, device, allowed):
    geometry = data.draw(geometries(module) | st.sampled_from(LARGE).map(ConvGeometry.parse))
    chosen = getattr(choice, name)(geometry, torch.float32, device, allowed)
    assert chosen in [getattr(m, name) for m in choice.FORMULATIONS if choice.takes(m, name, geometry)]


def test_geometries_that_fit_nothing():
    with pytest.raises(GeometryError):
        ConvGeometry.parse("n1 c1->1 i2x2 k3x3 s1x1 p0x0 d1x1 g1")
