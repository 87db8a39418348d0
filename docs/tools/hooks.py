"""Hooks of mkdocs: pages that are made from the code, and the files at the top of the repository as pages."""

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
# mkdocs loads this file by its path.
sys.path.insert(0, str(ROOT))

from docs.tools import api, commands  # noqa: E402

# The modules as mkdocstrings reads them (``paths`` in mkdocs.yml).
TREE = ROOT / "build" / "api"
# mkdocstrings drops paths that are not there before any hook runs.
TREE.mkdir(parents=True, exist_ok=True)
# Files at the top of the repository that are pages too.
COPIED = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}


def generated() -> dict[str, str]:
    """Text of every page that is not a file in ``docs/``, by its path there."""
    copied = {page: _inside((ROOT / name).read_text()) for name, page in COPIED.items()}
    return commands.pages() | api.pages() | copied


def on_config(config: Any) -> Any:
    """Prepare what the Python reference reads; put the pages of both references where their index stands."""
    api.write_tree(TREE)
    pages = generated()
    config.nav = [_expanded(entry, pages) for entry in config.nav]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages."""
    from mkdocs.structure.files import File

    for path, text in generated().items():
        files.append(File.generated(config, path, content=text))
    return files


def _inside(text: str) -> str:
    """The text of a file at the top, its links as seen from ``docs/``."""
    text = re.sub(r"\]\(docs/", "](", text)
    for name, page in COPIED.items():
        text = text.replace(f"]({name})", f"]({page})")
    return text


def _expanded(entry: Any, pages: dict[str, str]) -> Any:
    if isinstance(entry, dict):
        [(title, inside)] = entry.items()
        if isinstance(inside, list):
            return {title: [_expanded(each, pages) for each in inside]}
        if inside in (f"{commands.FOLDER}/index.md", f"{api.FOLDER}/index.md"):
            folder = inside.rpartition("/")[0]
            return {title: [inside, *(path for path in pages if path.startswith(f"{folder}/") and path != inside)]}
    return entry
