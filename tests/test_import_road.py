"""The whole road of each format: import, check, sample, train a tiny tokenizer and tiny dynamics for a few steps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests import test_import_lerobot, test_import_minari, test_import_minerl, test_import_table, test_import_vpt
from tests.import_film import film, random_actions, write_film
from tests.tiny_world import tiny_dit, tiny_tokenizer
from worldsim import cli
from worldsim.actions import ActionSpec
from worldsim.datasets.clips import ClipSampler
from worldsim.datasets.recording_format import recording_format
from worldsim.datasets.store import EpisodeStore
from worldsim.envs.pictures import write_picture
from worldsim.train_dynamics import DynamicsTraining, LatentBatch, train_dynamics
from worldsim.train_tokenizer import TokenizerTraining, to_chunks, train_tokenizer

FRAMES = 40


def write_source(kind: str, folder: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A few short recordings in a format."""
    actions = random_actions(FRAMES, seed)
    if kind == "vpt":
        actions[0] = 0
        test_import_vpt.write_recording(folder, actions, f"player-{seed}-20220401-224517")
    elif kind == "minerl":
        test_import_minerl.write_recording(folder / f"MineRLTreechop-v0/v3_{seed}", actions)
    elif kind == "minari":
        monkeypatch.setattr(test_import_minari, "STEPS", FRAMES)
        choose = lambda number: np.random.default_rng((seed, number)).integers(4, size=FRAMES)  # noqa: E731
        return test_import_minari.write(monkeypatch, folder, acts=choose)
    elif kind == "lerobot":
        monkeypatch.setattr(test_import_lerobot, "LENGTHS", (FRAMES, FRAMES + seed, FRAMES))
        test_import_lerobot.write_v3(folder)
    elif kind == "table":
        folder.mkdir()
        test_import_table.write_recording(folder, f"a{seed}", test_import_table.actions_of(FRAMES, seed))
    elif kind == "video":
        write_film(folder / f"a{seed}.mp4", actions)
    else:
        folder.mkdir()
        for i, picture in enumerate(film(actions)[1:]):
            write_picture(folder / f"{seed}-{i}.png", picture)
    return folder


def train(clips: ClipSampler, length: int, spec: ActionSpec, folder: Path) -> list[float]:
    """Two steps of a tiny tokenizer, then two of tiny dynamics on its latents; their losses."""
    coder = tiny_tokenizer()
    chunk = coder.config.chunk

    def pictures(index: int) -> torch.Tensor:
        return torch.from_numpy(clips[abs(index)]["frames"]).repeat_interleave(chunk if length == 1 else 1, 1)

    def latents(index: int) -> LatentBatch:
        batch = clips[abs(index)]
        frames = torch.from_numpy(batch["frames"]).repeat_interleave(chunk if length == 1 else 1, 1)
        encoded = coder.encode_chunks(to_chunks(frames, chunk)).detach()
        # The action that leads into a frame is in the row before it; nothing leads into the first one.
        actions = torch.zeros(frames.shape[0], frames.shape[1], spec.size)
        actions[:, 1:] = torch.from_numpy(batch["actions"])[:, : frames.shape[1] - 1]
        nothing = torch.zeros(*encoded.shape[:2])
        motion = nothing[..., None].expand(-1, -1, 5)
        return LatentBatch(encoded, actions.unflatten(1, (-1, chunk)), motion, nothing, mouse=spec.camera)

    tokenizer = TokenizerTraining(steps=2, warmup=1, validate_every=2)
    dynamics = DynamicsTraining(steps=2, warmup=1, validate_every=2, compile=False)
    config = replace(tiny_dit().config, keys=len(spec.keys), camera=spec.camera)
    runs = (
        train_tokenizer(coder.config, tokenizer, pictures, pictures(0), folder / "tok"),
        train_dynamics(config, dynamics, latents, latents(0), folder / "dyn"),
    )
    return [metrics["loss"] for run in runs for _, metrics in run]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["vpt", "minerl", "minari", "lerobot", "table", "video", "images"])
def test_the_whole_road(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    source = write_source(kind, tmp_path / "in", 0, monkeypatch)
    words = [str(source), "--out", "store", "split=train", "licence=CC0-1.0", "consent=no person recorded"]
    assert cli.main(["data", "import", *words]) == 0
    assert f"in the format {kind}" in capsys.readouterr().out
    store = EpisodeStore("store")
    assert cli.main(["data", "check", "data=store"]) == 0, capsys.readouterr().out
    length = 1 if kind == "images" else 8
    clips, form = ClipSampler(store, "train", frames=length, batch=2), recording_format(store)
    batch = clips[0]
    assert batch["frames"].shape == (2, length, 32, 64, 3) and (form.width, form.height) == (64, 32)
    assert batch["actions"].shape == (2, length, form.spec.size)
    assert np.isfinite(train(clips, length, form.spec, tmp_path)).all()
