"""``module:Name`` in settings and recordings: names of today, names from before the modules moved, mistakes."""

import importlib.util
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from worldsim import old_names
from worldsim.agents.policies.mixture import Mixture
from worldsim.agents.policies.pong import PongPlayer
from worldsim.agents.policies.random import StickyRandom
from worldsim.envs.pong.tasks import follow_ball
from worldsim.errors import UserError
from worldsim.imports import load_object
from worldsim.old_names import MOVED, find_attribute
from worldsim.scripting.player import ScriptPolicy


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
