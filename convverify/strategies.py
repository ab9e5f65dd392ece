"""How cases are drawn, and what they shrink to.

A run draws its cases by a generator, `sampled_cases`, and shrinks one that fails by Hypothesis, `smaller_cases`.
`geometries` and `cases` draw the same by Hypothesis: for tests, this package's and others', not for a run.
Everything shrinks towards `n1 c1->1 i1x1 k1x1 s1x1 p0x0 d1x1 g1`, float64, contiguous, small integers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.internal.conjecture import providers

from convverify.case import ConvCase, layout_text
from convverify.choices import Choices, Sampled, Shrinkable, yes
from convverify.demand import Demand
from convverify.domain import Domain
from convverify.geometry import ConvGeometry, Padding
from convverify.layouts import LAYOUTS
from convverify.values import DISTRIBUTIONS

TRIES = 10  # for each case that is wanted
_TILES = (7, 8, 9, 14, 15, 16, 17, 30, 31, 32, 33)
_SCALES = {"float64": 150, "complex128": 150, "float32": 30, "complex64": 30, "bfloat16": 30, "float16": 2}
ROLE_LAYOUTS = {
    "bias": ("contiguous", "sliced", "offset", "expanded"),
    **dict.fromkeys(("input", "weight", "grad_output"), (*LAYOUTS, "channels_last", "transposed", "batch_last")),
}

if hasattr(providers, "_get_local_constants"):
    _NO_CONSTANTS = type(providers._local_constants)
    _CACHE = type(providers.CONSTANTS_CACHE)(1024)


@st.composite
def geometries(draw: st.DrawFn, products: int = 4000, strings: bool = False, spatial: int = 2) -> ConvGeometry:
    """Geometries of at most about `products` products, corners included.

    Args:
        products: bounds the products of the forward pass (one output's own are never cut below one tap).
        strings: whether padding may be 'same' or 'valid'.
        spatial: the number of spatial dimensions.
    """
    if products < 1 or spatial not in (1, 2, 3):
        raise ValueError(f"products={products} must be at least 1 and spatial={spatial} one of 1, 2, 3")
    return _geometry(Shrinkable(draw), products, strings, spatial)


@st.composite
def cases(draw: st.DrawFn, demand: Demand, domain: Domain | None = None, device: str = "cpu") -> ConvCase:
    """Cases as a property demands them, inside what an operator claims to support."""
    case = _case(Shrinkable(draw), demand, domain, device)
    if case is None:
        reject()
    return case


def sampled_cases(demand: Demand, domain: Domain | None, device: str, seed: str, most: int) -> Iterator[ConvCase]:
    """Different cases like those of `cases`, at most so many, and fewer where there are few; the same for a seed."""
    choices, seen = Sampled(seed), set[ConvCase]()
    first = choices.integer(0, 2**20)  # of seeds one after another: what goes by remainders meets each soon
    for number in range(TRIES * most):
        case = _case(choices, demand, domain, device, first + number)
        if case is not None and case not in seen:
            seen.add(case)
            yield case
        if len(seen) == most:
            return


def _geometry(choices: Choices, products: int, strings: bool, spatial: int) -> ConvGeometry:
    tiny = products <= 200
    batch = choices.integer(1, 2 if tiny else 3)
    groups = choices.integer(1, 2 if tiny else 4)
    if not yes(choices):
        groups = 1
    channels = [choices.integer(1, 2 if tiny else 4) for _ in range(2)]
    kernel = _alike_or_each(choices, 1, 2 if tiny else 5, spatial)
    stride = _plain_or_each(choices, 1, 4, spatial)
    dilation = _plain_or_each(choices, 1, 2 if tiny else 4, spatial)
    padding: Padding = _alike_or_each(choices, 0, 2 if tiny else 6, spatial)
    if strings:
        padding = choices.one_of((padding, "same", "valid"))
    if padding == "same":
        stride = (1,) * spatial
    extra = [_extra(choices, products) for _ in range(spatial)]
    pads = ConvGeometry(1, 1, 1, (9999,) * spatial, kernel, stride, padding, dilation).pads
    sizes = [batch, *channels, *extra]
    while True:
        room = tuple(
            max(1, d * (k - 1) + 1 - sum(p)) + e for d, k, p, e in zip(dilation, kernel, pads, sizes[3:], strict=True)
        )
        geometry = ConvGeometry(
            sizes[0], sizes[1] * groups, sizes[2] * groups, room, kernel, stride, padding, dilation, groups
        )
        if geometry.products <= products or sizes == [1, 1, 1, *[0] * spatial]:
            return geometry
        largest = max(range(len(sizes)), key=lambda i: sizes[i] + (i >= 3))
        sizes[largest] = max(int(largest < 3), sizes[largest] // 2)


def _case(
    choices: Choices, demand: Demand, domain: Domain | None, device: str, seed: int | None = None
) -> ConvCase | None:
    """A case; None where it fits neither the domain nor the demand."""
    case = ConvCase(
        _geometry(choices, demand.products or 200, demand.strings, 2),
        bias=demand.bias and yes(choices),
        dtype=choices.dealt(demand.dtypes),
        device=device,
        values=choices.dealt(demand.values),
        layout=layout_text({role: choices.dealt(ROLE_LAYOUTS[role], role) for role in demand.operand_layouts}),
        seed=choices.integer(0, 2**20) if seed is None else seed,
    )
    if case.layout != "contiguous" and not case.bias:
        case = replace(case, layout=_without_bias(case.layout))
    fitted = case if domain is None else domain.fit(case)
    if fitted is None:
        return None
    if DISTRIBUTIONS[fitted.values].scaled:  # in the range of the dtype that the domain allows
        fitted = replace(fitted, scale=_scale(choices, fitted.dtype))
    return fitted if demand.takes(fitted) else None


def _scale(choices: Choices, dtype: str) -> int:
    """A power of two by which all operands may be multiplied without leaving the dtype's range."""
    limit = _SCALES.get(dtype, 0)  # integers are not scaled
    return choices.integer(-limit, limit) if yes(choices) else 0


@st.composite
def smaller_cases(draw: st.DrawFn, case: ConvCase) -> ConvCase:
    """Cases between the simplest one and `case`, in every part of it: what a counterexample shrinks to."""
    g = case.geometry
    groups = draw(_down(g.groups, 1))
    in_group, out_group = g.in_channels // g.groups, g.out_channels // g.groups
    smaller = ConvGeometry(
        draw(_down(g.batch, min(1, g.batch))),
        groups * draw(_down(in_group, min(1, in_group))),
        groups * draw(_down(out_group, min(1, out_group))),
        (9999,) * g.spatial,  # for the moment
        tuple(draw(_down(k, 1)) for k in g.kernel_size),
        tuple(draw(_down(s, 1)) for s in g.stride),
        g.padding if isinstance(g.padding, str) else tuple(draw(_down(p, 0)) for p in g.padding),
        tuple(draw(_down(d, 1)) for d in g.dilation),
        groups,
    )
    # an image that is too small for the kernel is made to fit: each draw is a case, and simpler draws simpler ones
    least = [max(1, axis.reach + 1 - axis.before - axis.after) for axis in smaller.axes]
    room = tuple(max(low, draw(_down(size, 1))) for low, size in zip(least, g.input_size, strict=True))
    geometry = replace(smaller, input_size=room)
    parts = [draw(st.sampled_from(("", part))) for part in case.layout.split(",") if part != "contiguous"]
    return replace(
        case,
        geometry=geometry,
        bias=draw(st.booleans()) and case.bias,
        layout=",".join(filter(None, parts)) or "contiguous",
        values=draw(st.sampled_from(tuple(dict.fromkeys(("integers" if case.exact else case.values, case.values))))),
        scale=draw(st.sampled_from((0, case.scale))),
        dtype=draw(st.sampled_from(tuple(dict.fromkeys((_plain_dtype(case.dtype), case.dtype))))),
        seed=draw(st.sampled_from((0, 1, case.seed))),
    )


@contextlib.contextmanager
def no_foreign_constants() -> Iterator[None]:
    """Inside, Hypothesis does not mix in constants that it finds in source files it takes for the user's.

    Looking for them takes a second and leaves a folder behind, and the cases of a seed would depend on what
    else is imported. Hypothesis has no setting for it, and older versions do not do it.
    """
    if not hasattr(providers, "_get_local_constants"):
        yield
        return
    before = providers._get_local_constants, providers.CONSTANTS_CACHE
    providers._get_local_constants = _NO_CONSTANTS
    providers.CONSTANTS_CACHE = _CACHE
    try:
        yield
    finally:
        providers._get_local_constants, providers.CONSTANTS_CACHE = before


def _plain_dtype(dtype: str) -> str:
    return "float64" if dtype == "float32" else dtype


def _down(value: int, least: int) -> st.SearchStrategy[int]:
    """Sizes from `least` to `value`, the latter often."""
    steps = (least, least + 1, least + 2, value // 2, value - 1, value)
    return st.sampled_from(sorted({step for step in steps if least <= step <= value}))


def _extra(choices: Choices, products: int) -> int:
    """By how much an image is larger than it must be; also to sizes around those of tiles."""
    if products < 1000:
        return choices.integer(0, 3 if products <= 200 else 6)
    return choices.one_of(_TILES) if yes(choices) else choices.integer(0, 6)


def _each(choices: Choices, low: int, high: int, spatial: int) -> tuple[int, ...]:
    return tuple(choices.integer(low, high) for _ in range(spatial))


def _alike_or_each(choices: Choices, low: int, high: int, spatial: int) -> tuple[int, ...]:
    """One size for every axis in a third of the draws: what is square has paths of its own."""
    sizes = _each(choices, low, high, spatial)
    return sizes[:1] * spatial if choices.integer(0, 2) == 2 else sizes


def _plain_or_each(choices: Choices, low: int, high: int, spatial: int) -> tuple[int, ...]:
    """All ones in half of the draws: what is neither strided nor dilated has paths of its own."""
    sizes = _each(choices, low, high, spatial)
    return (1,) * spatial if yes(choices) else sizes


def _without_bias(layout: str) -> str:
    return ",".join(part for part in layout.split(",") if not part.startswith("bias:")) or "contiguous"
