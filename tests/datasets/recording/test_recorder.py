"""Recording any program: what was added is what is stored, row by row; a crash loses the unfinished episode only."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pygame
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from tests.timing import wait_until
from worldsim.datasets.recording import recorder as module
from worldsim.datasets.recording.recorder import Recorder, action_vector, split_of_recording
from worldsim.datasets.recording.recorder_gym import RecordEpisodes
from worldsim.datasets.recording.recorder_pygame import PygameRecorder
from worldsim.datasets.store.store import EpisodeStore, split_of
from worldsim.spec.actions import ActionSpec

KEYS = ("left", "right", "fire")
ABOUT: dict[str, Any] = {"fps": 30, "source": "test"}


def frame(number: int, size: tuple[int, int] = (8, 12)) -> np.ndarray:
    return np.full((*size, 3), number, np.uint8)


def test_what_is_added_is_what_is_stored(tmp_path: Path):
    with Recorder(tmp_path, KEYS, camera=True, text="a test", provenance={"engine": "toy"}, **ABOUT) as recorder:
        for t in range(5):
            action = {"left": t % 2, "camera": (t, -t)}
            recorder.add(frame(t), action, reward=t, state={"x": 1.5 * t}, events=[{"kind": "hit"}] if t == 3 else ())
    store = EpisodeStore(tmp_path)
    [name] = store.names()
    assert recorder.names == [name]
    episode = store.read(name)
    np.testing.assert_array_equal(episode.frames[:, 0, 0, 0], range(5))
    np.testing.assert_array_equal(episode.actions[:, 0], [0, 1, 0, 1, 0])
    np.testing.assert_array_equal(episode.actions[:, -1], [0, -1, -2, -3, 0])
    np.testing.assert_array_equal(episode.rewards, [0, 1, 2, 3, 0])
    np.testing.assert_array_equal(episode.state["x"], np.arange(5) * 1.5)
    assert episode.events == [{"kind": "hit", "frame": 3}] and episode.text == "a test"
    about = episode.provenance
    assert about["keys"] == list(KEYS) and about["engine"] == "toy" and about["fps"] == 30
    assert about["source"] == "test" and about["policy"] == "human" and about["licence"] == "NOASSERTION"
    assert about["consent"] and about["created"] and about["software"].startswith("worldsim ")


def test_long_play_is_cut_into_episodes_of_one_split_and_loses_no_frame(tmp_path: Path):
    with Recorder(tmp_path, KEYS, episode_frames=10, name="long", **ABOUT) as recorder:
        for t in range(35):
            recorder.add(frame(t), ["fire"])
    store = EpisodeStore(tmp_path)
    assert store.names() == ["long-r000-p00", "long-r000-p01", "long-r000-p02", "long-r000-p03"]
    seen = np.concatenate([store.read(name).frames[:, 0, 0, 0] for name in store])
    np.testing.assert_array_equal(seen, range(35))
    assert {store.manifest(name)["provenance"]["split"] for name in store} == {split_of_recording("long-r000")}


def test_large_pictures_and_resized_windows_begin_another_episode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MEMORY", 4 * frame(0).nbytes)
    with Recorder(tmp_path, KEYS, **ABOUT) as recorder:
        for t in range(6):
            recorder.add(frame(t))
        recorder.add(frame(6, (10, 10)))
    store = EpisodeStore(tmp_path)
    assert [store.read(name).frames.shape[:3] for name in store] == [(4, 8, 12), (2, 8, 12), (1, 10, 10)]


def test_the_end_of_a_game_writes_an_episode_and_begins_another_recording(tmp_path: Path):
    with Recorder(tmp_path, KEYS, name="games", **ABOUT) as recorder:
        for t in range(6):
            recorder.add(frame(t), 2, terminated=t == 2)
    store = EpisodeStore(tmp_path)
    assert store.names() == ["games-r000-p00", "games-r001-p00"]
    assert store.read("games-r000-p00").terminated.tolist() == [False, False, True]
    assert not store.read("games-r001-p00").terminated.any()


def test_recordings_of_a_map_are_in_its_split(tmp_path: Path):
    with Recorder(tmp_path, KEYS, seed=13, **ABOUT) as recorder:
        recorder.add(frame(0))
        recorder.begin(seed=14)
        recorder.add(frame(1))
    about = [EpisodeStore(tmp_path).manifest(name)["provenance"] for name in EpisodeStore(tmp_path)]
    assert [(a["seed"], a["split"]) for a in about] == [(13, split_of(13)), (14, split_of(14))]
    with pytest.raises(ValueError, match="belongs to split"):
        Recorder(tmp_path, KEYS, seed=13, split="train", **ABOUT)


@pytest.mark.slow
@given(st.text(min_size=1))
def test_a_recordings_split_follows_from_its_name(name: str):
    assert split_of_recording(name) == split_of_recording(name)
    assert split_of_recording(name) in ("train", "validation", "test")


def test_splits_have_their_shares():
    splits = [split_of_recording(f"recording {i}") for i in range(3000)]
    assert 180 < splits.count("validation") < 320 and 180 < splits.count("test") < 320


@pytest.mark.parametrize("action", [{"right": 1}, "right", ["right"], {"right"}, 1, [0, 1, 0], np.eye(3)[1]])
def test_forms_of_an_action(action: Any):
    np.testing.assert_array_equal(action_vector(ActionSpec(keys=KEYS, camera=False), action), [0, 1, 0])


@pytest.mark.parametrize("action", [{"fly": 1}, "fly", 3, -1, [0, 1], [0, np.nan, 0], {"camera": (0, 0)}])
def test_wrong_actions_are_refused_and_what_was_added_stays(tmp_path: Path, action: Any):
    with Recorder(tmp_path, KEYS, **ABOUT) as recorder:
        recorder.add(frame(1))
        with pytest.raises(ValueError):
            recorder.add(frame(2), action)
        with pytest.raises(ValueError, match="uint8"):
            recorder.add(frame(2).astype(np.float32))  # pyright: ignore[reportArgumentType]
        with pytest.raises(ValueError, match="differs from the first"):
            recorder.add(frame(2), state={"x": 1})
    assert len(EpisodeStore(tmp_path).read(recorder.names[0])) == 1
    with pytest.raises(ValueError, match="closed"):
        recorder.add(frame(3))


@pytest.mark.parametrize(("error", "kept"), [(SystemExit, 2), (KeyboardInterrupt, 2), (ZeroDivisionError, 1)])
def test_left_by_an_error_the_unfinished_episode_is_dropped(tmp_path: Path, error: type[BaseException], kept: int):
    with pytest.raises(error), Recorder(tmp_path, KEYS, **ABOUT) as recorder:
        recorder.add(frame(1), terminated=True)
        recorder.add(frame(2))
        raise error
    assert len(EpisodeStore(tmp_path)) == kept
    assert not any((tmp_path / "unfinished").iterdir())


def test_a_full_disk_is_told_and_what_came_after_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    recorder = Recorder(tmp_path, KEYS, **ABOUT)
    append = recorder.store.append

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recorder.store, "append", full)
    recorder.add(frame(1))
    recorder.begin()
    recorder.add(frame(2))
    with pytest.raises(OSError, match="No space left"):
        recorder.begin()
    monkeypatch.setattr(recorder.store, "append", append)
    recorder.close()
    assert [EpisodeStore(tmp_path).read(name).frames.max() for name in recorder.names] == [2]


def test_a_killed_program_loses_the_unfinished_episode_only(tmp_path: Path):
    code = (
        f"import sys, time; sys.path.insert(0, {str(Path(__file__).parents[3])!r})\n"
        "import numpy as np\nfrom worldsim.datasets.recording.recorder import Recorder\n"
        f"with Recorder({str(tmp_path)!r}, ('a',), fps=30, source='killed', episode_frames=20) as recorder:\n"
        "    t = 0\n    while True:\n"
        "        recorder.add(np.full((8, 8, 3), t % 256, np.uint8), [t % 2]); t += 1; time.sleep(0.001)\n"
    )
    running = subprocess.Popen([sys.executable, "-c", code])
    store = EpisodeStore(tmp_path)
    wait_until(lambda: len(store) >= 4 or running.poll() is not None, "four episodes")
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    survivor = EpisodeStore(tmp_path)
    survivor.discard_unfinished()
    assert len(survivor) >= 4 and not any((tmp_path / "unfinished").iterdir())
    seen = np.concatenate([survivor.read(name).frames[:, 0, 0, 0] for name in survivor])
    np.testing.assert_array_equal(seen, np.arange(len(seen)) % 256)


class Counter(gymnasium.Env[Any, Any]):
    """Shows how many steps there were; action 1 earns 1; ends after seven steps."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012

    def __init__(self, *, observed: bool = True):
        self.render_mode = None if observed else "rgb_array"
        size = (20, 24, 3) if observed else (2,)
        self.observation_space = spaces.Box(0, 255, size, np.uint8)
        self.action_space = spaces.Discrete(3)

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self._obs(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        return self._obs(), float(action == 1), self.steps == 7, False, {}

    def render(self) -> Any:
        return np.full((20, 24, 3), self.steps, np.uint8)

    def _obs(self) -> Any:
        return np.full(self.observation_space.shape or (), self.steps, np.uint8)


@pytest.mark.parametrize("observed", [True, False])
def test_the_gymnasium_form_records_episodes_as_they_were_played(tmp_path: Path, observed: bool):
    env = RecordEpisodes(Counter(observed=observed), tmp_path, name="counter")
    for _ in range(2):
        env.reset(seed=0)
        for t in range(7):
            env.step(t % 3)
    env.reset()
    env.step(2)
    env.close()
    store = EpisodeStore(tmp_path)
    assert store.names() == ["counter-r000-p00", "counter-r001-p00", "counter-r002-p00"]
    episode = store.read("counter-r001-p00")
    np.testing.assert_array_equal(episode.frames[:, 0, 0, 0], range(8))
    np.testing.assert_array_equal(episode.actions[:-1].argmax(1), [0, 1, 2, 0, 1, 2, 0])
    np.testing.assert_array_equal(episode.rewards, [0, 1, 0, 0, 1, 0, 0, 0])
    assert episode.terminated.tolist() == [False] * 7 + [True]
    assert episode.provenance["fps"] == 25 and episode.provenance["source"] == "gym:Counter"
    last = store.read("counter-r002-p00")
    assert len(last) == 2 and not last.terminated.any()


def test_the_pygame_form_keeps_the_alignment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A game whose picture shows what it was told: red is the left key, green the mouse's way, blue the turn."""
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pygame.display.quit()
    pygame.init()
    screen = pygame.display.set_mode((16, 12))
    rng = np.random.default_rng(0)
    held: dict[int, bool] = {}
    place = [0, 0]
    monkeypatch.setattr(pygame.key, "get_pressed", lambda: held)
    monkeypatch.setattr(pygame.mouse, "get_pos", lambda: tuple(place))
    monkeypatch.setattr(pygame.mouse, "get_pressed", lambda: (False, False, held[pygame.K_d]))
    keys: dict[str, int | str] = {"left": "a", "fire": pygame.K_SPACE, "use": "mouse right"}
    with PygameRecorder(tmp_path, keys, mouse=0.5, **ABOUT) as recorder:
        for turn in range(30):
            # The program pumps events, moves, draws, and then calls the recorder.
            held.update({pygame.K_a: bool(rng.integers(2)), pygame.K_SPACE: False, pygame.K_d: bool(rng.integers(2))})
            moved = int(rng.integers(0, 9)) if turn else 0
            place[0] += moved
            screen.fill((held[pygame.K_a] * 255, moved * 20, turn))
            pygame.display.flip()
            recorder.frame()
    pygame.display.quit()
    episode = EpisodeStore(tmp_path).read(recorder.recorder.names[0])
    assert episode.frames.shape == (30, 12, 16, 3) and episode.actions.shape == (30, 5)
    np.testing.assert_array_equal(episode.frames[:, 0, 0, 2], range(30))
    # What a picture shows is the effect of the action in the row before.
    np.testing.assert_array_equal(episode.actions[:-1, 0] * 255, episode.frames[1:, 0, 0, 0])
    np.testing.assert_array_equal(episode.actions[:-1, -1], episode.frames[1:, 0, 0, 1] / 20 * 0.5)
    assert episode.actions[:-1, 2].any() and not episode.actions[:, 1].any() and not episode.actions[-1].any()


def test_the_pygame_form_tells_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pygame.display.quit()
    with pytest.raises(ValueError, match="no key 'nokey'"):
        PygameRecorder(tmp_path, {"left": "nokey"}, **ABOUT)
    with pytest.raises(ValueError, match="no display"), PygameRecorder(tmp_path, {"left": "a"}, **ABOUT) as recorder:
        recorder.frame()
    assert not (tmp_path / "episodes").exists()
