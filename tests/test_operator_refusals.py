"""What torch refuses, we refuse, and say why."""

from __future__ import annotations

import pytest
import torch
from torch import zeros
from torch.nn import functional as F

from convverify import operator as ours

X, K = zeros(2, 4, 7, 6), zeros(6, 2, 3, 2)
CASES = {
    "stride 0": ((X, K), {"stride": 0, "groups": 2}, "stride"),
    "stride negative": ((X, K), {"stride": (1, -1), "groups": 2}, "stride"),
    "stride of three": ((X, K), {"stride": (1, 1, 1), "groups": 2}, "1 or 2 entries"),
    "stride empty": ((X, K), {"stride": (), "groups": 2}, "entries"),
    "stride float": ((X, K), {"stride": 1.5, "groups": 2}, "must be an int"),
    "stride bool": ((X, K), {"stride": True, "groups": 2}, "must be an int"),
    "padding negative": ((X, K), {"padding": -1, "groups": 2}, "padding"),
    "padding word": ((X, K), {"padding": "full", "groups": 2}, "'same', 'valid'"),
    "same with stride": ((X, K), {"padding": "same", "stride": 2, "groups": 2}, "stride"),
    "dilation 0": ((X, K), {"dilation": 0, "groups": 2}, "dilation"),
    "groups 0": ((X, K), {"groups": 0}, "groups"),
    "groups negative": ((X, K), {"groups": -2}, "groups"),
    "groups float": ((X, K), {"groups": 2.0}, "must be an int"),
    "groups that do not divide": ((X, zeros(5, 2, 3, 2)), {"groups": 2}, "groups=2 must divide"),
    "channels": ((X, K), {}, "in_channels"),
    "kernel too large": ((X, zeros(6, 4, 8, 2)), {}, "reaches over 8"),
    "kernel of size 0": ((X, zeros(6, 4, 0, 2)), {}, "kernel_size"),
    "input of size 0": ((zeros(2, 4, 0, 6), zeros(6, 4, 1, 1)), {"padding": 1}, "input_size"),
    "input of 2 dimensions": ((X[0, 0], K), {}, "4 dimensions, or 3 unbatched"),
    "input of 5 dimensions": ((X[None], K), {}, "4 dimensions, or 3 unbatched"),
    "weight of 3 dimensions": ((X, K[0]), {}, "must have 4 dimensions"),
    "bias too long": ((X, K, zeros(7)), {"groups": 2}, r"bias \[7\] must be \[6\]"),
    "bias of 2 dimensions": ((X, K, zeros(6, 1)), {"groups": 2}, r"bias \[6, 1\]"),
    "bias dtype": ((X, K, zeros(6).double()), {"groups": 2}, "bias is torch.float64"),
    "weight dtype": ((X, K.double()), {"groups": 2}, "weight is torch.float64"),
    "bool": ((X.bool(), K.bool()), {"groups": 2}, "torch.bool"),
    "sparse": ((X.to_sparse(), K), {"groups": 2}, "sparse"),
    "a list": (([1.0], K), {}, "must be a Tensor"),
    "no weight": ((X, None), {}, "must be a Tensor"),
}
TRANSPOSED = {
    "output_padding": ((X, zeros(4, 2, 3, 3)), {"output_padding": 1}, "output_padding"),
    "negative output_padding": (
        (X, zeros(4, 2, 3, 3)),
        {"output_padding": -1, "stride": 2},
        "output_padding",
    ),
    "channels": ((X, zeros(3, 2, 3, 3)), {}, "in_channels"),
    "nothing left": ((zeros(1, 1, 1, 1), zeros(1, 1, 2, 2)), {"padding": 1}, "output of size"),
    "bias": ((X, zeros(4, 2, 3, 3), zeros(3)), {}, "bias"),
    "groups": ((X, zeros(4, 2, 3, 3)), {"groups": 3}, "groups"),
    "dilation": ((X, zeros(4, 2, 3, 3)), {"dilation": 0}, "dilation"),
    "stride": ((X, zeros(4, 2, 3, 3)), {"stride": 0}, "stride"),
}
ALL = [("conv2d", *case) for case in CASES.items()] + [
    ("conv_transpose2d", *case) for case in TRANSPOSED.items()
]


@pytest.mark.parametrize(("name", "title", "case"), ALL, ids=[f"{n}: {t}" for n, t, _ in ALL])
def test_refused(name, title, case):
    arguments, keywords, message = case
    with pytest.raises((RuntimeError, TypeError, ValueError)):
        getattr(F, name)(*arguments, **keywords)
    with pytest.raises((RuntimeError, TypeError), match=message):
        getattr(ours, name)(*arguments, **keywords)


def test_other_device_refused():
    with pytest.raises(RuntimeError, match=r"weight is torch.float32 on meta, but input is .* on cpu"):
        ours.conv2d(X, K.to("meta"), groups=2)


@pytest.mark.parametrize("stride", [2, (2,), [2, 1], (2, 1), torch.Size((2, 1))], ids=str)
def test_accepted(stride):
    x, k = torch.randn(1, 2, 5, 6), torch.randn(2, 2, 2, 2)
    torch.testing.assert_close(ours.conv2d(x, k, stride=stride), F.conv2d(x, k, stride=stride))


def test_zero_sizes():
    assert ours.conv2d(zeros(0, 4, 7, 6), K, groups=2).shape == (0, 6, 5, 5)
    # By the definition an empty sum is zero, and the bias is added to it; torch 2.13 drops the bias.
    output = ours.conv2d(zeros(2, 0, 4, 4), zeros(3, 0, 2, 2), torch.arange(3.0))
    assert torch.equal(output, torch.arange(3.0).view(1, 3, 1, 1).expand(2, 3, 3, 3))
    empty = zeros(0, 4, 7, 6, requires_grad=True)
    weight = zeros(6, 4, 2, 2, requires_grad=True)
    ours.conv2d(empty, weight).sum().backward()
    assert empty.grad.shape == empty.shape
    assert torch.equal(weight.grad, torch.zeros_like(weight))


def test_refused_while_compiling():
    compiled = torch.compile(lambda x, k: ours.conv2d(x, k, stride=0), backend="eager")
    with pytest.raises(Exception, match="stride"):
        compiled(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 2, 2))
