"""The command line. Importing it is cheap: a command's module, and what it needs, is imported when it runs."""

import os
import sys
from collections.abc import Sequence

# Silences the greeting that pygame prints when it is imported.
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code: 0, 2 for a user's mistake, 130 when interrupted."""
    from worldsim.cli.app import run

    return run(sys.argv[1:] if arguments is None else list(arguments))
