"""Tasks in the learned world: by name, by function, by text; in one environment and in many."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

from tests.tiny_world import TEXT, save_tiny_world, shaken, tiny_starts, tiny_world
from worldsim.envs.learned.env import WorldSimEnv
from worldsim.envs.learned.tasks import StepInformation
from worldsim.envs.learned.vector_env import WorldSimVectorEnv
from worldsim.envs.learned.world_rewards import WorldRewardFunction, world_facts
from worldsim.errors import UserError
from worldsim.models.checkpoint import compact
from worldsim.models.fact_heads import FactHeads, FactHeadsConfig, load_fact_heads, save_fact_heads
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.facts import LEARNED
from worldsim.spec.tasks import TASKS

TASK_NAMES = list(TASKS)


def heads(known: tuple[str, ...] = LEARNED, seed: int = 0) -> FactHeads:
    torch.manual_seed(seed)
    made = FactHeads(FactHeadsConfig(features=64, hidden=16, known=known, text=TEXT))
    shaken(made, seed, 0.5)
    made.usual.copy_(torch.randn(TEXT) * 0.1)
    return made.eval().requires_grad_(False)


def world(known: tuple[str, ...] = LEARNED) -> WorldModel:
    bare = tiny_world()
    return WorldModel(
        bare.config, bare.tokenizer, bare.dit, prompt_embeddings=bare.prompt_embeddings, fact_heads=heads(known),
        bf16=False,
    )  # fmt: skip


def play(env: WorldSimEnv, steps: int = 8, seed: int = 3) -> list[tuple[float, bool]]:
    env.reset(seed=seed)
    env.action_space.seed(seed)
    out = []
    for _ in range(steps):
        _, reward, terminated, _, _ = env.step(env.action_space.sample())
        out.append((reward, terminated))
        if terminated:
            break
    return out


@pytest.mark.parametrize("task", [*TASK_NAMES, f"goal: {tiny_world().prompts[0]}"])
def test_rows_of_a_vector_env_are_judged_as_single_environments_are(task: str):
    model = world()
    envs = WorldSimVectorEnv(3, model, task=task, starts=tiny_starts(), autoreset_mode="Disabled")
    envs.reset(seed=5)
    actions = np.stack([envs.single_action_space.sample() for _ in range(3)])
    _, rewards, terminated, _, _ = envs.step(actions)
    for row in range(3):
        env = WorldSimEnv(model, task=task, starts=tiny_starts())
        env.reset(seed=5 + row)
        _, reward, ended, _, _ = env.step(actions[row])
        assert reward == pytest.approx(rewards[row], abs=1e-4) and ended == terminated[row]


def test_explore_is_the_reward_that_the_world_was_born_with():
    plain = play(WorldSimEnv(tiny_world(), starts=tiny_starts()))
    named = play(WorldSimEnv(tiny_world(), task="explore", starts=tiny_starts()))
    assert [r for r, _ in named] == pytest.approx([r for r, _ in plain], abs=1e-6) and len(named) == 8


def test_a_step_is_judged_by_the_world_before_and_after_it():
    model, env = world(), WorldSimEnv(world(), task="climb_high", starts=tiny_starts())
    env.reset(seed=0)
    heights = [0.0]
    rewards = []
    for _ in range(4):
        _, reward, *_, info = env.step(env.action_space.sample())
        heights.append(float(info["pose"][1]))
        rewards.append(reward)
    assert rewards == pytest.approx(np.diff(heights).tolist(), abs=1e-5)
    state = env._state
    assert state is not None
    facts, read = world_facts(model, state), heads().probabilities(state.features)
    for name in LEARNED:
        np.testing.assert_allclose(getattr(facts, name), read[name].numpy(), atol=1e-6)


def test_a_restored_moment_is_judged_again_the_same():
    env = WorldSimEnv(world(), task="collect_wood", starts=tiny_starts())
    env.reset(seed=1)
    env.step(env.action_space.sample())
    moment, action = env.snapshot(), env.action_space.sample()
    first = env.step(action)[1]
    env.restore(moment)
    assert env.step(action)[1] == first


def test_a_function_is_told_the_step_and_its_verdict_holds():
    reported: list[StepInformation] = []

    def verdict(step: StepInformation) -> tuple[float, bool]:
        reported.append(step)
        return 7.0, len(reported) == 2

    env = WorldSimEnv(world(), task=verdict, starts=tiny_starts())
    assert play(env) == [(7.0, False), (7.0, True)]
    step = reported[1]
    assert step.frames.shape == (2, 48, 80, 3) and step.action.shape == (2, env.world.spec.size)
    assert step.before == reported[0].after and set(step.after) == {"x", "y", "z", "furthest", *LEARNED}
    assert step.seconds == pytest.approx(0.1)
    with pytest.raises(UserError, match="no finite number"):
        play(WorldSimEnv(world(), task=lambda step: (float("nan"), False), starts=tiny_starts()))


def test_a_text_goal_rewards_features_that_lie_in_its_direction(monkeypatch: pytest.MonkeyPatch):
    def no_encoder():
        raise ModuleNotFoundError("free text needs an encoder")

    monkeypatch.setattr("worldsim.models.text.TextEncoder", no_encoder)
    model = world()
    goals = [WorldRewardFunction(model, f"goal: {prompt}") for prompt in model.prompts]
    one, two = (goal.goal for goal in goals)
    assert one is not None and two is not None and not torch.allclose(one, two)
    assert one.norm() == pytest.approx(1.0, abs=1e-5)
    env = WorldSimEnv(model, task=f"goal: {model.prompts[0]}", starts=tiny_starts())
    reward = play(env, 1)[0][0]
    assert env._state is not None
    assert reward == pytest.approx(float((heads().embed(env._state.features) - heads().usual) @ one), abs=1e-5)
    for wrong, message in (("goal:", "empty"), ("goal: no such prompt", "unknown prompt")):
        with pytest.raises(ValueError, match=message):
            WorldRewardFunction(model, wrong)


def test_a_world_without_the_heads_says_so():
    assert WorldRewardFunction(tiny_world(), "explore").fact_rewards is not None
    for task in ("collect_wood", "look_at_tree", "survive"):
        with pytest.raises(UserError, match="worldsim train tasks"):
            WorldRewardFunction(tiny_world(), task)
    with pytest.raises(UserError, match="sees_tree"):
        WorldRewardFunction(world(known=("wet",)), "look_at_tree")
    with pytest.raises(UserError, match="text goals"):
        WorldRewardFunction(tiny_world(), "goal: a forest")
    with pytest.raises(UserError, match="unknown task 'fly'"):
        WorldSimEnv(tiny_world(), task="fly", starts=tiny_starts())


def test_heads_are_kept_beside_the_weights_that_they_were_trained_on(tmp_path: Path):
    folder = save_tiny_world(tmp_path / "world")
    assert load_fact_heads(folder) is None
    save_fact_heads(heads(), folder, {"trained_on": {}})
    again = WorldModel.load(folder).fact_heads
    assert again is not None
    features, kept = torch.randn(4, 64), heads()
    # Weights ship in bf16, as those of the world do.
    kept.load_state_dict({name: t.float() for name, t in compact(kept).items()})
    for name, value in kept.probabilities(features).items():
        torch.testing.assert_close(again.probabilities(features)[name], value)
    env = gymnasium.make("WorldSim-Minecraft-v0", world=str(folder), task="collect_wood")
    env.reset(seed=0)
    env.close()
    weights = bytearray((folder / "dit.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "dit.safetensors").write_bytes(weights)
    with pytest.raises(UserError, match="other weights"):
        load_fact_heads(folder)
