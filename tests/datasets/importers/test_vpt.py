"""OpenAI VPT and BASALT recordings: each known quirk, on files made in exactly that format."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.import_film import assert_aligned, film, random_actions, write_film
from worldsim.datasets.importers.cursor import draw_cursor
from worldsim.datasets.importers.importer import import_recordings
from worldsim.datasets.importers.recording import Footage, piece
from worldsim.datasets.importers.vpt import KEYS, find_vpt, open_vpt, state_lag, vpt_actions
from worldsim.datasets.importers.vpt_files import is_index
from worldsim.datasets.loading.latent_build import body_motion
from worldsim.datasets.store.store import EpisodeStore
from worldsim.datasets.store.video import write_video
from worldsim.spec.actions import MINECRAFT

NAMES = {name: key for key, name in KEYS.items()}


def line(t: int = 0, **changes: Any) -> dict[str, Any]:
    """A tick as the recorder writes it."""
    mouse = {"x": 640.0, "y": 360.0, "dx": 0.0, "dy": 0.0, "scaledX": 0.0, "scaledY": 0.0, "dwheel": 0.0}
    mouse |= {"buttons": [], "newButtons": []} | changes.pop("mouse", {})
    tick = {
        "mouse": mouse,
        "keyboard": {"keys": changes.pop("keys", []), "newKeys": [], "chars": ""},
        "isGuiOpen": False,
        "isGuiInventory": False,
        "hotbar": 0,
        "yaw": 0.0,
        "pitch": 0.0,
        "xpos": 8.0,
        "ypos": 64.0,
        "zpos": -3.0,
        "tick": t,
        "milli": 1649575088006 + 50 * t,
        "inventory": [{"type": "oak_log", "quantity": 3}],
        "serverTick": 4402 + t,
        "stats": {},
    }
    return tick | changes


def lines_of(actions: np.ndarray) -> list[dict[str, Any]]:
    """Ticks of MINECRAFT actions; their state is that of the frame, as documented."""
    lines, yaw = [], 0.0
    for t, row in enumerate(actions):
        names = [name for name, pressed in zip(MINECRAFT.keys, row[:-2], strict=True) if pressed]
        buttons = [number for number, name in enumerate(("attack", "use")) if name in names]
        mouse = {"dy": float(row[-2] / 0.15), "dx": float(row[-1] / 0.15), "buttons": buttons}
        lines.append(line(t, mouse=mouse, keys=[NAMES[n] for n in names if n in NAMES], yaw=yaw))
        yaw += float(row[-1])
    return lines


def write_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))


def write_recording(folder: Path, actions: np.ndarray, name: str = "Player729-f153ac423f61-20210806-224813") -> Path:
    write_film(folder / f"{name}.mp4", actions)
    write_lines(folder / f"{name}.jsonl", lines_of(actions))
    return folder / f"{name}.mp4"


def episode_of(footage: Footage):
    return piece(footage, np.stack(list(footage.frames())), 0, {})


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    actions = random_actions(30)
    # Attack in the first tick would count as stuck.
    actions[0, MINECRAFT.keys.index("attack")] = 0
    return write_recording(tmp_path_factory.mktemp("vpt"), actions), actions


def test_every_picture_follows_its_action(recorded: tuple[Path, np.ndarray]):
    video, actions = recorded
    episode = episode_of(open_vpt(video))
    np.testing.assert_allclose(episode.actions, actions, atol=1e-5)
    assert_aligned(episode)
    about = episode.provenance
    assert about["fps"] == 20 and tuple(about["keys"]) == MINECRAFT.keys and about["source"] == "vpt"
    np.testing.assert_allclose(np.diff(episode.state["yaw"]), episode.actions[:-1, -1], atol=1e-4)
    assert episode.state["position"].tolist()[3] == [-8, 64, -3]
    assert about["inventory_items"] == ["oak_log"] and episode.state["inventory"].tolist() == [[3]] * 30


def test_the_camera_is_float_degrees_pitch_first():
    actions, _ = vpt_actions([line(mouse={"dx": 1.0, "dy": -2.0}), line()])
    np.testing.assert_allclose(actions[0, -2:], [-0.3, 0.15], rtol=1e-6)


def test_walking_forward_is_forward_motion(tmp_path: Path):
    """Minecraft: yaw 0 looks along +z, yaw 90 along -x."""
    write_film(tmp_path / "a.mp4", np.zeros((5, 22), np.float32))
    for yaw, step in ((0.0, (0, 0.2)), (90.0, (-0.2, 0)), (180.0, (0, -0.2)), (-90.0, (0.2, 0))):
        lines = [line(t, yaw=yaw, xpos=5 + t * step[0], zpos=9 + t * step[1]) for t in range(5)]
        write_lines(tmp_path / "a.jsonl", lines)
        state = open_vpt(tmp_path / "a.mp4").state
        motion = body_motion(state["position"], state["yaw"], state["pitch"])
        np.testing.assert_allclose(motion[:, :3], np.tile([0.2, 0, 0], (4, 1)), atol=1e-5)


def test_impossible_jumps_of_the_mouse_are_dropped():
    actions, notes = vpt_actions([line(mouse={"dx": 1e5, "dy": 4.0}), line()])
    assert actions[0, -1] == 0 and actions[0, -2] == pytest.approx(0.6) and notes["dropped_turns"] == 1


def test_a_rate_in_the_mp4_that_differs_is_ignored(tmp_path: Path):
    actions = random_actions(6)
    video = write_recording(tmp_path, actions)
    write_film(video, actions, fps=30)
    assert open_vpt(video).provenance["fps"] == 20


def test_attack_that_is_stuck_from_the_start_is_released_until_it_is_pressed():
    buttons = [([0], [0]), ([0], []), ([0, 1], [1]), ([0], [0]), ([0], []), ([], [])]
    lines = [line(t, mouse={"buttons": held, "newButtons": new}) for t, (held, new) in enumerate(buttons)]
    actions, notes = vpt_actions(lines)
    assert actions[:, MINECRAFT.keys.index("attack")].tolist() == [0, 0, 0, 1, 1, 0]
    assert actions[:, MINECRAFT.keys.index("use")].tolist() == [0, 0, 1, 0, 0, 0]
    assert notes["stuck_attack_frames"] == 3
    # Held without being stuck: the recording does not begin with a press.
    actions, notes = vpt_actions([line(mouse={"buttons": [0]}), *lines[1:]])
    assert actions[:, MINECRAFT.keys.index("attack")].tolist() == [1, 1, 1, 1, 1, 0]
    assert not notes["stuck_attack_frames"]


@pytest.mark.parametrize("lag", [0, 1])
def test_scrolling_is_the_key_of_the_tick_that_caused_it(lag: int):
    """Recorders may note the state of a tick before or after its action: the yaw tells which."""
    turns, scroll = [4.0, -8.0, 12.0, 0.0, -6.0, 10.0, 2.0], 3
    lines, yaw, slot = [], 0.0, 0
    for t, dx in enumerate(turns):
        before = (yaw, slot)
        yaw, slot = yaw + 0.15 * dx, 4 if t == scroll else slot
        state = (yaw, slot) if lag else before
        lines.append(line(t, mouse={"dx": dx}, yaw=state[0], hotbar=state[1]))
    assert state_lag(lines) == lag
    actions, notes = vpt_actions(lines)
    pressed = np.argwhere(actions[:, :-2])
    assert pressed.tolist() == [[scroll, MINECRAFT.keys.index("hotbar.5")]] and notes["scrolled_frames"] == 1


def test_a_slot_that_a_key_selected_is_not_pressed_twice():
    lines = [line(0, keys=["key.keyboard.3"]), line(1, hotbar=2), line(2, hotbar=2)]
    actions, notes = vpt_actions(lines)
    assert actions.sum() == 1 and actions[0, MINECRAFT.keys.index("hotbar.3")] == 1 and not notes["scrolled_frames"]


def test_ticks_without_input_stay(tmp_path: Path):
    actions = random_actions(12)
    actions[3:7] = 0
    episode = episode_of(open_vpt(write_recording(tmp_path, actions)))
    assert len(episode) == 12 and not episode.actions[3:7].any()
    assert episode.provenance["null_actions"] == 5
    assert_aligned(episode)


def test_the_cursor_is_drawn_where_a_gui_is_open(tmp_path: Path):
    gray = np.full((6, 360, 640, 3), 90, np.uint8)
    write_video(tmp_path / "a.mp4", gray)
    # The window had 720 rows: mouse pixels count half in this video.
    lines = [line(t, isGuiOpen=t in (2, 3), mouse={"x": 400.0 + 100 * t, "y": 200.0}) for t in range(6)]
    write_lines(tmp_path / "a.jsonl", lines)
    episode = episode_of(open_vpt(tmp_path / "a.mp4"))
    changed = np.abs(episode.frames.astype(int) - 90).max(-1) > 60
    assert changed.any((1, 2)).tolist() == [False, False, True, True, False, False]
    assert episode.state["gui_open"].tolist() == changed.any((1, 2)).tolist()
    for t in (2, 3):
        rows, columns = np.nonzero(changed[t])
        assert (rows.min(), columns.min()) == (100, 200 + 50 * t) and rows.max() < 116 and columns.max() < 216 + 50 * t
        assert (episode.frames[t] > 240).all(-1).sum() > 20


def test_a_cursor_at_the_edge_is_cut_off():
    for x, y in ((-5, -5), (63, 31), (200, 10), (10, 200), (-50, 3)):
        frame = np.full((32, 64, 3), 90, np.uint8)
        draw_cursor(frame, x, y)
        assert frame.shape == (32, 64, 3) and (frame == 90).any()
    frame = np.full((360, 640, 3), 90, np.uint8)
    draw_cursor(frame, -3, -3)
    assert (frame[:8, :8] != 90).any() and (frame[20:] == 90).all()


def test_escape_closes_a_gui_and_else_is_nothing():
    keys = ["key.keyboard.escape"]
    actions, notes = vpt_actions([line(0, keys=keys, isGuiOpen=True), line(1, keys=keys), line(2)])
    assert actions[:, MINECRAFT.keys.index("inventory")].tolist() == [1, 0, 0]
    assert actions.sum() == 1 and notes["unknown_keys"] == 1


@pytest.mark.parametrize(("version", "scale"), [("8.0", 1.0), ("5.7", 0.5), ("6.9", 2.0)])
def test_recorders_that_scaled_the_mouse_in_a_gui_are_undone(tmp_path: Path, version: str, scale: float):
    folder = tmp_path / version
    write_film(folder / "a.mp4", np.zeros((3, 22), np.float32))
    write_lines(folder / "a.jsonl", [line(t, isGuiOpen=t == 1, mouse={"dx": 20.0}) for t in range(3)])
    footage = open_vpt(folder / "a.mp4")
    np.testing.assert_allclose(footage.actions[:, -1], [3, 3 * scale, 0], rtol=1e-6)
    assert footage.provenance["recorder_version"] == version


@pytest.mark.parametrize("difference", [-4, -1, 1, 4])
def test_missing_and_extra_frames_at_the_end_change_nothing_before(tmp_path: Path, difference: int):
    actions = random_actions(20)
    actions[0, :2] = 0
    video = write_recording(tmp_path, actions)
    write_lines(video.with_suffix(".jsonl"), lines_of(actions)[: 20 + min(0, difference)])
    write_video(video, film(actions)[: 20 - max(0, difference)], crf=8)
    episode = episode_of(open_vpt(video))
    assert len(episode) == 20 - abs(difference)
    np.testing.assert_allclose(episode.actions[:-1], actions[: len(episode) - 1], atol=1e-5)
    assert_aligned(episode)
    assert episode.provenance["video_frames"] - episode.provenance["action_lines"] == -difference


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path):
    video = write_recording(tmp_path, random_actions(30))
    write_lines(video.with_suffix(".jsonl"), lines_of(random_actions(60)))
    with pytest.raises(ValueError, match="30 frames, but 60 lines"):
        open_vpt(video)


def test_a_torn_last_line_is_dropped_and_any_other_is_named(tmp_path: Path):
    video = write_recording(tmp_path, random_actions(8))
    text = video.with_suffix(".jsonl").read_text()
    video.with_suffix(".jsonl").write_text(text[:-200])
    assert len(open_vpt(video)) == 7
    broken = text.splitlines()
    broken[4] = broken[4][:100]
    video.with_suffix(".jsonl").write_text("\n".join(broken))
    with pytest.raises(ValueError, match="line 5"):
        open_vpt(video)
    video.with_suffix(".jsonl").unlink()
    with pytest.raises(FileNotFoundError, match=r"\.jsonl beside it"):
        open_vpt(video)


FIELDS = (*line(), "mouse.dx", "mouse.buttons", "mouse.newButtons", "mouse.x", "keyboard.keys")
JUNK = (None, "text", [], {}, [[1]], -1, 1e400, True)


@pytest.mark.parametrize(
    "field", [*line(), "mouse.dx", "mouse.buttons", "mouse.newButtons", "mouse.x", "keyboard.keys"]
)
def test_whatever_stands_in_a_field_a_recording_is_read_or_told_to_be_broken(
    recorded: tuple[Path, np.ndarray], tmp_path: Path, field: str
):
    video = tmp_path / recorded[0].name
    video.symlink_to(recorded[0])
    outer, _, inner = field.partition(".")
    for number, junk in enumerate(JUNK):
        lines = lines_of(recorded[1])
        target = lines[7][outer] if inner else lines[7]
        target[inner or outer] = junk
        write_lines(video.with_suffix(".jsonl"), lines)
        store = EpisodeStore(tmp_path / f"store{number}")
        report = import_recordings(store, find_vpt(tmp_path))
        assert report.imported + len(report.broken) == 1 and len(store) == report.imported
        if report.imported:
            actions = store.read(store.names()[0]).actions
            assert np.isfinite(actions).all() and set(np.unique(actions[:, :-2])) <= {0, 1}


def test_mined_blocks_are_events(tmp_path: Path):
    write_film(tmp_path / "a.mp4", np.zeros((4, 22), np.float32))
    stats = [{}, {"minecraft.mine_block:minecraft.dirt": 1}, {"minecraft.mine_block:minecraft.dirt": 1}, {}]
    write_lines(tmp_path / "a.jsonl", [line(t, stats=stats[t]) for t in range(4)])
    assert list(open_vpt(tmp_path / "a.mp4").events) == [{"frame": 1, "kind": "dig", "node": "minecraft.dirt"}]


def test_files_of_one_sitting_share_a_split(tmp_path: Path):
    for name in ("ab-f153-20220401-224517", "ab-f153-20220401-225018", "ab-f153-20220402-090000"):
        write_film(tmp_path / f"{name}.mp4", np.zeros((2, 22), np.float32))
    first, second, other = find_vpt(tmp_path)
    assert first.group == second.group != other.group and first.split == second.split


@pytest.mark.parametrize("text", ['{"basedir": 3, "relpaths": [1]}', '{"relpaths": ["a"]}', "[]", "{", "\xff"])
def test_other_json_files_are_no_index(tmp_path: Path, text: str):
    (tmp_path / "a.json").write_text(text, encoding="latin-1")
    assert not is_index(tmp_path / "a.json")


def test_an_index_lists_what_lies_beside_it(tmp_path: Path):
    listed = ["data/8.0/a-1-20220101-000000.mp4", "data/8.0/missing.mp4", "data/8.0/b-1-20220101-000000.mp4"]
    (tmp_path / "8.0").mkdir()
    (tmp_path / "8.0/a-1-20220101-000000.mp4").touch()
    (tmp_path / "b-1-20220101-000000.mp4").touch()
    index = tmp_path / "all_8xx.json"
    index.write_text(json.dumps({"basedir": "https://example.org/", "relpaths": listed}))
    assert [Path(r.origin).name[0] for r in find_vpt(index)] == ["a", "b"]
    index.write_text(json.dumps({"basedir": "https://example.org/", "relpaths": listed[1:2]}))
    with pytest.raises(ValueError, match="none of the 1 recordings"):
        find_vpt(index)
