"""The SMT solvers that are at hand: z3, and cvc5 as an independent second opinion. Both are optional."""

from __future__ import annotations

from importlib.util import find_spec

SOLVERS = ("z3", "cvc5")
MILLISECONDS = 20_000


def available() -> tuple[str, ...]:
    """The solvers that are installed."""
    return tuple(name for name in SOLVERS if find_spec(name) is not None)


def answer(solver: str, smt2: str) -> str:
    """'sat', 'unsat' or 'unknown', from one solver within its time limit."""
    return {"z3": _z3, "cvc5": _cvc5}[solver](smt2)


def _z3(smt2: str) -> str:
    import z3  # noqa: PLC0415  an optional solver

    solver = z3.Solver()
    solver.set("timeout", MILLISECONDS)
    solver.from_string(smt2)
    return str(solver.check())


def _cvc5(smt2: str) -> str:
    import cvc5  # noqa: PLC0415  an optional solver

    solver = cvc5.Solver(cvc5.TermManager())
    solver.setOption("tlimit-per", str(MILLISECONDS))
    parser = cvc5.InputParser(solver)
    open_question = "\n".join(line for line in smt2.splitlines() if ":status" not in line)
    parser.setStringInput(cvc5.InputLanguage.SMT_LIB_2_6, open_question, "claim")
    symbols = parser.getSymbolManager()
    said: list[str] = []
    while not (command := parser.nextCommand()).isNull():
        said.append(str(command.invoke(solver, symbols)).strip())
    return next((word for word in reversed(said) if word), "unknown")
