"""One property on one case: what came of it, whatever the operator does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, IntEnum
from typing import Any

import torch
from torch import Tensor

from convverify.answers import OperatorError, OperatorHang, Unsupported
from convverify.case import ConvCase
from convverify.comparison import Equation, Verdict, compare
from convverify.properties.base import KnownFailure, Property, Refusal, Refuted, Rounded
from convverify.target import Target
from convverify.time_limit import time_limit

_conv2d = torch.nn.functional.conv2d  # bound before any operator under test is loaded


def _by_sample(input: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0,
               dilation: Any = 1, groups: int = 1) -> Tensor:  # fmt: skip
    """Torch's convolution of one sample after another, each without a batch."""
    if input.dim() == 3 or not len(input):
        return _conv2d(input, weight, bias, stride, padding, dilation, groups)
    return torch.stack([_conv2d(x, weight, bias, stride, padding, dilation, groups) for x in input])


TORCH = (Target(_conv2d), Target(_by_sample))  # torch's own ways to convolve a batch
MOST_SAMPLES = 256  # of which the second is asked for: of many more it takes half a minute
TORCHS_ERROR = "slow_conv2d: grad_weight must be contiguous"  # torch 2.13, for some strides of a weight


class Kind(Enum):
    """What came of a property on a case."""

    EQUAL = "equal"
    KNOWN = "known failure"
    ROUNDED = "rounded"
    UNEQUAL = "unequal"
    UNSUPPORTED = "unsupported"
    ERROR = "error"
    UNCHECKED = "what came back cannot be checked"
    BROKEN = "the check itself failed"
    HANG = "hang"
    VACUOUS = "vacuous"
    INAPPLICABLE = "inapplicable"

    @property
    def is_failure(self) -> bool:
        return self in (Kind.UNEQUAL, Kind.ERROR, Kind.UNCHECKED, Kind.HANG)


class How(IntEnum):
    """In which way the equations of a case hold, in rising order of what there is to say: `HELD` without numbers."""

    HELD = 0
    EXACT = 1
    BOUNDED = 2

    def __str__(self) -> str:
        return ("held", "exact", "within the rounding bound")[self]


@dataclass(frozen=True)
class Finding:
    """What came of a property on a case, and the equation that did not hold.

    VACUOUS is a case on which nothing but zeros was compared: it could hardly have failed. INAPPLICABLE is
    one about which the property says nothing, BROKEN one on which it fails whatever the operator does. `how` says in
    which way the equations that hold do.
    """

    kind: Kind
    message: str = ""
    equation: Equation | None = None
    how: How = How.HELD


def examine(prop: Property, op: Target, case: ConvCase, seconds: float = 20.0) -> Finding:
    """Check the property on the case; nothing that the operator raises comes out of here but Ctrl-C."""
    try:
        with time_limit(seconds):
            return _compared(prop, op, case)
    except Unsupported as answer:
        return Finding(Kind.UNSUPPORTED, str(answer))
    except Refuted as finding:
        return Finding(Kind.UNEQUAL, str(finding))
    except KnownFailure as finding:
        return Finding(Kind.KNOWN, str(finding))
    except Rounded as finding:
        return Finding(Kind.ROUNDED, str(finding))
    except OperatorHang:
        return Finding(Kind.HANG, f"the operator did not come back within {seconds:g} s")
    except OperatorError as error:
        allowed = prop.refusal is Refusal.ALLOWED or (prop.refusal is Refusal.DECLARED and op.domain.declared)
        return Finding(Kind.UNSUPPORTED if allowed else Kind.ERROR, str(error))
    except Exception as error:
        message = f"what the operator returned cannot be checked: {type(error).__name__}: {error}"
        return Finding(Kind.UNCHECKED, message)


def excused(prop: Property, op: Target, case: ConvCase, finding: Finding, seconds: float = 20.0) -> Finding:
    """The finding, unless it is a failure (or rounding) and torch's own, on this machine.

    torch 2.13 is wrong in bfloat16 on processors with AMX, where a strided output has a single column, and in float64
    for a sample without a batch, in channels_last and in several groups. What torch's own convolution fails in the
    same way is a known failure; what it fails otherwise, and what holds in half precision as soon as oneDNN is
    switched off, has torch inside and is not judged here; nor is what gives torch's convolution a weight of its own
    making with strides at which that one's backward raises.
    """
    if finding.kind is Kind.ERROR and TORCHS_ERROR in finding.message:
        return Finding(Kind.UNSUPPORTED, f"torch's own convolution fails inside the operator: {finding.message}")
    if finding.kind.is_failure and finding.kind is not Kind.HANG:
        ways = TORCH if case.geometry.batch <= MOST_SAMPLES else TORCH[:1]
        torchs = [examine(prop, own, case, seconds) for own in ways]
        failed = [found.message for found in torchs if found.kind.is_failure]
        if Kind.UNCHECKED in (found.kind for found in torchs):
            return Finding(Kind.BROKEN, f"the check itself fails, on torch's convolution, too: {finding.message}")
        if finding.message in failed:
            return Finding(Kind.KNOWN, f"as torch itself does on this machine: {finding.message}")
        if failed:
            return Finding(Kind.UNSUPPORTED, f"torch's own convolution fails on this machine, too: {failed[0]}")
    elif finding.kind is not Kind.ROUNDED:
        return finding
    if _is_onednns(prop, op, case, seconds):
        return Finding(Kind.UNSUPPORTED, f"holds on this machine only without oneDNN: {finding.message}")
    return finding


def _is_onednns(prop: Property, op: Target, case: ConvCase, seconds: float) -> bool:
    """Whether the property holds in half precision without oneDNN, and not with it.

    Of a strided output of one column oneDNN reads memory that nobody has written: there it may fail and then hold.
    """
    half = prop.demand.autocast or case.dtype in ("bfloat16", "float16")
    if not half or not torch.backends.mkldnn.enabled:
        return False
    g = case.geometry
    at_random = g.output_size[-1] == 1 and max(g.stride) > 1
    if not at_random and examine(prop, op, case, seconds).kind is Kind.EQUAL:
        return False
    torch._C._set_mkldnn_enabled(False)
    try:
        return examine(prop, op, case, seconds).kind is Kind.EQUAL
    finally:
        torch._C._set_mkldnn_enabled(True)


def _compared(prop: Property, op: Target, case: ConvCase) -> Finding:
    worst, live, compared, how = Finding(Kind.EQUAL), False, False, How.HELD
    for equation in prop.check(op, case):
        compared, how = True, max(how, _how(equation))
        verdict, message = compare(equation)
        if verdict is Verdict.UNEQUAL:
            return Finding(Kind.UNEQUAL, message, equation)
        if verdict is Verdict.ROUNDED and worst.kind is Kind.EQUAL:
            worst = Finding(Kind.ROUNDED, message, equation)
        live = live or _could_fail(equation.expected)
    if not compared:
        return Finding(Kind.INAPPLICABLE)
    return replace(worst, how=how) if live else Finding(Kind.VACUOUS)


def _how(equation: Equation) -> How:
    if not isinstance(equation.expected, Tensor):
        return How.HELD
    return How.EXACT if equation.exact else How.BOUNDED


def _could_fail(expected: object) -> bool:
    """Whether more than zeros was compared; of an empty tensor its shape was."""
    return not isinstance(expected, Tensor) or not expected.numel() or bool((expected != 0).any())
