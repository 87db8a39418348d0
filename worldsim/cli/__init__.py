"""The command line. Importing it is cheap: a command's module, and what it needs, is imported when it runs."""

import atexit
import contextlib
import os
import sys
from collections.abc import Sequence

# Silences the greeting that pygame prints when it is imported.
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code: 0, 2 for a user's mistake, 130 when interrupted."""
    from worldsim.cli.app import run

    if arguments is not None:
        return run(list(arguments))
    code = 1

    def leave() -> None:
        # Python stops such a thread where it next asks for the interpreter, which aborts the process within PyTorch.
        worker = sys.modules.get("worldsim.envs.play.worker")
        if worker is not None and worker.at_work():
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            os._exit(code)

    # The first to be registered runs last: everything else is put away before.
    atexit.register(leave)
    code = run(sys.argv[1:])
    return code
