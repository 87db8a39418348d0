"""The application: finds the command, reads its settings, runs it; a mistake is one line and exit code 2."""

import contextlib
import os
import signal
import sys
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

import click
from click.shell_completion import CompletionItem

import worldsim
from worldsim.cli.command import SettingsCommand
from worldsim.cli.help import write_commands, write_family
from worldsim.cli.table import COMMANDS, FAMILIES, RENAMED
from worldsim.cli.values import suggestion
from worldsim.extras import MissingPackage, missing_line

PROGRAM = "worldsim"
COMPLETION = "_WORLDSIM_COMPLETE"
INTERRUPTED = 130
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 120}


class Family(click.Group):
    """Commands that share their first word; ``bench`` is also a command of its own."""

    def __init__(self, name: str) -> None:
        alone = SettingsCommand(name, COMMANDS[name]) if name in COMMANDS else None
        super().__init__(name, help=FAMILIES[name], context_settings=CONTEXT, no_args_is_help=alone is None)
        self.alone = alone

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The second words."""
        return [full.split()[1] for full in COMMANDS if full.startswith(f"{self.name} ")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that second word."""
        full = f"{self.name} {cmd_name}"
        return SettingsCommand(cmd_name, COMMANDS[full]) if full in COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command by its second word; click's own has no suggestions of other families' commands."""
        found = self.get_command(ctx, args[0])
        if found is None and not ctx.resilient_parsing:
            raise click.UsageError(_unknown(f"{self.name} {args[0]}"))
        return args[0], found, args[1:]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Second words, and where there is such a command, the settings of the first word alone."""
        settings = [] if self.alone is None else self.alone.complete(ctx, None, incomplete)
        return [*super().shell_complete(ctx, incomplete), *settings]

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What the commands do."""
        write_family(formatter, ctx.command_path, str(self.help), {
            name: COMMANDS[f"{self.name} {name}"].help for name in self.list_commands(ctx)
        })  # fmt: skip


class Root(click.Group):
    """All commands by their first words, ``help`` and ``completion``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The first words."""
        return [*dict.fromkeys(name.split()[0] for name in COMMANDS), *self.commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command or family of that first word."""
        if cmd_name in RENAMED:
            new = RENAMED[cmd_name]
            print(f"{PROGRAM}: warning: {cmd_name} is called {new} now; the old name goes with the next release",
                  file=sys.stderr)  # fmt: skip
            cmd_name = new
        if cmd_name in FAMILIES:
            return Family(cmd_name)
        if cmd_name in COMMANDS:
            return SettingsCommand(cmd_name, COMMANDS[cmd_name])
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; ``bench`` alone or with settings is a command, with the name of another one a family."""
        found = self.get_command(ctx, args[0])
        if found is None and not ctx.resilient_parsing:
            raise click.UsageError(_unknown(args[0]))
        if isinstance(found, Family) and found.alone is not None and not _names_command(found, ctx, args[1:]):
            found = found.alone
        return args[0], found, args[1:]

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What the commands do, in sections."""
        helps = {name: FAMILIES.get(name) or COMMANDS[name].help for name in (n.split()[0] for n in COMMANDS)}
        write_commands(formatter, str(self.help), helps | {k: str(v.help) for k, v in self.commands.items()})


def _names_command(family: Family, ctx: click.Context, args: list[str]) -> bool:
    """Whether words after a family's name are meant as one of its commands, rather than as settings."""
    if ctx.resilient_parsing:
        # In a shell that completes, the second word may be yet to come.
        return not args or args[0] in family.list_commands(ctx)
    if not args or args[0].startswith("-") or "=" in args[0]:
        return False
    # A command that takes words of its own: what names none of the family's commands is such a word.
    takes_words = family.alone is not None and bool(family.alone.schema.words)
    return args[0] in family.list_commands(ctx) or not takes_words


def _unknown(word: str) -> str:
    # Families themselves, and for somebody who says "dynamics" the whole name.
    known = [*COMMANDS, *FAMILIES, "help", "completion"]
    return f"unknown command {word!r}{suggestion(word, known) or f'; {PROGRAM} --help lists all'}"


def _show_traceback(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.meta["traceback"] = value


def make_application() -> Root:
    """The root of all commands."""
    root = Root(
        PROGRAM,
        help="A learned world that you can play, train agents in, and roll out counterfactual futures from.",
        context_settings=CONTEXT,
        no_args_is_help=True,
        params=[click.Option(["--traceback"], is_flag=True, expose_value=False, callback=_show_traceback,
                             help="show where an error came from")],
    )  # fmt: skip
    click.version_option(worldsim.__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")(root)

    @root.command("help", help="show help: worldsim help [COMMAND]", context_settings=CONTEXT)
    @click.argument("words", nargs=-1)
    @click.pass_context
    def help_(ctx: click.Context, words: tuple[str, ...]) -> None:
        above = ctx.find_root()
        command: click.Command = root
        left = list(words)
        while left and isinstance(command, click.Group):
            name, found, left = command.resolve_command(above, left)
            above, command = click.Context(found or root, info_name=name, parent=above, **CONTEXT), found or root
        if left:
            raise click.UsageError(_unknown(" ".join(words)))
        click.echo(command.get_help(above))

    @root.command("completion", help="print the script that completes commands and settings in a shell")
    @click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
    def completion(shell: str) -> None:
        from click.shell_completion import get_completion_class

        found = get_completion_class(shell)
        assert found is not None
        script = found(root, {}, PROGRAM, COMPLETION).source()
        # In bash, no blank after KEY=: the value follows.
        click.echo(
            script.replace(
                "COMPREPLY+=($value)", "COMPREPLY+=($value)\n            [[ $value == *= ]] && compopt -o nospace"
            )
        )

    return root


def run(arguments: Sequence[str]) -> int:
    """Run a command; returns its exit code: 0, 2 for a user's mistake, 130 when interrupted."""
    root = make_application()
    if asked := os.environ.get(COMPLETION):
        from click.shell_completion import shell_complete

        return shell_complete(root, {}, PROGRAM, COMPLETION, asked)
    meta: dict[str, Any] = {}
    try:
        with _terminated_is_interrupted(), root.make_context(PROGRAM, list(arguments)) as ctx:
            meta = ctx.meta
            return root.invoke(ctx) or 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        return 2
    except click.UsageError as error:
        print(f"{PROGRAM}: {_usage_line(error)}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, click.Abort):
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) went away; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, FloatingPointError, ModuleNotFoundError) as error:
        if isinstance(error, ModuleNotFoundError) and not isinstance(error, MissingPackage):
            if (line := missing_line(error)) is None:
                raise
            error = MissingPackage(line)
        if meta.get("traceback"):
            raise
        print(f"{PROGRAM}: {_first_line(error)}", file=sys.stderr)
        return 2


@contextlib.contextmanager
def _terminated_is_interrupted() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does: files are closed, and half-written ones removed."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # Only a main thread is told of signals.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # A game that draws with SDL would take the signal for a click on its window's cross.
    os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _usage_line(error: click.UsageError) -> str:
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        command = error.ctx.command
        known = [name for one in command.get_params(error.ctx) for name in one.opts if name.startswith("--")]
        return _shown(f"unknown flag {error.option_name}{suggestion(error.option_name, known)}")
    return _first_line(click.ClickException(error.format_message()))


def _first_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return _shown(f"{error.strerror}: {error.filename}")
    return _shown(next(iter(str(error).strip().split("\n")), "").strip() or type(error).__name__)


def _shown(line: str) -> str:
    """A line in which whatever a terminal would take for more than a letter, a line's end say, is written out."""
    kept = (c if c.isprintable() or unicodedata.category(c) == "Zs" else ascii(c)[1:-1] for c in line)
    return "".join(kept)
