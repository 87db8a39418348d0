"""Settings of ``worldsim make-world``, and what its stages take over of them."""

from dataclasses import dataclass

from worldsim.cli.making.game_kind import KINDS
from worldsim.cli.settings import licence_setting, seed_setting, setting, source_setting, threads_setting
from worldsim.cli.stores import filter_of
from worldsim.datasets.governance.provenance import EpisodeFilter


@dataclass(kw_only=True)
class MakeWorld:
    """Settings of ``worldsim make-world``."""

    recordings: str = setting(
        help="folder of recordings: an episode store, videos with tables of keys, or what else data import reads",
        example="worldsim make-world recordings",
        word="RECORDINGS",
    )
    hours: float = setting(
        1.0, help="time for all of it; a larger number goes on with a finished world", unit="hours", above=0
    )
    out: str | None = setting(None, help="folder of the finished world; default: worlds/NAME, named as the recordings")
    folder: str | None = setting(
        None, help="of this making; the same command goes on where it stopped; default: runs/make-NAME"
    )
    kind: str = setting("auto", help="of game; auto measures it on the pictures", choices=("auto", *KINDS))
    size: str | None = setting(
        None, help="WIDTHxHEIGHT in pixels to scale pictures to, multiples of 16; default: what suits the kind of game"
    )
    fps: float | None = setting(
        None, help="rate to lower to; default: at most 30, a whole part of the native rate", unit="frames a second",
        above=0,
    )  # fmt: skip
    keys: str | None = setting(None, help="names of the keys of tables, as in data import; default: as the tables say")
    memory: bool | None = setting(
        None, help="train a spatial memory; default: where recordings have depth and a camera"
    )
    check: bool = setting(True, help="run data check first, and stop when it fails")
    tokenizer: list[str] = setting(
        [], help="settings of train tokenizer that count more than what is chosen: tokenizer=[model.channels=64]"
    )
    dynamics: list[str] = setting(
        [], help="settings of train dynamics that count more than what is chosen: dynamics=[model=small,batch=8]"
    )
    evaluate: list[str] = setting([], help="settings of eval that count more: evaluate=[preset.clips=32]")
    plan: bool = setting(False, help="say what would be done and how long it would take, and stop")
    licence: str | None = licence_setting()
    source: str | None = source_setting()
    seed: int = seed_setting("of weights, noise and clips")
    threads: int | None = threads_setting()

    @property
    def only(self) -> EpisodeFilter:
        """The episodes that may be used."""
        return filter_of(self)

    def passed_on(self, *names: str) -> list[str]:
        """Settings of these names as a stage is given them; those that nobody set are left out."""
        return [f"{name}={value}" for name in names if (value := getattr(self, name)) is not None]


# Settings that decide what is made: a making that goes on has the same.
FIXED = (
    "recordings", "out", "kind", "size", "fps", "keys", "memory", "tokenizer", "dynamics", "licence", "source", "seed",
)  # fmt: skip
