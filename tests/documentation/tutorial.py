"""Runs a tutorial from the text of its page: files are saved, commands and code are run, in the order of the page.

Fenced blocks that count: ``bash`` (each command of ``worldsim``, ``python FILE`` or ``torchrun``), ``python`` (run,
all blocks of a page in one namespace) and ``python title="NAME"`` (saved as a file). A comment before a block changes
that block alone:

- ``<!-- test: OLD => NEW -->``: a test puts NEW where OLD stands, which it must do at least once: fewer steps, say;
- ``<!-- test: skip, REASON -->``: a test leaves the block out.
"""

import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.documentation.pages import ROOT
from tests.timing import PATIENCE
from worldsim import cli

BLOCK = re.compile(
    r"((?:^<!-- test: [^\n]* -->\n)*)^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.DOTALL | re.MULTILINE
)
COMMENT = re.compile(r"^<!-- test: (.*?) -->$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block as a test runs it: its language, the name of the file that it is, if it is one, and its text."""

    language: str
    file: str
    text: str


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page that a test runs.

    Raises:
        ValueError: a comment changes nothing, says nothing, or stands before no block.
    """
    used = 0
    for comments, language, file, text in BLOCK.findall(page):
        changes = COMMENT.findall(comments)
        used += len(changes)
        if language not in ("bash", "python"):
            if changes:
                raise ValueError(f"a block of {language} is not run: {changes}")
            continue
        skipped = [change for change in changes if change.startswith("skip")]
        for change in changes:
            old, arrow, new = change.partition(" => ")
            if change in skipped:
                if not re.fullmatch(r"skip, .+", change):
                    raise ValueError(f"say why: {change!r}")
            elif not arrow or old not in text:
                raise ValueError(f"{change!r} changes nothing in the block {text!r}")
            else:
                text = text.replace(old, new)
        if not skipped:
            yield Block(language, file, text)
    if used != len(COMMENT.findall(page)):
        raise ValueError("a comment for tests stands before no block")


def commands(text: str) -> list[list[str]]:
    """The words of each command of a ``bash`` block."""
    lines = text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def run(page: str) -> dict[str, Any]:
    """Run a page in the current folder; the names that its code leaves.

    Raises:
        AssertionError: a command fails, or is none that can be run.
    """
    names: dict[str, Any] = {"__name__": "tutorial"}
    for block in list(blocks(page)):
        if block.file:
            Path(block.file).write_text(block.text)
        elif block.language == "python":
            exec(compile(block.text, "<tutorial>", "exec"), names)
        else:
            for words in commands(block.text):
                run_command(words)
    return names


def run_command(words: list[str]) -> None:
    """Run ``worldsim ...`` or ``python FILE ...`` in this process, ``torchrun ...`` in processes of its own."""
    if words[0] == "worldsim":
        assert cli.main(words[1:]) == 0, words
        return
    if words[0] == "torchrun":
        launched = [sys.executable, "-m", "torch.distributed.run", *words[1:]]
        there = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        ended = subprocess.run(launched, env=there, capture_output=True, text=True, timeout=PATIENCE)
        assert ended.returncode == 0, f"{words}: {ended.stderr[-3000:]}"
        return
    assert words[0] == "python" and words[1].endswith(".py"), f"a page has worldsim, python and torchrun alone: {words}"
    before = sys.argv
    sys.argv = words[1:]
    try:
        runpy.run_path(words[1], run_name="__main__")
    finally:
        sys.argv = before
