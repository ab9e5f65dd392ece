"""The graph that autograd has recorded, as a drawing. Works on tensors; imports no torch itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convverify.derivation.drawing import Drawing


def autograd_drawing(outputs: Mapping[str, Any], leaves: Mapping[str, Any]) -> Drawing:
    """Draw what autograd recorded between named leaves and named outputs, in the direction of the values."""
    drawing = Drawing()
    names = {id(tensor): name for name, tensor in leaves.items()}
    seen: dict[Any, str] = {}
    for name, output in outputs.items():
        drawing.value(name, f"{name}\n{list(output.shape)}")
        if output.grad_fn is not None:
            drawing.edge(_walk(output.grad_fn, drawing, names, seen), name)
    return drawing


def _walk(function: Any, drawing: Drawing, names: Mapping[int, str], seen: dict[Any, str]) -> str:
    """Add everything that leads to one recorded function, each once; a loop, since graphs are deep."""
    first = _add(function, drawing, names, seen)
    open_ = [function]
    while open_:
        current = open_.pop()
        for before, _ in current.next_functions:
            if before is None:
                continue
            if before not in seen:
                _add(before, drawing, names, seen)
                open_.append(before)
            drawing.edge(seen[before], seen[current])
    return first


def _add(function: Any, drawing: Drawing, names: Mapping[int, str], seen: dict[Any, str]) -> str:
    if function in seen:
        return seen[function]
    leaf = getattr(function, "variable", None)
    if leaf is not None:
        key = names.get(id(leaf), f"leaf{len(seen)}")
        drawing.value(key, f"{key}\n{list(leaf.shape)}")
    else:
        key = f"function{len(seen)}"
        drawing.operation(key, function.name())
    seen[function] = key
    return key
