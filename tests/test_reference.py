"""The oracles watch each other: torch, the proved formulas and the index sum agree exactly on what is listed."""

from dataclasses import replace

import pytest
import torch

from convverify import corners
from convverify.case import ConvCase
from convverify.reference import DefinitionMaps, Maps, Reference, TorchMaps

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")


def agree(case: ConvCase, *maps: type[Maps]) -> bool:
    first, *others = (Reference(case, each) for each in maps)
    return all(
        torch.equal(first.output, other.output)
        and all(torch.equal(grad, other.gradients[role]) for role, grad in first.gradients.items())
        for other in others
    )


@pytest.mark.parametrize("geometry", [*corners.CORNERS, *corners.NAMED], ids=str)
def test_three_oracles_agree_on_the_corners(geometry):
    case = ConvCase(geometry, bias=True, seed=3)
    assert agree(case, TorchMaps, Maps, DefinitionMaps)
    assert agree(case.with_geometry(batch=0), TorchMaps, Maps)


def test_torch_and_the_formulas_agree_on_the_milestones():
    for place, geometry in enumerate(corners.milestones()):
        case = ConvCase(geometry, bias=place % 2 == 0, values="large", seed=place)
        assert agree(replace(case, dtype="float32" if place % 3 == 0 else "float64"), TorchMaps, Maps), case
