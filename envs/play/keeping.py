"""What the window keeps on request: videos, GIFs, screenshots, the playthrough, the episode in a store."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from worldsim.envs.play.recordings import Films, free_path
from worldsim.envs.play.session import Session
from worldsim.envs.play.tree.origin import Origin
from worldsim.envs.play.tree.playthrough import SUFFIX, Playthrough
from worldsim.plotting.pictures import write_picture

if TYPE_CHECKING:
    from worldsim.envs.play.games import Game


@dataclass(frozen=True, kw_only=True)
class Outlets:
    """Where things go that are kept.

    Attributes:
        folder: makes and gives the folder, when something is kept first.
        origin: says what a game is, for playthroughs; None: there are none.
        episode: writes what was played from the beginning to where the player stands into a store, and says where;
            None: there is no store.
        scale: a video's pixels per pixel of the game.
    """

    folder: Callable[[], Path]
    origin: Callable[["Game"], Origin] | None = None
    episode: Callable[["Game", Playthrough], str] | None = None
    scale: int = 4


class Keeper:
    """Keeps what is asked for, and says in a line what became of it.

    Args:
        session: what is played.
        outlets: where things go.
        say: shows a line to the player.
        films: its recordings; they outlive it where another game is opened.
    """

    def __init__(self, session: Session, outlets: Outlets, say: Callable[[str], None], films: Films | None = None):
        self.session, self.outlets, self.say = session, outlets, say
        self.films = films or Films(say, [])
        self.kept = self.films.kept
        self._known = (session.seed, 1)
        session.leaving = self.keep_unsaved

    def know(self) -> None:
        """What was played so far is kept already."""
        if self.session.timeline is not None:
            self._known = (self.session.seed, len(self.session.timeline.moments))

    def toggle(self, suffix: str) -> None:
        """Begin a recording, or end the one that runs."""
        game = self.session.game
        if self.films.recording is not None:
            self.films.end()
        elif game is not None:
            self.films.begin(self.outlets.folder(), suffix, game.fps, self.outlets.scale if suffix == ".mp4" else 2)

    def screenshot(self, picture: NDArray[np.uint8]) -> None:
        """Keep a picture."""
        self._try(lambda: write_picture(free_path(self.outlets.folder(), "screenshot", ".png"), picture))

    def save(self) -> None:
        """Keep the playthrough, when the step that is being made is done."""
        if self.outlets.origin is None:
            self.say("this game's play cannot be saved")
        elif self.session.game is not None:
            here, seed = self.session.shown, self.session.seed
            self.session.ask(lambda: self._write(here, seed), self._written)

    def keep_unsaved(self) -> None:
        """Keep the playthrough before it is forgotten, if something was played since it was kept."""
        if self._unsaved():
            here, seed = self._here(), self.session.seed
            self.session.ask(lambda: self._write(here, seed), self._written)

    def keep_episode(self) -> None:
        """Write the episode into a store, which takes as long as dreaming it did."""
        episode = self.outlets.episode
        if episode is None or self.outlets.origin is None:
            self.say("there is no store to keep it in: give --keep STORE")
        elif self.session.shown == 0:
            self.say("nothing was played yet")
        elif (game := self.session.game) is not None:
            here = self.session.shown
            self.say("writing the episode ...")
            seed = self.session.seed
            self.session.ask(lambda: _outcome(lambda: episode(game, self._playthrough(here, seed))), self.say)

    def close(self) -> None:
        """End the recording, whose file is written meanwhile; keep the playthrough, if something was played since."""
        self.films.end()
        if self._unsaved():
            self._written(self._write(self._here(), self.session.seed))

    def _unsaved(self) -> bool:
        timeline = self.session.timeline
        if timeline is None or self.outlets.origin is None or len(timeline.moments) < 2:
            return False
        return self._known != (self.session.seed, len(timeline.moments))

    def _here(self) -> int:
        timeline = self.session.timeline
        assert timeline is not None
        return min(self.session.shown, len(timeline.moments) - 1)

    def _try(self, keep: Callable[[], Path]) -> None:
        try:
            self._written(keep())
        except (OSError, ValueError) as error:
            self.say(f"not kept: {error}")

    def _written(self, outcome: Path | str) -> None:
        if isinstance(outcome, Path):
            self.kept.append(outcome)
            self.say(f"kept {outcome}")
        else:
            self.say(outcome)

    def _write(self, here: int, seed: int) -> Path | str:
        def write() -> Path:
            path = free_path(self.outlets.folder(), "play", SUFFIX)
            self._playthrough(here, seed).save(path)
            self._known = (seed, len(self.session.timeline.moments) if self.session.timeline else 0)
            return path

        return _outcome(write)

    def _playthrough(self, here: int, seed: int) -> Playthrough:
        game, timeline = self.session.game, self.session.timeline
        assert game is not None and timeline is not None and self.outlets.origin is not None
        origin = self.outlets.origin(game)
        return Playthrough.of(timeline, origin, seed, here)


def _outcome(work: Callable[[], Any]) -> Any:
    """What work returns, or a line that says why it failed: play goes on."""
    try:
        return work()
    except (OSError, ValueError) as error:
        return f"not kept: {error}"
