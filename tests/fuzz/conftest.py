"""After a run: how many inputs there were, in all processes together."""

from typing import Any

import pytest

from tests.fuzz.bounds import seen


def pytest_sessionfinish(session: pytest.Session) -> None:
    told = getattr(session.config, "workeroutput", None)
    if told is not None:
        told["fuzzed"] = dict(seen)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    seen.update(getattr(node, "workeroutput", {}).get("fuzzed", {}))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if seen:
        terminalreporter.write_line(f"fuzzed: {sum(seen.values())} inputs in {len(seen)} tests")
