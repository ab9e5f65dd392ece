"""What one run of the experiment measured, what follows from it, and its JSON; stdlib only."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from math import inf, isnan
from statistics import median
from typing import Any

JUDGED_STEPS = 100
# How far beyond the widest of torch's own twins a loss may lie. The report shows beside it how far a twin
# strays beyond the other twins, which is the figure to hold it against.
MARGIN = 4.0
ACCURACY_POINTS = 0.2
_UNIT_ROUNDOFF = 2.0**-24  # of float32, in which every loss is rounded once more


class Verdict(StrEnum):
    """What the comparison with nn.Conv2d came to."""

    AGREE = "agree"
    DISAGREE = "disagree"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Settings:
    """What was asked for."""

    epochs: int = 1
    subset: int | None = None
    variants: tuple[str, ...] = ("torch", "convverify", "first", "article")
    device: str = "cpu"
    seed: int = 0


@dataclass
class Trace:
    """One network's training: per step its loss, its seconds, its largest difference of a weight to torch's.

    `accuracies` are percent of the test images, one per finished epoch.
    """

    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    weight_differences: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)


@dataclass
class Record:
    """A whole run. Every trace is as long as the run; twins and control end with the judged steps.

    `twin` is the first of the twins, trained to the end.
    """

    settings: Settings
    data: dict[str, Any]
    environment: dict[str, str]
    traces: dict[str, Trace]
    twin: Trace
    twins: list[list[float]]
    control: list[float]
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

    def bound(self, twins: list[list[float]] | None = None) -> list[float]:
        """Per judged step: MARGIN times the widest twin so far, and the rounding of both losses."""
        strays = [self.differences(losses) for losses in (self.twins if twins is None else twins)]
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
            _largest_share(self.differences(self.twins[i]), self.bound(self.twins[:i] + self.twins[i + 1 :]))
            for i in range(len(self.twins) if len(self.twins) > 1 else 0)
        ]

    def first_outside(self, losses: list[float]) -> int | None:
        """The first step, counted from 1, whose loss lies outside the bound; NaN does."""
        pairs = enumerate(zip(self.differences(losses), self.bound(), strict=False), 1)
        return next((step for step, (difference, limit) in pairs if not difference <= limit), None)

    @property
    def judges_accuracy(self) -> bool:
        """Accuracy is held against the limit only on all images and after the last epoch."""
        return self.settings.subset is None and len(self.traces["torch"].accuracies) == self.settings.epochs

    def accuracy_gap(self, trace: Trace) -> float | None:
        """Points of final accuracy above torch's; nothing before the first epoch is over."""
        own, torchs = trace.accuracies, self.traces["torch"].accuracies
        return own[-1] - torchs[-1] if own and torchs else None

    def time_ratio(self, trace: Trace) -> float | None:
        """The seconds of all steps over torch's."""
        torchs = sum(self.traces["torch"].seconds)
        return sum(trace.seconds) / torchs if torchs else None

    def step_ratio(self, trace: Trace) -> float | None:
        """The median over steps of the ratio within a step: deaf to the odd slow step."""
        pairs = zip(trace.seconds, self.traces["torch"].seconds, strict=True)
        ratios = [own / torchs for own, torchs in pairs if torchs]
        return median(ratios) if ratios else None

    def disagreements(self) -> list[str]:
        """One sentence for every variant that is not what nn.Conv2d is."""
        found = []
        for name, trace in self.rivals.items():
            if (step := self.first_outside(trace.losses)) is not None:
                stray, limit = self.differences(trace.losses)[step - 1], self.bound()[step - 1]
                found.append(
                    f"{name}: the loss of step {step} differs by {stray:.3g}, at most {limit:.3g} is rounding"
                )
            gap = self.accuracy_gap(trace)
            if self.judges_accuracy and gap is not None and abs(gap) > ACCURACY_POINTS + 1e-9:
                found.append(
                    f"{name}: accuracy differs by {gap:+.2f} points, at most {ACCURACY_POINTS} are allowed"
                )
        return found

    @property
    def verdict(self) -> Verdict:
        """A disagreement stands, even where the run was interrupted after it."""
        if self.disagreements():
            return Verdict.DISAGREE
        return Verdict.INTERRUPTED if self.interrupted else Verdict.AGREE

    def to_json(self) -> str:
        """Everything measured, and what follows from it for those who read the file by eye."""
        measured = asdict(self)
        follows = {"verdict": self.verdict, "disagreements": self.disagreements(), "bound": self.bound()}
        return json.dumps(_rounded({"schema": 1} | follows | measured), separators=(",", ":")) + "\n"

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
            names = ("data", "environment", "twins", "control", "interrupted", "elapsed_seconds")
            rest = {name: fields[name] for name in names}
            return cls(settings=Settings(**settings), traces=traces, twin=Trace(**fields["twin"]), **rest)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no report of `convverify lenet`: {error!r}") from error


def _largest_share(differences: list[float], bounds: list[float]) -> float:
    pairs = zip(differences, bounds, strict=False)
    shares = [difference / limit if limit else float(difference > 0) for difference, limit in pairs]
    return max((inf if isnan(share) else share for share in shares), default=0.0)


def _rounded(value: Any) -> Any:
    """Nine significant digits: what tells any two float32 apart."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return [_rounded(entry) for entry in value] if isinstance(value, list | tuple) else value
