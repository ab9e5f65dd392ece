import math

from convverify import corners, usual
from convverify.geometry import ConvGeometry


def test_corners_and_layers_are_listed_once_each():
    assert len(set(corners.CORNERS)) == len(corners.CORNERS) >= 30
    assert len(set(corners.LARGE)) == len(corners.LARGE) >= 10


def test_the_named_corners_pad_by_name_and_most_of_them_unevenly():
    assert {geometry.padding for geometry in corners.NAMED} == {"same", "valid"}
    uneven = [g for g in corners.NAMED if any(before != after for before, after in g.pads)]
    assert len(uneven) > len(corners.NAMED) / 2


def test_corners_are_small_and_layers_are_large():
    assert all(geometry.products <= 300_000 for geometry in corners.CORNERS)
    assert max(geometry.products for geometry in corners.LARGE) > 1_000_000


def test_sweep_passes_every_threshold_of_every_size():
    sweep = list(corners.sweep())
    for name, thresholds in {
        "batch": (8, 9, 16, 17, 33, 65, 129, 257, 513, 1025, 65537),
        "in_channels": (7, 9, 17, 33, 65, 129, 257, 513, 1025, 4097),
        "out_channels": (7, 9, 17, 33, 65, 129, 257, 513, 1025, 4097),
    }.items():
        reached = {getattr(geometry, name) for geometry in sweep}
        assert set(thresholds) <= reached, name
    for axis in (0, 1):
        assert {9, 17, 33, 65, 129, 257, 513, 1025} <= {geometry.input_size[axis] for geometry in sweep}
        assert set(range(1, 13)) <= {geometry.kernel_size[axis] for geometry in sweep}
        for name in ("stride", "dilation", "padding"):
            assert set(range(1, 18)) <= {getattr(geometry, name)[axis] for geometry in sweep}, name


def test_sweep_has_depthwise_and_grouped_channels():
    sweep = list(corners.sweep())
    assert {9, 33, 129, 513} <= {g.groups for g in sweep if g.groups == g.in_channels == g.out_channels}
    assert any(g.groups == 2 and g.in_channels > 100 for g in sweep)


def test_sweep_is_the_same_every_time_and_of_geometries_alone():
    assert list(corners.sweep()) == list(corners.sweep())
    assert all(isinstance(geometry, ConvGeometry) for geometry in corners.sweep())


def test_milestones_are_of_the_sweep_with_the_far_ends_and_rise():
    milestones = corners.milestones()
    assert set(milestones) <= set(corners.sweep())
    assert {65537, 4097} <= {geometry.batch for geometry in milestones} | {g.input_size[0] for g in milestones}
    assert {4097, 47, 191} <= {geometry.in_channels for geometry in milestones}
    assert milestones[0].products < 10
    assert max(geometry.products for geometry in milestones) > 100_000


def test_a_few_windows_of_a_large_image_reach_beyond_every_offset_of_few_bits():
    for bits in (15, 16, 20):
        assert any(
            math.prod(g.input_size) > 2**bits and math.prod(g.output_size) < 100 for g in corners.milestones()
        ), bits


def test_usual_layers_are_small_and_met_on_odd_and_even_images():
    assert len(set(usual.LAYERS)) == len(usual.LAYERS)
    for kernel, stride, depthwise in (((3, 3), 1, False), ((1, 1), 2, False), ((7, 7), 2, False), ((5, 5), 2, True)):
        met = [
            g for g in usual.LAYERS
            if g.kernel_size == kernel and g.stride == (stride, stride) and (g.groups == g.in_channels > 1) is depthwise
        ]  # fmt: skip
        assert {(height % 2, width % 2) for height, width in (g.input_size for g in met)} == {
            (0, 0), (0, 1), (1, 0), (1, 1),
        }  # fmt: skip
        assert {g.in_channels % 4 == 0 for g in met} == {True, False}
    assert max(g.products for g in usual.LAYERS) < 110_000
