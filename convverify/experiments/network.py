"""The article's LeNet with exchangeable convolutions, and the same network in another basis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convverify.experiments.article import ArticleLayer
from convverify.operator import Conv2d

State = dict[str, Tensor]
Layers = tuple[type[nn.Conv2d], type[nn.Conv2d]]

# variant: the classes of the first and of the second convolution
VARIANTS: dict[str, Layers] = {
    "torch": (nn.Conv2d, nn.Conv2d),
    "convverify": (Conv2d, Conv2d),
    "first": (Conv2d, nn.Conv2d),
    "article": (ArticleLayer, ArticleLayer),
    "article-first": (ArticleLayer, nn.Conv2d),
}
_SIDE = 12  # of the maps that reach the fully connected layers: 28 - 2 - 2, halved


class Decisions(NamedTuple):
    """Which values pass, 0 or 1 each: the first ReLU, the second with the pooling, the third."""

    first: Tensor
    second: Tensor
    hidden: Tensor


class LeNet(nn.Module):
    """The article's network for [batch, 1, 28, 28], with the given classes as its two convolutions."""

    def __init__(self, layers: Layers) -> None:
        first, second = layers
        super().__init__()
        self.conv1 = first(1, 32, 3)
        self.conv2 = second(32, 64, 3)
        self.norm = nn.BatchNorm2d(64)
        self.hidden = nn.Linear(64 * _SIDE * _SIDE, 256)
        self.classes = nn.Linear(256, 10)

    def forward(self, images: Tensor, decisions: Decisions | None = None) -> Tensor:
        """The scores of the classes, [batch, 10]; with decisions given, a smooth function of the weights."""
        first: Tensor = self.conv1(images)
        if decisions is None:
            maps = self.norm(self.conv2(first.relu()))
            hidden = self.hidden(F.max_pool2d(maps.relu(), 2).flatten(1)).relu()
        else:
            maps = self.norm(self.conv2(first * decisions.first)) * decisions.second
            pooled = 4 * F.avg_pool2d(maps, 2)  # one of four passes: the sum is exact
            hidden = self.hidden(pooled.flatten(1)) * decisions.hidden
        scores: Tensor = self.classes(hidden)
        return scores

    @torch.no_grad()
    def decisions(self, images: Tensor) -> Decisions:
        """What this network, in training at its weights, lets pass; its running statistics stay."""
        first, norm = self.conv1(images), self.norm
        maps = F.batch_norm(self.conv2(first.relu()), None, None, norm.weight, norm.bias, training=True)
        pooled, places = F.max_pool2d(maps.relu(), 2, return_indices=True)
        winners = torch.zeros_like(maps).flatten(2).scatter_(2, places.flatten(2), 1.0).view_as(maps)
        return Decisions((first > 0).float(), winners * (maps > 0), (self.hidden(pooled.flatten(1)) > 0).float())


def initial_state(seed: int) -> State:
    """The weights that every variant starts from: torch's own initialisation."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LeNet(VARIANTS["torch"]).state_dict()


class Tf32Layer(nn.Conv2d):
    """Wrong on purpose: `nn.Conv2d` with operands rounded to the 11 significant bits of TF32."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        output: Tensor = super()._conv_forward(_to_tf32(input), _to_tf32(weight), bias)
        return output


def _to_tf32(operand: Tensor) -> Tensor:
    """Round to nearest, ties away from zero; the gradient passes as if nothing were rounded."""
    bits = operand.detach().contiguous().view(torch.int32)
    rounded = ((bits + (1 << 12)) & -(1 << 13)).view(torch.float32)
    return operand + (rounded - operand.detach())


@dataclass(frozen=True)
class Basis:
    """Another way to number the same network: hidden channels renumbered, images and kernels turned.

    The network in another basis is the same function of the same images with the same gradients, in exact
    arithmetic, at every step of the training. What differs is the order in which floating point sums.
    """

    first: Tensor
    second: Tensor
    hidden: Tensor
    quarter_turns: int
    mirrored: bool

    @classmethod
    def drawn(cls, generator: torch.Generator) -> Basis:
        """A basis by chance."""
        first, second, hidden = (torch.randperm(n, generator=generator) for n in (32, 64, 256))
        turn = int(torch.randint(8, (), generator=generator))
        return cls(first, second, hidden, turn % 4, turn >= 4)

    def batch(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The batch as this network sees it, its samples in reverse order."""
        return self._turned(images).flip(0).contiguous(), labels.flip(0)

    def decisions(self, decisions: Decisions) -> Decisions:
        """The same decisions on the batch as this network sees it."""
        first, second, hidden = decisions
        return Decisions(
            self._turned(first[:, self.first]).flip(0),
            self._turned(second[:, self.second]).flip(0),
            hidden[:, self.hidden].flip(0),
        )

    def into(self, state: State) -> State:
        """The weights of the network in this basis."""
        return {name: self._into(name, tensor) for name, tensor in state.items()}

    def back(self, state: State) -> State:
        """The weights of the original network; undoes `into`."""
        return {name: self._back(name, tensor) for name, tensor in state.items()}

    def _turned(self, maps: Tensor) -> Tensor:
        turned = maps.rot90(self.quarter_turns, (-2, -1))
        return turned.flip(-1) if self.mirrored else turned

    def _into(self, name: str, tensor: Tensor) -> Tensor:
        rows, columns = self._orders(name)
        blocks = _blocks(name, tensor)
        blocks = blocks if rows is None else blocks[rows]
        blocks = blocks if columns is None else blocks[:, columns]
        blocks = self._turned(blocks) if blocks.dim() == 4 else blocks
        return blocks.reshape(tensor.shape).clone()

    def _back(self, name: str, tensor: Tensor) -> Tensor:
        rows, columns = self._orders(name)
        blocks = _blocks(name, tensor)
        if blocks.dim() == 4:
            blocks = blocks.flip(-1) if self.mirrored else blocks
            blocks = blocks.rot90(-self.quarter_turns, (-2, -1))
        blocks = blocks if rows is None else blocks[rows.argsort()]
        blocks = blocks if columns is None else blocks[:, columns.argsort()]
        return blocks.reshape(tensor.shape).clone()

    def _orders(self, name: str) -> tuple[Tensor | None, Tensor | None]:
        """How the first and the second axis of a parameter are renumbered."""
        layer, _, kind = name.partition(".")
        rows, columns = {
            "conv1": (self.first, None),
            "conv2": (self.second, self.first),
            "norm": (self.second, None),
            "hidden": (self.hidden, self.second),
            "classes": (None, self.hidden),
        }[layer]
        if kind == "num_batches_tracked":
            return None, None
        return rows, columns if kind == "weight" else None


def _blocks(name: str, tensor: Tensor) -> Tensor:
    """The hidden layer's weights by channel and place: [256, 64, 12, 12]; all others as they are."""
    return tensor.reshape(256, 64, _SIDE, _SIDE) if name == "hidden.weight" else tensor
