"""The article's own operator: SEED-1 and SEED-2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sympy
from sympy import Expr

from convverify import definition
from convverify.derivation import article
from convverify.derivation.claims import Claim
from convverify.derivation.general import Step, differentiated
from convverify.derivation.index_arrays import IndexArrays, array
from convverify.derivation.index_sum import IndexSum, ProofError, canonical, eliminated, reflected
from convverify.derivation.instances import trilinear, words
from convverify.derivation.logic import Not, eq, le
from convverify.derivation.markdown import display, numbered
from convverify.derivation.ring_arrays import RingArrays, named, partials
from convverify.derivation.symbolic_geometry import symbol, symbols
from convverify.derivation.theorem import Check, Control, Theorem
from convverify.geometry import ConvGeometry

B, I, F, N, K, M = symbols("B I F N K M")  # noqa: E741  the letters of the page
FORMS = {
    "g": (article.output, "x", "k"),
    "x": (article.grad_input, "g", "k"),
    "k": (article.grad_weight, "x", "g"),
}
SHAPES: dict[str, tuple[Expr, ...]] = {"x": (B, I, N, N), "k": (F, I, K, K), "g": (B, F, M, M)}


@dataclass(frozen=True)
class Square:
    """Sizes of a square convolution: N = M + K - 1."""

    axes: tuple[()] = ()

    def solved(self, term: Any) -> Expr:
        """The term without N."""
        return sympy.expand(sympy.sympify(term).subs(N, M + K - 1))


SQUARE = Square()


def _agree(one: Any, other: Any) -> None:
    if SQUARE.solved(one - other) != 0:
        raise ProofError(f"a view needs {one} = {other}")


def _indices(hat: str = "") -> dict[str, tuple[Expr, ...]]:
    n, i, f = (symbol(letter + hat) for letter in "nif")
    (u1, u2), (a1, a2), (o1, o2) = (
        (symbol(f"{letter}{hat}1"), symbol(f"{letter}{hat}2")) for letter in "uao"
    )
    return {"x": (n, i, u1, u2), "k": (f, i, a1, a2), "g": (n, f, o1, o2)}


def _ranges(where: dict[str, tuple[Expr, ...]]) -> dict[Any, Expr]:
    return {index: size for name in "xkg" for index, size in zip(where[name], SHAPES[name], strict=True)}


def _definition() -> IndexSum:
    where = _indices()
    meet = tuple(u - o - a for u, o, a in zip(where["x"][2:], where["g"][2:], where["k"][2:], strict=True))
    return IndexSum(tuple(_ranges(where).items()), meet, tuple(where.items()))


def steps(role: str, form: Any = None) -> list[Step]:
    """The article's output (role g), grad_input (x) or grad_weight (k) against the definition, for all sizes.

    Raises:
        ProofError: they differ.
    """
    own, one, other = FORMS[role]
    xp = IndexArrays(SQUARE)  # type: ignore[arg-type]
    at = _indices("hat")[role]
    xp.ranges.update(_ranges(_indices("hat")))
    result = (form or own)(xp, _agree, array(one, SHAPES[one]), array(other, SHAPES[other]))
    for have, want in zip(result.shape, SHAPES[role], strict=True):
        _agree(have, want)
    formula, derivative = result.at(at), differentiated(_definition(), role, at)
    sides = [
        canonical(reflected(eliminated(side, xp.ranges, SQUARE.solved))) for side in (formula, derivative)
    ]
    if sides[0] != sides[1]:
        raise ProofError(f"{sides[0].latex()} is not {sides[1].latex()}")
    return [
        Step("the derivative of the definition", eliminated(derivative, xp.ranges, SQUARE.solved).latex()),
        Step("what the article computes", formula.latex()),
        Step("the common normal form", sides[0].latex()),
    ]


def _proved() -> str:
    for role in FORMS:
        steps(role)
    return "output, grad_input and grad_weight have the normal forms of the definition and its derivatives"


def _unturned() -> str | None:
    try:
        steps("x", article.unturned)
    except ProofError:
        return _smallest()
    return None


def _smallest() -> str | None:
    for size, kernel in ((1, 1), (2, 1), (2, 2), (3, 2)):
        geometry = ConvGeometry(1, 1, 1, (size, size), (kernel, kernel), (1, 1), (0, 0), (1, 1))
        g, k = named("g", geometry.output_shape), named("k", geometry.weight_shape)
        actual = article.unturned(RingArrays(), lambda one, other: None, g, k)
        expected = partials(trilinear(geometry), "x", geometry.input_shape)
        for index in definition.indices(geometry.input_shape):
            if actual[index] != expected[index]:
                place = ",".join(map(str, index))
                return (
                    f"`{geometry}`: grad_input[{place}] = {words(actual[index])}, not "
                    f"{words(expected[index])}"
                )
    return None


H, W, ROWS, COLUMNS, Q = symbols("H W M R q")
PASSED = (
    le(1, K), le(1, ROWS), le(1, COLUMNS),
    eq(H, ROWS + K - 1), eq(W, COLUMNS + K - 1),
    eq(Q * ROWS, K**2 * COLUMNS),
    eq(Q, K**2) | eq(Q, 1),
)  # fmt: skip
SIZES = (K, ROWS, COLUMNS, Q, H, W)


def _silent() -> Claim:
    return Claim("SEED-2", SIZES, (*PASSED, Not(eq(H, W))), eq(ROWS, K**2 * COLUMNS), 6,
                 "what passes with H != W has H-K+1 = K^2 (W-K+1)")  # fmt: skip


def _replayed() -> str:
    """Execute the unfold, view and einsum of the article where the claim says that nothing complains."""
    import torch  # noqa: PLC0415  only this check runs torch

    found = _silent().possible().counterexample(6)
    assert found is not None
    height, width, size = found["H"], found["W"], found["K"]
    rows = height - size + 1
    x, k = torch.ones(1, 1, height, width), torch.ones(1, 1, size, size)
    columns = torch.nn.functional.unfold(x, size).view(1, 1, -1, rows, rows)
    shape = list(torch.einsum("ijklm,njk->inlm", columns, k.view(1, 1, size * size)).shape)
    right = list(torch.nn.functional.conv2d(x, k).shape)
    if shape == right:
        raise ProofError(f"H={height} W={width} K={size} gives the right shape {right}")
    return f"H={height} W={width} K={size}: shape {shape} where the convolution has {right}, and no error"


SEED = (
    Theorem(
        id="SEED-1", title="The article's operator is right for square inputs and kernels",
        statement=display(
            r"\text{einsum}\big(\text{unfold}_K(x), k\big) = \frac{\partial T}{\partial g}, \qquad "
            r"\text{conv}\big(\text{pad}_{K-1}(g), \text{rotate}_{180}(k)^{\mathsf T}\big) = "
            r"\frac{\partial T}{\partial x}, "
            r"\qquad \text{conv}\big(x^{\mathsf T}, g^{\mathsf T}\big)^{\mathsf T} = \frac{\partial "
            r"T}{\partial k}"
        ) + "\n\nwhere $`\\mathsf T`$ exchanges the first two axes.",
        hypotheses=("input $`[B, I, N, N]`$ and kernel $`[F, I, K, K]`$, $`M = N - K + 1 \\ge 1`$",
                    "stride 1, no padding, dilation 1, one group, no bias: all that the article treats"),
        method="SymPy in index notation. The article's steps (unfold, view, einsum, pad, rotate, transpose) "
        "are restated over the same primitives as our formulas; a view moves no element (AD-2), and what it "
        "demands of sizes is checked.",
        derivation=lambda: "With $`S = D = 1`$ and $`P = 0`$ the closed forms of GW-ALL and GI-ALL become "
        "the two formulas of the article: the remainder is 0, no zeros are inserted, and the padding is "
        "$`D(K-1) - P = K - 1`$ on all sides. The exchanges of batch and channels say which index is summed: "
        "over output channels in grad_input, over the batch in grad_weight.\n\n" + "\n\n".join(
            f"**{title}**\n\n{numbered(steps(role))}"
            for role, title in (("g", "Output"), ("k", "Gradient of Kernel"), ("x", "Gradient of Input"))
        ),
        checks=(Check("all sizes symbols", _proved),),
        controls=(Control("the kernel not turned", _unturned),),
    ),
    Theorem(
        id="SEED-2", title="Where the article's operator is silently wrong",
        statement=display(r"H \ne W,\ \text{all reshapes pass} \;\Longrightarrow\; H - K + 1 = K^2\,(W - "
        r"K + 1)")
        + "\n\nand such sizes exist: the output then has shape $`M \\times M`$ with $`M = H-K+1`$, where a "
        "convolution has $`M \\times (W-K+1)`$.",
        hypotheses=("square kernel $`K`$; $`M = H-K+1 \\ge 1`$ and $`R = W-K+1 \\ge 1`$",
                    ("the view infers $`q`$ from $`q M^2 = K^2 M R`$, that is $`q M = K^2 R`$; einsum takes "
                    "$`q = K^2`$, or $`q = 1`$, which it broadcasts")),
        method="SMT; and the sizes that it finds, executed.",
        derivation=lambda: "The article takes $`M`$ from the height alone and lets `view` infer the number "
        "$`q`$ of kernel places. If einsum is given $`q = K^2`$, then $`M = R`$ and $`H = W`$. But einsum "
        "broadcasts a dimension of size 1: with $`q = 1`$ the inference says $`M = K^2 R`$, nothing "
        "complains, and the sum runs over the wrong elements.",
        checks=(Check("executed", _replayed),),
        claims=lambda: (_silent(),),
        wrong_claims=lambda: (
            ("what passes every reshape has H = W", Claim("SEED-2-wrong", SIZES, PASSED, eq(H, W))),
        ),
    ),
)  # fmt: skip
