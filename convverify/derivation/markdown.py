"""Mathematics in the Markdown that GitHub renders."""

from __future__ import annotations

from collections.abc import Sequence

from convverify.derivation.general import Step

GEOMETRY = (
    (
        r"$`H, K, S, D, O \ge 1`$, $`P, Q \ge 0`$: input, kernel, stride, dilation, output, and the padding "
        r"before "
        "and after, of one axis"
    ),
    r"$`H + P + Q - D(K-1) - 1 = S(O-1) + r`$ with $`0 \le r \lt S`$: the output size and the remainder",
)


def display(latex: str) -> str:
    """A displayed formula."""
    return f"```math\n{latex}\n```"


def numbered(steps: Sequence[Step]) -> str:
    """Steps that a machine took, each with its reason."""
    return "\n\n".join(
        f"{number}. {step.why}:\n\n{display(step.latex)}" for number, step in enumerate(steps, start=1)
    )


MACHINE = (
    "The same, as the machine did it, with batch $`n`$, groups $`\\gamma`$ of $`I`$ input and $`J`$ output "
    "channels; $`\\delta[\\cdot]`$ is 1 where its equation holds and 0 elsewhere, and a hat marks the "
    "element by which is differentiated."
)
