"""After a run: how many inputs there were."""

from typing import Any

from tests.fuzz.bounds import seen


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if seen:
        terminalreporter.write_line(f"fuzzed: {sum(seen.values())} inputs in {len(seen)} tests")
