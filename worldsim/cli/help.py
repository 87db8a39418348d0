"""What ``--help`` shows: commands in sections, settings with type, default, meaning, unit and range."""

from collections.abc import Iterable, Mapping
from typing import Any

import click

from worldsim.cli.schema import Schema, Setting
from worldsim.cli.table import COMMANDS, SECTIONS

# Characters of the left column.
LEFT = 30


def write_commands(formatter: click.HelpFormatter, text: str, helps: Mapping[str, str]) -> None:
    """The help of ``worldsim``."""
    formatter.write_usage("worldsim", "COMMAND [KEY=VALUE | --KEY VALUE]...")
    formatter.write_paragraph()
    formatter.write_text(text)
    for title, names in SECTIONS.items():
        with formatter.section(title):
            formatter.write_dl([(name, helps[name]) for name in names], col_max=LEFT)
    with formatter.section("Flags of all commands"):
        formatter.write_dl(
            [
                ("-h, --help", "show a command's settings: worldsim COMMAND --help, or worldsim help COMMAND"),
                ("--traceback", "show where an error came from"),
                ("--version", "show the version"),
            ],
            col_max=LEFT,
        )


def write_family(formatter: click.HelpFormatter, path: str, text: str, helps: Mapping[str, str]) -> None:
    """The help of commands that share their first word."""
    formatter.write_usage(path, "COMMAND [KEY=VALUE | --KEY VALUE]...")
    formatter.write_paragraph()
    formatter.write_text(text)
    with formatter.section("Commands"):
        formatter.write_dl(list(helps.items()), col_max=LEFT)


def write_settings(formatter: click.HelpFormatter, path: str, text: str, schema: Schema) -> None:
    """The help of one command."""
    words = " ".join(one.about.word if one.required else f"[{one.about.word}]" for one in schema.words)
    formatter.write_usage(path, f"{words} [KEY=VALUE | --KEY VALUE]...".strip())
    formatter.write_paragraph()
    formatter.write_text(text)
    if not schema.keys:
        return
    with formatter.section("Settings (KEY=VALUE or --KEY VALUE)"):
        formatter.write_dl(list(_rows(one for key, one in schema.settings.items() if "." not in key)), col_max=LEFT)
    for name, one in schema.groups.items():
        rows = list(_rows(each for key, each in schema.settings.items() if key.rpartition(".")[0] == name))
        if one.options:
            choice = f"defaults of the settings below [one of {', '.join(one.options)}; default {one.option}]"
            rows.insert(0, (name, choice))
        if rows:
            with formatter.section(f"{name}.*"):
                formatter.write_text(f"{one.title}.")
                formatter.write_paragraph()
                formatter.write_dl(rows, col_max=LEFT)
    more = [(name, one.help) for name, one in COMMANDS.items() if f"worldsim {name}".startswith(f"{path} ")]
    if more:
        with formatter.section("Further commands"):
            formatter.write_dl(more, col_max=LEFT)


def _rows(settings: Iterable[Setting]) -> Iterable[tuple[str, str]]:
    for one in settings:
        yield one.key, f"{one.about.help} [{facts(one)}]".strip()


def facts(one: Setting) -> str:
    """Type, unit, range and default of a setting."""
    about = one.about
    kind = " | ".join(about.choices) or one.type_name
    parts = [f"{kind}, {about.unit}" if about.unit else kind]
    if one.range_name:
        parts[0] += f", {one.range_name}"
    if one.required:
        parts.append(f"required, say {about.example}" if about.example else "required")
    elif one.default is not None:
        parts.append(f"default {_shown(one.default)}")
    elif "default" not in about.help:
        parts.append("default null")
    return "; ".join(parts)


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_shown, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value) or "empty"
