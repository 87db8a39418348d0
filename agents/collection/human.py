"""Record a person: any source played in the play window, written to a store episode by episode.

r video frames per step, H W pixels, A action vector.
"""

import os
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from worldsim.agents.collection.job import plan_worlds
from worldsim.agents.collection.source_engine import EngineStage, LuantiSource
from worldsim.agents.collection.source_gym import GymStage
from worldsim.agents.collection.tape import EpisodeBuffer
from worldsim.agents.collection.types import EnvFactory, MapJob, RecordingEnv, Transition
from worldsim.datasets.recording.recorder import STARTED_BY_PLAYER
from worldsim.datasets.store.store import EpisodeStore
from worldsim.envs.play.bindings import Preferences, default_path
from worldsim.envs.play.hands import HumanInputMapper
from worldsim.envs.play.opening import Opening
from worldsim.envs.play.pace import PICTURE, Start
from worldsim.envs.play.play import PlayWindow

Frames = NDArray[np.uint8]
# What a person sees of the default engine, and how many times smaller it is recorded: as scripted play is.
LUANTI_WINDOW, LUANTI_SHRINK = (576, 320), 4


@dataclass
class HumanReport:
    """What was recorded."""

    episodes: int = 0
    frames: int = 0

    def line(self) -> str:
        """One line for people."""
        return f"{self.frames} frames in {self.episodes} episodes"


class RecordedGame:
    """A stage as a game for the play window (see ``envs.play.games.Game``); what is played goes into the store.

    An episode ends when the game does, when the player begins anew, when it has ``world.episode_frames`` frames (play
    goes on in the next one), and on close. A crash loses the unfinished one only.

    Args:
        stage: what is played.
        store: where episodes go.
        world: the map, the longest episode.
        title: of the window.
        about: provenance that differs from the stage's own (consent, licence, text is not among it).
        shrink: how many times smaller pictures are recorded than they are shown.
    """

    rewinds = False
    pictures: Frames | None = None
    prompts: tuple[str, ...] = ()
    views: tuple[str, ...] = (PICTURE,)
    watch = PICTURE
    news = ""

    def __init__(
        self,
        stage: RecordingEnv,
        store: EpisodeStore,
        world: MapJob,
        *,
        title: str,
        about: Mapping[str, Any],
        shrink: int = 1,
    ):
        self.stage, self.store, self.world, self.title = stage, store, world, title
        exclusive = isinstance(stage, GymStage) and isinstance(stage.codec.space, spaces.Discrete)
        self.hands = HumanInputMapper(stage.spec, exclusive=exclusive)
        self.chunk, self.fps = stage.chunk, stage.fps
        self.report = HumanReport()
        self._about, self._shrink = dict(about), shrink
        self._session = f"human-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:4]}"
        self._tape: EpisodeBuffer | None = None
        self._over, self._seed, self._written = False, 0, 0
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="recorder")
        self._writing: Future[None] | None = None
        # The picture's size is known once the first one is there.
        first = stage.reset(np.random.default_rng(world.seed))
        self.height, self.width = first.frame.shape[:2]

    def reset(self, seed: int) -> Frames:
        """Begin anew; what was played before is written."""
        self._finish()
        self._seed, self._over = seed, False
        first = self.stage.reset(np.random.default_rng(seed))
        self._tape = EpisodeBuffer(self._small(first))
        return first.frame[None]

    def advance(self, actions: NDArray[np.float32]) -> Frames:
        """Play actions (r, A); a game that is over begins anew."""
        assert self._tape is not None, "reset comes first"
        if self._over:
            return self.reset(self._seed + 1)
        moments = self.stage.advance(actions)
        for moment in moments:
            small = self._small(moment)
            self._tape.add(small, "human")
            if len(self._tape.frames) >= self.world.episode_frames:
                self._finish()
                self._tape = EpisodeBuffer(replace(small, terminated=False))
        self._over = moments[-1].terminated or moments[-1].truncated
        return np.stack([moment.frame for moment in moments])

    def snapshot(self) -> None:
        """What is recorded is not played again."""

    def restore(self, snapshot: Any) -> None:
        """Never asked for."""

    def begin_at(self, start: Start) -> None:
        """Never asked for."""

    def insight(self) -> dict[str, Frames]:
        """Nothing: there is only the picture."""
        return {}

    def latent(self) -> None:
        """Nothing: no network made this."""

    def status(self) -> str:
        """How much is recorded."""
        playing = len(self._tape.frames) if self._tape is not None else 0
        return f"recording: {self.report.frames + playing} frames"

    def close(self) -> None:
        """Write the last episode and wait until it is on disk."""
        try:
            self._finish()
            if self._writing is not None:
                self._writing.result()
        finally:
            self._writer.shutdown()
            self.stage.close()

    def _small(self, moment: Transition) -> Transition:
        n, (height, width) = self._shrink, moment.frame.shape[:2]
        if n == 1:
            return replace(moment, frame=moment.frame.copy())
        blocks = moment.frame.reshape(height // n, n, width // n, n, 3).mean((1, 3))
        return replace(moment, frame=np.round(blocks).astype(np.uint8))

    def _finish(self) -> None:
        tape, self._tape = self._tape, None
        if tape is None or not tape.actions:
            return
        episode = tape.episode(self.world, self.stage)
        episode = replace(episode, provenance=dict(episode.provenance) | self._about | {"recording": self._session})
        if self._writing is not None:
            self._writing.result()
        name = f"{self._session}-e{self._written:03d}"
        self._written += 1
        self._writing = self._writer.submit(self.store.append, episode, name)
        self.report.episodes += 1
        self.report.frames += len(episode)


def record_person(
    source: EnvFactory,
    out: str | os.PathLike[str],
    *,
    seed: int = 0,
    episode_frames: int = 1000,
    consent: str | None = None,
    sensitivity: float | None = None,
) -> HumanReport:
    """Let a person play a source in a window, and record it.

    Args:
        source: what is played.
        out: folder of the episode store.
        seed: of the map and the first episode; each restart takes the next one.
        episode_frames: the longest episode.
        consent: what was agreed with the player.
        sensitivity: degrees per pixel of mouse movement; None: what the window's menu was set to.

    Raises:
        UserError: there is no display, or a keyboard cannot play it.
    """
    [world] = plan_worlds(
        seed=seed, episodes=1, episodes_per_world=1, episode_frames=episode_frames, policy="human", frozen_limit=1.0
    )
    preferences = Preferences.load(default_path())
    preferences.sensitivity = sensitivity or preferences.sensitivity
    store = EpisodeStore(out)
    store.discard_unfinished()
    about = {"source": "human", "played": source.name, "policy_version": "", "consent": consent or STARTED_BY_PLAYER}
    luanti = isinstance(source, LuantiSource)
    stage = EngineStage(_large_luanti(world), world, 20) if luanti else source(world, 20)
    try:
        game = RecordedGame(stage, store, world, title=source.name, about=about, shrink=LUANTI_SHRINK if luanti else 1)
    except BaseException:
        stage.close()
        raise
    try:
        opening = Opening(open_game=lambda tell: game, seed=seed)
        PlayWindow(opening, preferences=preferences, title=source.name).run()
    finally:
        game.close()
    return game.report


def _large_luanti(world: MapJob) -> gymnasium.Env[Any, Any]:
    from worldsim.envs.luanti.env import LuantiEnv

    width, height = LUANTI_WINDOW
    return LuantiEnv(width, height, map_seed=world.map_seed, mapgen=world.mapgen, observation=None, realtime=True)
