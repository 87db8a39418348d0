"""Checks a built site: every link and anchor within it, and every public name in its reference.

Usage: ``python -m docs.tools.check SITE``. mkdocs checks the links between pages; this also checks those that plugins,
raw HTML and docstrings make.
"""

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from docs.tools import api


class Page(HTMLParser):
    """Ids of a page, and the targets of its links, pictures and videos."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep ids and targets."""
        for name, value in attrs:
            if value and (name == "id" or (tag == "a" and name == "name")):
                self.ids.add(value)
            elif value and name in ("href", "src") and tag in ("a", "img", "video", "source", "link", "script"):
                self.links.append(value)


def read_site(folder: Path) -> dict[Path, Page]:
    """Every page of a site by its path."""
    pages = {}
    for path in sorted(folder.rglob("*.html")):
        pages[path.resolve()] = page = Page()
        page.feed(path.read_text())
    return pages


def broken_links(folder: Path) -> Iterator[str]:
    """Links of a site that lead to no file or no id; those to other hosts are not followed."""
    pages = read_site(folder)
    for path, page in pages.items():
        for link in dict.fromkeys(page.links):
            parts = urlsplit(link)
            # The page for addresses that are not there has links from the root of a server.
            if parts.scheme or parts.netloc or path.name == "404.html":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                yield f"{path.relative_to(folder.resolve())}: {link}: no such file"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                yield f"{path.relative_to(folder.resolve())}: {link}: no such place"


def missing_names(folder: Path) -> Iterator[str]:
    """Public names that no page of the reference has."""
    ids = set().union(*(page.ids for page in read_site(folder / api.FOLDER).values()))
    for module, path in api.modules().items():
        yield from (name for name in api.public_names(module, path) if name not in ids)


def main(folder: Path) -> int:
    """Exit code 1 when something is wrong."""
    wrong = [*broken_links(folder), *(f"{name}: not in the reference" for name in missing_names(folder))]
    for line in wrong:
        print(line)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
