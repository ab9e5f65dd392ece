"""One network in training, and the batches it sees."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from convverify.experiments.mnist import Samples
from convverify.experiments.network import Basis, Decisions, Layers, LeNet, State
from convverify.experiments.record import Trace

_EVALUATED_AT_ONCE = 250
LEARNING_RATE = 0.01


class Contender:
    """One network in training: its weights, its optimiser, and what was measured of it.

    With a basis it is torch's network in that basis; `plain` makes torch use its own loops for convolutions
    where it would call oneDNN or cuDNN, which sums in yet another order.
    """

    def __init__(
        self, layers: Layers, start: State, device: str, basis: Basis | None = None, plain: bool = False
    ) -> None:
        self.model = LeNet(layers).to(device)
        self.model.load_state_dict(start if basis is None else basis.into(start))
        self.basis = basis
        self.arithmetic = plain_arithmetic if plain else nullcontext
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=LEARNING_RATE, momentum=0.9, weight_decay=1e-4)
        self.trace = Trace()

    def step(self, images: Tensor, labels: Tensor, rate: float = LEARNING_RATE) -> tuple[float, float]:
        """Train on one batch; returns the loss and the seconds taken."""
        self.optimizer.param_groups[0]["lr"] = rate
        if self.basis is not None:
            images, labels = self.basis.batch(images, labels)
        self.model.train()
        with self.arithmetic():
            begin = _now(images.device)
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.model(images), labels)
            loss.backward()
            self.optimizer.step()
            return loss.item(), _now(images.device) - begin

    def at(self, state: State, images: Tensor, labels: Tensor, decisions: Decisions) -> tuple[float, State]:
        """The loss and its gradient at other weights, with given decisions of the ReLUs and the pooling.

        All in torch's basis. The network's own training goes on as if nothing had been asked.
        """
        tensors = {name: tensor.clone() for name, tensor in state.items()}
        if self.basis is not None:
            tensors, (images, labels) = self.basis.into(state), self.basis.batch(images, labels)
            decisions = self.basis.decisions(decisions)
        names = [name for name, _ in self.model.named_parameters()]
        weights = [tensors[name].requires_grad_() for name in names]
        self.model.train()
        with self.arithmetic():
            loss = F.cross_entropy(functional_call(self.model, tensors, (images, decisions)), labels)
            gradient = dict(zip(names, torch.autograd.grad(loss, weights), strict=True))
        return loss.item(), gradient if self.basis is None else self.basis.back(gradient)

    def snapshot(self) -> State:
        """A copy of its whole state."""
        return {name: tensor.clone() for name, tensor in self.model.state_dict().items()}

    def weights(self) -> State:
        """The parameters, in torch's basis."""
        state: State = {name: weight.detach() for name, weight in self.model.named_parameters()}
        with torch.no_grad():
            return state if self.basis is None else self.basis.back(state)

    @torch.no_grad()
    def accuracy(self, samples: Samples, device: str) -> float:
        """Percent of the images that the network labels rightly."""
        self.model.eval()
        right = 0
        for images, labels in batches(samples, torch.arange(len(samples.labels)), _EVALUATED_AT_ONCE, device):
            seen = (images, labels) if self.basis is None else self.basis.batch(images, labels)
            right += int((self.model(seen[0]).argmax(1) == seen[1]).sum())
        return 100 * right / len(samples.labels)


def batches(samples: Samples, order: Tensor, size: int, device: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Images as float32 in [0, 1], [size, 1, 28, 28], and their labels; the last batch may be smaller."""
    for chosen in torch.split(order, size):
        images = torch.from_numpy(samples.images[chosen.numpy()]).unsqueeze(1).float() / 255
        labels = torch.from_numpy(samples.labels[chosen.numpy()]).long()
        yield images.to(device), labels.to(device)


@torch.no_grad()
def largest_difference(weights: State, yardstick: State) -> float:
    """The largest difference of any entry to its counterpart."""
    return max(float((weights[name] - tensor).abs().max()) for name, tensor in yardstick.items())


def largest_entry(tensors: State) -> float:
    """The largest magnitude of any entry."""
    return max(float(tensor.abs().max()) for tensor in tensors.values())


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@contextmanager
def plain_arithmetic() -> Iterator[None]:
    """Torch without the libraries that usually convolve for it."""
    onednn, cudnn = bool(torch.backends.mkldnn.enabled), bool(torch.backends.cudnn.enabled)
    try:
        _use_libraries(False, False)
        yield
    finally:
        _use_libraries(onednn, cudnn)


def _use_libraries(onednn: bool, cudnn: bool) -> None:
    """Not through torch.backends, whose flags refuse to be set once torch's own tests have been imported."""
    torch._C._set_mkldnn_enabled(onednn)
    torch._C._set_cudnn_enabled(cudnn)
