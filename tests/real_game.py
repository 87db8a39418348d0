"""Tests of the real game: skipped where it is not installed, and run alone, for it wants the whole machine."""

from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from worldsim.envs.luanti.process import find_programs

Test = TypeVar("Test", bound=Callable[..., Any])
try:
    find_programs()
    MISSING = ""
except FileNotFoundError as error:
    MISSING = str(error)


def needs_game(test: Test) -> Test:
    """Mark a test that starts the game: a server and a client that draws, beside the test itself."""
    return pytest.mark.alone(pytest.mark.skipif(bool(MISSING), reason=f"needs the real game: {MISSING}")(test))
