"""The article's operator, restated over the array primitives of the closed forms.

The article unfolds the input into columns, views them as [B, Cin, K*K, M, M], and multiplies by einsum. A
view moves no element; here the axes that it merges and splits stay apart, and what it demands of the sizes
is checked: M = N - K + 1 is taken from the height of the input and K from the height of the kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Agree = Callable[[Any, Any], None]


def output(xp: Any, agree: Agree, x: Any, k: Any) -> Any:
    """Unfold with a K-by-K window, view, and sum over input channels and window."""
    columns = _columns(xp, agree, x, k)  # [B, Cin, M, M, K, K]
    return xp.einsum("ijlmad,njad->inlm", columns, k)


def grad_input(xp: Any, agree: Agree, g: Any, k: Any) -> Any:
    """Pad grad_output by K-1 on all sides, turn the kernel, exchange its channels, and convolve."""
    margin = k.shape[2] - 1
    padded = xp.pad(g, ((margin, margin), (margin, margin)))
    columns = _columns(xp, agree, padded, k)
    return xp.einsum("inlmad,njad->ijlm", columns, xp.rotate180(k, 2))


def grad_weight(xp: Any, agree: Agree, x: Any, g: Any) -> Any:
    """Convolve the input with grad_output as the kernel, batch and channels exchanged in both."""
    columns = _columns(xp, agree, x, g)
    return xp.einsum("ijlmad,inad->njlm", columns, g)


def unturned(xp: Any, agree: Agree, g: Any, k: Any) -> Any:
    """Wrong on purpose: grad_input with the kernel not turned."""
    margin = k.shape[2] - 1
    padded = xp.pad(g, ((margin, margin), (margin, margin)))
    return xp.einsum("inlmad,njad->ijlm", _columns(xp, agree, padded, k), k)


def _columns(xp: Any, agree: Agree, x: Any, k: Any) -> Any:
    size = k.shape[2]
    agree(k.shape[3], size)  # the kernel is viewed as K*K columns
    columns = xp.windows(x, (size, size), (1, 1), (1, 1))
    positions = x.shape[2] - size + 1
    agree(columns.shape[2], positions)
    agree(columns.shape[3], positions)  # the columns are viewed as M by M
    return columns
