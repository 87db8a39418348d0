"""``module:Name`` in settings and recordings: names of today, names from before the modules moved, mistakes."""

import importlib.util
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from worldsim import old_names
from worldsim.agents.policies import policy_net
from worldsim.agents.policies.mixture import Mixture
from worldsim.agents.policies.pong import PongPlayer
from worldsim.agents.policies.random import StickyRandom
from worldsim.cli.agent.environments import take_task
from worldsim.datasets.store.store import EpisodeStore
from worldsim.envs.pong.tasks import follow_ball
from worldsim.errors import UserError
from worldsim.imports import load_object
from worldsim.old_names import MOVED, find_attribute
from worldsim.scripting.player import ScriptPolicy

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def nothing_warned_yet() -> Iterator[None]:
    old_names._warn.cache_clear()
    yield
    old_names._warn.cache_clear()


@pytest.mark.parametrize(
    ("module", "found"),
    [
        ("worldsim.agents.pong_player", PongPlayer),
        ("worldsim.agents.policies_random", StickyRandom),
        ("worldsim.envs.pong_tasks", follow_ball),
        ("worldsim.script_player", ScriptPolicy),
        # A package of that name is there today; the class is in one of its modules.
        ("worldsim.agents.policies", Mixture),
    ],
)
def test_an_old_name_resolves_and_warns_with_the_new_one(module: str, found: type):
    new = f"{found.__module__}:{found.__name__}"
    with pytest.warns(FutureWarning, match=f"{module}:{found.__name__} is called {new} now"):
        assert find_attribute(module, found.__name__) is found


def test_a_name_warns_once():
    with pytest.warns(FutureWarning) as caught:
        for _ in range(3):
            load_object("worldsim.agents.pong_player:PongPlayer", "policy")
        load_object("worldsim.agents.policies:Mixture", "policy")
    assert [str(warning.message).split(" ")[0] for warning in caught] == [
        "worldsim.agents.pong_player:PongPlayer",
        "worldsim.agents.policies:Mixture",
    ]


def test_a_warning_turned_into_an_error_is_not_swallowed():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(FutureWarning):
            load_object("worldsim.agents.pong_player:PongPlayer", "policy")


def test_a_name_of_today_resolves_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_object("worldsim.agents.policies.pong:PongPlayer", "policy") is PongPlayer


@pytest.mark.parametrize(
    "name",
    [
        "worldsim.agents.pong_player:Nobody",
        "worldsim.agents.policies:Nobody",
        "worldsim.agents.nobody:PongPlayer",
        "nobody.at.home:PongPlayer",
        "worldsim.agents.policies.pong:",
        ":PongPlayer",
    ],
)
def test_a_name_that_never_was_is_one_error(name: str):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserError, match=f"policy {name!r}"):
            load_object(name, "policy")


def test_an_old_name_does_not_hide_what_a_module_of_the_users_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "my_player.py").write_text("import worldsim.agents.pong_player\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"No module named 'worldsim\.agents\.pong_player'"):
        load_object("my_player:Player", "policy")
    sys.modules.pop("my_player", None)


def test_every_module_of_the_table_is_gone_or_a_package_and_its_new_name_is_there():
    assert len(MOVED) > 100
    for old, new in MOVED.items():
        assert importlib.util.find_spec(new) is not None, new
        there = importlib.util.find_spec(old)
        assert there is None or there.submodule_search_locations is not None, old


PLAYER = """
import numpy as np

class Player:
    name = "mine"

    def __init__(self, spec, fps):
        self.spec = spec

    def reset(self, rng, info):
        pass

    def act(self, obs, info):
        import beside_me

        return np.eye(self.spec.size, dtype=np.float32)[beside_me.KEY]
"""


@pytest.mark.slow
def test_modules_of_the_current_folder_are_found_on_the_command_line(tmp_path: Path):
    (tmp_path / "my_player.py").write_text(PLAYER)
    (tmp_path / "beside_me.py").write_text("KEY = 1\n")
    # A file that is called like an installed package is not taken for it.
    (tmp_path / "yaml.py").write_text("raise SystemExit('the wrong yaml')\n")
    words = (
        "collect source=gym env=Freeway-v0 policy=my_player:Player episodes=1 episode_frames=4 workers=0 --out store"
    )
    code = (
        "import gymnasium, sys\nfrom tests.fake_gym import Counting\nfrom worldsim.cli import main\n"
        "gymnasium.register('Freeway-v0', entry_point=Counting)\nsys.exit(main(sys.argv[1:]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    # As the installed program does, -P keeps the current folder off the path.
    command = [sys.executable, "-P", "-c", code, *words.split(), "workers=0", "--out", "store"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    store = EpisodeStore(tmp_path / "store")
    assert store.read(store.names()[0]).actions[:-1, 1].all()


def test_a_policy_file_cannot_name_code_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "policy.safetensors").touch()

    def about(task: str | None) -> SimpleNamespace:
        monkeypatch.setattr(policy_net, "load_policy", lambda path: SimpleNamespace(about={"task": task}))
        config = SimpleNamespace(task=None)
        take_task(config, str(tmp_path))  # pyright: ignore[reportArgumentType]
        return config

    assert about("climb_high").task == "climb_high" and about("goal: a forest").task == "goal: a forest"
    with pytest.raises(UserError, match="was trained for task=os:getcwd, a function: give it yourself"):
        about("os:getcwd")
