"""What an operator answers where it does not return: a refusal, an error, nothing in time.

Every call of an operator goes through `guarded`, so that what the operator raises is told apart from what the
verifier raises.
"""

from __future__ import annotations

import dis
import re
import sys
from collections.abc import Callable
from typing import Any

import torch

# What torch says where it does not do something; an operator that lets it through has refused as clearly. That an
# operation has no derivative is not among it: its author may not know.
_REFUSED = re.compile(r"(?i)^(?!.*derivative).*\b(not (yet |currently )?(supported|implemented)|unsupported)\b")
# What an operator says of a restriction of its own, as torch says it, in a RuntimeError.
_RESTRICTED = re.compile(r"(?i)\b(must|only|expect(s|ed)?|support(s|ed)?|require[sd]?|needs?)\b")
_NO_MEMORY = re.compile("DefaultCPUAllocator|std::bad_alloc")


class Unsupported(Exception):  # noqa: N818 - an answer of the operator, not an error
    """The operator says that it does not do this."""


class OperatorError(Exception):
    """The operator raised where it should work."""


class OperatorHang(BaseException):
    """The operator did not come back in time; no operator's `except Exception` may swallow it."""


def guarded(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Run anything that may run the operator's code (its backward, say), telling its errors apart.

    Raises:
        Unsupported: the operator says that it does not do this.
        OperatorError: it raised anything else, or something did inside it.
    """
    try:
        return function(*arguments, **named)
    except (KeyboardInterrupt, OperatorHang, Unsupported, OperatorError):
        raise
    except (NotImplementedError, MemoryError, torch.OutOfMemoryError) as error:
        raise Unsupported(first_line(error)) from error
    except RuntimeError as error:
        restricted = _RESTRICTED.search(str(error)) and _is_refusal(error)
        refusal = restricted or _REFUSED.search(str(error)) or _NO_MEMORY.search(str(error))
        raise (Unsupported if refusal else OperatorError)(first_line(error)) from error
    except (ValueError, TypeError, AssertionError) as error:
        raise (Unsupported if _is_refusal(error) else OperatorError)(first_line(error)) from error
    except BaseException as error:
        raise OperatorError(first_line(error)) from error


def _is_refusal(error: Exception) -> bool:
    """Whether the operator's own code raised it, with something to say, as checks of arguments do.

    What torch, numpy or Python itself raises is an accident.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or not str(error):
        return False
    raised = trace.tb_frame.f_code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]
    package = str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
    return raised and package not in {"torch", "numpy", *sys.stdlib_module_names}


def first_line(error: BaseException) -> str:
    """The kind of an error and the first line of what it says."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
