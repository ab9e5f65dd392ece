"""The forward pass, against the definition, torch and itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from convverify.case import ConvCase
from convverify.comparison import Equation
from convverify.demand import EXACT, Demand
from convverify.properties.base import declare
from convverify.properties.calls import call, equations, exact_results, observe, output_without_gradients
from convverify.reference import DefinitionMaps, Reference
from convverify.target import Target
from convverify.values import FORMS


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
    """The output equals torch's, exactly, for operands of every distribution, with and without gradients."""
    seen, reference = observe(op, case), Reference(case)
    yield from equations(case, reference, {"output": seen.output})
    yield from output_without_gradients(seen, reference)


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


@declare(
    "forward", ("EX-1", "FW-1"), "identity_hands_the_input_on", Demand(products=0, usual=True, weight=1.5, least=19)
)  # fmt: skip
def kernels_of_special_form_are_right(op: Target, case: ConvCase) -> Iterator[Equation]:
    """Boxes, identities, shifts, pruned filters and the like: with each of them every result is exact."""
    for form in FORMS:
        for equation in exact_results(op, replace(case, values=form)):
            yield replace(equation, what=f"{equation.what}, the kernel's form being {form!r}")
