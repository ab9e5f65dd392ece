"""Traced programs, read-back and drawings, of right and of wrong operators."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from convverify import conv2d
from convverify.derivation import drawing
from convverify.derivation.autograd_graph import autograd_drawing
from convverify.derivation.computational_graph import LEAVES, A, B, C, X, Y, article_example
from convverify.derivation.entries import Algebra
from convverify.derivation.index_sum import ProofError
from convverify.derivation.interpreter import Interpreter
from convverify.derivation.program import degree_fault, difference, map_difference
from convverify.derivation.readback import ReadbackError, readback
from convverify.derivation.theorems import program as theorems
from convverify.derivation.traced import NotTraceableError
from convverify.geometry import ConvGeometry
from convverify.operator.kernels import bags, choice, columns, pointwise

SMALL = ConvGeometry.parse("n1 c1->1 i3x3 k2x2 s1x1 p0x0 d1x1 g1")
RICH = ConvGeometry.parse("n2 c2->2 i4x5 k2x1 s1x2 p1x0 d2x1 g2")
DEPTHWISE = ConvGeometry.parse("n2 c2->2 i4x3 k2x3 s1x1 p1x1 d1x1 g2")


def wrong_gradients(x: Tensor, k: Tensor, *others: Any) -> Tensor:
    turned = conv2d(x, k.flip(-1), *others)
    return conv2d(x, k, *others) + turned - turned.detach()


def squared(x: Tensor, k: Tensor, *others: Any) -> Tensor:
    return conv2d(x * x, k, *others)


def branching(x: Tensor, k: Tensor, *others: Any) -> Tensor:
    return conv2d(x, k, *others) if x[0, 0, 0, 0] < 7 else conv2d(2 * x, k, *others)


def by_hand(
    x: Tensor, k: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any, groups: int
) -> Tensor:
    """Loops, slices and in-place additions."""
    assert groups == 1
    x = torch.nn.functional.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    rows, columns = ((n - d * (m - 1) - 1) // s + 1 for n, m, s, d in
                     zip(x.shape[2:], k.shape[2:], stride, dilation, strict=True))  # fmt: skip
    output = x.new_zeros(x.shape[0], k.shape[0], rows, columns)
    for a in range(k.shape[2]):
        for b in range(k.shape[3]):
            part = x[:, :, a * dilation[0] :: stride[0], b * dilation[1] :: stride[1]][:, :, :rows, :columns]
            output += (part[:, None] * k[None, :, :, a, b, None, None]).sum(2)
    return output if bias is None else output + bias[:, None, None]


def short_weight_gradient(x: Tensor, k: Tensor, *others: Any) -> Tensor:
    """The gradient of the weight forgets the last row of grad_output."""
    right = conv2d(x, k.detach(), *others)
    through_weight = conv2d(x.detach(), k, *others)
    return (
        right
        + torch.cat([through_weight[:, :, :-1], through_weight[:, :, -1:].detach()], 2)
        - (through_weight.detach())
    )


@pytest.mark.parametrize("geometry", [SMALL, RICH], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_the_shipped_program_is_certified(geometry: ConvGeometry, bias: bool) -> None:
    assert degree_fault(conv2d, geometry, bias) is None
    assert difference(conv2d, geometry, bias) is None


def test_another_right_program_is_certified() -> None:
    geometry = ConvGeometry.parse("n2 c2->3 i4x5 k2x2 s2x1 p1x0 d1x2 g1")
    assert degree_fault(by_hand, geometry) is None
    assert difference(by_hand, geometry) is None


def test_wrong_programs_are_found() -> None:
    assert difference(wrong_gradients, SMALL).startswith("grad_input[0,0,0,0] = ")
    assert difference(short_weight_gradient, SMALL).startswith("grad_weight[0,0,0,0] = ")
    assert degree_fault(squared, SMALL).startswith("output has a term of degree (2, 1, 0, 0)")
    assert difference(squared, SMALL).startswith("output[0,0,0,0] = ")


@pytest.mark.parametrize(
    ("operator", "says"),
    [
        (torch.nn.functional.conv2d, "convolution.default is opaque"),
        (lambda x, k, *others: conv2d(x.clamp(max=1), k, *others), "clamp.default is opaque"),
        (branching, "Data"),
    ],
)
def test_what_cannot_be_traced_says_so(operator: Any, says: str) -> None:
    with pytest.raises(NotTraceableError, match=says):
        degree_fault(operator, SMALL)


def unwritten(x: Tensor, k: Tensor, *others: Any) -> Tensor:
    """Leaves the last row of its output as it found it."""
    right = conv2d(x, k, *others)
    output = torch.empty_like(right)
    output[:, :, :-1] = right[:, :, :-1]
    return output


def test_memory_that_was_never_written_is_found() -> None:
    assert degree_fault(unwritten, SMALL) == "it uses memory that was never written"
    assert difference(unwritten, SMALL) == "it uses memory that was never written"


def test_a_registered_operator_is_traced_into_its_body() -> None:
    @torch.library.custom_op("convverify_tests::twice", mutates_args=())
    def twice(x: Tensor) -> Tensor:
        return x + x

    twice.register_fake(torch.empty_like)
    twice.register_autograd(lambda ctx, g: g + g)

    def doubled(x: Tensor, k: Tensor, *others: Any) -> Tensor:
        return twice(conv2d(x, k, *others))

    found = difference(doubled, SMALL)
    assert found is not None
    assert found.startswith("output[0,0,0,0] = 2*b0 + 2*x0*k0")


def reading(geometry: ConvGeometry, x: Tensor, k: Tensor, *how: Any) -> Tensor:
    return columns.forward(geometry, x, k if k.tolist() else 2 * k, *how)


def branching_map(geometry: ConvGeometry, x: Tensor, k: Tensor, *how: Any) -> Tensor:
    x = x if x.is_meta or x[0, 0, 0, 0] < 7 else 2 * x
    return columns.forward(geometry, x, k, *how)


def wrong_in_pieces(geometry: ConvGeometry, x: Tensor, k: Tensor, format: Any, limit: int) -> Tensor:
    right = columns.forward(geometry, x, k, format, limit)
    return right if limit > 1 else right + right


def unwritten_map(geometry: ConvGeometry, x: Tensor, k: Tensor, *how: Any) -> Tensor:
    return torch.empty_like(columns.forward(geometry, x, k, *how))


def cropped_map(geometry: ConvGeometry, x: Tensor, k: Tensor, *how: Any) -> Tensor:
    return columns.forward(geometry, x, k, *how)[..., :-1]


def test_wrong_formulations_are_found() -> None:
    assert map_difference(columns.forward, "forward", SMALL) is None
    assert map_difference(wrong_in_pieces, "forward", SMALL).startswith("forward[0,0,0,0] = 2*x0*k0")
    assert map_difference(unwritten_map, "forward", SMALL) == "it uses memory that was never written"
    assert map_difference(cropped_map, "forward", SMALL) == "forward has shape [1, 1, 2, 1], not [1, 1, 2, 2]"


def shifted_bags(geometry: ConvGeometry, x: Tensor, k: Tensor, *how: Any) -> Tensor:
    return bags.forward(geometry, x.roll(1, 2), k, *how)


def bags_of_means(geometry: ConvGeometry, x: Tensor, k: Tensor, *how: Any) -> Tensor:
    first = torch.arange(x.shape[2], dtype=torch.int64, device=x.device)
    return torch.embedding_bag(x[0, 0], first, first, False, 1)[0].view(1, 1, *x.shape[2:])


def test_rows_in_bags_are_added_up() -> None:
    assert map_difference(bags.forward, "forward", DEPTHWISE) is None
    found = map_difference(shifted_bags, "forward", DEPTHWISE)
    assert found.startswith("forward[0,0,0,0] = x")
    with pytest.raises(NotTraceableError, match="other than sums of rows with weights"):
        map_difference(bags_of_means, "forward", DEPTHWISE)


def turned_by_integers(geometry: ConvGeometry, x: Tensor, k: Tensor, *how: Any) -> Tensor:
    """Turns the rows of an input around by their numbers."""
    numbers = torch.arange(x.shape[2], device=x.device)
    return columns.forward(geometry, x.index_select(2, x.shape[2] - 1 - numbers), k, *how)


def weighted_by_integers(geometry: ConvGeometry, x: Tensor, k: Tensor, *how: Any) -> Tensor:
    return columns.forward(geometry, x * (1 + torch.arange(x.shape[3], device=x.device)), k, *how)


def test_integers_say_where_elements_lie_or_are_numbers() -> None:
    def turned_twice(geometry: ConvGeometry, x: Tensor, *rest: Any) -> Tensor:
        return turned_by_integers(geometry, x.flip(2), *rest)

    assert map_difference(turned_twice, "forward", SMALL) is None
    assert map_difference(turned_by_integers, "forward", SMALL).startswith("forward[0,0,0,0] = x3*k2 + ")
    assert map_difference(weighted_by_integers, "forward", SMALL).startswith("forward[0,0,0,0] = x0*k0 + 2*x1*k1")


def test_a_formulation_that_reads_values_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="meta"):
        map_difference(reading, "forward", SMALL)
    with pytest.raises(NotTraceableError, match="opaque"):
        map_difference(branching_map, "forward", SMALL)


def test_a_formulation_without_a_geometry_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "FORMULATIONS", (pointwise,))
    monkeypatch.setattr(theorems, "FURTHER_PATHS", ())
    with pytest.raises(ProofError, match=r"pointwise\.forward takes none"):
        theorems._each_held()


@pytest.mark.parametrize("operator", [conv2d, torch.nn.functional.conv2d])
@pytest.mark.parametrize("geometry", [SMALL, RICH], ids=str)
def test_right_operators_read_back_as_the_definition(operator: Any, geometry: ConvGeometry) -> None:
    found = readback(operator, geometry)
    assert found.right
    assert len(list(found.lines())) == len(found.rows) > 0
    assert list(found.lines(only_wrong=True)) == []


def test_a_missing_row_reads_as_its_missing_terms() -> None:
    found = list(readback(short_weight_gradient, SMALL).lines(only_wrong=True))
    assert found[1] == "grad_weight[0,1] = x01·g00 + x02·g01 (missing + x11·g10 + x12·g11)"
    assert len(found) == 4


def test_too_much_is_shown_too() -> None:
    found = list(readback(lambda x, k, *others: 2 * conv2d(x, k, *others), SMALL).lines(only_wrong=True))
    assert found[0] == (
        "output[0,0] = 2·x00·k00 + 2·x01·k01 + 2·x10·k10 + 2·x11·k11 "
        "(too much: x00·k00 + x01·k01 + x10·k10 + x11·k11)"
    )


def test_what_is_not_bilinear_is_said() -> None:
    notes = readback(squared, SMALL).notes
    assert any(note.startswith("output is not bilinear: ") for note in notes)


def test_what_raises_or_has_a_wrong_shape_is_said() -> None:
    def refuses(*arguments: Any) -> Tensor:
        raise RuntimeError("no\nthanks")

    assert readback(refuses, SMALL).notes[0] == "output: it raised RuntimeError: no"
    cropped = readback(lambda x, k, *others: conv2d(x, k, *others)[..., :-1], SMALL)
    assert cropped.notes[0] == "output: has shape [1, 1, 2, 1], not [1, 1, 2, 2]"
    assert not cropped.right


def test_a_large_geometry_is_refused() -> None:
    with pytest.raises(ReadbackError, match="smaller"):
        readback(conv2d, ConvGeometry.parse("n2 c4->6 i10x10 k5x5 s1x1 p0x0 d1x1 g1"))


def test_the_articles_graph() -> None:
    graph = article_example()
    assert graph.values(LEAVES) == {X: 3, Y: 2, A: 9, B: 27, C: 54}
    slopes = {value: graph.derivative(C, value).subs(graph.values(LEAVES)) for value in (X, Y, A, B, C)}
    assert slopes == {X: 36, Y: 27, A: 6, B: 2, C: 1}
    drawn = graph.drawing(LEAVES, C)
    assert '"x" -> "square" [label="∂a/∂x = 2*x = 6"];' in drawn.dot()
    assert drawn.mermaid().startswith("graph LR\n")


def test_the_graph_that_autograd_records() -> None:
    x, k = (
        torch.ones(SMALL.input_shape, requires_grad=True),
        torch.ones(SMALL.weight_shape, requires_grad=True),
    )
    dot = autograd_drawing({"output": squared(x, k)}, {"input": x, "weight": k}).dot()
    assert "MulBackward0" in dot
    assert dot.count('"input" ->') == 2  # both factors of the square
    assert dot.count("ForwardBackward") == 1


def test_svg_needs_graphviz(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing.shutil, "which", lambda name: None)
    assert drawing.svg("digraph {}") is None


def test_the_interpreter_adds_columns_up_as_torch_does():
    machine = Interpreter(Algebra(0, int, lambda pairs: sum(a * b for a, b in pairs), sum))
    columns = torch.randint(-9, 9, (2, 8, 9), dtype=torch.float64)
    options = (5, 4), (2, 2), (2, 1), (1, 0), (2, 1)
    entries = machine.enter([int(value) for value in columns.reshape(-1).tolist()], columns.shape)
    found = machine.col2im(entries, *options)
    expected = torch.ops.aten.col2im(columns, *options)
    assert torch.equal(torch.tensor(machine.read(found)).double().view(found.shape), expected)


def test_onednns_product_is_a_product_and_nothing_else():
    machine = Interpreter(Algebra(0, int, lambda pairs: sum(a * b for a, b in pairs), sum))
    one, other = (machine.enter([1, 2, 3, 4, 5, 6], (2, 3)), machine.enter([7, 8, 9, 10, 11, 12], (2, 3)))
    assert machine.read(machine.linear(one, other, None, "none", [], "")) == [50, 68, 122, 167]
    with pytest.raises(NotTraceableError, match="more than the product"):
        machine.linear(one, other, None, "relu", [], "")
