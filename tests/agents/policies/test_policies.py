from typing import Any

import numpy as np
import pytest

from tests.fake_engine import FakeEngine
from worldsim.agents.policies.body import Gaze, wrap_degrees
from worldsim.agents.policies.mixture import MIXTURE, Mixture, Policy, make_policy
from worldsim.agents.policies.scripts import SCRIPTS
from worldsim.spec.actions import MINECRAFT
from worldsim.spec.camera import MINECRAFT_CAMERA

KEYS = MINECRAFT.keys


def play(
    policy: Policy, frames: int, seed: int = 0, env: FakeEngine | None = None
) -> tuple[np.ndarray, dict[str, Any]]:
    """Actions (frames, A), and pose arrays of the same frames."""
    env = env or FakeEngine(0)
    obs, info = env.reset(seed=seed)
    policy.reset(np.random.default_rng(seed), info)
    actions, infos = [], []
    for _ in range(frames):
        actions.append(policy.act(obs, info))
        infos.append(info)
        obs, _, _, _, info = env.step(actions[-1])
    return np.stack(actions), {k: np.array([i[k] for i in infos]) for k in ("position", "yaw", "pitch")}


class Walled(FakeEngine):
    """Nothing north of z = 0."""

    def step(self, action: Any) -> Any:
        before = self.position.copy()
        out = super().step(action)
        if self.position[2] > 0:
            self.position = before
            self.velocity = np.zeros(3)
            return self._picture(), *out[1:4], self._info(out[4]["action"])
        return out


class Lake(FakeEngine):
    """Water in a disc of 6 m around the origin."""

    def _info(self, executed: Any) -> dict[str, Any]:
        wet = np.hypot(self.position[0], self.position[2]) < 6
        return super()._info(executed) | {"node_feet": "default:water_source" if wet else "air"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mixture", *SCRIPTS])
def test_every_policy_yields_valid_actions_that_follow_from_its_generator(name: str):
    first, _ = play(make_policy(name), 300, seed=3)
    again, _ = play(make_policy(name), 300, seed=3)
    np.testing.assert_array_equal(first, again)
    assert first.shape == (300, MINECRAFT.size) and first.dtype == np.float32
    assert np.isin(first[:, :-2], (0, 1)).all() and np.isfinite(first).all()
    other, _ = play(make_policy(name), 300, seed=4)
    assert not np.array_equal(first, other)


def test_a_policy_can_be_used_for_many_episodes():
    policy = make_policy()
    first, _ = play(policy, 200, seed=1)
    play(policy, 77, seed=2)
    again, _ = play(policy, 200, seed=1)
    np.testing.assert_array_equal(first, again)


@pytest.mark.slow
def test_the_mixture_uses_every_script_for_about_its_share_of_time():
    policy, env = Mixture(), FakeEngine(0)
    obs, info = env.reset(seed=0)
    policy.reset(np.random.default_rng(0), info)
    counts = dict.fromkeys(SCRIPTS, 0)
    for _ in range(30_000):
        obs, _, _, _, info = env.step(policy.act(obs, info))
        counts[policy.name] += 1
    for name, share in MIXTURE.items():
        assert counts[name] / 30_000 == pytest.approx(share / sum(MIXTURE.values()), abs=0.05), name


@pytest.mark.slow
def test_the_mixture_covers_controls_and_camera_magnitudes():
    actions, pose = play(make_policy(), 12_000)
    share = dict(zip(KEYS, actions[:, : len(KEYS)].mean(0), strict=True))
    assert share["forward"] > 0.25
    assert all(share[key] > 0.02 for key in ("back", "left", "right", "jump", "attack"))
    assert share["use"] > 0.002 and share["sprint"] > 0.01
    assert share["drop"] == share["inventory"] == 0
    rate = np.abs(actions[:, -1])
    for low, high in ((0.1, 1), (1, 3), (3, 8), (8, 45)):
        assert ((rate > low) & (rate <= high)).mean() > 0.04, (low, high)
    assert (np.abs(pose["pitch"]) <= 36).mean() > 0.9
    idle = (np.abs(actions).sum(1) == 0).mean()
    # Stillness is learned from what is recorded: it must be there, and not take over.
    assert 0.1 < idle < 0.25


def test_a_player_at_a_wall_turns_away():
    env = Walled(0)
    _, pose = play(make_policy("explore"), 1500, env=env)
    far_end = np.linalg.norm(np.diff(pose["position"], axis=0), axis=1)
    assert (far_end > 0.1).mean() > 0.7
    # It never rests against the wall for long.
    windows = np.lib.stride_tricks.sliding_window_view(far_end, 80)
    assert (windows.max(1) > 0.1).all()


def test_a_swimmer_gets_out_of_the_water():
    env = Lake(0)
    obs, info = env.reset(seed=0)
    env.position[:] = (0.0, 10.0, -8.0)
    info = env._info(MINECRAFT.noop())
    policy = make_policy("mixture")
    policy.reset(np.random.default_rng(0), info)
    wet = []
    for _ in range(3000):
        obs, _, _, _, info = env.step(policy.act(obs, info))
        wet.append("water" in info["node_feet"])
    dry = np.flatnonzero(~np.array(wet))
    assert np.diff(dry).max() < 400


def test_return_trip_comes_back_to_the_same_place_and_view():
    _, pose = play(make_policy("return_trip"), 400, seed=5)
    away = np.linalg.norm(pose["position"] - pose["position"][0], axis=1)
    furthest = int(away.argmax())
    assert away[furthest] > 6
    back = furthest + int(away[furthest:].argmin())
    assert away[back] < 1.0
    turned = np.abs(wrap_degrees(pose["yaw"][back:] - pose["yaw"][0]))
    assert turned.min() < 4


def test_look_back_sees_the_same_view_again():
    _, pose = play(make_policy("look_back"), 60, seed=1)
    turned = np.abs([wrap_degrees(yaw - pose["yaw"][0]) for yaw in pose["yaw"]])
    assert turned.max() > 45 and turned[turned.argmax() :].min() < 2


def test_single_moves_one_control_at_a_time():
    actions, _ = play(make_policy("single"), 600)
    active = (actions[:, : len(KEYS)] > 0).sum(1)
    camera = (actions[:, -2:] != 0).sum(1)
    assert ((active == 0) | (camera == 0)).all() and (active <= 2).all() and (camera <= 1).all()


def test_a_gaze_has_its_magnitude_and_is_smooth():
    for magnitude in (0.2, 5.0):
        gaze = Gaze(np.random.default_rng(0), magnitude)
        gaze.saccades = 0.0
        yaw = np.array([gaze.turn(0.0)[1] for _ in range(4000)])
        assert 0.6 * magnitude < yaw.std() < 1.5 * magnitude
        assert np.abs(np.diff(yaw)).mean() < yaw.std()


def test_unknown_names_and_senseless_weights_are_refused():
    with pytest.raises(ValueError, match="unknown policy 'moonwalk'; known: mixture, explore"):
        make_policy("moonwalk")
    with pytest.raises(ValueError, match="weights"):
        Mixture({"explore": 0.0})


def test_a_player_in_a_pit_builds_its_way_out():
    class Pit(FakeEngine):
        """Two metres wide."""

        def step(self, action: Any) -> Any:
            out = super().step(action)
            self.position[[0, 2]] = np.clip(self.position[[0, 2]], -1, 1)
            return out

    _, pose = play(make_policy("explore"), 700, env=Pit(0))
    assert pose["pitch"].max() > 60


class Tree(FakeEngine):
    """A trunk of three pieces at x = z = 0; attacking while looking at a piece from near takes it away."""

    trunk: list[tuple[float, float, float]]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.trunk = [(0.0, 10.0, 0.0), (0.0, 11.0, 0.0), (0.0, 12.0, 0.0)]
        super().reset(seed=seed, options=options)
        self.position[:] = (3.0, 10.0, -7.0)
        return self._picture(), self._info(MINECRAFT.noop())

    def _info(self, executed: Any) -> dict[str, Any]:
        if executed[MINECRAFT.keys.index("attack")]:
            x, y, z = self.position
            for piece in list(self.trunk):
                away = np.array(piece) - (x, y + MINECRAFT_CAMERA.eye_height, z)
                yaw = wrap_degrees(np.degrees(np.arctan2(away[0], away[2])) - self.yaw)
                pitch = np.degrees(np.arctan2(-away[1], np.hypot(away[0], away[2]))) - self.pitch
                if np.linalg.norm(away) < 4 and abs(yaw) < 5 and abs(pitch) < 5:
                    self.trunk.remove(piece)
        nearby = {"tree": self.trunk[:1], "trunks": self.trunk} if self.trunk else {}
        return super()._info(executed) | {"nearby": nearby}


def test_chop_walks_to_a_trunk_and_cuts_all_of_it():
    env = Tree(0)
    play(make_policy("chop"), 300, env=env)
    assert not env.trunk


def test_the_mixture_cuts_trees_only_where_there_are_some():
    for env, wanted in ((Tree(0), {"chop"}), (FakeEngine(0), {"explore"})):
        policy = Mixture({"chop": 1.0})
        obs, info = env.reset(seed=0)
        policy.reset(np.random.default_rng(0), info)
        policy.act(obs, info)
        assert {policy.name} == wanted
