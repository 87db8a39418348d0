"""Recorded returns, on worlds that remember, forget, undo what was dug, and hold a picture that stands still."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.toy_world import panorama, view
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore, split_of
from worldsim.evaluation.config import PRESETS, EvalThresholds
from worldsim.evaluation.interface.lines import verdict
from worldsim.evaluation.interface.part import HELD_OUT, Evaluation
from worldsim.evaluation.measures.returns.changes import around, find_changes, turned_to
from worldsim.evaluation.measures.returns.stretches import (
    KINDS,
    LOOK_ROUND,
    MIRROR,
    ROUND_TRIP,
    THERE_AND_BACK,
    Stretch,
    find_returns,
)
from worldsim.evaluation.parts.returns import LOST, UNCHANGED, Returns
from worldsim.evaluation.reports.summary import skipped
from worldsim.spec.actions import MINECRAFT
from worldsim.spec.camera import MINECRAFT_CAMERA

PAST, FPS = 9, 20
PART, LIMITS = Returns(), EvalThresholds()
SCRIPTS = ("walk", "look_round", "loop", "mirror", "alter")
DUG = slice(30, 50), slice(62, 82)


@dataclass(frozen=True)
class Player:
    """Where a player is and looks, in which map, and whether a block was dug there."""

    map: int
    x: float = 0.0
    z: float = 0.0
    yaw: float = 0.0
    dug: bool = False

    def after(self, action: np.ndarray) -> "Player":
        """Half a metre a frame along the axes, whatever way it looks; every stroke digs."""
        forward, back, left, right = (
            float(action[MINECRAFT.keys.index(k)]) for k in ("forward", "back", "left", "right")
        )
        dug = self.dug or bool(action[MINECRAFT.keys.index("attack")])
        x, z = self.x + (right - left) / 2, self.z + (forward - back) / 2
        return replace(self, x=x, z=z, yaw=self.yaw + float(action[-1]), dug=dug)

    def sees(self) -> np.ndarray:
        """A panorama that turns with the head and shifts with every step."""
        wide = panorama(self.map).copy()
        if self.dug:
            wide[DUG] //= 4
        return view(np.roll(wide, (round(5 * self.z), round(3 * self.x)), (0, 1)), self.yaw)


def doing(frames: int, *keys: str, yaw: float = 0.0) -> list[np.ndarray]:
    action = np.zeros(MINECRAFT.size, np.float32)
    action[[MINECRAFT.keys.index(key) for key in keys]] = 1
    action[-1] = yaw
    return [action] * frames


LOOKS_AWAY = [*doing(10, yaw=9), *doing(6), *doing(10, yaw=-9), *doing(14)]
# Each begins with the past; the numbers of frames are those that the finder must find.
PLAYS: dict[str, list[tuple[str, list[np.ndarray]]]] = {
    LOOK_ROUND: [("walk", doing(12)), ("look_round", [*doing(6), *LOOKS_AWAY])],
    THERE_AND_BACK: [
        ("walk", doing(12)),
        ("loop", [*doing(6), *doing(12, "forward"), *doing(6), *doing(12, "back"), *doing(14)]),
    ],
    ROUND_TRIP: [
        ("walk", doing(12)),
        ("loop", [*doing(6), *doing(12, "forward"), *doing(12, "right"), *doing(12, "back", "left"), *doing(14)]),
    ],
    MIRROR: [
        ("walk", doing(12)),
        ("mirror", [*doing(8, "forward", "right", yaw=2), *doing(3), *doing(8, "back", "left", yaw=-2), *doing(14)]),
    ],
    "alter": [("walk", doing(12)), ("alter", [*doing(6), *doing(4, "attack"), *doing(8), *LOOKS_AWAY])],
}  # fmt: skip


def played(seed: int, number: int, play: Sequence[tuple[str, list[np.ndarray]]]) -> tuple[Episode, list[Player]]:
    """An episode of some scripts, and where its player was."""
    player, players, actions, playing = Player(number), [], [], []
    for script, done in play:
        for action in done:
            players.append(player)
            actions.append(action)
            playing.append(SCRIPTS.index(script))
            player = player.after(action)
    place = np.array([(p.x, 0.5, p.z) for p in players], np.float32)
    digs = [t for t in range(1, len(players)) if players[t].dug and not players[t - 1].dug]
    return Episode(
        frames=np.stack([p.sees() for p in players]), actions=np.stack(actions),
        rewards=np.zeros(len(players), np.float32), terminated=np.zeros(len(players), bool),
        state={
            "position": place, "velocity": np.diff(place, axis=0, prepend=place[:1]) * FPS,
            "yaw": np.array([p.yaw for p in players], np.float32), "pitch": np.zeros(len(players), np.float32),
            "script": np.array(playing, np.int16),
        },
        # Three metres ahead of the eye.
        events=[{"frame": t, "kind": "dig", "position": [0, 2, 3]} for t in digs],
        provenance={
            "seed": seed, "split": split_of(seed), "fps": FPS, "keys": list(MINECRAFT.keys), "scripts": list(SCRIPTS),
            "camera": MINECRAFT_CAMERA.to_json(),
        },
    ), players  # fmt: skip


class RecordedWorld:
    """Goes on from recorded pictures as the game does; ``lost`` says what it makes of a player who went away."""

    chunk, spec, memory = 2, MINECRAFT, None
    config = SimpleNamespace(fps=FPS)

    def __init__(self, known: dict[bytes, Player], lost: Any = lambda player: player, frozen: bool = False):
        self.known, self.lost, self.frozen = known, lost, frozen

    def prefill(self, frames: Any, actions: Any, seeds: Any, **known: Any) -> Any:
        players = [self.known[frame[-1].tobytes()] for frame in frames]
        return SimpleNamespace(players=players, began=players)

    def step(self, state: Any, actions: Any, inplace: bool = False) -> Any:
        shown, players = [], []
        for player, began, chunk in zip(state.players, state.began, actions, strict=True):
            for action in chunk:
                player = player if self.frozen else player.after(action)
                if abs(player.yaw - began.yaw) > 60 or np.hypot(player.x - began.x, player.z - began.z) > 3:
                    player = self.lost(player)
                shown.append(player.sees())
            players.append(player)
        frames = np.stack(shown).reshape(len(players), self.chunk, *shown[0].shape)
        return SimpleNamespace(players=players, began=state.began), SimpleNamespace(
            frames=frames, latents=torch.ones(len(players), 1, 1, 1)
        )


def forgets(player: Player) -> Player:
    return replace(player, map=player.map % 100 + 100, dug=False)


def undoes(player: Player) -> Player:
    return replace(player, dug=False)


def called(number: int, kind: str) -> str:
    return f"map{number}-{kind.replace(' ', '-')}"


def record(store: EpisodeStore, kinds: Sequence[str]) -> dict[bytes, Player]:
    known: dict[bytes, Player] = {}
    for number, seed in enumerate([seed for seed in range(200) if split_of(seed) == "test"][:2]):
        for kind in kinds:
            episode, players = played(seed, number, PLAYS[kind])
            store.append(episode, called(number, kind))
            known |= {frame.tobytes(): player for frame, player in zip(episode.frames, players, strict=True)}
    return known


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[EpisodeStore, dict[bytes, Player]]:
    store = EpisodeStore(tmp_path_factory.mktemp("returns") / "store")
    return store, record(store, tuple(PLAYS))


def measure(world: Any, store: EpisodeStore, **numbers: int) -> tuple[dict[str, Any], Any]:
    preset: Any = replace(PRESETS["quick"], prefix=PAST, **numbers)
    return PART.run(
        Evaluation(
            world=world, store=store, split="test", preset=preset, thresholds=LIMITS, seed=0, folder=Path("x"),
            branches=Path("x"), rows=3,
        )
    )  # pyright: ignore[reportReturnType]  # fmt: skip


def shares(found: dict[str, Any]) -> dict[str, float]:
    out = {kind: entry["held"]["value"] for kind, entry in found["kinds"].items()}
    return out | {"changes": found["changes"]["held"]["value"]}


def test_returns_are_found_where_they_were_played(recorded: tuple[EpisodeStore, Any]):
    found = find_returns(recorded[0], HELD_OUT, PAST, 10)
    # Leaves at the end of a rest; is back with its first frame of rest again: both ends of each script are known.
    wanted = {LOOK_ROUND: (17, 28, 44), THERE_AND_BACK: (17, 30, 49), ROUND_TRIP: (17, 42, 55), MIRROR: (12, 20, 32)}
    for kind, (leaves, away, back) in wanted.items():
        assert [s.name for s in found[kind]] == [called(n, kind) for n in range(2)]
        assert {(s.leaves, s.back, s.later) for s in found[kind]} == {(leaves, back, back + 8)}, kind
        assert {s.away for s in found[kind]} == {away}, kind
    assert len(find_returns(recorded[0], HELD_OUT, PAST, 1)[MIRROR]) == 1
    # What has no past of that length is none.
    assert not any(find_returns(recorded[0], HELD_OUT, 19, 10)[kind] for kind in KINDS)


def test_a_world_that_remembers_is_perfect(recorded: tuple[EpisodeStore, Any]):
    store, known = recorded
    found, films = measure(RecordedWorld(known), store)
    assert shares(found) == dict.fromkeys((*KINDS, "changes"), 1.0)
    assert all(found["kinds"][kind]["psnr"]["value"] == 60 for kind in KINDS)
    assert found["changes"]["dug"] == 2 and found["changes"]["placed"] == 0
    assert found["changes"]["rows"]["recorded"]["value"] == 1 and found["changes"]["rows"]["away"]["value"] == 0
    lines = list(PART.summary(found, LIMITS.goals))  # pyright: ignore[reportAttributeAccessIssue]
    assert [verdict(line) for line in lines].count("met") == 3 and not [
        1 for line in lines if verdict(line) == "missed"
    ]
    assert films[LOST].shape == (5, 5, 80, 144, 3) and films[UNCHANGED].shape == (5, 6, 80, 144, 3)
    assert (films[LOST][:, 1] == films[LOST][:, 2]).all() and (films[LOST][:, 3] == films[LOST][:, 4]).all()
    charts = list(PART.charts(found, 0.1))
    assert len(charts) == 4 and all(min(chart.curves["dream"][0]) == 60 for chart in charts)  # pyright: ignore[reportArgumentType]
    [section] = PART.sections(found, films)
    assert len(section.pictures) == 20 and section.table is not None and len(section.table.rows) == 4


def test_a_world_that_forgets_has_nothing_again(recorded: tuple[EpisodeStore, Any]):
    store, known = recorded
    found, _ = measure(RecordedWorld(known, forgets), store)
    assert shares(found) == dict.fromkeys((*KINDS, "changes"), 0.0)
    for kind in KINDS:
        entry = found["kinds"][kind]
        assert entry["left"]["value"] == 1 and entry["psnr"]["value"] < entry["rows"]["away"]["value"] + 3
        # At the first step it is still there, at the end it is not: the curve does not rise again.
        assert entry["way"]["dream"]["value"][0] == 60 and entry["way"]["dream"]["value"][-1] < 15
    assert found["failures"][LOST]["rate"]["value"] == found["failures"][UNCHANGED]["rate"]["value"] == 1


def test_a_picture_that_stands_still_does_not_win(recorded: tuple[EpisodeStore, Any]):
    store, known = recorded
    found, _ = measure(RecordedWorld(known, frozen=True), store)
    # It has the very view, since it never left it.
    assert all(found["kinds"][kind]["psnr"]["value"] == 60 for kind in KINDS)
    assert all(found["kinds"][kind]["left"]["value"] == 0 for kind in KINDS)
    assert shares(found) == dict.fromkeys((*KINDS, "changes"), 0.0)
    assert found["failures"][LOST]["rate"]["value"] == found["failures"][UNCHANGED]["rate"]["value"] == 1


def test_a_world_that_undoes_what_was_dug_has_the_view_and_not_the_change(recorded: tuple[EpisodeStore, Any]):
    store, known = recorded
    found, _ = measure(RecordedWorld(known, undoes), store)
    assert shares(found) == dict.fromkeys(KINDS, 1.0) | {"changes": 0.0}
    changes = found["changes"]
    assert changes["view_lost"]["value"] == 0 and changes["share"]["value"] == pytest.approx(0, abs=0.01)


def test_what_was_not_recorded_is_left_out_and_says_why(tmp_path: Path):
    store = EpisodeStore(tmp_path / "loops")
    known = record(store, [THERE_AND_BACK])
    found, _ = measure(RecordedWorld(known), store)
    assert found["kinds"][THERE_AND_BACK]["held"]["value"] == 1 and "skipped" in found["changes"]
    reasons = dict(skipped({"returns": found}))
    assert set(reasons) == {f"returns, {kind}" for kind in (LOOK_ROUND, ROUND_TRIP, MIRROR, "changed blocks")}
    assert "(mirror)" in reasons[f"returns, {MIRROR}"]
    assert list(PART.sections(found, {})) and len(list(PART.charts(found, 0.1))) == 1
    bare = EpisodeStore(tmp_path / "bare")
    episode, _ = played(next(seed for seed in range(200) if split_of(seed) == "test"), 0, PLAYS["alter"])
    bare.append(replace(episode, state={}, provenance={**episode.provenance, "scripts": []}), "bare")
    for world, places in (
        (RecordedWorld(known), bare),
        (SimpleNamespace(spec=replace(MINECRAFT, camera=False)), store),
    ):
        found, films = measure(world, places)
        assert set(found) == {"skipped"} and films == {}


def test_a_change_that_cannot_be_seen_is_none(tmp_path: Path, recorded: tuple[EpisodeStore, Any]):
    assert [(c.kind, c.stretch.leaves, c.stretch.back) for c in find_changes(recorded[0], HELD_OUT, PAST, 9)] == [
        ("dug", 29, 56)
    ] * 2
    seed = next(seed for seed in range(200) if split_of(seed) == "test")
    episode, _ = played(seed, 0, PLAYS["alter"])
    elsewhere = [{**episode.events[0], "position": [4, 1, 3]}]
    store = EpisodeStore(tmp_path / "store")
    store.append(replace(episode, events=elsewhere), "beside")
    store.append(replace(episode, events=[]), "nothing")
    assert find_changes(store, HELD_OUT, PAST, 9) == []


def test_a_block_is_around_where_it_is_seen():
    eye = MINECRAFT_CAMERA.eye_height
    pose = np.array([10.0, 0.0, 20.0, 90.0, 0.0])
    # Yaw 90 looks along +x: a block three metres ahead, its middle on the camera's axis, is 2.5 m away: 22 pixels wide.
    seen = around([[13, 0, 20]], pose - [0, eye, 0, 0, 0], (80, 144), MINECRAFT_CAMERA)
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    half = 0.5 / 2.5 * MINECRAFT_CAMERA.focal_pixels(80)
    for found, middle in ((rows, 39.5), (columns, 71.5)):
        assert found[0] == pytest.approx(middle - half - 2, abs=1.1) and found[-1] == pytest.approx(
            middle + half + 2, abs=1.1
        )
    # Behind the eye it may be anywhere; where nothing is told too.
    assert around([[10, 0, 20]], pose - [0, eye, 0, 0, 0], (80, 144), MINECRAFT_CAMERA).all()
    assert around([], pose, (80, 144), MINECRAFT_CAMERA).all()


def test_a_picture_turns_with_the_head():
    frame, fill = np.zeros((80, 144, 3), np.uint8), np.full((80, 144, 3), 9, np.uint8)
    frame[38:42, 70:74] = 255
    level, up = np.zeros(5), np.array([5.0, 1.0, 2.0, 0.0, -10.0])
    turned = turned_to(frame, np.array([5.0, 1.0, 2.0, 0.0, 0.0]), up, fill, MINECRAFT_CAMERA)
    rows = np.flatnonzero((turned[..., 0] > 128).any(1))
    # Whoever looks up by 10 degrees sees the middle lower.
    assert rows.mean() == pytest.approx(39.5 + MINECRAFT_CAMERA.focal_pixels(80) * np.tan(np.radians(10)), abs=1)
    assert (turned[:3] == 9).all() and (turned_to(frame, level, level, fill, MINECRAFT_CAMERA)[:60] == frame[:60]).all()


def test_a_stretch_is_as_long_as_its_way():
    assert len(Stretch("a", 3, 5, 9, 12)) == 6
