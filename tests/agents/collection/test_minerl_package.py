"""``source=minerl`` with the classes of the real package, as far as they work without Java: ``make test-minerl``.

The package's own stand-in for Minecraft answers with one recorded observation of a navigation task.
"""

import sys
from typing import Any

import numpy as np
import pytest

from worldsim.agents.collection.source_minerl import MineRLSource, MineRLStage, classic_gym
from worldsim.errors import UserError
from worldsim.spec.actions import MINECRAFT

pytest.importorskip("gym", reason="classic Gym is not installed: make test-minerl")
# Its import needs the names that ``classic_gym`` puts back.
try:
    GYM = classic_gym()
except UserError as error:
    pytest.skip(f"{error}; make test-minerl", allow_module_level=True)
LATER = "minerl.herobraine.env_specs.human_controls" in sys.modules
"""Whether this is MineRL 1.0."""


@pytest.fixture(autouse=True)
def java(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of Java, only its presence is looked at before an episode begins."""
    monkeypatch.setenv("JAVA_HOME", "/opt/java")


@pytest.mark.parametrize("env", ["MineRLBasaltFindCave-v0", "MineRLTreechop-v0", "MineRLNavigateDense-v0"])
def test_real_environments_are_accepted_before_minecraft_starts(env: str):
    assert MineRLSource(env=env).check("random", "") == 20
    assert MineRLSource(env=env).check("script", "forward 5; yaw +90 x 10") == 20


def test_an_environment_that_is_not_there_is_one_line():
    with pytest.raises(UserError, match=r"MineRLNowhere-v0 cannot be made"):
        MineRLSource(env="MineRLNowhere-v0").check("random", "")


@pytest.mark.skipif(LATER, reason="MineRL 1.0 registers no obfuscated environments")
def test_obfuscated_environments_are_refused():
    with pytest.raises(UserError, match=r"has actions vector: .* keys, a camera"):
        MineRLSource(env="MineRLTreechopVectorObf-v0").check("random", "")


class Listening:
    """Keeps the actions that reach the environment."""

    def __init__(self, env: Any):
        self.env, self.heard = env, list[Any]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.env, name)

    def step(self, action: Any) -> Any:
        self.heard.append(action)
        return self.env.step(action)


def fake_navigation(name: str = "MineRLNavigateDense-v0") -> Any:
    from minerl.env._fake import _FakeSingleAgentEnv  # pyright: ignore[reportMissingImports]
    from minerl.herobraine.env_specs.navigate_specs import Navigate  # pyright: ignore[reportMissingImports]

    return Listening(_FakeSingleAgentEnv(env_spec=Navigate(dense=True, extreme=False)))


def test_actions_are_those_of_the_environments_space_and_recorded_as_executed():
    env = fake_navigation()
    stage = MineRLStage(env, "MineRLNavigateDense-v0", split_residue=7)
    first = stage.reset(np.random.default_rng(0))
    height, width = env.observation_space.spaces["pov"].shape[:2]
    assert first.frame.shape == (height, width, 3) and first.frame.dtype == np.uint8 and first.frame.any()
    wanted = MINECRAFT.vector({"forward": 1, "hotbar.3": 1, "camera": (-2.5, 10.0)})
    [one] = stage.advance(wanted[None])
    [action] = env.heard
    assert set(action) == set(env.action_space.spaces)
    assert action["forward"] == 1 and action["back"] == 0 and action["camera"].tolist() == [-2.5, 10.0]
    # Navigation has no hotbar keys.
    assert "hotbar.3" not in action
    np.testing.assert_array_equal(one.action, MINECRAFT.vector({"forward": 1, "camera": (-2.5, 10.0)}))
    assert one.frame.shape == first.frame.shape and not one.terminated and not one.truncated


@pytest.mark.parametrize("name", ["MineRLBasaltFindCave-v0", "MineRLTreechop-v0"])
def test_doing_nothing_is_the_environments_own_nothing(name: str):
    env = GYM.make(name)
    nothing = env.action_space.no_op()
    keys = [key for key in MINECRAFT.keys if key in nothing]
    assert {"forward", "back", "left", "right", "jump", "attack"} <= set(keys)
    assert not any(int(nothing[key]) for key in keys) and not np.any(nothing["camera"])
