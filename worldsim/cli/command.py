"""A click command made of a dataclass of settings."""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import click
from click.shell_completion import CompletionItem

from worldsim.cli.compose import WORD, compose, is_setting
from worldsim.cli.help import write_settings
from worldsim.cli.schema import Schema, schema_of
from worldsim.cli.table import COMMANDS, Command
from worldsim.cli.values import suggestion
from worldsim.errors import UserError

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 120}


class SettingsCommand(click.Command):
    """A command whose settings are given as ``KEY=VALUE``, ``--KEY VALUE`` or, for some, as words of their own."""

    def __init__(self, name: str, command: Command) -> None:
        super().__init__(name, help=command.help, context_settings=CONTEXT, callback=self._run)
        self.function, self._loaded = command.function, False

    def load(self) -> tuple[Callable[[Any], int | None], type]:
        """The function that runs the command, and the dataclass of its settings."""
        module, name = self.function.split(":")
        function = getattr(importlib.import_module(module), name)
        hints = get_type_hints(function)
        return function, next(hint for key, hint in hints.items() if key != "return")

    @property
    def schema(self) -> Schema:
        """The settings."""
        return schema_of(self.load()[1])

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """One flag a setting: the command's module is imported when they are asked for."""
        if not self._loaded:
            self._loaded = True
            self.params = [
                click.Argument(["words"], nargs=-1, type=click.UNPROCESSED, shell_complete=self.complete),
                click.Option(["--traceback"], is_flag=True, expose_value=False, callback=_show_traceback),
                *_flags(self.schema),
            ]
        return super().get_params(ctx)

    def _run(self, words: tuple[str, ...], **flags: Any) -> int:
        function, owner = self.load()
        names = {_destination(key): key for key in self.schema.keys}
        given = {names[name]: _as_text(value) for name, value in flags.items() if value not in (None, ())}
        settings, free = self._apart(words, set(given))
        return function(compose(owner, settings, free | given)) or 0

    def _apart(self, words: Sequence[str], flags: set[str]) -> tuple[list[str], dict[str, str]]:
        """Settings, and words that stand for the settings that may be given so."""
        schema = self.schema
        # A folder may be called lr=3.
        keyed = {
            word: match[1]
            for word in words
            if (match := WORD.fullmatch(word))
            and (is_setting(schema, match[1]) or not schema.words or not Path(word).exists())
        }
        given = set(keyed.values()) | flags
        free: dict[str, str] = {}
        for word in words:
            if word in keyed:
                continue
            place = next((one.key for one in schema.words if one.key not in given | set(free)), None)
            if place is None:
                hint = suggestion(word, schema.keys) or ": flags and settings (KEY=VALUE) are in --help"
                raise UserError(f"unknown word {word!r}{hint}")
            free[place] = word
        return [word for word in words if word in keyed], free

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What it does, and all settings."""
        write_settings(formatter, ctx.command_path, str(self.help), self.schema)

    def complete(self, ctx: click.Context, _: click.Parameter | None, incomplete: str) -> list[CompletionItem]:
        """Settings that begin so, or their values."""
        key, equals, begun = incomplete.partition("=")
        schema, before = self.schema, f"{key}="
        if (split := _split_by_bash(schema, ctx.params.get("words") or (), incomplete)) is not None:
            (key, begun), equals, before = split, "=", ""
        if not equals:
            return [CompletionItem(f"{one}=", help=_meaning(schema, one)) for one in schema.keys if one.startswith(key)]
        if key in schema.groups:
            known: Sequence[str] = schema.groups[key].options
        elif key in schema.settings and schema.settings[key].kind is bool:
            known = ("true", "false")
        else:
            known = schema.settings[key].about.choices if key in schema.settings else ()
        if not known:
            return [CompletionItem(incomplete, type="file")]
        return [CompletionItem(f"{before}{one}") for one in known if one.startswith(begun)]


def run_words(name: str, words: Sequence[str]) -> int:
    """Run a command by its name with settings ``KEY=VALUE``; returns its exit code."""
    function, owner = SettingsCommand(name, COMMANDS[name]).load()
    return function(compose(owner, words)) or 0


def _split_by_bash(schema: Schema, words: Sequence[str], incomplete: str) -> tuple[str, str] | None:
    """The key and the beginning of the value where bash made three words of ``KEY=VALUE``."""
    # Click takes a "=" alone away.
    if incomplete == "" and words and words[-1] in schema.keys:
        return words[-1], ""
    return (words[-2], incomplete) if len(words) > 1 and words[-1] == "=" else None


def _show_traceback(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta["traceback"] = True


def _flags(schema: Schema) -> list[click.Option]:
    flags = []
    for key in schema.keys:
        one = schema.settings.get(key)
        names = dict.fromkeys((f"--{key}", f"--{key.replace('_', '-')}"))
        if one is not None and one.kind is bool:
            names = {f"{name}/--no-{name[2:]}": None for name in names}
        flags.append(
            click.Option(
                [*names, _destination(key)],
                default=None,
                type=None if one is not None and one.kind is bool else click.UNPROCESSED,
                multiple=one is not None and one.kind is list,
            )
        )
    return flags


def _destination(key: str) -> str:
    """Click's name of a flag: an identifier."""
    return f"setting__{key.replace('.', '__')}"


def _as_text(value: str | bool | tuple[str, ...]) -> str | list[str]:
    if isinstance(value, tuple):
        return list(value) if len(value) != 1 else value[0]
    return str(value).lower() if isinstance(value, bool) else value


def _meaning(schema: Schema, key: str) -> str:
    return (
        schema.settings[key].about.help if key in schema.settings else f"one of {', '.join(schema.groups[key].options)}"
    )
