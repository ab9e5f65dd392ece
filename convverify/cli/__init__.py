"""The command line: one file a command, imported only when that command runs."""

from __future__ import annotations

from importlib import import_module

import click

from convverify import __version__

# command: what `convverify --help` says of it. Each is `convverify.cli.<command>.command`.
COMMANDS: dict[str, str] = {
    "verify": "Verify an operator and write its report.",
    "replay": "Check one case of one property again.",
    "properties": "List the catalogue of properties.",
    "mutants": "Verify the verifier: which property catches which wrong operator.",
    "prove": "Check the theorems and publish their proofs.",
    "cite": "Print a citation of a theorem.",
    "readback": "Print what an operator computes, as polynomials, beside the definition.",
    "graph": "Draw the graph that autograd records.",
    "lenet": "Train the article's network with both operators side by side.",
}


class _LazyGroup(click.Group):
    """Knows its commands by name and imports them one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"convverify.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="convverify")
def main() -> None:
    """Verify convolution operators for PyTorch: exactly, with proofs, and saying how sure it is."""
