"""The command line: flags and hydra overrides (key=value) go to commands; a mistake is one line and exit code 2."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import worldsim
from worldsim.errors import UserError

INTERRUPTED = 130
# Silences the greeting that pygame prints when it is imported.
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")


@dataclass(frozen=True)
class Command:
    """One command: where its function is, what ``--help`` says, its flags (name, argparse options)."""

    function: str
    config: str | None
    help: str
    flags: tuple[tuple[str, dict[str, Any]], ...] = field(default=())


WORLD = ("--world", {"help": "a shipped world's name, or a checkpoint folder"})
SEED = ("--seed", {"type": int, "help": "decides everything that is drawn"})
IN = ("--in", {"choices": ["dream", "engine"], "help": "the learned world, or the real game behind it"})
OUT = ("--out", {"help": "file or folder to write"})

COMMANDS: dict[str, Command] = {
    "play": Command(
        "worldsim.cli_play:play",
        "play",
        "play a learned world in a window; without a display, a scripted player writes a video",
        (
            WORLD,
            SEED,
            ("--headless", {"action": "store_true", "default": None, "help": "scripted player, writes an mp4"}),
            ("--engine", {"choices": ["world", "luanti"], "help": "the learned world, or the real game"}),
            ("--seconds", {"type": float, "help": "length of a headless video"}),
            ("--policy", {"help": "who plays without a window: explore, walk, random, planner, ..."}),
            OUT,
        ),
    ),
    "rollout": Command(
        "worldsim.cli_rollout:rollout",
        "rollout",
        "counterfactual futures: one past, one noise, a tree of branches by scripts, policies or a person; videos, the "
        "tree as a picture, divergence, rewards; and the same branches in the real engine",
        (
            WORLD,
            SEED,
            ("--prefix", {"help": "video.mp4, STORE:EPISODE[@FRAME], or the number of a start clip"}),
            ("--actions", {"action": "append", "help": "CSV, .script file or script text; repeat for every branch"}),
            ("--tree", {"help": "a .tree, .yaml or .json file: branches that part again"}),
            ("--policy", {"help": "branches by players: explore, walk, random, planner, ... (comma-separated)"}),
            ("--human", {"action": "store_true", "default": None, "help": "play branches yourself, in a window"}),
            ("--task", {"help": "what the rewards are for; default: distance explored"}),
            ("--against", {"choices": ["engine"], "help": "play the same branches in the episode's engine and score"}),
            OUT,
        ),
    ),
    "collect": Command(
        "worldsim.cli_data:run_collect",
        "collect",
        "record play into an episode store: of the real game, any Gymnasium environment, a learned world; by scripts, "
        "at random, or by a person",
        (
            SEED,
            OUT,
            ("--human", {"action": "store_true", "default": None, "help": "a person plays in a window"}),
            ("--script", {"help": "action script: a .script file or its text"}),
            ("--hours", {"type": float, "help": "game time in all"}),
            ("--workers", {"type": int, "help": "engines side by side"}),
        ),
    ),
    "train tokenizer": Command(
        "worldsim.cli_train:train_tokenizer", "train_tokenizer", "train the video tokenizer on a store", (SEED,)
    ),
    "train dynamics": Command(
        "worldsim.cli_train:train_dynamics", "train_dynamics", "train the diffusion Transformer on a store", (SEED,)
    ),
    "train export": Command(
        "worldsim.cli_train:export",
        "train_export",
        "make a playable world of a dynamics run, a tokenizer and start clips",
        (OUT,),
    ),
    "train trust": Command(
        "worldsim.cli_trust:train_trust",
        "train_trust",
        "calibrate how far a world can be believed, by its dreams beside recordings of maps it never saw",
        (WORLD, SEED),
    ),
    "train inverse": Command(
        "worldsim.cli_eval:train_inverse",
        "train_inverse",
        "train the model that reads actions off pictures, with which eval judges whether dreams show what was done",
        (SEED,),
    ),
    "train tasks": Command(
        "worldsim.cli_tasks:train_tasks",
        "train_tasks",
        "teach a world to tell what tasks are judged by (a tree in view, wood cut, feet in water), and say how well",
        (WORLD, SEED),
    ),
    "train captioner": Command(
        "worldsim.cli_caption:train_captioner",
        "train_captioner",
        "train a captioner that reads a world's latents, and say how well it reads maps it never saw",
        (SEED,),
    ),
    "expand": Command(
        "worldsim.cli_caption:expand",
        "expand",
        "turn a short prompt into the style of captions",
        (("prompt", {"nargs": "?", "metavar": "PROMPT", "help": "a few words"}), SEED),
    ),
    "eval": Command(
        "worldsim.cli_eval:evaluate",
        "eval",
        "measure a world on maps it never saw: quality by horizon, obedience, counterfactuals, memory, drift, failures",
        (WORLD, SEED),
    ),
    "compare": Command(
        "worldsim.cli_compare:compare",
        "compare",
        "lay reports of eval side by side: differences with intervals, curves, and measures by training compute",
    ),
    "truth": Command(
        "worldsim.cli_truth:truth",
        "truth",
        "compare the world of Pong with clones of its emulator: same past, several branches of actions, exact truth",
        (WORLD, SEED),
    ),
    "agent train": Command(
        "worldsim.cli_agent:train",
        "agent_train",
        "train an agent by reward (PPO) in the learned world or the real game, or clone recorded play (algo=bc)",
        (IN, SEED),
    ),
    "agent eval": Command(
        "worldsim.cli_agent:evaluate",
        "agent_eval",
        "returns of a policy over episodes, in the learned world, the real game, or both with the gap between them",
        (("--in", {"choices": ["dream", "engine", "both"], "help": "the learned world, the real game, or both"}), SEED),
    ),
    "agent watch": Command(
        "worldsim.cli_agent:watch",
        "agent_watch",
        "watch a policy play, in the learned world or the real game: a window, or a video",
        (
            IN,
            SEED,
            ("--headless", {"action": "store_true", "default": None, "help": "write an mp4 instead"}),
            OUT,
        ),
    ),
    "data summary": Command("worldsim.cli_data:summary", "data", "count a store's episodes, frames and maps by split"),
    "data list": Command("worldsim.cli_data:list_episodes", "data", "list a store's episodes, one a line"),
    "data verify": Command("worldsim.cli_data:verify", "data", "check every file of a store against its checksum"),
    "data import": Command(
        "worldsim.cli_import:run_import",
        "data_import",
        "import recordings: OpenAI VPT and BASALT, MineRL, Minari, LeRobot, videos with csv or jsonl, videos, images, "
        "other stores",
        (("path", {"metavar": "SOURCE", "help": "a file or folder of recordings"}), OUT),
    ),
    "data check": Command(
        "worldsim.cli_check:check",
        "data_check",
        "check a store: alignment, damage, frozen frames, maps in two splits, ...; exit code 1 when something fails",
    ),
    "data repair": Command(
        "worldsim.cli_check:repair",
        "data_repair",
        "salvage what is sound of a damaged store and say what was lost; nothing is destroyed",
        (OUT,),
    ),
    "data card": Command(
        "worldsim.cli_check:card", "data_card", "write the dataset card: totals, licences, actions, gaps", (OUT,)
    ),
    "data audit": Command(
        "worldsim.cli_audit:audit",
        "data_audit",
        "list what a checkpoint was trained on; exit code 1 when some of it was withdrawn",
        (("checkpoint", {"nargs": "?", "metavar": "CHECKPOINT", "help": "a world's folder or name, or a run"}),),
    ),
    "data withdraw": Command(
        "worldsim.cli_audit:withdraw_episode",
        "data_withdraw",
        "take an episode out of a store and name every checkpoint that was trained on it",
        (("episode", {"nargs": "?", "metavar": "EPISODE", "help": "its name"}),),
    ),
    "data caption": Command(
        "worldsim.cli_caption:caption",
        "data_caption",
        "caption clips: by rules from state and actions, by a learned captioner, by a vision-language model",
        (SEED,),
    ),
    "data index": Command(
        "worldsim.cli_store:write_index", "data", "write a store's index anew, which snapshots and large stores open by"
    ),
    "data pack": Command(
        "worldsim.cli_latents:pack",
        "data_pack",
        "pack the latents of a store small, to train on another machine; files of a size of your choice",
        (("latents", {"nargs": "?", "metavar": "LATENTS", "help": "the latent cache, say data/luanti-latents"}), OUT),
    ),
    "data unpack": Command(
        "worldsim.cli_latents:unpack",
        "data_unpack",
        "make a latent cache of packed latents: train dynamics latents=FOLDER takes it",
        (("packs", {"nargs": "?", "metavar": "PACKS", "help": "folder of packed latents"}), OUT),
    ),
    "data sheet": Command("worldsim.cli_data:contact_sheet", "data", "a picture with frames of many episodes", (OUT,)),
    "bench": Command(
        "worldsim.cli_bench:bench",
        "bench",
        "measure step latency, frames/s, memory, and the share of this machine's matrix-product ceiling",
        (WORLD, ("--minutes", {"type": float, "help": "also run that long and watch the memory"})),
    ),
    "bench env": Command(
        "worldsim.cli_bench_env:bench_env",
        "bench_env",
        "measure a world as an environment: steps/s alone, in a batch and in processes, snapshots, the null test",
        (WORLD,),
    ),
    "bench data": Command(
        "worldsim.cli_bench_data:bench_data",
        "bench_data",
        "measure how fast random clips come out of a store, beside mp4 files decoded with PyAV",
    ),
    "bench train": Command(
        "worldsim.cli_bench_train:bench_train",
        "bench_train",
        "measure a training step of the dynamics: FLOP/s beside this machine's matrix-product ceiling, and its parts",
    ),
    "doctor": Command("worldsim.cli_doctor:doctor", None, "tell what is installed, what is missing, and what to do"),
}
GROUPS = {
    "agent": "train, measure and watch agents",
    "train": "train a tokenizer or dynamics",
    "data": "import, check, repair and describe episodes",
}


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False,
        prog="worldsim",
        description="A learned world that you can play, train agents in, and roll out counterfactual futures from.",
        epilog="'worldsim COMMAND --help' lists a command's flags and settings.",
    )
    parser.add_argument("--version", action="version", version=f"worldsim {worldsim.__version__}")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    parsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    groups: dict[str, Any] = {}
    for name, command in COMMANDS.items():
        *group, last = name.split()
        if group and group[0] in COMMANDS:
            group, last = [], name
        where = parsers
        if group:
            if group[0] not in groups:
                above = parsers.add_parser(group[0], help=GROUPS[group[0]], description=GROUPS[group[0]])
                groups[group[0]] = above.add_subparsers(title="commands", metavar="COMMAND", required=True)
            where = groups[group[0]]
        one = where.add_parser(
            last, allow_abbrev=False, help=command.help, description=command.help, formatter_class=_HelpWithSettings
        )
        for flag, options in command.flags:
            one.add_argument(flag, **options)
        one.set_defaults(command=name)
    return parser


class _HelpWithSettings(argparse.RawDescriptionHelpFormatter):
    """Adds the commented configuration: it is read only when help is asked for."""

    def format_help(self) -> str:
        text = super().format_help()
        name = self._prog.removeprefix("worldsim ")
        command = COMMANDS.get(name)
        if command is None or command.config is None:
            return text
        from worldsim.cli_config import settings

        return f"{text}\nsettings (change with key=value, hydra's syntax):\n{settings(command.config)}\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code: 0, 2 for a user's mistake, 130 when interrupted."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    settings, words = _settings_apart(arguments)
    options, rest = make_parser().parse_known_args(_joined(words))
    traceback = options.traceback
    try:
        overrides = [*settings, *(_override(word) for word in rest)]
        command = COMMANDS[options.command]
        flags = {flag.lstrip("-"): getattr(options, flag.lstrip("-")) for flag, _ in command.flags}
        module, function = command.function.split(":")
        return getattr(importlib.import_module(module), function)(overrides, flags) or 0
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) went away; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, FloatingPointError) as error:
        if traceback:
            raise
        print(f"worldsim: {_first_line(error)}", file=sys.stderr)
        return 2


def _settings_apart(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Settings (key=value) and all other words: argparse would take a setting for a command's own word."""
    settings, words = [], []
    for before, word in zip(["", *arguments], arguments, strict=False):
        # What follows a flag may be its value.
        setting = "=" in word and not word.startswith("-") and not before.startswith("-")
        (settings if setting else words).append(word)
    return settings, words


def _joined(words: Sequence[str]) -> list[str]:
    """A command beside another (``bench data`` beside ``bench``) becomes one word, as argparse wants it."""
    for i, pair in enumerate(zip(words, words[1:], strict=False)):
        if pair[0] in COMMANDS and " ".join(pair) in COMMANDS:
            return [*words[:i], " ".join(pair), *words[i + 2 :]]
    return list(words)


def _override(word: str) -> str:
    if word.startswith("-") or "=" not in word:
        raise UserError(f"unknown argument {word!r}: flags and settings (key=value) are in --help")
    return word


def _first_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.strerror}: {error.filename}"
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


if __name__ == "__main__":
    sys.exit(main())
