"""The pytest face: one test for each property of an operator.

Every pytest run of an environment with convverify imports this module, so it imports nothing heavy itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from convverify.budget import BUDGETS

if TYPE_CHECKING:
    from convverify.results import Result

_OPTIONS: dict[str, Any] = {"budget": "quick", "seed": 0, "device": "cpu"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options for all tests made by `parametrize_with_properties`."""
    group = parser.getgroup("convverify", "verification of convolution operators")
    group.addoption("--convverify-budget", choices=tuple(BUDGETS), default="quick",
                    help="how much each property's test may spend (default: quick)")  # fmt: skip
    group.addoption("--convverify-seed", type=int, default=0, help="the public half of the seeds (default: 0)")
    group.addoption("--convverify-device", choices=("cpu", "cuda"), default="cpu",
                    help="where operators run (default: cpu)")  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Take over the options."""
    for name, default in _OPTIONS.items():
        _OPTIONS[name] = config.getoption(f"--convverify-{name}", default)


class Check:
    """One property of one operator, to be called by a test."""

    def __init__(self, operator: Any, name: str, domain: str, options: dict[str, Any]) -> None:
        self.operator, self.name, self.domain, self.options = operator, name, domain, options

    def __repr__(self) -> str:
        return self.name

    def __call__(self) -> Result:
        """Check the property; skips, with the reason, what the operator does not support or what cannot be told.

        Raises:
            AssertionError: the property does not hold; the message is the counterexample.
        """
        __tracebackhide__ = True
        from convverify.verification import verify  # noqa: PLC0415

        run = verify(self.operator, domain=self.domain, properties=(self.name,), **{**_OPTIONS, **self.options})
        result = run.results[0]
        if result.outcome.is_failure:
            pytest.fail(_message(result), pytrace=False)
        if result.outcome not in ("passed", "inexact"):
            pytest.skip(f"{result.outcome}: {result.reason}")
        return result


def parametrize_with_properties(
    operator: Any, *, domain: str = "", budget: str | None = None, seed: int | None = None,
    device: str | None = None,
) -> Callable[[Callable[..., Any]], Any]:  # fmt: skip
    """Make one test of each property; the test gets a check as its first argument and calls it.

        @convverify.parametrize_with_properties(my_conv)
        def test_my_conv(check):
            check()

    What is given here overrides the command line's `--convverify-budget`, `-seed` and `-device`.
    """

    def decorate(test: Callable[..., Any]) -> Any:
        from convverify.properties import CATALOGUE  # noqa: PLC0415

        argument = next(iter(inspect.signature(test).parameters), None)
        if argument is None:
            raise TypeError(f"{test.__name__} must take an argument: the check that it is to call")
        given = {"budget": budget, "seed": seed, "device": device}
        options = {name: value for name, value in given.items() if value is not None}
        checks = [Check(operator, prop.name, domain, options) for prop in CATALOGUE]
        return pytest.mark.parametrize(argument, checks, ids=repr)(test)

    return decorate


def _message(result: Result) -> str:
    lines = [f"{result.property}: {result.outcome}", result.statement, "", result.reason]
    example = result.counterexample
    if example is not None:
        lines += ["", f"smallest case: {example.line}", *(f"behaves like: {f}" for f in example.behaves_like)]
        if example.expected:
            lines += ["", "expected:", example.expected, "actual:", example.actual]
        if example.script:
            lines += ["", example.script]
    return "\n".join(lines)
