"""Minari data sets, written by the minari package itself; HDF5 also in the layouts of its other versions."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from tests.import_film import assert_aligned, film
from worldsim.cli.app import run
from worldsim.datasets.importers.minari import data_folder, find_minari
from worldsim.datasets.importers.recording import piece
from worldsim.datasets.store.store import EpisodeStore
from worldsim.errors import UserError

minari = pytest.importorskip("minari")
h5py = pytest.importorskip("h5py")

STEPS = 7
PIXELS = spaces.Box(0, 255, (32, 64, 3), np.uint8)
FOUR = spaces.Discrete(4)


def choices(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(4, size=STEPS)


def pictures(vectors: np.ndarray) -> np.ndarray:
    """Observations (N + 1, 32, 64, 3) that show the actions (N, A) which led to them."""
    padded = np.concatenate([vectors, np.zeros((1, vectors.shape[1]), np.float32)]).astype(np.float32)
    return film(padded, continuous=())


def write(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    observe: Any = lambda shown: shown,
    seen: spaces.Space[Any] = PIXELS,
    acts: Any = choices,
    acted: spaces.Space[Any] = FOUR,
    vectors: Any = lambda taken: np.eye(4)[taken],
    **options: Any,
) -> Path:
    """A data set of two episodes; ``vectors`` makes the action vectors (N, A) of what ``acts`` gives."""
    from minari.data_collector import EpisodeBuffer

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder))
    buffers = []
    for number in range(2):
        taken = acts(number)
        buffers.append(
            EpisodeBuffer(
                id=number,
                seed=40 + number,
                observations=observe(pictures(np.asarray(vectors(taken)))),
                actions=taken,
                rewards=[float(t) for t in range(STEPS)],
                terminations=[number == 0 and t == STEPS - 1 for t in range(STEPS)],
                truncations=[number == 1 and t == STEPS - 1 for t in range(STEPS)],
                infos={},
            )
        )
    minari.create_dataset_from_buffers(
        "games/toy-v0", buffers, observation_space=seen, action_space=acted, algorithm_name="random", **options
    )
    return folder / "games/toy-v0"


def episodes_of(root: Path, view: str = ""):
    footages = [recording.open() for recording in find_minari(root, view)]
    return [piece(footage, np.stack(list(footage.frames())), 0, {}) for footage in footages]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["hdf5", "arrow", "parquet"])
def test_every_picture_follows_its_action(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str):
    root = write(monkeypatch, tmp_path, data_format=kind)
    assert data_folder(root) == data_folder(root / "data") == root / "data"
    first, second = episodes_of(root)
    for number, episode in enumerate((first, second)):
        assert len(episode) == STEPS + 1 and episode.provenance["keys"] == [f"action.{i}" for i in range(4)]
        np.testing.assert_array_equal(episode.actions[:-1], np.eye(4)[choices(number)])
        assert_aligned(episode, continuous=())
        assert episode.rewards.tolist() == [*range(STEPS), 0]
        assert episode.provenance["source"] == "minari:games/toy-v0" and episode.provenance["policy"] == "random"
    assert first.terminated.tolist() == [False] * STEPS + [True] and not second.terminated.any()
    assert not first.provenance["truncated"] and second.provenance["truncated"]
    if kind == "hdf5":
        assert second.provenance["start_seed"] == 41


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_dict_of_observations_and_of_actions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen = spaces.Dict({"view": PIXELS, "speed": spaces.Box(-9, 9, (2,), np.float32)})
    acted = spaces.Dict({"camera": spaces.Box(-180, 180, (2,), np.float32), "jump": spaces.Discrete(2)})

    def acts(number: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(number)
        return {"camera": rng.uniform(-5, 5, (STEPS, 2)).astype(np.float32), "jump": rng.integers(2, size=STEPS)}

    def observe(shown: np.ndarray) -> dict[str, np.ndarray]:
        return {"view": shown, "speed": np.tile(np.arange(STEPS + 1, dtype=np.float32)[:, None], 2)}

    root = write(monkeypatch, tmp_path, observe, seen, acts, acted, lambda taken: taken["jump"][:, None])
    episode = episodes_of(root)[0]
    assert episode.provenance["keys"] == ["jump"]
    np.testing.assert_array_equal(episode.actions[:-1, 0], acts(0)["jump"])
    np.testing.assert_allclose(episode.actions[:-1, 1:], acts(0)["camera"])
    assert episode.state["speed"][:, 0].tolist() == list(range(STEPS + 1))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_pictures_in_other_layouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Gray, channels first, and JPEG as Minari 0.5 stores it: bytes of varying length."""
    root = write(monkeypatch, tmp_path)
    whole = episodes_of(root)[0].frames
    layouts: dict[str, tuple[Any, Any, float]] = {
        "gray": ((32, 64), lambda f: f[..., 0], 0),
        "last": ((32, 64, 1), lambda f: f[..., :1], 0),
        "first": ((3, 32, 64), lambda f: f.transpose(0, 3, 1, 2), 0),
        "jpeg": ((32, 64, 3), None, 12),
    }
    for shape, change, tolerance in layouts.values():
        with h5py.File(root / "data/main_data.hdf5", "a") as file:
            del file["episode_0/observations"]
            if change is not None:
                file["episode_0/observations"] = change(whole)
            else:
                cells = file.create_dataset("episode_0/observations", len(whole), h5py.vlen_dtype(np.uint8))
                for t, frame in enumerate(whole):
                    cells[t] = np.frombuffer(jpeg(frame), np.uint8)
        about = json.loads((root / "data/metadata.json").read_text())
        low, high = np.zeros(shape, int).tolist(), np.full(shape, 255).tolist()
        about["observation_space"] = json.dumps(
            {"type": "Box", "dtype": "uint8", "shape": shape, "low": low, "high": high}
        )
        (root / "data/metadata.json").write_text(json.dumps(about))
        found = np.stack(list(find_minari(root)[0].open().frames()))
        assert np.abs(found.astype(int) - whole).mean() <= tolerance


def jpeg(frame: np.ndarray) -> bytes:
    image = pytest.importorskip("PIL.Image")
    memory = io.BytesIO()
    image.fromarray(frame).save(memory, "JPEG", quality=95)
    return memory.getvalue()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_one_of_several_pictures_has_to_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen = spaces.Dict({"left": PIXELS, "right": PIXELS})
    root = write(monkeypatch, tmp_path, lambda f: {"left": f, "right": 255 - f}, seen)
    with pytest.raises(UserError, match="several pictures: choose one with view=left"):
        find_minari(root)
    with pytest.raises(UserError, match="no picture 'top'"):
        find_minari(root, "top")
    assert (episodes_of(root, "right")[0].frames == 255 - episodes_of(root, "left")[0].frames).all()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damage_in_one_episode_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = write(monkeypatch, tmp_path)
    with h5py.File(root / "data/main_data.hdf5", "a") as file:
        del file["episode_0/actions"]
        file["episode_1/rewards"].resize((STEPS - 2,))
    first, second = find_minari(root)
    with pytest.raises(ValueError, match="lacks a part"):
        first.open()
    with pytest.raises(ValueError, match="8 observations for 5 actions"):
        second.open()
    content = (root / "data/main_data.hdf5").read_bytes()
    (root / "data/main_data.hdf5").write_bytes(content[:900])
    with pytest.raises(UserError, match="not a whole HDF5 file"):
        find_minari(root)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damage_anywhere_in_the_tables_of_contents_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(monkeypatch, tmp_path) / "data/main_data.hdf5"
    whole, told = path.read_bytes(), 0
    for place in range(0, min(len(whole), 4096), 16):
        path.write_bytes(whole[:place] + b"\xfe" * 8 + whole[place + 8 :])
        try:
            find_minari(path.parent.parent)
        except (UserError, ValueError):
            told += 1
    assert told > 10


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_data_sets_without_pictures_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    numbers = spaces.Box(-1, 1, (4,), np.float32)
    root = write(monkeypatch, tmp_path, lambda f: np.zeros((len(f), 4), np.float32), numbers)
    with pytest.raises(UserError, match="hold no pictures"):
        find_minari(root)
    with pytest.raises(UserError, match="no Minari data set"):
        find_minari(tmp_path / "games")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_name_that_no_encoding_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    root = write(monkeypatch, tmp_path)
    about = json.loads((root / "data/metadata.json").read_text())
    (root / "data/metadata.json").write_text(json.dumps(about | {"dataset_id": "\ud800"}))
    out = tmp_path / "store"
    assert run(["data", "import", str(root), f"out={out}"]) == 0
    store = EpisodeStore(out)
    assert len(store) == 2 and store.read(store.names()[0]).provenance["source"] == "minari:\\ud800"
    assert run(["data", "check", str(out), f"folder={tmp_path / 'run'}"]) in (0, 1)
    capsys.readouterr().out.encode()
