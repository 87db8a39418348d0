"""``worldsim play`` in a window: what it keeps is played again, rolled out, and read from a store."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pygame
import pytest

from tests.envs.play.test_window import hold, phase, press, run, shown
from tests.tiny_world import save_tiny_world
from worldsim import cli
from worldsim.datasets.store.store import EpisodeStore
from worldsim.datasets.store.video import read_video
from worldsim.envs.play.play import PlayWindow
from worldsim.envs.play.session import Phase
from worldsim.spec.actions import MINECRAFT


@pytest.mark.slow
def test_play_keep_play_again_and_roll_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    world = save_tiny_world(tmp_path / "tiny")
    (world / "keys.json").write_text('{"learned": ["forward", "back"]}')
    windows: list[PlayWindow] = []
    original = PlayWindow.run

    def played(self: PlayWindow) -> Any:
        windows.append(self)
        monkeypatch.setattr(PlayWindow, "run", original)
        return run(
            self,
            [
                (phase(Phase.READY), hold(pygame.K_w)),
                (shown(4), press(pygame.K_p)),
                (phase(Phase.PAUSED), press(pygame.K_COMMA)),
                (phase(Phase.PAUSED), press(pygame.K_TAB)),
                (lambda w: w.session.seats.playing == "explore", press(pygame.K_F10)),
                (lambda w: w.message.startswith("kept play-"), []),
            ],
            # Imports are slow beside other programs; a failure waits this long.
            seconds=300.0,
        )

    monkeypatch.setattr(PlayWindow, "run", played)
    words = ["play", "--world", str(world), "--keep", "store", "folder=run", "seed=1"]
    assert cli.main(words) == 0
    [window] = windows
    pygame.display.quit()
    timeline, last = window.session.timeline, window.session.shown
    assert timeline is not None and window.session.seats.names == ("you", "explore", "random", "planner")
    assert "this world never" not in window.message
    [saved] = (tmp_path / "run").glob("*.playthrough.json")
    assert str(saved.relative_to(tmp_path)) in capsys.readouterr().out

    store = EpisodeStore(tmp_path / "store")
    episode = store.read(store.names()[0])
    pictures = [timeline.picture(number) for number in timeline.path(last)[1:]]
    np.testing.assert_array_equal(episode.frames[1:], np.concatenate(pictures))
    assert episode.actions[:-1, MINECRAFT.keys.index("forward")].all()
    about = episode.provenance
    assert about["source"] == about["policy"] == "human" and about["checkpoint"] and about["sampling"]["steps"]
    assert about["start"]["noise_seed"] and about["played"] == "worldsim:tiny"

    assert cli.main(["play", "--headless", "--load", str(saved), "--out", "again.mp4", "scale=1"]) == 0
    assert len(read_video(tmp_path / "again.mp4")) == 2 + 2 * last
    assert cli.main(["rollout", "--playthrough", str(saved), "--out", "out"]) == 0
    summary = json.loads((tmp_path / "out" / "divergence.json").read_text())
    assert len(summary["branches"]) == 1 and summary["frames"] == 2 * (len(timeline.moments) - 1)
    told = capsys.readouterr().out
    assert "ends at" in told and "the others" not in told

    # On another machine the world is elsewhere; that it is the same one is checked.
    moved = world.rename(world.with_name("moved"))
    assert cli.main(["play", "--headless", "--load", str(saved), "--out", "there.mp4", "scale=1"]) == 2
    assert "say where it is" in capsys.readouterr().err
    words = ["--world", str(moved), "--prompt", "walking in a forest"]
    assert cli.main(["rollout", "--playthrough", str(saved), "--out", "there", *words]) == 0
    there = json.loads((tmp_path / "there" / "divergence.json").read_text())
    assert there["frames"] == summary["frames"]
    moved.rename(world)

    # Another world under the same name is refused.
    content = json.loads(saved.read_text())
    saved.write_text(json.dumps(content | {"weights": "0" * 64}))
    assert cli.main(["play", "--headless", "--load", str(saved)]) == 2
    assert "other weights" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["--load", "missing.json"],
        ["--prefix", "missing.mp4"],
        ["--engine", "luanti", "--load", "a.json"],
        ["--headless", "--prefix", "99"],
    ],
)
def test_mistakes_are_one_line(words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    assert cli.main(["play", *words]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("worldsim: ") and captured.err.count("\n") == 1
    pygame.display.quit()
