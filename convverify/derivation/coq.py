"""The proof for a proof assistant: optional, and checked only where Coq is installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

NO_AXIOMS = "Closed under the global context"


class CoqError(Exception):
    """A script that Coq does not accept, or that rests on an axiom."""


def installed() -> bool:
    """Whether Coq's compiler is at hand."""
    return shutil.which("coqc") is not None


def check(script: Path) -> str:
    """Have Coq check one script, and say how many of its theorems rest on nothing.

    Raises:
        CoqError: Coq refuses the script, or a theorem rests on an axiom.
    """
    asked = script.read_text(encoding="utf-8").count("Print Assumptions ")
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / script.name  # Coq writes beside its input
        copy.write_bytes(script.read_bytes())
        done = subprocess.run(
            ["coqc", copy.name], cwd=folder, capture_output=True, text=True, check=False, timeout=600
        )
    if done.returncode != 0:
        raise CoqError(f"{script.name}: {done.stderr.strip()}")
    if asked == 0 or done.stdout.count(NO_AXIOMS) != asked:
        raise CoqError(f"{script.name}: a theorem rests on an axiom: {done.stdout.strip()}")
    return f"{script.name}: {asked} theorems, no axioms"
