"""Run a traced program on symbols.

Operations that only move elements (views, padding, flips, windows, copies) are done by torch itself, on
tensors that hold, in place of values, the numbers of entries of a table; so views, strides and in-place
writes mean here exactly what they mean in the program. Arithmetic is done on the entries of the table, by
`entries`.

Imports torch: the rest of the derivation imports this module only where a program is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from convverify.derivation.entries import ARITHMETIC, Entries, V
from convverify.derivation.traced import NotTraceableError

MOVES = frozenset(
    {
        "alias", "as_strided", "cat", "clone", "complex", "constant_pad_nd", "contiguous", "copy_", "detach",
        "diagonal", "expand", "flip", "im2col", "index", "index_select", "lift_fresh_copy", "narrow",
        "new_zeros", "permute", "pixel_shuffle", "repeat", "reshape", "roll", "select", "select_backward",
        "select_scatter", "slice", "slice_backward", "slice_scatter", "split", "split_with_sizes",
        "squeeze", "stack", "t", "transpose", "unbind", "unfold", "unsafe_view", "unsqueeze", "view",
        "view_as_complex", "zero_", "zeros", "zeros_like",
    }
)  # fmt: skip
EMPTY = frozenset({"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"})


class Interpreter(Entries[V]):
    """Runs a traced graph in an algebra."""

    def run(self, module: torch.fx.GraphModule, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The outputs of the graph.

        Raises:
            NotTraceableError: an operation of the graph is not known.
            UninitialisedError: memory is used that was never written.
        """
        given = iter(inputs)
        values: dict[torch.fx.Node, Any] = {}
        for node in module.graph.nodes:
            if node.op == "placeholder":
                values[node] = next(given)
            elif node.op == "get_attr":
                values[node] = self._constant(getattr(module, str(node.target)))
            elif node.op == "output":
                return [values[result] for result in node.args[0]]
            else:
                arguments = torch.fx.map_arg(node.args, lambda other: values[other])
                options = torch.fx.map_arg(node.kwargs, lambda other: values[other])
                values[node] = self._apply(node.target, arguments, options)
        raise NotTraceableError("the graph has no output")

    def follow(self, function: Callable[..., Tensor], inputs: Sequence[Tensor]) -> Tensor:
        """What a function makes of these, operation by operation as it runs: `run` without the time for a graph.

        Raises:
            NotTraceableError: an operation that it does is not known; one that reads a value is not.
            UninitialisedError: memory is used that was never written.
        """
        with _Following(self):
            return function(*inputs)

    def _apply(self, target: Any, arguments: Any, options: Any) -> Any:
        name = str(getattr(target, "_opname", getattr(target, "__name__", target))).lstrip("_")
        if name == "getitem":
            return arguments[0][arguments[1]]
        if name in ("to_copy", "to"):
            return arguments[0].clone()
        if name in MOVES | EMPTY:
            return _moved(name, target, arguments, options)
        in_place, base = name.endswith("_"), name.rstrip("_")
        if base == "arange" or _are_places((*arguments, *options.values())):
            return target(*arguments, **options)
        if base not in ARITHMETIC:
            raise NotTraceableError(f"the operation {target} is opaque: its arithmetic is not in the graph")
        into = options.get("out", arguments[0] if in_place else None)
        rest = {key: value for key, value in options.items() if key != "out"}
        result = ARITHMETIC[base](self, *arguments, **rest)
        return result if into is None else into.copy_(result)

    def _constant(self, tensor: Tensor) -> Tensor:
        """A tensor that the program holds; integers stay what they are, for they may be indices."""
        if not tensor.is_floating_point():
            return tensor
        return self._numbers(tensor.reshape(-1).tolist(), tensor.shape)


class _Following(TorchDispatchMode):
    """Hands every operation to the interpreter."""

    def __init__(self, interpreter: Interpreter[Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._interpreter = interpreter

    def __torch_dispatch__(self, target: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        return self._interpreter._apply(target, arguments, options or {})


def _moved(name: str, target: Any, arguments: Any, options: Any) -> Any:
    """An operation that only moves elements, done by torch on the numbers of the entries."""
    fixed = ("dtype", "device", "layout", "pin_memory")
    options = {key: value for key, value in options.items() if key not in fixed}
    if name in ("zeros", "empty", "empty_strided"):
        options["dtype"] = torch.float64
    if name == "constant_pad_nd" and len(arguments) > 2 and arguments[2] != 0:
        raise NotTraceableError("padding with something other than zero")
    result = target(*arguments, **options)
    return result.fill_(float("nan")) if name in EMPTY else result


def _are_places(arguments: Sequence[Any]) -> bool:
    """Whether tensors are among them, and all of integers: those say where elements lie, and are what they are."""
    tensors = [argument for argument in arguments if isinstance(argument, Tensor)]
    return bool(tensors) and not any(tensor.is_floating_point() for tensor in tensors)
