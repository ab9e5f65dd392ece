"""Directed graphs drawn as DOT, as Mermaid (which GitHub renders), and as SVG where Graphviz is present."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Drawing:
    """Boxes are operations, ellipses values; an edge may carry a label."""

    nodes: dict[str, tuple[str, bool]] = field(default_factory=dict)  # label, and whether it is an operation
    edges: list[tuple[str, str, str]] = field(default_factory=list)

    def value(self, name: str, label: str) -> None:
        """Add a value."""
        self.nodes[name] = (label, False)

    def operation(self, name: str, label: str) -> None:
        """Add an operation."""
        self.nodes[name] = (label, True)

    def edge(self, start: str, end: str, label: str = "") -> None:
        """Add an arrow."""
        self.edges.append((start, end, label))

    def dot(self) -> str:
        """The graph in Graphviz's language."""
        lines = [
            f"  {_quoted(name)} [label={_quoted(label)}, shape={'box' if operation else 'ellipse'}];"
            for name, (label, operation) in self.nodes.items()
        ]
        lines += [
            f"  {_quoted(start)} -> {_quoted(end)}" + (f" [label={_quoted(label)}];" if label else ";")
            for start, end, label in self.edges
        ]
        return "digraph {\n  rankdir=LR;\n" + "\n".join(lines) + "\n}\n"

    def mermaid(self) -> str:
        """The graph in Mermaid's language."""
        short = {name: f"n{place}" for place, name in enumerate(self.nodes)}
        lines = [
            f'  {short[name]}["{label}"]' if operation else f'  {short[name]}(["{label}"])'
            for name, (label, operation) in self.nodes.items()
        ]
        lines += [
            f"  {short[start]} --{f'>|{label}|' if label else '>'} {short[end]}"
            for start, end, label in self.edges
        ]
        return "graph LR\n" + "\n".join(_escaped(lines))


def svg(dot: str) -> str | None:
    """The picture, or None where the `dot` program is not installed."""
    program = shutil.which("dot")
    if program is None:
        return None
    done = subprocess.run([program, "-Tsvg"], input=dot, capture_output=True, text=True, check=True)
    return done.stdout


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _escaped(lines: Iterable[str]) -> Iterable[str]:
    return (line.replace("\n", "<br>") for line in lines)
