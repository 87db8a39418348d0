"""Resolve every extra with pip, without installing anything: an extra that cannot be installed fails here.

All extras at once first: where that works, each of them works. Else each on its own, to name the one at fault. What is
installed already counts as chosen, as it does for somebody who adds an extra to a working installation.
"""

import subprocess
import sys
import time
import tomllib
from pathlib import Path

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--dry-run"]


def resolve(requirements: list[str]) -> str:
    """Why pip cannot resolve requirements; "" if it can."""
    ended = subprocess.run([*PIP, *requirements], capture_output=True, text=True, check=False)
    return "" if ended.returncode == 0 else ended.stderr.strip() or f"pip ended with {ended.returncode}"


def main() -> int:
    """Exit code 1 when an extra cannot be resolved."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    base, extras, begun = project["dependencies"], project["optional-dependencies"], time.monotonic()
    together = resolve(list(dict.fromkeys([*base, *(one for wanted in extras.values() for one in wanted)])))
    print(f"all extras together: {'no' if together else 'yes'} ({time.monotonic() - begun:.0f} s)", flush=True)
    if not together:
        return 0
    reasons = {extra: reason for extra, wanted in extras.items() if (reason := resolve([*base, *wanted]))}
    for extra, reason in reasons.items():
        print(f"extra {extra} cannot be resolved:\n{reason}", flush=True)
    return int(bool(reasons))


if __name__ == "__main__":
    sys.exit(main())
