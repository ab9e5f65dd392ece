"""Where elements lie, and which channels meet: AD-1, AD-2 and GR-1 to GR-3."""

from __future__ import annotations

import itertools

from sympy import Expr

from convverify.derivation.claims import Claim
from convverify.derivation.forms import GROUPS_TRANSPOSED, shipped
from convverify.derivation.index_sum import ProofError
from convverify.derivation.instances import first_order
from convverify.derivation.logic import All, eq, le, lt, within
from convverify.derivation.markdown import display
from convverify.derivation.symbolic_geometry import symbols
from convverify.derivation.theorem import Check, Control, Theorem
from convverify.derivation.theorems.common import smallest
from convverify.geometry import ConvGeometry

A, B, i, j, i2, j2, t = symbols("A B i j i2 j2 t")
G, I, J, n, gamma, c, m, M, q, d = symbols("G I J n gamma c m M q d")  # noqa: E741  the letters of the page
PAIR = (le(1, A), le(1, B), within(i, A), within(j, B))
GROUPED = (le(1, G), le(1, I), le(1, J), within(gamma, G))


def _addresses() -> tuple[Claim, ...]:
    return (
        Claim("AD-1-inside", (A, B, i, j), PAIR, within(i * B + j, A * B), 4, "every address is in range"),
        Claim("AD-1-apart", (A, B, i, j, i2, j2),
              (*PAIR, within(i2, A), within(j2, B), eq(i * B + j, i2 * B + j2)),
              All((eq(i, i2), eq(j, j2))), 4, "no two indices share an address"),
        Claim("AD-1-reached", (A, B, i, j, t),
              (le(1, A), le(1, B), within(t, A * B), eq(t, i * B + j), within(j, B)),
              within(i, A), 4, "the quotient and the rest of an address are an index"),
    )  # fmt: skip


def _column_step() -> Claim:
    return Claim("AD-1-wrong", (A, B, i, j, i2, j2),
                 (*PAIR, within(i2, A), within(j2, B), eq(i * A + j, i2 * A + j2)),
                 All((eq(i, i2), eq(j, j2))))  # fmt: skip


def _split(flat: Expr, name: str) -> Claim:
    """The element (n, channel, m) of [.., G*J, M] and (n, gamma, c, m) of [.., G, J, M]."""
    return Claim(name, (G, J, M, n, gamma, c, m),
                 (le(1, G), le(1, J), le(1, M), le(0, n), within(gamma, G), within(c, J), within(m, M)),
                 eq((n * (G * J) + flat) * M + m, ((n * G + gamma) * J + c) * M + m), 2,
                 "both address the same element")  # fmt: skip


def _group_of(output_channel: Expr, name: str) -> Claim:
    """q is the quotient of the output channel by J."""
    return Claim(name, (G, J, gamma, c, q),
                 (le(1, G), le(1, J), within(gamma, G), within(c, J), le(q * J, output_channel),
                  lt(output_channel, q * J + J)),
                 eq(q, gamma), 3, "the quotient by J is the group")  # fmt: skip


def _own_channels() -> Claim:
    channel = gamma * I + i
    return Claim("GR-1-inside", (G, I, J, gamma, i), (*GROUPED, within(i, I)),
                 All((le(gamma * I, channel), lt(channel, (gamma + 1) * I), within(channel, G * I))),
                 3, "the channel that is read is in that group")  # fmt: skip


def _one_meeting() -> tuple[Claim, ...]:
    other = (within(d, G), within(i2, I))
    return (
        Claim("GR-2-one", (G, I, J, gamma, i, d, i2),
              (*GROUPED, within(i, I), *other, eq(gamma * I + i, d * I + i2)),
              All((eq(gamma, d), eq(i, i2))), 3, "an input channel is read by one group, at one place"),
        Claim("GR-2-all", (G, I, J, gamma, i, t),
              (le(1, G), le(1, I), le(1, J), within(t, G * I), eq(t, gamma * I + i), within(i, I)),
              within(gamma, G), 3, "every input channel belongs to a group"),
    )  # fmt: skip


def _shared_channels() -> Claim:
    """Groups that start J apart in the input, where they are I wide."""
    other = (within(d, G), within(i2, I))
    return Claim("GR-2-wrong", (G, I, J, gamma, i, d, i2),
                 (*GROUPED, within(i, I), *other, eq(gamma * J + i, d * J + i2)),
                 All((eq(gamma, d), eq(i, i2))))  # fmt: skip


def _grouped_instances() -> str:
    geometries = [
        ConvGeometry(2, groups * ins, groups * outs, (1,), (1,), (1,), (0,), (1,), groups)
        for groups, ins, outs in itertools.product((1, 2, 3), repeat=3)
    ]
    for geometry in geometries:
        for difference in first_order(geometry, shipped()):
            raise ProofError(f"{geometry}: {difference}")
    return (
        f"{len(geometries)} geometries, up to 3 groups of 3 input and 3 output channels: the same polynomials"
    )


LAYOUT = (
    Theorem(
        id="AD-1", title="Row-major addresses: each element is written exactly once",
        statement=display(r"(i, j) \mapsto i B + j \;\text{ maps }\; [0, A) \times [0, B) \;\text{ one to "
        r"one onto }\; [0, A B)"),
        hypotheses=("$`A, B \\ge 1`$",),
        method="SMT, one dimension at a time; any number of dimensions by induction.",
        derivation=lambda: "$`i B + j \\le (A-1)B + B - 1 = A B - 1`$. If $`i B + j = i' B + j'`$ then $`B "
        "\\mid j - j'`$ and $`|j - j'| \\lt B`$, so $`j = j'`$ and $`i = i'`$. Dividing an address by $`B`$ "
        "gives the index back. For more dimensions let $`j`$ be the address in the trailing ones, $`B`$ "
        "their number of elements: the step from one dimension to the next is the same. An NCHW kernel that "
        "runs over all indices, and writes each once, therefore writes each element of its output exactly "
        "once.",
        claims=_addresses,
        wrong_claims=lambda: (("the leading size taken as the step", _column_step()),),
    ),
    Theorem(
        id="AD-2", title="Splitting and merging axes moves no element",
        statement=display(r"\big(n\,(G J) + (\gamma J + c)\big) M + m = \big((n\,G + \gamma)\,J + c\big) "
        r"M + m"),
        hypotheses=("$`G, J, M \\ge 1`$; $`M`$ is the number of elements of the trailing dimensions",),
        method="SMT.",
        derivation=lambda: "Expand both sides. This is why `split` and `merge` in the formulas are views.",
        claims=lambda: (_split(gamma * J + c, "AD-2"),),
        wrong_claims=lambda: (("the group taken for the fast index", _split(c * G + gamma, "AD-2-wrong")),),
    ),
    Theorem(
        id="GR-1", title="Groups: an output channel reads channels of its own group",
        statement=display(
            r"c_o = \gamma J + c \;\Rightarrow\; \left\lfloor \frac{c_o}{J} \right\rfloor = \gamma, \qquad "
            r"\gamma I \le \left\lfloor \frac{c_o}{J} \right\rfloor I + i \lt (\gamma + 1) I \le G I"
        ),
        hypotheses=(("$`G, I, J \\ge 1`$, $`0 \\le \\gamma \\lt G`$, $`0 \\le c \\lt J`$, $`0 \\le i \\lt "
        "I`$"),),
        method="SMT, with the quotient stated by the inequalities that define it.",
        derivation=lambda: "$`\\gamma J \\le \\gamma J + c \\lt (\\gamma + 1) J`$ is the definition of the "
        "quotient.",
        claims=lambda: (_group_of(gamma * J + c, "GR-1-group"), _own_channels()),
        wrong_claims=lambda: (("groups interleaved: output channel c*G + gamma", _group_of(c * G + gamma,
            "GR-1-wrong")),),
    ),
    Theorem(
        id="GR-2", title="Groups: one weight channel for each pair of channels in a group, none across",
        statement=display(r"\gamma I + i = \delta I + i' \;\Rightarrow\; \gamma = \delta \land i = i', "
        r"\qquad "
                          r"0 \le t \lt G I \;\Rightarrow\; t = \gamma I + i"),
        hypotheses=("$`G, I, J \\ge 1`$, indices in their ranges",),
        method="SMT.",
        derivation=lambda: "It is AD-1 for the two indices of a channel. The pair ($`\\gamma J + c`$, $`t`$) "
        "meets through the weight channel $`i`$ with $`t = \\gamma I + i`$: there is exactly one when $`t`$ "
        "lies in group $`\\gamma`$.",
        claims=_one_meeting,
        wrong_claims=lambda: (("groups that start J apart in the input", _shared_channels()),),
    ),
    Theorem(
        id="GR-3", title="Groups: the closed forms pair the channels of the definition",
        statement=display(r"\text{out}_{\gamma J + c} \leftarrow x_{\gamma I + i}\,k_{\gamma J + c,\,i}, "
        r"\quad "
                          r"\text{grad\_input}_{\gamma I + i} \leftarrow g_{\gamma J + c}\,k_{\gamma J + "
                          r"c,\,i}, \quad "
                          r"\text{grad\_weight}_{\gamma J + c,\,i} \leftarrow x_{\gamma I + i}\,g_{\gamma "
                          r"J + c}"),
        method="SymPy polynomials with one pixel and a 1-tap kernel, so that only channels are left; for all "
        "sizes it is part of FW-ALL, GI-ALL and GW-ALL.",
        derivation=lambda: "The formulas split the channel axis of each array in (group, place in the "
        "group), which by AD-2 moves nothing and by GR-1 is what the definition divides; then they sum over "
        "the place and never over the group.",
        checks=(Check("all small groupings", _grouped_instances),),
        controls=(Control(GROUPS_TRANSPOSED.fault, lambda: smallest(GROUPS_TRANSPOSED)),),
    ),
)  # fmt: skip
