"""Environments given anything: a step or a reset of the documented form, or an error after which play goes on alike."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from tests.fuzz.bounds import fuzzed, outcome
from tests.fuzz.damage import JUNK
from tests.tiny_world import HEIGHT, WIDTH, tiny_starts, tiny_world
from worldsim.envs.learned.env import WorldSimEnv
from worldsim.envs.learned.vector_env import WorldSimVectorEnv

ACTION = np.array([1, 0, 0, 0, 0, 0, 0, 5, 9])
KEYS = ("forward", "camera", "jump", "attack", "hotbar.1", "nothing", 3, None)
ODD = st.sampled_from(
    (
        *JUNK, np.zeros(9), np.zeros(9, np.int64), np.zeros((1, 9), np.int64), np.zeros(0),
        np.zeros(9, "timedelta64[s]"), np.array([None] * 9), np.array(["a"] * 9), np.full(9, np.nan), np.full(9, 2**62),
        np.zeros(9, np.complex64),
        np.ma.masked_array(np.zeros(9, int), True), np.datetime64("2020"), np.uint8(3), np.float32(0.5), b"bytes",
        torch.zeros(9, dtype=torch.int64), torch.zeros(9, requires_grad=True), torch.zeros(9, device="meta"),
        object(), range(9), {1, 2}, (0,) * 9, [0] * 8 + [None], np.zeros((), np.int64), 1j, slice(3),
    )
)  # fmt: skip
numbers = st.lists(st.integers(-2, 12), min_size=7, max_size=10).flatmap(
    lambda found: st.sampled_from((found, tuple(found), np.array(found), np.array(found, np.float32)))
)
cameras = st.lists(st.floats() | st.integers(-400, 400), max_size=3) | ODD
dicts = st.dictionaries(st.sampled_from(KEYS), st.integers(-1, 2) | cameras, max_size=4)
frames = st.sampled_from(
    (
        np.zeros((3, HEIGHT, WIDTH, 3), np.uint8), np.zeros((HEIGHT, WIDTH, 3), np.uint8),
        np.zeros((0, HEIGHT, WIDTH, 3), np.uint8), np.zeros((3, HEIGHT, WIDTH, 3), np.float32),
        np.zeros((2, WIDTH, HEIGHT, 3), np.uint8), np.zeros((1, 1, 1), np.uint8), "no.mp4", "", "\0", ".",
        2, -1, 99, True,
    )
)  # fmt: skip
options = st.dictionaries(
    st.sampled_from(("start", "prefix", "actions", "prompt", "other", 3)),
    frames | ODD | st.sampled_from((np.zeros((2, 22)), np.full((2, 22), 1e39), "walking in a forest", "a dog")),
    max_size=3,
)


@lru_cache
def env_of(kind: str) -> WorldSimEnv:
    return WorldSimEnv(tiny_world(), starts=tiny_starts(), action_space=kind)


def same_future(env: WorldSimEnv, before: Any) -> bool:
    """Whether an environment goes on from a moment as if nothing had been asked of it."""
    twin = WorldSimEnv(tiny_world(), starts=tiny_starts(), action_space="multidiscrete")
    twin.restore(before)
    return bool((env.step(env.noop_action)[0] == twin.step(twin.noop_action)[0]).all())


@fuzzed(st.tuples(st.sampled_from(("multidiscrete", "minerl")), ODD | numbers | dicts), 2000)
def test_a_step_is_a_step_or_an_error_that_changes_nothing(drawn: tuple[str, Any]):
    kind, action = drawn
    env = env_of(kind)
    env.reset(seed=1)
    before = env.snapshot()
    result = outcome(lambda: env.step(action))
    if isinstance(result, Exception):
        assert same_future(env, before)
    else:
        obs, reward, terminated, truncated, info = result
        assert env.observation_space.contains(obs) and np.isfinite(reward) and np.isfinite(info["pose"]).all()
        assert type(terminated) is bool and type(truncated) is bool


@fuzzed(st.tuples(ODD | st.integers(-5, 2**70), options | ODD | st.none()), 1500)
def test_a_reset_is_a_reset_or_an_error_that_changes_nothing(drawn: tuple[Any, Any]):
    seed, chosen = drawn
    env = env_of("multidiscrete")
    env.reset(seed=1)
    before = env.snapshot()
    result = outcome(lambda: env.reset(seed=seed, options=chosen))
    if isinstance(result, Exception):
        assert same_future(env, before)
    else:
        assert env.observation_space.contains(result[0])


@lru_cache
def rows() -> WorldSimVectorEnv:
    return WorldSimVectorEnv(2, tiny_world(), starts=tiny_starts())


@fuzzed(st.tuples(st.booleans(), ODD | numbers | st.lists(numbers, max_size=3), options | ODD), 1000)
def test_rows_step_and_reset_or_say_why_not(drawn: tuple[bool, Any, Any]):
    begin, action, chosen = drawn
    env = rows()
    env.reset(seed=1)
    if begin:
        result = outcome(lambda: env.reset(seed=action, options=chosen))
    else:
        result = outcome(lambda: env.step(action))
    if not isinstance(result, Exception):
        assert env.observation_space.contains(result[0])
    env.step(np.stack([ACTION] * 2))
