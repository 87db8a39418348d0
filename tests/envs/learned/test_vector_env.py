"""Rows of the vector environment behave as single environments do, whatever their neighbours do."""

import copy
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode

from tests.tiny_world import HEIGHT, ROUNDING, WIDTH, tiny_starts, tiny_world, trusting_world
from worldsim.envs.learned.env import WorldSimEnv
from worldsim.envs.learned.tasks import StepInformation
from worldsim.envs.learned.vector_env import WorldSimVectorEnv
from worldsim.errors import UserError


def make(num_envs: int = 3, **options: Any) -> WorldSimVectorEnv:
    return WorldSimVectorEnv(num_envs, tiny_world(), starts=tiny_starts(), **options)


def noops(rows: int = 3) -> np.ndarray:
    return np.tile([0, 0, 0, 0, 0, 0, 0, 5, 5], (rows, 1))


def test_rows_equal_single_environments():
    """Also after a neighbour began anew. Latents to 1e-5, and to the bit where that was measured."""
    envs = make()
    envs.action_space.seed(0)
    actions = [envs.action_space.sample() for _ in range(4)]
    observations, _ = envs.reset(seed=10)
    stepped = [envs.step(a) for a in actions[:2]]
    envs.reset(options={"reset_mask": np.array([False, True, False])})
    stepped += [envs.step(a) for a in actions[2:]]
    for row in (0, 2):
        env = WorldSimEnv(tiny_world(), starts=tiny_starts())
        obs, _ = env.reset(seed=10 + row)
        np.testing.assert_array_equal(obs, observations[row])
        for action, (together, rewards, *_, infos) in zip(actions, stepped, strict=True):
            obs, reward, _, _, info = env.step(action[row])
            # A grey level may tip over where a value stands between two.
            assert np.abs(obs.astype(int) - together[row]).max() <= (ROUNDING > 0)
            assert np.abs(info["frames"].astype(int) - infos["frames"][row]).max() <= (ROUNDING > 0)
            np.testing.assert_allclose(reward, rewards[row], rtol=ROUNDING, atol=ROUNDING)
            np.testing.assert_allclose(info["pose"], infos["pose"][row], rtol=ROUNDING, atol=ROUNDING)
        latents = envs.current().latent[row], env.current().latent[0]
        torch.testing.assert_close(*latents, rtol=ROUNDING, atol=ROUNDING)


def frames_of(envs: WorldSimVectorEnv, actions: list[np.ndarray]) -> np.ndarray:
    return np.stack([envs.step(action)[4]["frames"] for action in actions])


def test_moments_of_rows_go_on_anywhere_and_share_memory_until_then():
    envs = make(max_episode_steps=9)
    envs.reset(seed=0)
    envs.step(noops())
    ring = envs.current().cache.keys
    moments = envs.snapshots()
    assert moments[1].state.cache.keys.data_ptr() == ring[1].data_ptr()
    copied = envs.snapshot(1)
    assert copied.state.cache.keys.data_ptr() != ring[1].data_ptr()
    before = ring.clone()
    went_on = frames_of(envs, [noops(), noops()])
    assert torch.equal(ring, before), "the snapshots' memory is left alone"
    single = WorldSimEnv(tiny_world(), starts=tiny_starts())
    single.restore(copied)
    alone = np.stack([single.step(noops(1)[0])[4]["frames"] for _ in range(2)])
    assert np.abs(alone.astype(int) - went_on[:, 1]).max() <= (ROUNDING > 0)
    observations, _ = envs.restore([moments[1], moments[0]], [0, 2])
    np.testing.assert_array_equal(observations[2], moments[0].frames[-1])
    again = frames_of(envs, [noops(), noops()])
    # Another row of the same batch may round otherwise where batches of other sizes do.
    moved = again[:, [0, 2]].astype(int) - went_on[:, [1, 0]]
    assert np.abs(moved).max() <= (ROUNDING > 0)
    envs.restore(moments)
    np.testing.assert_array_equal(frames_of(envs, [noops(), noops()]), went_on)
    np.testing.assert_array_equal(copy.deepcopy(envs).reset()[0], envs.reset()[0])


def test_forks_of_one_row_share_memory_and_differ_by_actions_alone():
    single = WorldSimEnv(tiny_world(), starts=tiny_starts())
    single.reset(seed=4)
    single.step(noops(1)[0])
    envs = make(4)
    envs.restore(single.snapshot())
    rings = envs.current().cache.keys
    assert rings.data_ptr() == single.current().cache.keys.data_ptr() and rings.stride(0) == 0
    actions = noops(4)
    actions[3, 0] = 1
    frames = frames_of(envs, [actions] * 2)
    np.testing.assert_array_equal(frames[:, 0], frames[:, 1])
    assert (frames[:, 0] != frames[:, 3]).any()
    went_on = np.stack([single.step(noops(1)[0])[4]["frames"] for _ in range(2)])
    assert np.abs(went_on.astype(int) - frames[:, 0]).max() <= (ROUNDING > 0)
    twice = envs.fork(2)
    np.testing.assert_array_equal(twice.observations(), envs.observations().repeat(2, 0))
    with pytest.raises(UserError, match="snapshots for rows"):
        envs.restore(envs.snapshots(), [0, 1])


def test_trust_truncates_rows():
    envs = WorldSimVectorEnv(2, trusting_world(), starts=tiny_starts(), min_trust=0.5)
    _, infos = envs.reset(seed=0)
    assert (infos["trust"] == 1).all()
    steps = [envs.step(noops(2)) for _ in range(4)]
    assert [step[3].all() for step in steps] == [False, False, True, False]
    assert (steps[3][4]["trust"] == 1).all(), "the next step began anew"


def test_rows_do_not_see_each_other():
    def first_row(others: np.ndarray) -> np.ndarray:
        envs = make()
        envs.reset(seed=0)
        actions = noops()
        actions[1:] = others
        return np.stack([envs.step(actions)[0][0] for _ in range(3)])

    np.testing.assert_array_equal(first_row(noops(2)), first_row(np.tile([1, 1, 1, 0, 1, 1, 3, 9, 1], (2, 1))))


def test_same_seed_same_bytes():
    def run() -> np.ndarray:
        envs = make(max_episode_steps=3)
        envs.reset(seed=0)
        return np.stack([envs.step(noops())[0] for _ in range(6)])

    np.testing.assert_array_equal(run(), run())


def test_next_step_autoreset_ignores_the_action_and_gives_no_reward():
    envs = make(max_episode_steps=2)
    assert envs.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    envs.reset(seed=0)
    assert not envs.step(noops())[3].any()
    assert envs.step(noops())[3].all()
    _, rewards, terminations, truncations, infos = envs.step(noops())
    assert not rewards.any() and not terminations.any() and not truncations.any()
    assert infos["_start"].all() and not infos["pose"].any()
    assert not envs.step(noops())[3].any() and envs.step(noops())[3].all()


def test_rows_begin_anew_one_by_one():
    """A row that ends alone begins its own next episode; the others go on as if nothing had happened."""
    envs, twin = make(max_episode_steps=4), make()
    envs.reset(seed=0)
    twin.reset(seed=0)
    envs.step(noops())
    twin.step(noops())
    mask = np.array([False, True, False])
    envs.reset(options={"reset_mask": mask, "prefix": 2})
    np.testing.assert_array_equal(envs._elapsed, [1, 0, 1])
    for _ in range(2):
        envs.step(noops())
        twin.step(noops())
    observations, _, _, truncations, _ = envs.step(noops())
    expected = twin.step(noops())[0]
    assert np.abs(observations[[0, 2]].astype(int) - expected[[0, 2]]).max() <= 1
    np.testing.assert_array_equal(truncations, [True, False, True])
    observations, _, _, truncations, infos = envs.step(noops())
    np.testing.assert_array_equal(infos["_start"], [True, False, True])
    np.testing.assert_array_equal(truncations, mask)
    single = WorldSimEnv(tiny_world(), starts=tiny_starts())
    single.reset(seed=0)
    np.testing.assert_array_equal(single.reset()[0], observations[0])


def test_a_task_is_told_only_of_rows_that_really_stepped():
    judged = 0

    def count(step: StepInformation) -> tuple[float, bool]:
        nonlocal judged
        judged += 1
        return judged, False

    envs = make(max_episode_steps=2, task=count)
    envs.reset(seed=0)
    assert envs.step(noops())[1].tolist() == [1, 2, 3]
    envs.reset(options={"reset_mask": np.array([False, True, False])})
    assert envs.step(noops())[1].tolist() == [4, 5, 6]
    # Rows 0 and 2 begin anew, then row 1, then the others again.
    assert [envs.step(noops())[1].tolist() for _ in range(3)] == [[0, 7, 0], [8, 0, 9], [10, 11, 12]]


def test_same_step_autoreset_keeps_the_last_observation():
    envs, twin = make(max_episode_steps=2, autoreset_mode="SameStep"), make(max_episode_steps=2)
    envs.reset(seed=0)
    twin.reset(seed=0)
    envs.step(noops())
    twin.step(noops())
    observations, rewards, _, truncations, infos = envs.step(noops())
    last, expected, *_ = twin.step(noops())
    assert truncations.all() and infos["_final_obs"].all()
    np.testing.assert_array_equal(np.stack(list(infos["final_obs"])), last)
    np.testing.assert_array_equal(infos["final_info"]["frames"][:, -1], last)
    np.testing.assert_array_equal(rewards, expected)
    np.testing.assert_array_equal(observations, twin.step(noops())[0])


def test_disabled_autoreset_wants_a_reset():
    envs = make(max_episode_steps=1, autoreset_mode=AutoresetMode.DISABLED)
    envs.reset(seed=0)
    envs.step(noops())
    with pytest.raises(ResetNeeded, match="rows"):
        envs.step(noops())


def test_spaces_and_rendering():
    envs = make(render_mode="rgb_array", action_space="minerl")
    observations, _ = envs.reset(seed=0)
    assert envs.observation_space.contains(observations) and observations.shape == (3, HEIGHT, WIDTH, 3)
    envs.step(envs.action_space.sample())
    pictures = envs.render()
    assert pictures is not None and len(pictures) == 3 and pictures[0].shape == (HEIGHT, WIDTH, 3)


def test_gymnasium_vector_wrappers_accept_it():
    from gymnasium.wrappers.vector import RecordEpisodeStatistics

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        envs = RecordEpisodeStatistics(make(max_episode_steps=2))
        envs.reset(seed=0)
        envs.step(noops())
        infos = envs.step(noops())[4]
    assert (infos["episode"]["l"] == 2).all()


def test_mistakes_are_told():
    with pytest.raises(UserError, match="num_envs"):
        make(0)
    envs = make()
    with pytest.raises(ResetNeeded):
        envs.step(noops())
    with pytest.raises(UserError, match="seeds"):
        envs.reset(seed=[1, 2])
    with pytest.raises(UserError, match="seed must be a whole number"):
        envs.reset(seed=1.5)  # pyright: ignore[reportArgumentType]
    envs.reset(seed=[1, None, 3])
    with pytest.raises(UserError, match="2 actions"):
        envs.step(noops(2))
    with pytest.raises(UserError, match="list is no action"):
        envs.step([[0] * 9, [0] * 8, [0] * 9])
    with pytest.raises(UserError, match="reset_mask"):
        envs.reset(options={"reset_mask": np.zeros(3, bool)})
