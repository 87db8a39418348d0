"""The reference of commands: pages made from the dataclasses of settings, which also make ``--help``."""

from collections.abc import Iterator

from worldsim.cli.command import SettingsCommand
from worldsim.cli.help import facts
from worldsim.cli.schema import Schema, Setting
from worldsim.cli.table import COMMANDS, FAMILIES, RENAMED, SECTIONS

FOLDER = "reference/commands"
INTRODUCTION = """# Commands

Every command lists its settings with `worldsim COMMAND --help`, and the pages here are made from the same
declarations. A setting is given as `key=value` or `--key value`; of two, the later one counts. Names with dots
(`training.steps=100`) belong to a group of settings. `null` is no value, a list is `[a,b]`.

`worldsim help COMMAND` is the same as `--help`, `worldsim completion bash` prints a script that completes commands and
settings, `--traceback` shows where an error came from, `--version` the version. A mistake ends a command with exit code
2 and one line that says what to do.
"""


def pages() -> dict[str, str]:
    """Every page of the reference by its path within ``docs/``."""
    return {f"{FOLDER}/index.md": _index()} | {path_of(name): page(name) for name in COMMANDS}


def path_of(name: str) -> str:
    """The page of a command."""
    return f"{FOLDER}/{name.replace(' ', '-')}.md"


def page(name: str) -> str:
    """What a command does, and its settings by group."""
    command = SettingsCommand(name, COMMANDS[name])
    schema = command.schema
    lines = [f"# worldsim {name}", "", _sentence(COMMANDS[name].help), "", "```", _usage(name, schema), "```", ""]
    plain = [one for key, one in schema.settings.items() if "." not in key]
    lines += ["## Settings", "", *(_table(plain) if plain else ["None."]), ""]
    for group, one in schema.groups.items():
        settings = [each for key, each in schema.settings.items() if key.rpartition(".")[0] == group]
        if not settings and not one.options:
            continue
        lines += [f"## {group}.*", "", _sentence(one.title), ""]
        if one.options:
            choices = ", ".join(f"`{group}={option}`" for option in one.options)
            lines += [f"The defaults are those of `{group}={one.option}`. Choices: {choices}.", ""]
        if settings:
            lines += [*_table(settings), ""]
    return "\n".join(lines)


def _index() -> str:
    lines = [INTRODUCTION]
    for title, names in SECTIONS.items():
        rows = [one for name in names for one in COMMANDS if one == name or one.startswith(f"{name} ")]
        if not rows:
            continue
        lines += [f"## {title}", "", "| command | what it does |", "| --- | --- |"]
        lines += [f"| [{name}]({name.replace(' ', '-')}.md) | {_cell(COMMANDS[name].help)} |" for name in rows]
        lines += [""]
    families = ", ".join(f"`{name}` ({help})" for name, help in FAMILIES.items())
    lines += [f"Commands with two words belong to a family: {families}.", ""]
    if RENAMED:
        former = ", ".join(f"`{old}` is now `{new}`" for old, new in RENAMED.items())
        lines += [f"Former names, accepted with a warning: {former}.", ""]
    return "\n".join(lines)


def _usage(name: str, schema: Schema) -> str:
    words = " ".join(one.about.word if one.required else f"[{one.about.word}]" for one in schema.words)
    return " ".join(f"worldsim {name} {words} [KEY=VALUE | --KEY VALUE]...".split())


def _table(settings: list[Setting]) -> list[str]:
    return ["| setting | type, range, default | meaning |", "| --- | --- | --- |", *_rows(settings)]


def _rows(settings: list[Setting]) -> Iterator[str]:
    for one in settings:
        meaning = one.about.help + (". Can be given without its key" if one.about.word else "")
        yield f"| `{one.key}` | {_cell(facts(one))} | {_cell(_sentence(meaning)) if meaning else ''} |"


def _sentence(text: str) -> str:
    text = text.strip()
    return f"{text[:1].upper()}{text[1:]}".rstrip(".") + "." if text else ""


def _cell(text: str) -> str:
    """Text of a table's cell: bars, stars and brackets are characters, not Markdown."""
    for character in "|*_[]<>":
        text = text.replace(character, f"&#{ord(character)};")
    return " ".join(text.split())
