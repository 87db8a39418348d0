"""The Markdown pages of the repository, and what a reader's browser makes of their headings and links."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(r"^( *)(`{3,})[^\n]*\n.*?^\1\2[ \t]*$", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`(?:[^`\n]|\n(?!\n))+`")
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+(?:\([^()]*\))?)(?: \"[^\"]*\")?\)")


def markdown() -> dict[str, str]:
    """Text of every page by its path in the repository; generated pages of the site are not files."""
    at_top = [path for path in ROOT.glob("*.md")]
    return {str(path.relative_to(ROOT)): path.read_text() for path in sorted([*at_top, *DOCS.rglob("*.md")])}


def prose(text: str) -> str:
    """A page without code blocks, code spans, the targets of links, and comments."""
    text = CODE.sub("", FENCE.sub("", text))
    return re.sub(r"<!--.*?-->", "", re.sub(r"\]\([^)]*\)", "]", text), flags=re.DOTALL)


def anchor(heading: str) -> str:
    """What a heading is reached by: python-markdown's ``slugify``."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
    text = re.sub(r"[^\w\s-]", "", text.encode("ascii", "ignore").decode()).strip().lower()
    return re.sub(r"[-\s]+", "-", text)


def anchors(text: str) -> set[str]:
    """Of a page; equal headings are counted."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} (.+?)(?: #+)?$", FENCE.sub("", text), re.MULTILINE):
        name, number = anchor(heading), 0
        while (name if not number else f"{name}_{number}") in found:
            number += 1
        found.add(name if not number else f"{name}_{number}")
    return found


def links(text: str) -> Iterator[str]:
    """Targets of the links and pictures of a page."""
    yield from LINK.findall(CODE.sub("", FENCE.sub("", text)))
    yield from re.findall(r"<(?:img|video|a)[^>]* (?:src|href)=\"([^\"]+)\"", FENCE.sub("", text))


def broken(pages: dict[str, str], generated: dict[str, str]) -> list[str]:
    """Links that lead nowhere: to a file that is not there, or to a heading that a page does not have.

    Args:
        pages: text by path in the repository.
        generated: pages of the site that are no files, by path within ``docs/``.
    """
    every = pages | {f"docs/{path}": text for path, text in generated.items()}
    wrong = []
    for page, text in pages.items():
        for link in links(text):
            if re.match(r"[a-z]+:", link):
                continue
            target, _, name = link.partition("#")
            path = (ROOT / page).parent / target if target else ROOT / page
            key = str(Path(*_normal(path.relative_to(ROOT).parts)))
            if key in every:
                if name and name not in anchors(every[key]):
                    wrong.append(f"{page}: {link}")
            elif not (ROOT / key).exists() or name:
                wrong.append(f"{page}: {link}")
    return wrong


def _normal(parts: tuple[str, ...]) -> list[str]:
    out: list[str] = []
    for part in parts:
        if part == "..":
            out.pop()
        elif part != ".":
            out.append(part)
    return out
