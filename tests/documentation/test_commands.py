"""Commands in the pages are ones that exist, with settings that exist and values that fit."""

import re
from collections.abc import Iterator

import click
import pytest

from tests.documentation.pages import markdown
from tests.documentation.tutorial import commands
from worldsim.cli.command import SettingsCommand
from worldsim.cli.schema import Schema
from worldsim.cli.table import COMMANDS
from worldsim.cli.values import read_value

# Records quote commands as they were given, with the names of their day; benchmarks repeat them.
CURRENT = {
    page: text
    for page, text in markdown().items()
    if not page.startswith(("docs/experiments/", "docs/benchmarks.md", "CHANGELOG"))
}


def in_blocks(text: str) -> Iterator[list[str]]:
    """The words of each ``worldsim`` command in a page's blocks of code."""
    for language, block in re.findall(r"^```(\w*)[^\n]*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        if language in ("", "bash"):
            for line in re.sub(r" *\\\n\s*", " ", block).splitlines():
                if line.startswith("worldsim ") and "..." not in line and not re.search(r"\[\w+=", line):
                    yield commands(line)[0]


def mistakes(words: list[str]) -> list[str]:
    """What is wrong with the words of a command: its name, a setting's, or a value."""
    name = next((" ".join(words[1 : 1 + n]) for n in (2, 1) if " ".join(words[1 : 1 + n]) in COMMANDS), None)
    if name is None:
        return [] if words[1] in ("help", "completion", "--version") else [f"no command: {' '.join(words[:3])}"]
    command = SettingsCommand(name, COMMANDS[name])
    rest = words[1 + len(name.split()) :]
    try:
        with command.make_context(name, list(rest)) as context:
            found, free = command._apart(context.params["words"], set())
    except (click.UsageError, ValueError) as error:
        return [f"{' '.join(words)}: {error}"]
    given = [word.lstrip("+").split("=", 1) for word in found]
    given += [[key, value] for key, value in free.items()]
    return [f"{' '.join(words)}: {wrong}" for key, value in given if (wrong := _wrong(command.schema, key, value))]


def _wrong(schema: Schema, key: str, value: str) -> str:
    if key in schema.groups:
        return "" if value in schema.groups[key].options else f"{key} has no choice {value}"
    if key not in schema.settings:
        return f"no setting {key}"
    # A word in capitals stands for what a reader puts there.
    if re.fullmatch(r"[A-Z]+", value):
        return ""
    try:
        read_value(schema.settings[key], value)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("worldsim play --headless --seconds 3 world=pong", ""),
        ("worldsim plaay", "no command"),
        ("worldsim play speed=3", "speed"),
        ("worldsim play --speed 3", "--speed"),
        ("worldsim train dynamics training.steps=many", "training.steps"),
        ("worldsim train dynamics model=huge", "no choice huge"),
        ("worldsim data check data/luanti", ""),
    ],
)
def test_mistakes_are_found(line: str, wrong: str):
    found = mistakes(line.split())
    assert (found == []) if not wrong else wrong in found[0]


def test_commands_in_the_pages_are_right():
    found = [words for text in CURRENT.values() for words in in_blocks(text)]
    assert len(found) > 60
    assert [wrong for words in found for wrong in mistakes(words)] == []
