"""The theorems. To add one: an ID with its statement in `convverify.theorem_ids`, and an entry here."""

from __future__ import annotations

from convverify.derivation.theorem import Theorem
from convverify.derivation.theorems.arithmetic import ARITHMETIC
from convverify.derivation.theorems.bilinear import BILINEAR
from convverify.derivation.theorems.finite import FINITE
from convverify.derivation.theorems.forward import FORWARD
from convverify.derivation.theorems.grad_input import GRAD_INPUT
from convverify.derivation.theorems.grad_weight import GRAD_WEIGHT
from convverify.derivation.theorems.layout import LAYOUT
from convverify.derivation.theorems.program import PROGRAM
from convverify.derivation.theorems.second_order import SECOND_ORDER
from convverify.derivation.theorems.seed import SEED
from convverify.derivation.theorems.sizes import SIZES
from convverify.derivation.theorems.winograd import WINOGRAD

THEOREMS: dict[str, Theorem] = {
    theorem.id: theorem
    for theorem in (
        *FORWARD,
        *GRAD_INPUT,
        *GRAD_WEIGHT,
        *SECOND_ORDER,
        *LAYOUT,
        *SIZES,
        *WINOGRAD,
        *FINITE,
        *PROGRAM,
        *ARITHMETIC,
        *BILINEAR,
        *SEED,
    )
}
