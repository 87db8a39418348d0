"""Print the lowest versions that pyproject.toml claims to work with, as constraints for pip.

Usage: minimums.py [EXTRA ...]; without an extra, of what every installation needs.
"""

import re
import sys
import tomllib
from pathlib import Path


def minimum(requirement: str) -> str:
    """``numpy==2.0`` of ``numpy>=2.0``.

    Raises:
        ValueError: the requirement has no lowest version.
    """
    found = re.match(r"\s*([A-Za-z0-9._-]+)\s*(?:>=|==|~=)\s*([0-9][0-9A-Za-z.]*)", requirement)
    if found is None:
        raise ValueError(f"{requirement!r} has no lowest version: write NAME>=VERSION")
    return f"{found[1]}=={found[2]}"


def main(extras: list[str]) -> None:
    """Print the constraints."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(one for extra in extras for one in project["optional-dependencies"][extra])]
    print("\n".join(dict.fromkeys(map(minimum, wanted))))


if __name__ == "__main__":
    main(sys.argv[1:])
