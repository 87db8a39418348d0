"""Playing a learned world: keys and mouse become actions, going back is exact, the scripted player writes a video."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pygame
import pytest

from tests.tiny_memory import remembering_world
from tests.tiny_world import HEIGHT, WIDTH, shaken, tiny_dit, tiny_starts, tiny_tokenizer, tiny_world
from worldsim.datasets.store.video import read_video, write_video
from worldsim.envs.learned.initial_context import prefill
from worldsim.envs.play.bindings import Preferences
from worldsim.envs.play.controls import Controls
from worldsim.envs.play.games import WorldGame
from worldsim.envs.play.hands import HumanInputMapper
from worldsim.envs.play.headless import play_headless
from worldsim.envs.play.overlays.insight import depth_picture, sources_picture
from worldsim.envs.play.scripted_player import ScriptedPlayer
from worldsim.envs.play.tree.origin import origin_of
from worldsim.envs.play.tree.playthrough import Playthrough
from worldsim.envs.play.tree.timeline import Timeline
from worldsim.models.dit import WorldDiT
from worldsim.plotting.drawing import Canvas
from worldsim.simulation.branching import expand_tree
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
    controls = Controls(MINECRAFT, Preferences(sensitivity=0.1))
    assert controls.feed(event(pygame.KEYDOWN, key=pygame.K_w), captured=True)
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
    assert not controls.feed(event(pygame.KEYDOWN, key=pygame.K_F12), captured=True)
    controls.release()
    assert not controls.take(1).any()


@pytest.mark.parametrize(
    ("key", "control"), [(pygame.K_UP, "forward"), (pygame.K_LEFT, "left"), (pygame.K_d, "right"), (pygame.K_s, "back")]
)
def test_arrows_and_letters_walk(key: int, control: str):
    controls = Controls(MINECRAFT, Preferences())
    controls.feed(event(pygame.KEYDOWN, key=key), captured=False)
    np.testing.assert_array_equal(controls.take(1)[0], MINECRAFT.vector({control: 1}))


def joystick_game() -> tuple[WorldGame, WorldGame]:
    spec = ActionSpec(keys=("noop", "fire", "right", "left"), camera=False)
    dit = WorldDiT(replace(tiny_dit().config, keys=4, camera=False)).eval()
    shaken(dit, 0)
    world = WorldModel(WorldConfig(height=HEIGHT, width=WIDTH, spec=spec), tiny_tokenizer(), dit, bf16=False)
    starts = replace(tiny_starts(), actions=np.zeros((4, 4, 4), np.float32), keys=spec.keys)
    return WorldGame(world, starts), WorldGame(world, starts)


def test_a_world_of_a_joystick_game_is_played_by_its_own_keys():
    game, again = joystick_game()
    controls = Controls(game.hands.spec, Preferences())
    controls.feed(event(pygame.KEYDOWN, key=pygame.K_d), captured=True)
    game.reset(seed=0)
    shown = game.advance(np.stack([game.hands(one) for one in controls.take(2)]))
    again.reset(seed=0)
    _, expected = game.world.step(again.state, np.tile(game.world.spec.vector({"right": 1}), (1, 2, 1)))
    np.testing.assert_array_equal(shown, expected.frames[0])
    lines = Preferences().help(game.hands.meanings, camera=False, rewinds=True)
    assert "D, Right            right" in lines and not any("look around" in line for line in lines)
    # Metres belong to walking.
    assert game.status().startswith("end ") and " m" not in game.status()


def test_a_learned_world_comes_back_to_the_bit():
    game = make_game()
    timeline = Timeline(game, every=3)
    frames = [timeline.begin(2)]
    rng = np.random.default_rng(0)
    for _ in range(8):
        frames.append(
            timeline.advance(MINECRAFT.vector({"forward": 1, "camera": rng.normal(0, 3, 2)})[None].repeat(2, 0))
        )
    for number in (8, 4, 3, 7, 0):
        np.testing.assert_array_equal(timeline.go(number), frames[number])
    # Batched or alone, with other neighbours: the state that replays left is the state that play left.
    again = Timeline(make_game(), every=100)
    again.begin(2)
    saved = Playthrough.of(timeline, origin_of("tiny", game.world, {}, game.begun), 2, 8)
    np.testing.assert_array_equal(again.go(saved.fill(again)), frames[8])


def test_a_playthrough_is_a_rollout_that_shows_what_was_played():
    game = make_game()
    timeline = Timeline(game)
    timeline.begin(2)
    frames = {0: game.begun.frames[-2:]}
    for start, yaws in ((0, (1, 2, 3)), (1, (9, 8))):
        timeline.go(start)
        for yaw in yaws:
            shown = timeline.advance(np.tile(MINECRAFT.vector({"camera": (0, yaw)}), (2, 1)))
            frames[timeline.here] = shown
    saved = Playthrough.of(timeline, origin_of("tiny", game.world, {}, game.begun), 2, 5)
    world, past = saved.origin.beginning(tiny_world(), tiny_starts(), saved.seed)
    tree = expand_tree(world, prefill(world, [past]), saved.nodes())
    np.testing.assert_array_equal(tree.branches[0].frames, np.concatenate([frames[i] for i in (1, 2, 3)]))
    np.testing.assert_array_equal(tree.branches[1].frames, np.concatenate([frames[i] for i in (1, 4, 5)]))


def test_a_world_with_a_memory_shows_depth_and_whose_its_pixels_are():
    game = WorldGame(remembering_world(amount=0), tiny_starts())
    assert game.views == ("picture", "depth", "memory") and make_game().views == ("picture",)
    game.reset(seed=0)
    assert game.insight() == {}
    game.watch = "memory"
    # Whose the start's pixels are is nobody's to tell.
    assert game.insight() == {}
    turn = np.tile(MINECRAFT.vector({"camera": (0, 9.0)}), (2, 1))
    frames = game.advance(turn)
    tinted = game.insight()["memory"]
    assert tinted.shape == frames.shape
    out = game._step
    assert out is not None and out.sources is not None
    np.testing.assert_array_equal(tinted[1], sources_picture(frames[1], out.sources[0, 1]))
    lines = game.status().splitlines()
    assert (
        lines[-1].startswith("pixels of memory ") and f"network {100 * (out.sources[0] == 2).mean():.0f} %" in lines[-1]
    )
    game.watch = "depth"
    memory = game.state.memory
    assert memory is not None
    depth = game.insight()["depth"]
    expected = depth_picture(frames[-1], memory.inverse_depth[0].numpy(), memory.confidence[0].numpy())
    np.testing.assert_array_equal(depth, np.stack([expected] * 2))
    # A moment that is returned to has its depth too.
    moment = game.snapshot()
    game.advance(turn)
    game.restore(moment)
    np.testing.assert_array_equal(game.insight()["depth"], depth)


def test_a_world_begins_from_a_file_and_one_that_cannot_be_read_changes_nothing(tmp_path: Path):
    game = make_game()
    clip = tiny_starts().frames[2]
    write_video(tmp_path / "a.mp4", clip)
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    game.begin_at(3)
    for wrong in (str(tmp_path / "broken.mp4"), str(tmp_path / "nothing.mp4"), 99):
        with pytest.raises((ValueError, FileNotFoundError)):
            game.begin_at(wrong)
    game.reset(seed=5)
    assert game.begun.start == 3
    game.begin_at(str(tmp_path / "a.mp4"))
    shown = game.reset(seed=5)
    assert game.begun.start == -1 and np.abs(shown.astype(int) - clip[-2:]).mean() < 20


def test_latents_of_a_moment_are_those_of_its_state():
    game = make_game()
    game.reset(seed=0)
    before = game.latent().copy()
    game.advance(np.tile(MINECRAFT.vector({"forward": 1}), (2, 1)))
    np.testing.assert_array_equal(game.latent(), game.state.latent[0].half().numpy())
    assert (game.latent() != before).any()


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


@pytest.mark.parametrize("keys", [("left", "right", "gas"), ("left", "right", "fire"), ("steer", "gas")])
def test_no_key_of_a_game_is_out_of_reach(keys: tuple[str, ...]):
    """Some keys are named like Minecraft's, others are not: all have digits, and the first ones their names, too."""
    hands = HumanInputMapper(ActionSpec(keys=keys, camera=False))
    offered = [control for controls, _ in hands.meanings for control in controls]
    for i, key in enumerate(keys):
        wanted = [float(j == i) for j in range(len(keys))]
        pressed = np.zeros(hands.spec.size, np.float32)
        pressed[hands.spec.keys.index(offered[i])] = 1
        assert hands(pressed).tolist() == wanted
        if key in hands.spec.keys:
            pressed = np.zeros(hands.spec.size, np.float32)
            pressed[hands.spec.keys.index(key)] = 1
            assert hands(pressed).tolist() == wanted
