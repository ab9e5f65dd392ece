import pytest
import torch

from convverify.case import ConvCase
from convverify.layouts import LAYOUTS, lay_out
from convverify.properties.layout import _and_at_its_worst
from convverify.target import Target

REPEATING = {"expanded", "rows_expanded", "planes_expanded", "channels_expanded", "batch_expanded"}
DATA = torch.arange(1.0, 2 * 3 * 4 * 5 + 1).view(2, 3, 4, 5)


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - REPEATING))
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 4), (5,), (1, 1, 1, 1), (0, 3, 2, 2)])
def test_layout_keeps_the_values(layout: str, shape: tuple[int, ...]):
    data = torch.arange(float(torch.Size(shape).numel())).view(shape)
    assert torch.equal(lay_out(data, layout), data)


@pytest.mark.parametrize("layout", sorted(REPEATING))
def test_repeating_layout_keeps_shape_and_first_element(layout: str):
    found = lay_out(DATA, layout)
    assert found.shape == DATA.shape
    assert found.flatten()[0] == DATA.flatten()[0]
    assert 0 in found.stride()


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"contiguous", "offset"}))
def test_layout_is_another_one_in_memory(layout: str):
    assert lay_out(DATA, layout).stride() != DATA.stride()


def test_strides_by_name():
    assert lay_out(DATA, "channels_last").is_contiguous(memory_format=torch.channels_last)
    assert lay_out(DATA, "transposed").mT.is_contiguous()
    assert lay_out(DATA, "batch_last").transpose(0, 1).is_contiguous()
    assert lay_out(DATA, "offset").storage_offset() > 0
    assert lay_out(DATA, "offset").is_contiguous()
    assert lay_out(DATA, "expanded").stride() == (0, 0, 0, 0)
    assert lay_out(DATA, "rows_expanded").stride()[-1] == 0
    assert lay_out(DATA, "planes_expanded").stride() == (3, 1, 0, 0)
    assert lay_out(DATA, "channels_expanded").stride()[1] == 0
    assert lay_out(DATA, "batch_expanded").stride()[0] == 0
    assert lay_out(DATA, "contiguous") is DATA


@pytest.mark.parametrize(
    "layout", ["sliced", "cropped", "samples_sliced", "channels_sliced", "columns_sliced", "offset"]
)
def test_what_lies_between_the_elements_is_poison(layout: str):
    """An operator that reads it cannot come out right."""
    found = lay_out(DATA, layout)
    storage = torch.empty(0).set_(found.untyped_storage())
    assert int(storage.isnan().sum()) == storage.numel() - DATA.numel() > 0
    assert not found.isnan().any()


@pytest.mark.parametrize("layout", list(LAYOUTS))
@pytest.mark.parametrize("dtype", [torch.int64, torch.bfloat16, torch.complex64])
def test_layouts_work_in_every_dtype_and_alias_nothing_of_the_caller(layout: str, dtype: torch.dtype):
    data = DATA.to(dtype)
    found = lay_out(data, layout)
    assert found.dtype is dtype
    if layout != "contiguous":
        assert found.untyped_storage().data_ptr() != data.untyped_storage().data_ptr()


def test_unknown_layout_is_an_error():
    with pytest.raises(KeyError):
        lay_out(DATA, "sideways")


@pytest.mark.parametrize(
    ("layout", "operand", "what"),
    [
        ("transposed", "weight", lambda g: g.kernel_size == (3, 3) and g.input_size == (5, 5)),
        ("transposed", "input", lambda g: g.input_size == (5, 5)),
        ("batch_last", "weight", lambda g: g.weight_shape[:2] == (3, 3)),
        ("batch_last", "input", lambda g: g.input_shape[:2] == (3, 3)),
        ("batch_last", "grad_output", lambda g: g.output_shape[:2] == (3, 3)),
        ("cropped", "input", lambda g: g.padding == (1, 2)),
    ],
)
def test_a_layout_is_asked_for_where_no_size_and_no_zero_shows_a_misreading(layout, operand, what):
    line = f"n2 c3->4 i5x4 k3x2 s1x1 p0x2 d1x1 g1 float64 cpu layout={operand}:{layout} values=integers seed=0"
    first, second = _and_at_its_worst(Target(torch.nn.functional.conv2d), ConvCase.parse(line), operand)
    assert str(first[0]) == line
    assert what(second[0].geometry)
    assert second[1]
    alone = ConvCase.parse(line.replace(layout, "offset"))
    assert list(_and_at_its_worst(Target(torch.nn.functional.conv2d), alone, operand)) == [(alone, "")]
