"""Playing: keys and mouse become actions, the scripted player writes a video, the window runs and ends."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pygame
import pytest

from tests.person import sit_down
from tests.tiny_world import HEIGHT, WIDTH, shaken, tiny_dit, tiny_starts, tiny_tokenizer, tiny_world
from worldsim.datasets.store.video import read_video
from worldsim.envs.play.controls import Controls
from worldsim.envs.play.games import WorldGame
from worldsim.envs.play.play import PlayWindow, play_headless
from worldsim.envs.play.scripted_player import ScriptedPlayer
from worldsim.models.dit import WorldDiT
from worldsim.plotting.drawing import Canvas
from worldsim.simulation.config import WorldConfig
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.actions import MINECRAFT, ActionSpec


def make_game() -> WorldGame:
    return WorldGame(tiny_world(), tiny_starts())


def test_a_scripted_player_writes_a_video(tmp_path: Path):
    times = play_headless(make_game(), tmp_path / "a.mp4", seconds=1, seed=0, scale=2)
    assert read_video(tmp_path / "a.mp4").shape == (22, 2 * HEIGHT, 2 * WIDTH, 3)
    assert len(times.seconds) == 10 and 0 < times.percentile(50) <= times.percentile(95)
    assert "frames/s" in times.line()


def test_the_scripted_player_is_decided_by_its_seed_and_keeps_its_head_level():
    actions = ScriptedPlayer(MINECRAFT, 20, 0).chunk(2000)
    np.testing.assert_array_equal(actions, ScriptedPlayer(MINECRAFT, 20, 0).chunk(2000))
    assert (actions != ScriptedPlayer(MINECRAFT, 20, 1).chunk(2000)).any()
    assert np.abs(np.cumsum(actions[:, -2])).max() < 60 and np.abs(actions[:, -1]).max() < 6
    assert actions[:, 0].mean() > 0.4


def event(kind: int, **members: object) -> pygame.event.Event:
    return pygame.event.Event(kind, members)


def test_keys_and_mouse_become_actions():
    controls = Controls(MINECRAFT, sensitivity=0.1)
    controls.feed(event(pygame.KEYDOWN, key=pygame.K_w), captured=True)
    controls.feed(event(pygame.KEYDOWN, key=pygame.K_3), captured=True)
    controls.feed(event(pygame.KEYUP, key=pygame.K_3), captured=True)
    controls.feed(event(pygame.MOUSEBUTTONDOWN, button=1), captured=True)
    controls.feed(event(pygame.MOUSEMOTION, rel=(30, -10)), captured=True)
    first, second = controls.take(2)
    expected = MINECRAFT.vector({"forward": 1, "hotbar.3": 1, "attack": 1, "camera": (-0.5, 1.5)})
    np.testing.assert_allclose(first, expected)
    np.testing.assert_allclose(second, expected)
    # The tap and the mouse are used up; what is held stays.
    np.testing.assert_array_equal(controls.take(1)[0], MINECRAFT.vector({"forward": 1, "attack": 1}))
    controls.feed(event(pygame.MOUSEMOTION, rel=(9999, 0)), captured=False)
    controls.release()
    assert not controls.take(1).any()


def test_a_world_of_a_joystick_game_is_played_by_its_own_keys():
    spec = ActionSpec(keys=("noop", "fire", "right", "left"), camera=False)
    dit = WorldDiT(replace(tiny_dit().config, keys=4, camera=False)).eval()
    shaken(dit, 0)
    world = WorldModel(WorldConfig(height=HEIGHT, width=WIDTH, spec=spec), tiny_tokenizer(), dit, bf16=False)
    starts = replace(tiny_starts(), actions=np.zeros((4, 4, 4), np.float32), keys=spec.keys)
    game, again = WorldGame(world, starts), WorldGame(world, starts)
    controls = Controls(game.spec, sensitivity=0.1)
    controls.feed(event(pygame.KEYDOWN, key=pygame.K_d), captured=True)
    game.reset(seed=0)
    shown = game.advance(controls.take(2))
    again.reset(seed=0)
    assert again._state is not None
    _, expected = world.step(again._state, np.tile(spec.vector({"right": 1}), (1, 2, 1)))
    np.testing.assert_array_equal(shown, expected.frames[0])
    assert any("right" in line for line in game.help)


def test_the_window_plays_restarts_and_ends(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    window = PlayWindow(make_game(), seed=0, sensitivity=0.1)

    left = sit_down(
        monkeypatch,
        (pygame.KEYDOWN, {"key": pygame.K_h}),
        (pygame.MOUSEBUTTONDOWN, {"button": 1}),
        (pygame.KEYDOWN, {"key": pygame.K_w}),
        (pygame.KEYDOWN, {"key": pygame.K_r}),
        (pygame.KEYDOWN, {"key": pygame.K_f}),
        (pygame.KEYDOWN, {"key": pygame.K_f}),
        (pygame.KEYDOWN, {"key": pygame.K_ESCAPE}),
        (pygame.KEYDOWN, {"key": pygame.K_ESCAPE}),
    )
    times = window.run()
    assert not left and window.seed == 1 and times.seconds and window.window.closed


def test_text_is_drawn_also_after_somebody_quit_pygame():
    """As Gymnasium's own environments do when they are closed."""
    pictures = []
    for _ in range(2):
        canvas = Canvas(60, 20)
        blank = canvas.picture()
        canvas.text("text", 2, 2)
        pictures.append(canvas.picture())
        assert (pictures[-1] != blank).any()
        pygame.quit()
    assert (pictures[0] == pictures[1]).all()
