"""What one run of the experiment measured, what follows from it, and its JSON; stdlib only."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from math import inf, isnan
from statistics import fmean, median, stdev
from typing import Any

JUDGED_STEPS = 100
# How far beyond the widest of torch's own twins a loss may lie. The report shows beside it how far a twin
# strays beyond the other twins, which is the figure to hold it against.
MARGIN = 4.0
ACCURACY_POINTS = 0.2
# Standard errors by which the mean of five gaps may be off: Student's t with four degrees of freedom is so in 1 %.
DOUBT = 4.6
_UNIT_ROUNDOFF = 2.0**-24  # of float32, in which every loss is rounded once more


class Verdict(StrEnum):
    """What the comparison with nn.Conv2d came to."""

    AGREE = "agree"
    DISAGREE = "disagree"
    INCONCLUSIVE = "inconclusive"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Settings:
    """What was asked for."""

    epochs: int = 1
    subset: int | None = None
    variants: tuple[str, ...] = ("torch", "convverify", "first", "article")
    device: str = "cpu"
    seed: int = 0
    decay: bool = False


@dataclass
class Trace:
    """One network's training: per step its loss, its seconds, its largest difference of a weight to torch's.

    `local_losses` and `local_gradients` are how far its loss and its gradient lie from torch's at torch's own
    weights of that step, the gradient as a share of the largest entry. `accuracies` are percent of the test
    images, one per finished epoch.
    """

    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    weight_differences: list[float] = field(default_factory=list)
    local_losses: list[float] = field(default_factory=list)
    local_gradients: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)

    def trim(self, steps: int) -> None:
        """Keep no more than these many steps."""
        by_step = (
            self.losses,
            self.seconds,
            self.weight_differences,
            self.local_losses,
            self.local_gradients,
        )
        for measured in by_step:
            del measured[steps:]


@dataclass
class Record:
    """A whole run. The control and some of the twins end with the judged steps.

    `turned` are the variants in the bases of the first twins, for their accuracies.
    """

    settings: Settings
    data: dict[str, Any]
    environment: dict[str, str]
    traces: dict[str, Trace]
    twins: list[Trace]
    control: Trace
    turned: dict[str, list[Trace]] = field(default_factory=dict)
    interrupted: bool = False
    elapsed_seconds: float = 0.0

    @property
    def steps(self) -> int:
        """How many steps every variant has finished."""
        return len(self.traces["torch"].losses)

    @property
    def judged(self) -> int:
        """How many of them the bound covers."""
        return min(self.steps, JUDGED_STEPS)

    @property
    def rivals(self) -> dict[str, Trace]:
        """Every variant but torch's own."""
        return {name: trace for name, trace in self.traces.items() if name != "torch"}

    def differences(self, losses: list[float]) -> list[float]:
        """Step by step, how far losses lie from torch's."""
        return [abs(a - b) for a, b in zip(losses, self.traces["torch"].losses, strict=False)]

    def bound(self, twins: list[Trace] | None = None) -> list[float]:
        """Per judged step: MARGIN times the widest twin so far, and the rounding of both losses."""
        strays = [self.differences(twin.losses) for twin in (self.twins if twins is None else twins)]
        bounds, widest = [], 0.0
        for step, loss in enumerate(self.traces["torch"].losses[: self.judged]):
            widest = max([widest, *(stray[step] for stray in strays)])
            bounds.append(MARGIN * widest + 2 * _UNIT_ROUNDOFF * abs(loss))
        return bounds

    def share(self, losses: list[float]) -> float:
        """The largest share of the bound that the losses use; above 1 they are outside."""
        return _largest_share(self.differences(losses), self.bound())

    def twin_shares(self) -> list[float]:
        """The same for every twin, against the bound that the other twins alone give."""
        return [
            _largest_share(self.differences(self.twins[i].losses), self.bound(self.twins[:i] + self.twins[i + 1 :]))
            for i in range(len(self.twins) if len(self.twins) > 1 else 0)
        ]

    def local_bounds(self) -> tuple[float, float]:
        """MARGIN times the widest of all twins in any judged step, for the loss and for the gradient."""
        losses = max((max(twin.local_losses, default=0.0) for twin in self.twins), default=0.0)
        gradients = max((max(twin.local_gradients, default=0.0) for twin in self.twins), default=0.0)
        loudest = max(map(abs, self.traces["torch"].losses[: self.judged]), default=0.0)
        return MARGIN * losses + 2 * _UNIT_ROUNDOFF * loudest, MARGIN * gradients

    def local_shares(self, trace: Trace) -> tuple[float, float]:
        """The largest shares of these bounds that a trace uses."""
        losses, gradients = self.local_bounds()
        return (
            _largest_share(trace.local_losses, [losses] * self.judged),
            _largest_share(trace.local_gradients, [gradients] * self.judged),
        )

    def first_outside(self, losses: list[float]) -> int | None:
        """The first step, counted from 1, whose loss lies outside the bound; NaN does."""
        pairs = enumerate(zip(self.differences(losses), self.bound(), strict=False), 1)
        return next((step for step, (difference, limit) in pairs if not difference <= limit), None)

    @property
    def judges_accuracy(self) -> bool:
        """Accuracy is held against the limit only on all images and after the last epoch."""
        return self.settings.subset is None and len(self.traces["torch"].accuracies) == self.settings.epochs

    def accuracy_gaps(self, name: str) -> list[float]:
        """The points of final accuracy of a variant above torch's, in torch's own basis and in each other one."""
        own = [self.traces[name], *self.turned.get(name, ())]
        pairs = zip(own, [self.traces["torch"], *self.twins], strict=False)
        return [mine.accuracies[-1] - torchs.accuracies[-1] for mine, torchs in pairs
                if mine.accuracies and torchs.accuracies]  # fmt: skip

    def accuracy_gap(self, name: str) -> tuple[float, float] | None:
        """The mean of these gaps, and by how much that may be off; nothing before the first epoch is over."""
        gaps = self.accuracy_gaps(name)
        if not gaps:
            return None
        return fmean(gaps), DOUBT * stdev(gaps) / len(gaps) ** 0.5 if len(gaps) > 1 else 0.0

    def time_ratio(self, trace: Trace) -> float | None:
        """The seconds of all steps over torch's."""
        torchs = sum(self.traces["torch"].seconds)
        return sum(trace.seconds) / torchs if torchs else None

    def step_ratio(self, trace: Trace) -> float | None:
        """The median over steps of the ratio within a step: deaf to the odd slow step."""
        pairs = zip(trace.seconds, self.traces["torch"].seconds, strict=False)
        ratios = [own / torchs for own, torchs in pairs if torchs]
        return median(ratios) if ratios else None

    def disagreements(self) -> list[str]:
        """One sentence for every way in which a variant is not what nn.Conv2d is."""
        found = []
        for name, trace in self.rivals.items():
            for what, share in zip(("loss", "gradient"), self.local_shares(trace), strict=True):
                if share > 1:
                    found.append(f"{name}: at torch's weights the {what} is {share:.3g} times the bound away")
            gap, doubt = self.accuracy_gap(name) or (0.0, 0.0)
            limit = ACCURACY_POINTS + doubt
            if self.judges_accuracy and _beyond(gap, limit):
                found.append(f"{name}: accuracy differs by {gap:+.2f} points, must be within {limit:.2f}")
        return found

    def drifts(self) -> list[str]:
        """One sentence for all that is outside what was asked for, where rounding alone may be the reason."""
        found = []
        for name, trace in self.rivals.items():
            if (step := self.first_outside(trace.losses)) is not None:
                stray, limit = self.differences(trace.losses)[step - 1], self.bound()[step - 1]
                found.append(f"{name}: the loss of step {step} differs by {stray:.3g}, bound {limit:.3g}")
            gap, doubt = self.accuracy_gap(name) or (0.0, 0.0)
            if self.judges_accuracy and _beyond(gap, ACCURACY_POINTS) and not _beyond(gap, ACCURACY_POINTS + doubt):
                found.append(
                    f"{name}: accuracy differs by {gap:+.2f} points, more than {ACCURACY_POINTS}, "
                    f"which may be off by {doubt:.2f}"
                )
        return found

    @property
    def verdict(self) -> Verdict:
        """Drift alone proves nothing: rounding may have turned a ReLU that it turned in none of the twins.

        A disagreement stands, even where the run was interrupted after it.
        """
        if self.disagreements():
            return Verdict.DISAGREE
        if self.interrupted:
            return Verdict.INTERRUPTED
        return Verdict.INCONCLUSIVE if self.drifts() else Verdict.AGREE

    def to_json(self) -> str:
        """Everything measured, and what follows from it for those who read the file by eye."""
        measured = asdict(self)
        follows = {
            "verdict": self.verdict,
            "disagreements": self.disagreements(),
            "drifts": self.drifts(),
            "bound": self.bound(),
        }
        return json.dumps({"schema": 1} | follows | measured, separators=(",", ":")) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read a report back.

        Raises:
            ValueError: it is not one of ours.
        """
        try:
            fields = json.loads(text)
            settings = fields["settings"] | {"variants": tuple(fields["settings"]["variants"])}
            traces = {name: Trace(**trace) for name, trace in fields["traces"].items()}
            rest = {name: fields[name] for name in ("data", "environment", "interrupted", "elapsed_seconds")}
            twins, control = [Trace(**twin) for twin in fields["twins"]], Trace(**fields["control"])
            turned = {name: [Trace(**one) for one in traced] for name, traced in fields.get("turned", {}).items()}
            return cls(Settings(**settings), traces=traces, twins=twins, control=control, turned=turned, **rest)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no report of `convverify lenet`: {error!r}") from error


def _beyond(gap: float, limit: float) -> bool:
    """Accuracies are decimals of a percent: what is equal to the limit in decimals is within it."""
    return abs(gap) > limit + 1e-9


def _largest_share(differences: list[float], bounds: list[float]) -> float:
    pairs = zip(differences, bounds, strict=False)
    shares = [difference / limit if limit else float(difference > 0) for difference, limit in pairs]
    return max((inf if isnan(share) else share for share in shares), default=0.0)
