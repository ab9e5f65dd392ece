"""The program that is shipped, and the article's computational graph: PRG-1, PRG-2 and CG-1.

These are the only theorems that run torch; they import it when they are checked.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any
from unittest import mock

import sympy

from convverify.derivation.computational_graph import (
    LEAVES,
    C,
    ComputationalGraph,
    Operation,
    article_example,
)
from convverify.derivation.geometries import CHOSEN, FURTHER_PATHS, small_first
from convverify.derivation.index_sum import ProofError
from convverify.derivation.markdown import display
from convverify.derivation.theorem import Check, Control, Theorem
from convverify.derivation.theorems.finite import ARTICLE
from convverify.geometry import ConvGeometry

GEOMETRIES = (*(geometry for geometry in CHOSEN if geometry.spatial == 2 and geometry.batch), ARTICLE)
Operator = Callable[..., Any]
Fault = Callable[[Operator, ConvGeometry], str | None]


def shipped() -> Operator:
    """The public operator, asked for by name: the proof is about whatever stands there."""
    operator: Operator = import_module("convverify").conv2d
    return operator


def by_function(x: Any, k: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The autograd Function behind it, with its own backward, which an eager call on plain tensors runs."""
    geometry = ConvGeometry(
        x.shape[0], x.shape[1], k.shape[0], tuple(x.shape[2:]), tuple(k.shape[2:]), stride, padding, dilation,
        groups,
    )  # fmt: skip
    return import_module("convverify.operator.function").convolve(x, k, bias, geometry)


def _program() -> Any:
    return import_module("convverify.derivation.program")


def _held(fault: Fault, operator: Operator, words: str) -> str:
    for geometry in GEOMETRIES:
        found = fault(operator, geometry)
        if found is not None:
            raise ProofError(f"{geometry}: {found}")
    return f"{len(GEOMETRIES)} geometries, with bias, the article's own among them: {words}"


def _both(fault: str, words: str) -> tuple[Check, ...]:
    """The public operator and the Function; `fault` is the name of the check in `program`."""
    return (
        Check("`convverify.conv2d`", lambda: _held(getattr(_program(), fault), shipped(), words)),
        Check("its autograd Function", lambda: _held(getattr(_program(), fault), by_function, words)),
    )


def _kernels(name: str) -> Any:
    return import_module(f"convverify.operator.kernels.{name}")


def _with_onednn() -> str:
    """Those that can use oneDNN's product, with it however small and on any processor, if torch has it."""
    product = _kernels("product")
    modules = [module for module in _kernels("choice").FORMULATIONS if hasattr(module, "product")]
    with mock.patch.multiple(product, SMALL=0, adds_in_place=lambda dtype, device: product._onednn() is None):
        return _each_held(modules)


def _each_held(modules: Sequence[Any] = ()) -> str:
    """Every formulation that may run, or those in these modules, by itself, on each geometry that it takes."""
    choice, program = _kernels("choice"), _program()
    listed = itertools.product(modules or choice.FORMULATIONS, program.MAPS)
    taken = {(module, name): 0 for module, name in listed if hasattr(module, name)}
    for geometry, (module, name) in itertools.product((*CHOSEN, *FURTHER_PATHS), taken):
        if geometry.batch and choice.takes(module, name, geometry):
            found = program.map_difference(getattr(module, name), name, geometry)
            if found is not None:
                raise ProofError(f"{module.__name__}, {geometry}: {found}")
            taken[module, name] += 1
    counts: dict[str, list[str]] = {}
    for (module, name), count in taken.items():
        if not count:
            raise ProofError(f"{module.__name__}.{name} takes none of the geometries")
        counts.setdefault(module.__name__.rpartition(".")[2], []).append(f"{name} {count}")
    return (
        f"{len(taken)} formulations, {sum(taken.values())} times a geometry, each cut into pieces in "
        f"{len(program.CALLS)} ways: no polynomial differs. Geometries of "
        + "; ".join(f"`{title}`: {', '.join(each)}" for title, each in counts.items())
    )


def _squared(x: Any, k: Any, *others: Any) -> Any:
    return shipped()(x * x, k, *others)


def _unwritten(x: Any, k: Any, *others: Any) -> Any:
    """Leaves its output as it was allocated, where the right values are added to it."""
    right = shipped()(x, k, *others)
    return right.new_empty(right.shape) + right


def _wrong_backward(x: Any, k: Any, *others: Any) -> Any:
    """Right values; in the gradients an additional convolution, with the kernel turned."""
    turned = shipped()(x, k.flip(-1), *others)
    return shipped()(x, k, *others) + turned - turned.detach()


def _off_by_one(x: Any, k: Any, *others: Any) -> Any:
    return shipped()(x.roll(1, -1), k, *others)


def _not_turned(geometry: ConvGeometry, g: Any, k: Any, *how: Any) -> Any:
    """The kernel, turned here, comes out of the formulation as it was."""
    return _kernels("rows").grad_input(geometry, g, k.flip(2, 3), *how)


def _tap_lost(geometry: ConvGeometry, x: Any, k: Any, *how: Any) -> Any:
    fewer = k.clone()
    fewer[..., -1].zero_()
    return _kernels("windows").forward(geometry, x, fewer, *how)


def _map_witness(kernel: Operator, name: str) -> str | None:
    return _witness(lambda operator, geometry: _program().map_difference(operator, name, geometry), kernel)


def _witness(fault: Fault, operator: Operator) -> str | None:
    for geometry in _two_axes():
        found = fault(operator, geometry)
        if found is not None:
            return f"`{geometry}`: {found}"
    return None


def _two_axes() -> Iterator[ConvGeometry]:
    for small in small_first(2):
        yield ConvGeometry(
            small.batch, small.in_channels, small.out_channels,
            (1, *small.input_size), (1, *small.kernel_size), (1, *small.stride),
            (0, *(pad for pad, _ in small.pads)), (1, *small.dilation), small.groups,
        )  # fmt: skip


def _paths_agree(graph: ComputationalGraph) -> str:
    values = [operation.result for operation in graph.operations]
    count = 0
    for of in values:
        for by in [*LEAVES, *values]:
            along = graph.inserted(graph.derivative(of, by))
            whole = graph.inserted(sympy.diff(graph.composed(of, by), by))
            if sympy.expand(along - whole) != 0:
                raise ProofError(f"d{of}/d{by}: {along} along the links, {whole} in truth")
            count += 1
    return (
        f"{count} derivatives, of every value by every value: the product along the links is SymPy's "
        f"derivative"
    )


def _autograd_agrees() -> str:
    import torch  # noqa: PLC0415  only this check runs torch

    graph = article_example()
    expected = graph.values(LEAVES)
    tensors = {leaf: torch.tensor(float(value), requires_grad=True) for leaf, value in LEAVES.items()}
    for operation in graph.operations:
        function = sympy.lambdify(operation.operands, operation.of)
        tensors[operation.result] = function(*(tensors[operand] for operand in operation.operands))
        tensors[operation.result].retain_grad()
    torch.autograd.backward(tensors[C])
    for name, tensor in tensors.items():
        slope = graph.derivative(C, name).subs(expected)
        if (
            tensor.item() != float(expected[name])
            or tensor.grad is None
            or tensor.grad.item() != float(slope)
        ):
            raise ProofError(f"autograd has {name} = {tensor} with gradient {tensor.grad}, not {slope}")
    slopes = ", ".join(
        f"∂c/∂{name} = {int(tensor.grad.item())}"
        for name, tensor in tensors.items()
        if tensor.grad is not None
    )
    return f"at x = 3, y = 2, gradients of intermediate values retained: {slopes}"


def _broken_link() -> str | None:
    """The graph with the factor 3 lost on the way back."""
    graph = article_example()
    lost = ComputationalGraph(tuple(
        Operation(operation.result, operation.name, operation.of / (3 if operation.name == "times 3" else 1))
        for operation in graph.operations
    ))  # fmt: skip
    x = next(iter(LEAVES))
    wrong, right = lost.inserted(lost.derivative(C, x)), graph.inserted(sympy.diff(graph.composed(C, x), x))
    at = dict.fromkeys(LEAVES, 1)
    return None if wrong == right else f"x=1 y=1: {wrong.subs(at)} along the links, {right.subs(at)} in truth"


PROGRAM = (
    Theorem(
        id="PRG-1", title="The shipped program is bilinear",
        statement=display(r"\deg \text{output} = (1, 1), \qquad \deg \text{grad\_input} = (0, 1), \qquad "
                          r"\deg \text{grad\_weight} = (1, 0) \quad\text{in (input, weight)}"),
        hypotheses=(("the graph of ATen operations that the program executes does not depend on values; the "
        "trace is made with tensors that have none, so that one that branches on them cannot be traced"),),
        method="The program, with its backward pass, is traced (`make_fx`), operators that it registers "
        "itself down into their own bodies, and the graph run on sets of degrees. Memory that was allocated "
        "and never written counts as a fault as soon as it is used.",
        derivation=lambda: "Operations that move elements keep their degrees, a sum has the degrees of its "
        "parts, a product adds them. Starting from degree 1 for each element of input, weight, bias and "
        "grad_output, every term that can reach an element of a result has a known degree, whatever the "
        "values: a certificate. With it BL-1, SZ-1 and BC-1 apply to the program and not only to the "
        "formula. (The bias adds terms of degree 1 in itself alone.)",
        checks=_both("degree_fault", "no term has another degree"),
        controls=(
            Control("the input is squared", lambda: _witness(_program().degree_fault, _squared)),
            Control("an output that is not written", lambda: _witness(_program().degree_fault, _unwritten)),
        ),
    ),
    Theorem(
        id="PRG-2", title="The shipped program computes the definition and its derivatives",
        statement=display(r"\text{program}(x, k, b, g) = \left(\frac{\partial T}{\partial g}, "
        r"\frac{\partial T}{\partial x}, "
                          r"\frac{\partial T}{\partial k}, \frac{\partial T}{\partial b}\right) "
                          r"\quad\text{as polynomials}"),
        hypotheses=(("as PRG-1; what is shown is the arithmetic of the operations, not how each of them is "
        "carried out"),),
        method="The graph of PRG-1 is run on SymPy polynomials: torch moves the elements, so that views, "
        "strides and in-place writes mean what they mean in the program, and the arithmetic is done on "
        "polynomials.",
        derivation=lambda: "FIN-1 is about the text of the formulas on sparse arrays of polynomials. Here it "
        "is what runs when `convverify.conv2d` is called and differentiated: the torch primitives in place "
        "of the sparse ones, and autograd's own use of the formulas.\n\nOn these small geometries it chooses the "
        "formulations that are fast there. The others are run by themselves, all that "
        "`convverify/operator/kernels/choice.py` lists, each on the geometries that it takes: no graph is made, but "
        "every operation is handed to the same interpreter as it comes, after a run on tensors that have no values.",
        checks=(*_both("difference", "no polynomial differs"), Check("each formulation by itself", _each_held),
                Check("those that can use oneDNN's product, with it", _with_onednn)),
        controls=(
            Control("right values, wrong gradients",
                    lambda: _witness(_program().difference, _wrong_backward)),
            Control("the input read one element off", lambda: _witness(_program().difference, _off_by_one)),
            Control("grad_input by rows, the kernel not turned", lambda: _map_witness(_not_turned, "grad_input")),
            Control("the output by windows, a tap lost", lambda: _map_witness(_tap_lost, "forward")),
        ),
    ),
    Theorem(
        id="CG-1", title="The chain rule on the article's computational graph",
        statement=display(r"a = x^2,\; b = 3a,\; c = b\,y: \qquad \frac{\partial c}{\partial x} = "
                          r"\frac{\partial c}{\partial b}\,\frac{\partial b}{\partial a}\,\frac{\partial "
                          r"a}{\partial x} = "
                          r"y \cdot 3 \cdot 2x = 6 x y, \qquad \frac{\partial c}{\partial y} = b = 3x^2"),
        method="SymPy for the derivatives, autograd for the numbers.",
        derivation=lambda: "Values run forward along the arrows. Each operation knows the derivative of its "
        "result by each of its operands, the *local* derivative, written on the link. The derivative of any "
        "value by any earlier one is the product of the local derivatives along the links between them, "
        "summed over all paths; here each pair has one path. Autograd computes these products backwards, "
        "starting from $`\\partial c/\\partial c = 1`$, and keeps those of the leaves, and with "
        "`retain_grad()` those of the other values.\n\n```mermaid\n"
        + article_example().drawing(LEAVES, C).mermaid()
        + "\n```\n\nA convolution is one such operation with tensors on its links: what it needs to know is "
        "its local derivative, applied to what comes back. That is GI-ALL, GW-ALL and GB-1.",
        checks=(
            Check("all pairs of values", lambda: _paths_agree(article_example())),
            Check("autograd", _autograd_agrees),
        ),
        controls=(Control("the factor 3 lost on one link", _broken_link),),
    ),
)  # fmt: skip
