"""What a memory draws along walks: the frame before is what is known of the next, and play sees the same."""

from dataclasses import replace

import numpy as np
import torch

from tests.tiny_memory import tiny_memory
from tests.tiny_world import tiny_dit, tiny_world
from tests.training.memory.walks import episode, walk
from worldsim.datasets.loading.walks import Walk
from worldsim.datasets.store.store import EpisodeStore, split_of
from worldsim.simulation.chunk_sampler import ChunkSampler
from worldsim.simulation.memory.drawn_latents import drawn_latents
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.camera import MINECRAFT_CAMERA
from worldsim.training.memory.drawn import AlongEpisodes, draw, drawn_along

ROWS = int(48 * 61 / 80)


def mean_of_cells(chunks: torch.Tensor) -> torch.Tensor:
    """Stands for a tokenizer: the mean of each 8x8 cell, (B, T, 3, h, w)."""
    cells = chunks.float().mean(2).unflatten(2, (-1, 8)).unflatten(4, (-1, 8)).mean((3, 5))
    return cells.movedim(-1, 2)


def standing(frames: int) -> Walk:
    """Every picture has a grey of its own, far from that of the frames around it; the camera stands still."""
    grey = (torch.arange(frames) * 53 % 256).to(torch.uint8)
    pictures = grey[:, None, None, None].expand(-1, 48, 80, 3).contiguous()
    return Walk(MINECRAFT_CAMERA, pictures, torch.zeros(frames, 22), torch.zeros(frames, 5), None, 20)


def test_each_chunk_is_drawn_from_the_frame_before_it():
    numbered = standing(13)
    drawn = drawn_along(tiny_memory(amount=0), mean_of_cells, [numbered, numbered], 2, 13)
    assert drawn.shape == (2, 7, 4, 6, 10) and not drawn[:, 0].any()
    for t in range(1, 7):
        # Latent frame t holds frames 2 t - 1 and 2 t.
        before = float(numbered.frames[2 * t - 2, 0, 0, 0])
        assert drawn[:, t, :3].unique().tolist() == [before]
        share = drawn[:, t, 3]
        assert bool((share[:, : ROWS // 8] == 1).all()) and not share[:, -1].any()


def test_play_sees_what_training_saw(monkeypatch):
    memory, dit = tiny_memory(), tiny_dit(8, drawn=True)
    plain = tiny_world()
    embedded = plain.prompt_embeddings
    world = WorldModel(plain.config, plain.tokenizer, dit, prompt_embeddings=embedded, bf16=False, memory=memory)
    rng = np.random.default_rng(0)
    frames = torch.from_numpy(rng.integers(0, 256, (3, 48, 80, 3), dtype=np.uint8))
    actions = torch.zeros(3, 22)
    actions[:, -1] = 4.0
    actions[:, 0] = 1.0
    poses = torch.zeros(3, 5)
    poses[:, 4], poses[:, 3] = 10.0, torch.tensor([50.0, 54.0, 58.0])
    recorded = Walk(MINECRAFT_CAMERA, frames, actions, poses, None, 20)
    learned = drawn_along(memory, world.encode_chunks, [recorded], 2, 3)
    state = world.prefill(frames[None, :1], torch.zeros(1, 0, 22), [0], poses=poses[None, :1])
    seen = []
    plainly = ChunkSampler.sample

    def watched(self, state, actions, drawn=None, *args, **kwargs):
        seen.append(drawn)
        return plainly(self, state, actions, drawn, *args, **kwargs)

    monkeypatch.setattr(ChunkSampler, "sample", watched)
    world.step(state, actions[None, :2])
    torch.testing.assert_close(seen[0], learned[:, 1:2])
    assert 0.2 < float(seen[0][:, :, -1].mean()) < 0.9


def test_holes_show_the_last_picture():
    drawn, screen = torch.full((1, 2, 16, 16, 3), 200, dtype=torch.uint8), torch.full((1, 16, 16, 3), 40).byte()
    covered = torch.zeros(1, 2, 16, 16, dtype=torch.bool)
    covered[:, :, :8, :8] = True
    covered[:, 0, 8:, 8:] = True
    made = drawn_latents(mean_of_cells, drawn, covered, screen)[0, 0]
    assert made[0].tolist() == [[200, 40], [40, 120]] and made[3].tolist() == [[1, 0], [0, 0.5]]


def test_what_is_drawn_is_kept_until_the_recording_or_the_networks_change(tmp_path):
    store = EpisodeStore(tmp_path / "store")
    seeds = [seed for seed in range(50) if split_of(seed) == "train"][:2]
    for seed, name in zip(seeds, "ab", strict=True):
        store.append(episode(walk(9, seed), "train", seed), name)
    calls = []

    def encode(chunks):
        calls.append(len(chunks))
        return mean_of_cells(chunks)

    def build(whose: str) -> AlongEpisodes:
        kept = AlongEpisodes(tmp_path / "drawn", store, whose)
        draw(kept, ["a", "b"], memory, encode, 2, 7)
        return kept

    memory = tiny_memory()
    memory = type(memory)(
        replace(memory.config, camera=store_camera(store)), memory.depth, memory.motion, memory.compositor
    )
    first = build("one").load(["a", "b"])
    assert sorted(first) == ["a", "b"] and first["a"].shape[0] == 4 and calls == [2, 2, 2]
    build("one")
    assert calls == [2, 2, 2]
    build("another")
    assert calls == [2] * 6


def store_camera(store: EpisodeStore):
    from worldsim.datasets.loading.walks import read_walk

    return read_walk(store, "a", depth=False).camera
