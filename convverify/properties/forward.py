"""The forward pass, against the definition, torch and itself."""

from __future__ import annotations

from collections.abc import Iterator

from convverify.case import ConvCase
from convverify.comparison import Equation, Verdict, compare
from convverify.demand import Demand
from convverify.geometry import ConvGeometry
from convverify.properties.base import Refusal, Refuted, declare
from convverify.properties.calls import call, equations, observe
from convverify.reference import DefinitionMaps, Reference
from convverify.target import OperatorError, Target, Unsupported

EXACT = ("integers", "large", "bell", "dyadic", "positive", "negative", "constant", "sparse", "impulse",
         "outlier", "ramp", "zeros")  # fmt: skip
_PRODUCT = ConvGeometry(1, 1, 1, (1, 1), (1, 1), (1, 1), (0, 0), (1, 1))
LOW = ("bfloat16", "float16")


@declare("forward", ("EX-1", "FW-1", "SZ-1"), "kernel_flipped", Demand(products=1500, corners=True))
def forward_equals_definition(op: Target, case: ConvCase) -> Iterator[Equation]:
    """The output is the index sum of the definition, exactly, on integers."""
    output = observe(op, case).output
    yield from equations(case, Reference(case, DefinitionMaps), {"output": output})


@declare(
    "forward", ("EX-1", "FW-ALL"), "stride_swapped",
    Demand(values=EXACT, products=60_000, corners=True, weight=3),
)  # fmt: skip
def forward_equals_torch(op: Target, case: ConvCase) -> Iterator[Equation]:
    """The output equals torch's, exactly, for operands of every distribution."""
    output = observe(op, case).output
    yield from equations(case, Reference(case), {"output": output})


@declare(
    "forward", ("EX-1",), "float16_last_channel",
    Demand(dtypes=LOW, values=EXACT, products=20_000), refusal=Refusal.ALLOWED,
)  # fmt: skip
def low_precision_is_exact(op: Target, case: ConvCase) -> Iterator[Equation]:
    """In bfloat16 and float16, output and gradients are exact where the format can hold every sum."""
    seen = observe(op, case)
    yield from equations(case, Reference(case), {"output": seen.output, **seen.grads()})


@declare(
    "forward", ("EX-1", "FW-1"), "complex_weight_conjugated",
    Demand(dtypes=("complex128", "complex64"), products=3000, weight=0.5), refusal=Refusal.ALLOWED,
)  # fmt: skip
def complex_is_exact(op: Target, case: ConvCase) -> Iterator[Equation]:
    """On complex operands output and gradients are the formulas', the gradients with the conjugate."""
    claimed(op, case)
    yield from _results(op, case)


@declare(
    "forward", ("FW-1",), "integers_through_float32",
    Demand(dtypes=("int64",), products=3000, weight=0.3), refusal=Refusal.ALLOWED,
)  # fmt: skip
def integers_are_exact(op: Target, case: ConvCase) -> Iterator[Equation]:
    """On integer tensors the output is the definition's."""
    claimed(op, case)
    yield from _results(op, case)


def _results(op: Target, case: ConvCase) -> Iterator[Equation]:
    seen = observe(op, case)
    grads = seen.grads() if seen.leaves["input"].requires_grad else {}
    yield from equations(case, Reference(case), {"output": seen.output, **grads})


def claimed(op: Target, case: ConvCase) -> None:
    """An operator claims a dtype of which it gets the simplest case right.

    Raises:
        Unsupported: it does not, and has not declared the dtype either.
    """
    if case.dtype in op.domain.dtypes:
        return
    simplest = ConvCase(_PRODUCT, dtype=case.dtype, device=case.device, seed=3)
    try:
        right = all(compare(equation)[0] is not Verdict.UNEQUAL for equation in _results(op, simplest))
    except (OperatorError, Refuted) as error:
        raise Unsupported(f"it does not compute in {case.dtype}: {error}") from error
    if not right:
        raise Unsupported(f"it does not claim {case.dtype}: a single product or its gradient is not right")


@declare("forward", ("FW-ALL", "EX-1"), "slightly_nonlinear", Demand(products=3000, weight=0.5))
def forward_is_bilinear(op: Target, case: ConvCase) -> Iterator[Equation]:
    """conv(x + y, k) = conv(x, k) + conv(y, k), and likewise in the weight; the bias enters once."""
    reference = Reference(case)
    leaves = observe(op, case, requires=()).leaves
    whole = call(op, case, leaves)
    zero_bias = {**leaves, **({"bias": leaves["bias"] * 0} if case.bias else {})}
    for role in ("input", "weight"):
        other = reference.operands.draw(f"other_{role}", tuple(leaves[role].shape))
        summed = call(op, case, {**leaves, role: leaves[role] + other})
        added = whole + call(op, case, {**zero_bias, role: other})
        yield Equation(
            f"conv at the sum of two {role}s", summed, added,
            norm=2 * reference.norm,
        )  # fmt: skip
