"""Resolve every extra with pip, each on its own, without installing anything: what cannot be installed fails here.

What is installed already counts as chosen, as it does for somebody who adds an extra to a working installation.
"""

import subprocess
import sys
import time
import tomllib
from pathlib import Path

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--dry-run"]


def main() -> int:
    """Exit code 1 when an extra cannot be resolved."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    failed = False
    for extra, wanted in project["optional-dependencies"].items():
        begun = time.monotonic()
        ended = subprocess.run([*PIP, *project["dependencies"], *wanted], capture_output=True, text=True, check=False)
        told = "resolves" if ended.returncode == 0 else f"cannot be resolved:\n{ended.stderr.strip()}"
        print(f"extra {extra} {told} ({time.monotonic() - begun:.0f} s)", flush=True)
        failed |= ended.returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
