"""The article's experiment: one LeNet per operator, trained side by side from the same weights."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from convverify import environment
from convverify.experiments.contender import (
    LEARNING_RATE,
    Contender,
    batches,
    largest_difference,
    largest_entry,
)
from convverify.experiments.mnist import DataError, Mnist, Samples
from convverify.experiments.network import (
    VARIANTS,
    Basis,
    Decisions,
    State,
    Tf32Layer,
    initial_state,
)
from convverify.experiments.record import JUDGED_STEPS, Record, Settings, Trace

BATCH = 64
TWINS = 8
BASES = 4  # of the twins, in which torch and all variants train to the end, for what rounding does to the accuracy

Progress = Callable[[str, int, int], None]  # what is done, how many steps are, of how many


class NothingMeasuredError(RuntimeError):
    """The run ended before there was anything to report."""


class Race:
    """Every contender at the same step: all variants, the twins, and the control that is wrong on purpose."""

    def __init__(self, settings: Settings) -> None:
        start = initial_state(settings.seed)
        chance = torch.Generator().manual_seed(settings.seed)
        device, torchs = settings.device, VARIANTS["torch"]
        self.variants = {name: Contender(VARIANTS[name], start, device) for name in settings.variants}
        bases = [Basis.drawn(chance) for _ in range(TWINS)]
        self.twins = [Contender(torchs, start, device, basis, plain=bool(i % 2)) for i, basis in enumerate(bases)]
        self.turned = {
            name: [Contender(VARIANTS[name], start, device, basis) for basis in bases[:BASES]]
            for name in settings.variants
            if name != "torch" and settings.subset is None  # which does not judge accuracies
        }
        self.control = Contender((Tf32Layer, Tf32Layer), start, device)
        self.steps = 0

    def step(self, images: Tensor, labels: Tensor, rate: float) -> None:
        """Train everyone on one batch, at a learning rate. What is measured is kept only once all are through."""
        names = list(self.variants)
        first = self.steps % len(names)  # each in turn goes first, so that no one always finds a warm cache
        running = [self.variants[name] for name in names[first:] + names[:first]]
        judged = self.steps < JUDGED_STEPS
        torchs = self.variants["torch"]
        before = torchs.snapshot() if judged else {}
        decisions = torchs.model.decisions(images) if judged else None
        others = [*self.twins, self.control] if judged else self.twins[:BASES]
        others += itertools.chain(*self.turned.values())
        measured = [(contender.trace, *contender.step(images, labels, rate)) for contender in [*running, *others]]
        yardstick = torchs.weights()
        strays = [(c.trace, largest_difference(c.weights(), yardstick)) for c in [*running, self.twins[0]]]
        local = self._local(before, images, labels, decisions) if decisions else []
        for trace, loss, seconds in measured:
            trace.losses.append(loss)
            trace.seconds.append(seconds)
        for trace, stray in strays:
            trace.weight_differences.append(stray)
        for trace, *differences in local:
            trace.local_losses.append(differences[0])
            trace.local_gradients.append(differences[1])
        self.steps += 1

    def _local(
        self, before: State, images: Tensor, labels: Tensor, decisions: Decisions
    ) -> list[tuple[Trace, float, float]]:
        """How far everyone's loss and gradient lie from torch's at the weights torch had before its step.

        The ReLUs and the pooling decide as in torch's network. Where rounding decides otherwise, a gradient
        jumps: on MNIST's black background one channel can do so in thousands of places at once.
        """
        torchs = self.variants["torch"]
        loss, gradient = torchs.at(before, images, labels, decisions)
        scale = largest_entry(gradient)
        found = []
        for contender in self._everyone():
            if contender is not torchs:
                own_loss, own_gradient = contender.at(before, images, labels, decisions)
                stray = largest_difference(own_gradient, gradient) / scale
                found.append((contender.trace, abs(own_loss - loss), stray))
        return found

    def _everyone(self) -> list[Contender]:
        return [*self.variants.values(), *self.twins, self.control]

    def trim(self) -> None:
        """Drop what an interrupt left of a step that not everyone finished."""
        for contender in itertools.chain(self._everyone(), *self.turned.values()):
            contender.trace.trim(self.steps)

    def evaluate(self, samples: Samples, device: str) -> None:
        """The accuracy of all that train to the end; kept only once all are known."""
        finalists = [*self.variants.values(), *self.twins[:BASES], *itertools.chain(*self.turned.values())]
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
            twins=[twin.trace for twin in race.twins], control=race.control.trace,
            turned={name: [one.trace for one in turned] for name, turned in race.turned.items()},
        )  # fmt: skip
        try:
            _run(race, settings, train_half, test_half, progress)
        except KeyboardInterrupt:
            if not race.steps:
                raise NothingMeasuredError("interrupted before the first step was over") from None
            record.interrupted = True
    race.trim()
    record.elapsed_seconds = time.perf_counter() - begin
    return record


def _run(race: Race, settings: Settings, train_half: Samples, test_half: Samples, progress: Progress) -> None:
    order = torch.Generator().manual_seed(settings.seed)
    size = len(train_half.labels)
    total = settings.epochs * -(-size // BATCH)
    for epoch in range(1, settings.epochs + 1):
        shuffled = torch.randperm(size, generator=order)
        for images, labels in batches(train_half, shuffled, BATCH, settings.device):
            left = 1 - race.steps / total if settings.decay else 1.0
            race.step(images, labels, left * LEARNING_RATE)
            progress(f"epoch {epoch} of {settings.epochs}", race.steps, total)
        progress(f"epoch {epoch}: accuracy", race.steps, total)
        race.evaluate(test_half, settings.device)


def _cut(half: Samples, subset: int | None) -> Samples:
    return Samples(half.images[:subset], half.labels[:subset])


def _describe(data: Mnist, train_half: Samples, test_half: Samples) -> dict[str, object]:
    return {
        "published": data.published,
        "train images": len(train_half.labels),
        "test images": len(test_half.labels),
    }


@contextmanager
def _circumstances() -> Iterator[None]:
    """One thread, and no TF32: cuDNN's default would round what torch multiplies to 11 bits, not ours.

    Torch's random state is as before afterwards: building a network draws from it.
    """
    threads, cudnn = torch.get_num_threads(), torch.backends.cudnn.allow_tf32
    matmul = torch.backends.cuda.matmul.allow_tf32
    torch.set_num_threads(1)
    torch._C._set_cudnn_allow_tf32(False)  # torch.backends refuses once torch's own tests have been imported
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)
        torch._C._set_cudnn_allow_tf32(cudnn)
        torch.backends.cuda.matmul.allow_tf32 = matmul
