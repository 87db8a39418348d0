"""The whole road of each source: record, check, sample, train a tiny tokenizer and tiny dynamics for a few steps."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pygame
import pytest
from gymnasium import spaces

from tests.fake_gym import OldGym
from tests.import_film import film, random_actions
from tests.tiny_training import walk
from tests.tiny_world import HEIGHT, WIDTH, save_tiny_world
from worldsim import cli
from worldsim.agents.collection.collect import collect
from worldsim.agents.collection.human import RecordedGame
from worldsim.agents.collection.job import plan_worlds
from worldsim.agents.collection.source_engine import EngineStage
from worldsim.agents.collection.source_gym import GymSource, GymStage
from worldsim.agents.collection.source_minerl import MineRLSource
from worldsim.datasets.recording.recorder import Recorder
from worldsim.datasets.recording.recorder_gym import RecordEpisodes
from worldsim.datasets.recording.recorder_pygame import PygameRecorder
from worldsim.datasets.store.store import EpisodeStore
from worldsim.spec.actions import MINECRAFT

TURNING = "Tests/Turning-v0"
FRAMES = 40
SMALL = [f"episode_frames={FRAMES}", "episodes=4", "episodes_per_world=1", "workers=0"]


class Turning(gymnasium.Env[Any, Any]):
    """A view into a panorama, at two pixels a degree, which the camera turns."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012
    observation_space = spaces.Box(0, 255, (32, 64, 3), np.uint8)
    action_space = spaces.Dict({"camera": spaces.Box(-180, 180, (2,), np.float32), "forward": spaces.Discrete(2)})
    render_mode = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        coarse = self.np_random.integers(0, 256, (38, 180, 3), dtype=np.uint8)
        self.wide = coarse.repeat(4, 0).repeat(4, 1)
        self.yaw, self.pitch = 0.0, 0.0
        return self._view(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        pitch, yaw = np.asarray(action["camera"], np.float64)
        self.yaw, self.pitch = self.yaw + yaw, float(np.clip(self.pitch + pitch, -30, 30))
        return self._view(), 0.0, False, False, {}

    def _view(self) -> Any:
        top, left = round(60 + 2 * self.pitch), round(2 * self.yaw)
        return np.roll(self.wide, -left, 1)[top : top + 32, :64].copy()


@pytest.fixture(autouse=True)
def games() -> None:
    if TURNING not in gymnasium.registry:
        gymnasium.register(TURNING, f"{__name__}:Turning")


def camera_of(t: int) -> tuple[float, float]:
    """Pitch and yaw of a restless player, whole pixels."""
    rng = np.random.default_rng(t)
    return float(rng.integers(-2, 3)) * 0.5, float(rng.integers(-6, 7)) * 0.5


def play(path: Path, source: Any) -> None:
    options: dict[str, Any] = {"workers": 0, "progress": False, "policy": "random", "frozen_limit": 1.0}
    report = collect(out=path, episodes=4, episodes_per_world=1, episode_frames=FRAMES, make_env=source, **options)
    assert report.episodes == 4, report.failures


def record_gym(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli.main(["collect", "source=gym", f"env={TURNING}", "licence=CC0-1.0", "--out", str(path), *SMALL]) == 0
    assert {EpisodeStore(path).manifest(n)["provenance"]["split"] for n in EpisodeStore(path)} == {
        "train", "validation", "test",
    }  # fmt: skip


def record_gym_wrapper(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = RecordEpisodes(gymnasium.make(TURNING), path, split="train", licence="CC0-1.0")
    env.reset(seed=0)
    for t in range(FRAMES):
        env.step({"camera": np.array(camera_of(t), np.float32), "forward": t % 2})
    env.close()


def record_program(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    actions = random_actions(FRAMES)
    keys = MINECRAFT.keys
    with Recorder(path, keys, camera=True, fps=20, source="mine", licence="CC0-1.0", split="train") as recorder:
        for picture, action in zip(film(actions), actions, strict=True):
            recorder.add(picture, action)


def record_pygame(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pygame.display.quit()
    screen, held, at = pygame.display.set_mode((64, 32)), {pygame.K_a: False}, [0, 0]
    monkeypatch.setattr(pygame.key, "get_pressed", lambda: held)
    monkeypatch.setattr(pygame.mouse, "get_pos", lambda: tuple(at))
    game = Turning()
    view, _ = game.reset(seed=0)
    about: dict[str, Any] = {"fps": 20, "source": "mine", "licence": "CC0-1.0", "split": "train"}
    with PygameRecorder(path, {"left": "a"}, mouse=0.5, **about) as recorder:
        for t in range(FRAMES):
            held[pygame.K_a] = t % 3 == 0
            if t:
                pitch, yaw = camera_of(t)
                at[:] = at[0] + round(2 * yaw), at[1] + round(2 * pitch)
                view, *_ = game.step({"camera": (pitch, yaw)})
            pygame.surfarray.blit_array(screen, view.swapaxes(0, 1))
            recorder.frame()
    pygame.display.quit()


def record_dream(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = save_tiny_world(folder / "world")
    assert cli.main(["collect", "source=worldsim", f"world={world}", "--out", str(path), *SMALL]) == 0
    about = EpisodeStore(path).manifest(EpisodeStore(path).names()[0])["provenance"]
    assert about["engine"] == "worldsim" and about["source"] == "worldsim:world"


def record_minerl(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gym", OldGym())  # pyright: ignore[reportArgumentType]
    monkeypatch.setitem(sys.modules, "minerl", SimpleNamespace())  # pyright: ignore[reportArgumentType]
    play(folder / "large", MineRLSource())
    # Its pictures have a side that no model takes: scaling is a step of its own.
    assert cli.main(["data", "import", str(folder / "large"), "--out", str(path), "resize=64x32"]) == 0


def record_person(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [world] = plan_worlds(
        seed=0, episodes=1, episodes_per_world=1, episode_frames=FRAMES, policy="human", frozen_limit=1.0
    )
    about = {"source": "human", "consent": "agreed in writing", "licence": "CC0-1.0"}
    stage = GymStage(GymSource(env=TURNING))
    game = RecordedGame(stage, EpisodeStore(path), world, title="test", about=about)
    game.reset(0)
    for t in range(2 * FRAMES):
        game.advance(game.hands(MINECRAFT.vector({"forward": t % 2, "camera": camera_of(t)}))[None])
    game.close()


def record_engine(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The default engine's own part, played on the panorama."""

    class Engine(Turning):
        action_space = spaces.Box(-180, 180, (MINECRAFT.size,), np.float32)

        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
            view, _ = super().reset(seed=seed)
            return view, self._told()

        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            expected = np.round(np.asarray(action, np.float32) * 2) / 2
            view, _, _, _, _ = super().step({"camera": expected[-2:]})
            return view, 0.0, False, False, self._told() | {"action": expected}

        def _told(self) -> dict[str, Any]:
            pose = {"position": np.zeros(3), "velocity": np.zeros(3), "yaw": self.yaw, "pitch": self.pitch}
            return pose | {"events": (), "inventory": {}}

    play(path, lambda world, fps: EngineStage(Engine(), world, fps))


ROADS = {
    "gym": record_gym, "gym wrapper": record_gym_wrapper, "program": record_program, "pygame": record_pygame,
    "dream": record_dream, "minerl": record_minerl, "person": record_person, "engine": record_engine,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("source", ROADS)
def test_the_whole_road(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    ROADS[source](tmp_path / "store", tmp_path, monkeypatch)
    form = walk(tmp_path / "store", tmp_path)
    assert (form.width, form.height) == ((WIDTH, HEIGHT) if source == "dream" else (64, 32))
