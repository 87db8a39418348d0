"""OpenAI's VPT contractor recordings, and MineRL BASALT's, which are the same: an mp4 and a jsonl, a line per frame.

What is known of them (Baker et al. 2022; the loader that OpenAI published beside the data) and what is done about it:

- A line is a tick of 50 ms: 20 Hz, whatever the mp4 says. Line t is what was pressed in frame t, seen in frame t + 1.
- Camera degrees are ``[dy, dx] * 360 / 2400``, in that order: [pitch, yaw]. The published loader writes them into an
  integer array, which loses every movement under a degree; here they stay floats. Jumps beyond 180 degrees in a
  tick are dropped.
- Some recordings begin with attack held down that nobody holds: from the first line, until it is really pressed.
- The mouse wheel is not recorded: only ``hotbar`` changes. The change becomes the key ``hotbar.N`` of the tick that
  caused it.
- The cursor of an open inventory is missing from the picture: it is drawn where ``mouse.x, mouse.y`` say. Recorders
  5.7, 5.8 and 6.7 to 6.9 scaled mouse movement in a GUI differently; that is undone.
- Escape closes a GUI: it becomes ``inventory`` while one is open.
- Positions are mirrored in x, to the hand that episodes have: at yaw 0 forward is +z and right is +x.
- Ticks without any input stay (VPT dropped them for imitation): a world goes on without its player.
- A tick may be missing whose frame is there: what is held before and after it is held in it, the mouse rests.
- The video may have a few frames more or fewer than the jsonl has lines; both begin together, the rest is cut. A last
  line that was torn off is dropped.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.importers.cursor import draw_cursor
from worldsim.datasets.importers.recording import Footage, Frame, Recording, base_of, files_below, names_of, still
from worldsim.datasets.importers.vpt_files import Line, indexed_videos, read_lines, with_missing_ticks
from worldsim.datasets.store.video import probe_video, stream_video
from worldsim.spec.actions import MINECRAFT

FPS = 20
DEGREES_PER_COUNT = 360 / 2400
LARGEST_TURN = 180.0
# Kinds of items in all inventories of a recording; the game has about 1,000.
MOST_ITEMS = 4096
# mouse.x and mouse.y are pixels of a window of this height, whatever the video's size.
WINDOW_HEIGHT = 720
# Mouse movement while a GUI is open, by version of the recorder (the folder that a recording lies in).
GUI_SCALES = {"5.7": 0.5, "5.8": 0.5, "6.7": 2.0, "6.8": 2.0, "6.9": 2.0}

KEYS = {
    "key.keyboard.w": "forward",
    "key.keyboard.s": "back",
    "key.keyboard.a": "left",
    "key.keyboard.d": "right",
    "key.keyboard.space": "jump",
    "key.keyboard.left.shift": "sneak",
    "key.keyboard.left.control": "sprint",
    "key.keyboard.q": "drop",
    "key.keyboard.e": "inventory",
    **{f"key.keyboard.{i}": f"hotbar.{i}" for i in range(1, 10)},
}
BUTTONS = {0: "attack", 1: "use"}
ESCAPE = "key.keyboard.escape"


def find_vpt(source: Path) -> list[Recording]:
    """Recordings in a folder, a single mp4, or an index file (those of its recordings that lie beside it).

    Raises:
        ValueError: an index file names no recording that is there.
    """
    videos = indexed_videos(source) if source.suffix == ".json" else files_below(source, (".mp4",))
    found = []
    for name, video in zip(names_of(videos, base_of(source)), videos, strict=True):
        found.append(
            Recording(
                name=name,
                origin=str(video),
                open=partial(open_vpt, video),
                # A sitting is recorded in files of five minutes, NAME-DATE-TIME: one world, hence one split.
                group=re.sub(r"-\d{6}$", "", video.stem),
                files=tuple(path for path in (video, video.with_suffix(".jsonl")) if path.is_file()),
                root=base_of(source),
            )
        )
    return found


def open_vpt(video: Path) -> Footage:
    """One recording.

    Raises:
        ValueError: the video or the jsonl cannot be read, or they do not belong together.
        OSError: one of them is missing.
    """
    path = video.with_suffix(".jsonl")
    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} beside it")
    info = probe_video(video)
    lines = read_lines(path, 2 * info.frames + 40)
    if abs(len(lines) - info.frames) > max(20, len(lines) // 10):
        raise ValueError(f"{info.frames} frames, but {len(lines)} lines in {path.name}: not the same recording")
    told, lines = len(lines), with_missing_ticks(path.name, lines, info.frames)
    length = min(len(lines), info.frames)
    actions, notes = vpt_actions(lines, gui_scale=GUI_SCALES.get(video.parent.name, 1.0))
    actions = actions[:length]
    actions[-1] = 0
    rewards, terminated = still(actions)
    state, items = _state(lines, state_lag(lines))
    return Footage(
        frames=partial(_frames, video, lines[:length]),
        actions=actions,
        rewards=rewards,
        terminated=terminated,
        state={name: array[:length] for name, array in state.items()},
        events=[event for event in _events(lines) if event["frame"] < length],
        provenance={
            "engine": "minecraft",
            "engine_version": "1.16.5",
            "source": "vpt",
            "policy": "human",
            "policy_version": "a person",
            "recorder_version": video.parent.name if re.fullmatch(r"\d+\.\d+", video.parent.name) else "",
            "keys": list(MINECRAFT.keys),
            "fps": FPS,
            "inventory_items": items,
            "video_frames": info.frames,
            "action_lines": told,
            "filled_ticks": len(lines) - told,
            **notes,
        },
    )


def vpt_actions(lines: Sequence[Line], gui_scale: float = 1.0) -> tuple[NDArray[np.float32], dict[str, int]]:
    """MINECRAFT actions (L, 22) of L lines, and how often something had to be mended."""
    actions = np.zeros((len(lines), MINECRAFT.size), np.float32)
    column = {name: i for i, name in enumerate(MINECRAFT.keys)}
    stuck = 0 in lines[0]["mouse"].get("newButtons", ())
    notes = {"stuck_attack_frames": 0, "dropped_turns": 0, "unknown_keys": 0}
    for t, line in enumerate(lines):
        mouse, gui = line["mouse"], bool(line.get("isGuiOpen"))
        stuck = stuck and (t == 0 or 0 not in mouse.get("newButtons", ()))
        buttons = set(mouse.get("buttons", ()))
        if stuck and 0 in buttons:
            buttons.discard(0)
            notes["stuck_attack_frames"] += 1
        names = [KEYS.get(key) or ("inventory" if key == ESCAPE and gui else None) for key in line["keyboard"]["keys"]]
        names += [BUTTONS.get(button) for button in buttons]
        notes["unknown_keys"] += names.count(None)
        actions[t, [column[name] for name in names if name]] = 1
        turn = np.array([mouse["dy"], mouse["dx"]], np.float64) * DEGREES_PER_COUNT * (gui_scale if gui else 1.0)
        notes["dropped_turns"] += int((np.abs(turn) > LARGEST_TURN).sum())
        actions[t, -2:] = np.where(np.abs(turn) > LARGEST_TURN, 0, turn)
    notes["scrolled_frames"] = _add_scrolling(actions, lines, column)
    notes["null_actions"] = int((~actions.any(1)).sum())
    return actions, notes


def state_lag(lines: Sequence[Line]) -> int:
    """0 if a line's state is that of its frame, 1 if that after its action: told by the yaw, which the mouse turns.

    Compared by correlation, since not every player's mouse turns by 0.15 degrees a count. Recordings in which the mouse
    hardly moves count as 0, the documented meaning.
    """
    if len(lines) < 3 or any("yaw" not in line for line in lines):
        return 0
    turned = np.array([line["mouse"]["dx"] for line in lines], np.float64)
    closed = np.array([not line.get("isGuiOpen") for line in lines])
    steps = (np.diff([line["yaw"] for line in lines]) + 180) % 360 - 180
    turning = closed[:-1] & closed[1:] & (turned[:-1] != turned[1:])
    if turning.sum() < 4:
        return 0
    before, after = (abs(_correlation(steps[turning], mouse[turning])) for mouse in (turned[:-1], turned[1:]))
    return int(after > before)


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    spread = a.std() * b.std()
    return float(((a - a.mean()) * (b - b.mean())).mean() / spread) if spread > 0 else 0.0


def _add_scrolling(actions: NDArray[np.float32], lines: Sequence[Line], column: Mapping[str, int]) -> int:
    """Press ``hotbar.N`` in the tick whose action changed the selected slot, if no key was pressed that did."""
    slots, lag, added = [line.get("hotbar") for line in lines], state_lag(lines), 0
    for t in range(1, len(lines)):
        slot, cause = slots[t], t - 1 + lag
        if slot is None or slot == slots[t - 1] or f"hotbar.{slot + 1}" not in column:
            continue
        key = column[f"hotbar.{slot + 1}"]
        # A key may take a tick longer than the wheel to show.
        if not actions[max(0, cause - 1) : cause + 1, key].any():
            actions[cause, key] = 1
            added += 1
    return added


def _state(lines: Sequence[Line], lag: int) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """Privileged arrays as far as all lines tell them, and the names of the inventory's columns."""
    rows = [lines[max(0, t - lag)] for t in range(len(lines))]
    state: dict[str, NDArray[Any]] = {"gui_open": np.array([bool(line.get("isGuiOpen")) for line in lines])}
    for name, fields, kind in (
        ("yaw", ("yaw",), np.float32),
        ("pitch", ("pitch",), np.float32),
        ("wield", ("hotbar",), np.int16),
        ("position", ("xpos", "ypos", "zpos"), np.float32),
    ):
        if all(isinstance(line.get(f), int | float) for line in lines for f in fields):
            values = np.array([[line[f] for f in fields] for line in rows], kind)
            state[name] = values if len(fields) > 1 else values[:, 0]
    # At yaw 0 an episode's player looks along +z with +x to the right; Minecraft's has -x there.
    if "position" in state:
        state["position"] *= np.array([-1, 1, 1], np.float32)
    # The selected slot counts from 0 in the file, from 1 in an episode.
    if "wield" in state:
        state["wield"] += 1
    items, inventory = _inventory(rows)
    if items:
        state["inventory"] = inventory
    return state, items


def _inventory(rows: Sequence[Line]) -> tuple[list[str], NDArray[np.int32]]:
    """Names of all items that were ever carried, and how many of each in every frame: (F, items)."""
    bags = [{i["type"]: i["quantity"] for i in line.get("inventory", ()) if "type" in i} for line in rows]
    items = sorted({item for bag in bags for item in bag})
    if len(items) > MOST_ITEMS:
        raise ValueError(f"its inventories hold {len(items)} kinds of items, more than {MOST_ITEMS}")
    return items, np.array([[bag.get(item, 0) for item in items] for bag in bags], np.int32)


def _events(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Blocks that were mined: steps of the game's own statistics."""
    events, prefix = [], "minecraft.mine_block:"
    for t in range(1, len(lines)):
        now, before = lines[t].get("stats") or {}, lines[t - 1].get("stats") or {}
        for name, count in now.items():
            if name.startswith(prefix) and count > before.get(name, 0):
                events.append({"frame": t, "kind": "dig", "node": name.removeprefix(prefix)})
    return events


def _frames(video: Path, lines: Sequence[Line]) -> Iterator[Frame]:
    """Frames with the cursor drawn where a GUI is open."""
    for line, frame in zip(lines, stream_video(video), strict=False):
        if line.get("isGuiOpen") and {"x", "y"} <= line["mouse"].keys():
            scale = frame.shape[0] / WINDOW_HEIGHT
            draw_cursor(frame, line["mouse"]["x"] * scale, line["mouse"]["y"] * scale)
        yield frame
