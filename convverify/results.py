"""What a verification run found: plain values that turn into JSON and back.

Standard library only, so that a report can be made from a file of results on a machine without torch.
The fields are described in `docs/report-schema.md`; `SCHEMA_VERSION` changes when they do.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

SCHEMA_VERSION = 1


class Outcome(StrEnum):
    """What became of a property, or of a whole run."""

    PASSED = "passed"
    FALSIFIED = "falsified"
    INEXACT = "inexact"
    KNOWN_FAILURE = "known failure"
    INCONCLUSIVE = "inconclusive"
    UNSUPPORTED = "unsupported"
    ERRORED = "errored"
    NOT_RUN = "not run"

    @property
    def is_failure(self) -> bool:
        return self in (Outcome.FALSIFIED, Outcome.ERRORED)


EXIT_CODES = {  # of every outcome that a whole run can have
    Outcome.PASSED: 0,
    Outcome.INEXACT: 0,
    Outcome.FALSIFIED: 1,
    Outcome.ERRORED: 1,
    Outcome.INCONCLUSIVE: 3,
}


@dataclass(frozen=True)
class Counterexample:
    """The smallest case found on which a property does not hold.

    `line` is what `convverify replay` takes; `actual` and `expected` are printed values; `script` needs
    only torch and the operator; `behaves_like` names a known fault that gives the very same values.
    """

    line: str
    message: str
    actual: str = ""
    expected: str = ""
    script: str = ""
    first_line: str = ""
    reproducible: bool = True
    behaves_like: tuple[str, ...] = ()
    readback: str = ""


@dataclass(frozen=True)
class Result:
    """One property on one device."""

    property: str
    family: str
    statement: str
    cites: tuple[str, ...]
    device: str
    outcome: Outcome
    cases: int = 0
    unsupported_cases: int = 0
    elapsed_seconds: float = 0.0
    reason: str = ""
    established: str = ""
    miss_probability: float | None = None
    counterexample: Counterexample | None = None

    def excused(self) -> Result:
        """The failure of what only direct sums need to hold, of an operator that rounds elsewhere."""
        why = f"holds for direct summation only, and this operator rounds elsewhere: {self.reason}"
        return replace(self, outcome=Outcome.INEXACT, reason=why, counterexample=None)


@dataclass(frozen=True)
class Run:
    """One operator, verified."""

    operator: str
    budget: str
    devices: tuple[str, ...]
    seed: int
    secret_seed: int
    domain: str
    results: tuple[Result, ...]
    elapsed_seconds: float
    environment: dict[str, str] = field(default_factory=dict)
    coverage: dict[str, dict[str, int]] = field(default_factory=dict)
    version: str = ""
    schema_version: int = SCHEMA_VERSION

    @property
    def outcome(self) -> Outcome:
        """The verdict on the operator: the gravest thing that any property found.

        One that refused whatever was asked of its forward pass has shown nothing, though its refusals were right.
        """
        found = {result.outcome for result in self.results}
        for outcome in (Outcome.FALSIFIED, Outcome.ERRORED):
            if outcome in found:
                return outcome
        core = found - {Outcome.UNSUPPORTED, Outcome.KNOWN_FAILURE}
        forward = {result.outcome for result in self.results if result.family == "forward"}
        if not core or forward == {Outcome.UNSUPPORTED} or core & {Outcome.INCONCLUSIVE, Outcome.NOT_RUN}:
            return Outcome.INCONCLUSIVE
        return Outcome.INEXACT if Outcome.INEXACT in core else Outcome.PASSED

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.outcome]

    def to_json(self) -> str:
        """The run as JSON text, after the versioned schema."""
        return json.dumps({"outcome": self.outcome, **asdict(self)}, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Run:
        """Read `to_json` back.

        Raises:
            ValueError: the text is no report, or one of another schema version.
        """
        try:
            fields = json.loads(text)
            if fields["schema_version"] != SCHEMA_VERSION:
                raise ValueError(f"report has schema_version={fields['schema_version']}, this reads {SCHEMA_VERSION}")
            del fields["outcome"]
            fields["results"] = tuple(result_from(entry) for entry in fields["results"])
            fields["devices"] = tuple(fields["devices"])
            return cls(**fields)
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"not a verification report: {error!r}") from None


def result_from(entry: dict[str, Any]) -> Result:
    """A result from its JSON object."""
    example = entry["counterexample"]
    if example is not None:
        example = Counterexample(**{**example, "behaves_like": tuple(example["behaves_like"])})
    return Result(
        **{
            **entry,
            "cites": tuple(entry["cites"]),
            "outcome": Outcome(entry["outcome"]),
            "counterexample": example,
        }
    )
