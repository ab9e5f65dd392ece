"""The cases that are not drawn."""

from dataclasses import replace

import pytest
import torch

from convverify import corners, usual
from convverify.case import ConvCase
from convverify.listing import FEW_USUAL, OF_SAMPLES, USUAL_LAYOUTS, given
from convverify.plan import Plan, plan_of
from convverify.properties import named
from convverify.strategies import sampled_cases


def plan(budget: str = "standard", **choices: object) -> Plan:
    return plan_of(torch.nn.functional.conv2d, budget, secret_seed=0, **choices)  # type: ignore[arg-type]


def listed(name: str, of: Plan) -> list[ConvCase]:
    return list(given(of, named(name), "cpu"))


def test_usual_layers_lie_as_models_have_them_each_layout_in_turn():
    cases = listed("usual_layers_are_right", plan())
    assert {case.geometry for case in cases} >= set(usual.LAYERS)
    first = cases[: len(USUAL_LAYOUTS)]
    assert sorted(case.layout for case in first) == sorted(USUAL_LAYOUTS)


@pytest.mark.parametrize(("budget", "few"), [("quick", FEW_USUAL // 2), ("standard", FEW_USUAL)])
def test_where_cases_are_drawn_a_few_usual_layers_come_first(budget: str, few: int):
    cases = listed("calls_are_independent", plan(budget))
    layers = [case for case in cases if case.geometry in usual.LAYERS]
    assert len(layers) == few
    plain = {layer for kind in corners.PLAIN for layer in kind}
    assert {case.geometry for case in cases} <= {*usual.LAYERS, *corners.EVERYTHING, *plain}


@pytest.mark.parametrize("name", ["non_finite_values_stay_local", "torch_gradcheck", "forward_equals_torch"])
def test_early_cases_are_without_options_unpadded_and_of_one_size_and_have_a_bias(name: str):
    cases = listed(name, plan("quick"))[:4]
    assert all(case.bias for case in cases)
    without = [g for g in (case.geometry for case in cases) if g.stride == g.dilation == (1, 1) and g.groups == 1]
    assert any(g.padding == (0, 0) and g.output_size > (1, 1) for g in without)
    assert any(g.output_shape == g.input_shape for g in without)


@pytest.mark.parametrize("name", ["jvp_is_the_product_rule", "exact_gradcheck", "forward_equals_torch"])
def test_the_first_case_has_every_option_at_once_and_a_bias(name: str):
    for seed in range(3):
        first = listed(name, plan("quick", seed=seed))[0]
        assert first.bias
        g = first.geometry
        assert g.groups > 1
        for option, plain in ((g.stride, 1), (g.dilation, 1), (g.padding, 0)):
            assert max(option) > plain
            assert len(set(option)) > 1
        assert all(axis.remainder for axis in g.axes)


def test_each_kind_of_layer_comes_once_before_any_comes_twice_and_meets_every_image():
    layers = [case.geometry for case in listed("kernels_of_special_form_are_right", plan("quick"))]
    kinds = set(map(usual.kind_of_layer, usual.LAYERS))
    assert set(map(usual.kind_of_layer, layers[: len(kinds)])) == kinds
    assert str(layers[0]) == usual.MOST_USUAL[0]
    nearly = [g for g in layers if g not in usual.LAYERS]
    assert len(kinds) < len(nearly) < len(usual.LAYERS)
    met = {(usual.kind_of_layer(g), g.input_size) for g in layers[: 4 * len(kinds)]}
    assert len(met) == 4 * len(kinds)


def test_a_layout_of_samples_has_several():
    cases = listed("grad_output_layout_is_irrelevant", plan())
    of_samples = [case for case in cases if any(name in case.layout for name in OF_SAMPLES)]
    assert of_samples
    assert min(case.geometry.batch for case in of_samples) > 1


def test_every_layout_of_grad_output_is_dealt_at_quick():
    dealt = {case.layout for case in listed("grad_output_layout_is_irrelevant", plan("quick"))}
    assert {"grad_output:batch_expanded", "grad_output:planes_expanded", "grad_output:channels_last"} <= dealt


def test_listed_cases_lie_in_the_domain():
    isotropic = plan(domain="isotropic")
    for name in ("options_combine", "usual_layers_are_right", "gradients_equal_torch"):
        cases = listed(name, isotropic)
        assert cases
        assert all(isotropic.op.domain.allows(case) for case in cases)


def test_a_case_asked_for_is_the_only_one():
    case = listed("options_combine", plan())[0]
    assert listed("options_combine", replace(plan(), case=case)) == [case]


def test_the_seed_decides():
    names = [str(case) for case in listed("options_combine", plan())]
    assert names == [str(case) for case in listed("options_combine", plan())]
    assert names != [str(case) for case in listed("options_combine", plan(seed=1))]


def test_seeds_are_one_after_another_so_that_each_remainder_is_met_soon():
    for cases in (
        listed("non_finite_values_arrive", plan("quick", seed=7)),
        list(sampled_cases(named("gradients_equal_torch").demand, None, "cpu", "some seed", 12)),
    ):
        seeds = [case.seed for case in cases][:12]
        assert seeds == sorted(seeds)
        for divisor in (2, 3, 4):
            assert {seed % divisor for seed in seeds} == set(range(divisor))
