"""Our modules beside torch's: torch's ModuleInfo inputs, parameters, state, text."""

from __future__ import annotations

import copy
import itertools
import pickle
import warnings

import pytest
import torch
from torch import nn

from convverify import operator as ours

pytest.importorskip("expecttest", reason="torch.testing._internal needs it")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_modules import module_db

torch.set_num_threads(1)
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning"),
]
CLASSES = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
INFOS = {info.module_cls: info for info in module_db if info.module_cls in CLASSES}
PAIRS = [(cls, dtype) for cls in CLASSES for dtype in INFOS[cls].dtypes]
IDS = [f"{cls.__name__}-{dtype}" for cls, dtype in PAIRS]


def inputs(cls, dtype):
    info = INFOS[cls]
    return info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True, training=True)


def twins(cls, dtype, arguments, keywords):
    """Torch's module and ours from the same random state."""
    pair = []
    for kind in (getattr(ours, cls.__name__), cls):
        torch.manual_seed(3)
        pair.append(kind(*arguments, **keywords).to(dtype))
    return pair


@pytest.mark.parametrize(("cls", "dtype"), PAIRS, ids=IDS)
def test_module_info(cls, dtype):
    seen = 0
    for given in inputs(cls, dtype):
        made = given.constructor_input
        own, reference = twins(cls, dtype, made.args, made.kwargs)
        assert repr(own) == repr(reference)
        x = given.forward_input.args[0]
        results = []
        for module in (own, reference):
            output = module(x)
            grads = torch.autograd.grad(output.square().abs().sum(), [x, *module.parameters()])
            results.append((output, *grads))
        torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)
        assert results[0][0].stride() == results[1][0].stride()
        seen += 1
    assert seen > 3


@pytest.mark.parametrize("cls", CLASSES)
def test_state_moves_both_ways(cls):
    torch.manual_seed(0)
    reference, own = cls(4, 6, 3, groups=2), getattr(ours, cls.__name__)(4, 6, 3, groups=2)
    assert [(n, p.shape) for n, p in own.named_parameters()] == [
        (n, p.shape) for n, p in reference.named_parameters()
    ]
    own.load_state_dict(reference.state_dict())
    torch.testing.assert_close(own.weight, reference.weight, rtol=0, atol=0)
    with torch.no_grad():
        own.weight.mul_(2)
    reference.load_state_dict(own.state_dict())
    torch.testing.assert_close(own.weight, reference.weight, rtol=0, atol=0)


@pytest.mark.parametrize("cls", CLASSES)
def test_same_initialisation(cls):
    own, reference = twins(cls, torch.float32, (4, 6, 3), {"groups": 2})
    assert torch.equal(own.weight, reference.weight)
    assert torch.equal(own.bias, reference.bias)


@pytest.mark.parametrize(
    ("cls", "mode"), list(itertools.product(CLASSES, ("zeros", "reflect", "replicate", "circular")))
)
def test_padding_modes(cls, mode):
    own, reference = twins(
        cls, torch.float64, (2, 3, 3), {"padding": 2, "padding_mode": mode, "stride": 2, "bias": False}
    )
    x = torch.randn(2, 2, *range(5, 5 + len(own.kernel_size)), dtype=torch.float64)
    torch.testing.assert_close(own(x), reference(x))


def test_copies():
    module = ours.Conv2d(2, 3, 3, dtype=torch.float64)
    x = torch.randn(1, 2, 5, 5, dtype=torch.float64)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(twin(x), module(x))


def test_factory_arguments():
    module = ours.Conv2d(2, 3, 3, device="meta", dtype=torch.bfloat16)
    assert module(torch.empty(2, 2, 6, 6, device="meta", dtype=torch.bfloat16)).shape == (2, 3, 4, 4)


@pytest.mark.parametrize(
    "arguments",
    [
        {"groups": 3}, {"padding": "sane"}, {"padding": "same", "stride": 2}, {"padding_mode": "mirror"},
        {"groups": 0},
    ],
    ids=str,
)  # fmt: skip
def test_constructor_refuses(arguments):
    with pytest.raises(ValueError):  # noqa: PT011  the messages are torch's own
        ours.Conv2d(4, 4, 3, **arguments)
