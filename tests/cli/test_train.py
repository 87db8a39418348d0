"""The commands of a whole road on a tiny store: train a tokenizer, then dynamics."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny_memory import tiny_memory
from tests.training.memory.walks import episode
from worldsim import cli
from worldsim.datasets.loading.latent_pack import SET
from worldsim.datasets.loading.latents import LatentClips, MixedClips
from worldsim.datasets.loading.walks import Walk
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore, split_of
from worldsim.models.checkpoint import load_tensors, read_metadata
from worldsim.simulation.config import SamplingConfig
from worldsim.simulation.memory.files import save_memory
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.actions import MINECRAFT
from worldsim.spec.camera import MINECRAFT_CAMERA

TINY = [f"model.{name}=8" for name in ("channels", "encoder_width", "decoder_width", "detail_width")]


def record(store: EpisodeStore, seed: int, frames: int = 80, size: tuple[int, int] = (80, 48)) -> None:
    """A noisy picture that moves to the left when the player turns right."""
    rng = np.random.default_rng(seed)
    wide = rng.integers(0, 255, (size[1] // 8, 60, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    yaw = np.cumsum(rng.uniform(0, 3, frames))
    pictures = np.stack([np.roll(wide, -int(y), 1)[:, : size[0]] for y in yaw])
    actions = np.zeros((frames, MINECRAFT.size), np.float32)
    actions[:-1, -1] = np.diff(yaw)
    state = {"position": np.zeros((frames, 3)), "yaw": yaw, "pitch": np.zeros(frames)}
    recorded = Episode(
        frames=pictures, actions=actions, rewards=np.zeros(frames, np.float32), terminated=np.zeros(frames, bool),
        state=state, text="turning", provenance={"seed": seed, "split": split_of(seed), "fps": 20},
    )  # fmt: skip
    store.append(recorded, f"map{seed}")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "store"
    made = EpisodeStore(path)
    for split in ("train", "validation", "test"):
        for seed in [seed for seed in range(200) if split_of(seed) == split][:2]:
            record(made, seed)
    return path


@pytest.mark.slow
def test_train_tokenizer_then_dynamics(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    words = ["train", "tokenizer", f"data={store}", "folder=tok", "training.steps=2", "batch=2", "chunks=4", *TINY]
    assert cli.main(words) == 0
    assert (tmp_path / "tok" / "tokenizer.safetensors").exists() and (tmp_path / "tok" / "config.yaml").exists()
    words = ["train", "dynamics", f"data={store}", "tokenizer=tok/tokenizer.safetensors", "folder=dyn", "model=tiny"]
    words += ["training.steps=2", "training.compile=false", "batch=2", "frames=8"]
    assert cli.main(words) == 0
    # Started again, a finished run has nothing left to do.
    assert cli.main(words) == 0
    assert WorldModel.load(tmp_path / "dyn" / "world").chunk == 2
    # The same elsewhere, where the store is not: the same network, to the rounding of its latents.
    assert cli.main(["data", "pack", f"{store}-latents", "--out", "packs", "step=0.001"]) == 0
    assert cli.main(["data", "unpack", "packs", "--out", "carried"]) == 0
    words = [w for w in words if not w.startswith(("data=", "folder="))]
    assert cli.main([*words, "latents=carried", "folder=away"]) == 0
    there, here = (load_tensors(tmp_path / run / "dit.safetensors") for run in ("away", "dyn"))
    assert there[1]["trained_on"] == here[1]["trained_on"]
    for name, tensor in here[0].items():
        torch.testing.assert_close(there[0][name], tensor, atol=5e-3, rtol=0)
    assert WorldModel.load(tmp_path / "away" / "world").config == WorldModel.load(tmp_path / "dyn" / "world").config
    for file in ("tokenizer.safetensors", "dit.safetensors"):
        (trained_on,) = read_metadata(tmp_path / "dyn" / "world" / file)["trained_on"]["stores"]
        assert trained_on["store"] == str(store) and len(trained_on["episodes"]) == 2


@pytest.mark.slow
def test_packed_latents_are_trained_on_where_they_are(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """In a folder and behind a URL alike, by the setting that names a cache."""
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "tokenizer", f"data={store}", "folder=tok", "training.steps=1", "batch=1", *TINY]) == 0
    words = ["train", "dynamics", "tokenizer=tok/tokenizer.safetensors", "model=tiny", "training.steps=2", "batch=2"]
    words += ["training.compile=false", "frames=8", "training.parts=2", "shuffle_mb=0.001"]
    assert cli.main([*words, f"data={store}", "latents=cache", "folder=dyn"]) == 0
    for out in ("packs", "memory://packed/set"):
        assert cli.main(["data", "pack", "cache", "--out", out, "megabytes=0.001"]) == 0
    assert [path.name for path in sorted(Path("packs/train").iterdir())] == ["pack-000.zip", "pack-001.zip", SET]
    runs = {"here": "latents=packs", "there": "latents=memory://packed/set", "plain": "latents=cache"}
    for run, latents in runs.items():
        assert cli.main([*words, latents, f"folder={run}"]) == 0
    found = {run: load_tensors(tmp_path / run / "dit.safetensors") for run in runs}
    worlds = {run: WorldModel.load(tmp_path / run / "world").config for run in runs}
    assert worlds["here"] == worlds["there"] == worlds["plain"]
    assert found["here"][1] == found["there"][1] and found["here"][1]["trained_on"] == found["plain"][1]["trained_on"]
    assert all(torch.equal(tensor, found["there"][0][name]) for name, tensor in found["here"][0].items())
    capfd.readouterr()
    Path("packs/train/pack-001.zip").unlink()
    assert cli.main([*words, "latents=packs", "folder=lost"]) == 2
    assert "packs/train/pack-001.zip is missing: it is one of 2 in packs.json" in capfd.readouterr().err
    assert cli.main([*words, f"data={store}", "latents=packs", "folder=both"]) == 2
    assert "packed, and are trained on as they are: leave data= away" in capfd.readouterr().err
    assert cli.main([*words, "latents=memory://packed/nothing", "folder=none"]) == 2
    assert "no packed latents in memory://packed/nothing/train" in capfd.readouterr().err


@pytest.mark.slow
def test_pictures_train_a_world(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    pictures = EpisodeStore(tmp_path / "pictures")
    for name in EpisodeStore(store).names():
        clip = EpisodeStore(store).read(name, 0, 1)
        pictures.append(replace(clip, provenance={**clip.provenance, "actions": "unknown"}), name)
    words = ["train", "tokenizer", "data=pictures", "folder=tok", "training.steps=2", "batch=2", *TINY]
    assert cli.main(words) == 0
    words = ["train", "dynamics", "data=pictures", "tokenizer=tok/tokenizer.safetensors", "folder=dyn", "model=tiny"]
    words += ["training.steps=2", "training.compile=false", "batch=2", "frames=1"]
    assert cli.main(words) == 0
    assert (tmp_path / "dyn" / "samples" / "000002.mp4").exists()


@pytest.mark.slow
def test_a_store_of_several_games_trains_on_those_that_are_chosen(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    both, one = EpisodeStore("both"), EpisodeStore(store)
    for name in one.names():
        clip, free = one.read(name), {"licence": "CC0-1.0", "source": "mine"}
        both.append(replace(clip, text="walking", provenance={**clip.provenance, **free}), name)
        other = {"licence": "proprietary", "source": "gym:Other-v0", "keys": ["a", "b"]}
        clip = replace(clip, actions=clip.actions[:, :2], text="jumping", provenance={**clip.provenance, **other})
        both.append(clip, f"other-{name}")
    tokenizer = ["train", "tokenizer", "data=both", "folder=tok", "training.steps=2", "batch=2", "chunks=4", *TINY]
    dynamics = ["train", "dynamics", "data=both", "tokenizer=tok/tokenizer.safetensors", "model=tiny"]
    dynamics += ["training.steps=2", "training.compile=false", "batch=2", "frames=8", "folder=dyn"]
    assert cli.main([*tokenizer, "licence=CC0*"]) == 0
    assert cli.main(dynamics) == 2
    assert "differ in their actions: choose with source=" in capfd.readouterr().err
    assert cli.main([*dynamics, "source=mine"]) == 0
    chosen = one.names("train")
    assert WorldModel.load(tmp_path / "dyn/world").config.prompts in ((), ("walking",))
    for file in ("tokenizer.safetensors", "dit.safetensors"):
        (trained_on,) = read_metadata(tmp_path / "dyn" / "world" / file)["trained_on"]["stores"]
        assert sorted(trained_on["episodes"]) == chosen and trained_on["licences"] == {"CC0-1.0": 2}
    assert not list(tmp_path.glob("both-latents")) and len(list(tmp_path.glob("both-latents-*"))) == 1
    assert cli.main([*dynamics[:-1], "folder=two", "source=-mine"]) == 0
    (trained_on,) = read_metadata(tmp_path / "two" / "dit.safetensors")["trained_on"]["stores"]
    assert sorted(trained_on["episodes"]) == [f"other-{name}" for name in chosen]
    captioner = ["train", "captioner", "data=both", "clips=2", "held_out=2", "training.frames=12"]
    for words in (tokenizer, dynamics, captioner, ["eval", "data=both", "world=dyn/world"]):
        assert cli.main([*words, "licence=CC-BY-*"]) == 2
        assert "fits licence=CC-BY-*" in capfd.readouterr().err


@pytest.mark.slow
def test_a_store_behind_a_url_is_trained_on(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    url = "memory://road/store"
    for name in EpisodeStore(store).names():
        EpisodeStore(url).append(EpisodeStore(store).read(name), name)
    words = ["train", "tokenizer", f"data={url}", "folder=tok", "training.steps=1", "batch=1", "chunks=2", *TINY]
    assert cli.main(words) == 0
    (trained_on,) = read_metadata(tmp_path / "tok" / "tokenizer.safetensors")["trained_on"]["stores"]
    assert trained_on["store"] == url and sorted(trained_on["episodes"]) == EpisodeStore(store).names("train")
    words = ["train", "dynamics", f"data={url}", "tokenizer=tok/tokenizer.safetensors", "model=tiny"]
    words += ["training.steps=1", "training.compile=false", "batch=1", "frames=4", "folder=dyn"]
    assert cli.main(words) == 2
    assert "latents is missing" in capfd.readouterr().err
    assert cli.main([*words, "latents=cache"]) == 0
    assert (tmp_path / "cache" / "train" / "index.json").is_file()


@pytest.mark.slow
def test_data_commands(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["data", "summary", f"data={store}"]) == 0
    assert "2 episodes" in capsys.readouterr().out
    assert cli.main(["data", "list", f"data={store}", "split=test"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert cli.main(["data", "sheet", f"data={store}", "--out", "sheet.png"]) == 0
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert cli.main(["data", "verify", f"data={store}"]) == 0
    damaged = next(path for path in store.rglob("*") if path.is_file() and path.stat().st_size > 5000)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    (tmp_path / "nothing").mkdir()
    for command in ("summary", "list", "verify", "index"):
        assert cli.main(["data", command, "data=nothing"]) == 2
        assert "no episode store" in capsys.readouterr().err
    assert cli.main(["data", "verify", f"data={store}"]) == 1
    assert "5 of 6 episodes are whole" in capsys.readouterr().out


@pytest.mark.slow
def test_pictures_of_several_sizes_train_one_network(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    tall = EpisodeStore(tmp_path / "tall")
    for split in ("train", "validation"):
        record(tall, next(seed for seed in range(200) if split_of(seed) == split), size=(48, 80))
    words = ["train", "tokenizer", f"data={store}", "folder=tok", "training.steps=1", "batch=2", "chunks=4", *TINY]
    assert cli.main(words) == 0
    words = ["train", "dynamics", f"data={store}", "also=[tall]", "tokenizer=tok/tokenizer.safetensors", "folder=dyn"]
    words += ["model=tiny", "training.steps=3", "training.compile=false", "batch=2", "frames=8"]
    assert cli.main(words) == 0
    trained_on = read_metadata(tmp_path / "dyn" / "dit.safetensors")["trained_on"]["stores"]
    assert {Path(one["store"]).name for one in trained_on} == {"store", "tall"}
    clips = MixedClips([LatentClips(Path(f"{s}-latents") / "train", frames=8, batch=2) for s in (store, "tall")])
    shapes = [tuple(clips(i).latents.shape[-2:]) for i in range(40)]
    assert set(shapes) == {(6, 10), (10, 6)} and shapes == [tuple(clips(i).latents.shape[-2:]) for i in range(40)]
    capsys.readouterr()
    assert cli.main([*words, "also=[nowhere]"]) == 2
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.slow
def test_a_world_is_trained_with_what_its_memory_draws_and_gets_that_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    store, seeds = EpisodeStore(tmp_path / "walks"), range(200)
    for split in ("train", "validation"):
        seed = next(seed for seed in seeds if split_of(seed) == split)
        frames = np.random.default_rng(seed).integers(0, 256, (25, 48, 80, 3), dtype=np.uint8)
        turns = torch.zeros(25, 22)
        turns[:, -1] = 3.0
        poses = torch.zeros(25, 5)
        poses[:, 3] = 3.0 * torch.arange(25)
        walk = Walk(MINECRAFT_CAMERA, torch.from_numpy(frames), turns, poses, torch.zeros(25, 48, 80).half(), 20)
        store.append(episode(walk, split, seed), split)
    words = ["train", "tokenizer", f"data={store.path}", "folder=tok", "training.steps=1", "batch=2", "chunks=4", *TINY]
    assert cli.main(words) == 0
    save_memory(tiny_memory(), tmp_path)
    words = ["train", "dynamics", f"data={store.path}", "tokenizer=tok/tokenizer.safetensors", "folder=dyn"]
    words += ["model=tiny", "training.steps=2", "training.compile=false", "batch=2", "frames=8", "drawn_frames=21"]
    assert cli.main([*words, "memory=memory.safetensors"]) == 0
    world = WorldModel.load("dyn/world")
    assert world.memory is not None and world.dit.config.drawn
    # Told what is drawn, it is evaluated once; others take one evaluation more where there is a memory.
    assert world.config.sampling == replace(SamplingConfig(), inpaint_level=0.0)
    drawn = sorted(Path("walks-latents-drawn").glob("*.npy"))
    assert [np.load(path).shape[0] for path in drawn] == [11, 11]
    # A step of play gives the network what the memory draws.
    state = world.prefill(frames[None, :3], np.zeros((1, 2, 22), np.float32), [0])
    world.step(state, np.zeros((1, 2, 22), np.float32))
    capsys.readouterr()
    assert cli.main([*words, "memory=memory.safetensors", "also=[walks]"]) == 2
    assert "from one store" in capsys.readouterr().err
