"""The article's experiment: one LeNet per operator, trained side by side from the same weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from convverify import environment
from convverify.experiments.mnist import DataError, Mnist, Samples
from convverify.experiments.network import VARIANTS, Basis, Layers, LeNet, State, Tf32Layer, initial_state
from convverify.experiments.record import JUDGED_STEPS, Record, Settings, Trace

BATCH = 64
TWINS = 8
_EVALUATED_AT_ONCE = 250

Progress = Callable[[str, int, int], None]  # what is done, how many steps are, of how many


class NothingMeasuredError(RuntimeError):
    """The run ended before there was anything to report."""


class Contender:
    """One network in training: its weights, its optimiser, and what was measured of it."""

    def __init__(self, layers: Layers, start: State, device: str, basis: Basis | None = None) -> None:
        self.model = LeNet(layers).to(device)
        self.model.load_state_dict(start if basis is None else basis.into(start))
        self.basis = basis
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
        self.trace = Trace()

    def step(self, images: Tensor, labels: Tensor) -> tuple[float, float]:
        """Train on one batch; returns the loss and the seconds taken."""
        if self.basis is not None:
            images, labels = self.basis.batch(images, labels)
        self.model.train()
        begin = _now(images.device)
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(images), labels)
        loss.backward()
        self.optimizer.step()
        return loss.item(), _now(images.device) - begin

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


class Race:
    """Every contender at the same step: all variants, the twins, and the control that is wrong on purpose."""

    def __init__(self, settings: Settings) -> None:
        start = initial_state(settings.seed)
        chance = torch.Generator().manual_seed(settings.seed)
        device, torchs = settings.device, VARIANTS["torch"]
        self.variants = {name: Contender(VARIANTS[name], start, device) for name in settings.variants}
        self.twins = [Contender(torchs, start, device, Basis.drawn(chance)) for _ in range(TWINS)]
        self.control = Contender((Tf32Layer, Tf32Layer), start, device)
        self.steps = 0

    def step(self, images: Tensor, labels: Tensor) -> None:
        """Train everyone on one batch. What is measured is kept only once all are through."""
        names = list(self.variants)
        first = self.steps % len(names)  # each in turn goes first, so that no one always finds a warm cache
        running = {name: self.variants[name] for name in names[first:] + names[:first]}
        measured = [(contender, *contender.step(images, labels)) for contender in running.values()]
        others = [*self.twins, self.control] if self.steps < JUDGED_STEPS else self.twins[:1]
        measured += [(contender, *contender.step(images, labels)) for contender in others]
        yardstick = self.variants["torch"].weights()
        followed = [*running.values(), self.twins[0]]
        strays = [(contender, largest_difference(contender.weights(), yardstick)) for contender in followed]
        for contender, loss, seconds in measured:
            contender.trace.losses.append(loss)
            contender.trace.seconds.append(seconds)
        for contender, stray in strays:
            contender.trace.weight_differences.append(stray)
        self.steps += 1

    def trim(self) -> None:
        """Drop what an interrupt left of a step that not everyone finished."""
        for contender in [*self.variants.values(), *self.twins, self.control]:
            trace = contender.trace
            for measured in (trace.losses, trace.seconds, trace.weight_differences):
                del measured[self.steps :]

    def evaluate(self, samples: Samples, device: str) -> None:
        """The accuracy of all that train to the end; kept only once all are known."""
        finalists = [*self.variants.values(), self.twins[0]]
        found = [contender.accuracy(samples, device) for contender in finalists]
        for contender, accuracy in zip(finalists, found, strict=True):
            contender.trace.accuracies.append(accuracy)


def train(settings: Settings, data: Mnist, progress: Progress = lambda what, done, total: None) -> Record:
    """Run the experiment. An interrupt ends it early and keeps what was measured so far.

    Raises:
        DataError: the subset is larger than the data.
        NothingMeasuredError: interrupted before the first step was over.
    """
    count = len(data.train.labels)
    if settings.subset is not None and settings.subset > count:
        raise DataError(f"--subset {settings.subset} must be at most {count}, as many images as there are")
    train_half, test_half = (_cut(half, settings.subset) for half in (data.train, data.test))
    begin = time.perf_counter()
    with _circumstances():
        race = Race(settings)
        record = Record(
            settings, _describe(data, train_half, test_half), environment.describe(),
            traces={name: contender.trace for name, contender in race.variants.items()},
            twin=race.twins[0].trace, twins=[], control=race.control.trace.losses,
        )  # fmt: skip
        try:
            _run(race, settings, train_half, test_half, progress)
        except KeyboardInterrupt:
            if not race.steps:
                raise NothingMeasuredError("interrupted before the first step was over") from None
            record.interrupted = True
    race.trim()
    record.twins = [twin.trace.losses[:JUDGED_STEPS] for twin in race.twins]
    record.elapsed_seconds = time.perf_counter() - begin
    return record


def _run(race: Race, settings: Settings, train_half: Samples, test_half: Samples, progress: Progress) -> None:
    order = torch.Generator().manual_seed(settings.seed)
    size = len(train_half.labels)
    total = settings.epochs * -(-size // BATCH)
    for epoch in range(1, settings.epochs + 1):
        shuffled = torch.randperm(size, generator=order)
        for images, labels in batches(train_half, shuffled, BATCH, settings.device):
            race.step(images, labels)
            progress(f"epoch {epoch} of {settings.epochs}", race.steps, total)
        progress(f"epoch {epoch}: accuracy", race.steps, total)
        race.evaluate(test_half, settings.device)


def batches(samples: Samples, order: Tensor, size: int, device: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Images as float32 in [0, 1], [size, 1, 28, 28], and their labels; the last batch may be smaller."""
    for chosen in torch.split(order, size):
        images = torch.from_numpy(samples.images[chosen.numpy()]).unsqueeze(1).float() / 255
        labels = torch.from_numpy(samples.labels[chosen.numpy()]).long()
        yield images.to(device), labels.to(device)


@torch.no_grad()
def largest_difference(weights: State, yardstick: State) -> float:
    """The largest difference of any weight to its counterpart."""
    return max(float((weights[name] - tensor).abs().max()) for name, tensor in yardstick.items())


def _cut(half: Samples, subset: int | None) -> Samples:
    return Samples(half.images[:subset], half.labels[:subset])


def _describe(data: Mnist, train_half: Samples, test_half: Samples) -> dict[str, object]:
    return {
        "published": data.published,
        "train images": len(train_half.labels),
        "test images": len(test_half.labels),
    }


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@contextmanager
def _circumstances() -> Iterator[None]:
    """One thread, and no TF32: cuDNN's default would round what torch multiplies to 11 bits, not ours."""
    threads, cudnn = torch.get_num_threads(), torch.backends.cudnn.allow_tf32
    matmul = torch.backends.cuda.matmul.allow_tf32
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = cudnn, matmul
