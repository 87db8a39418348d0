"""What a memory draws and shows along walks: play goes on from where a stretch began, and sees the same."""

from dataclasses import replace

import numpy as np
import torch

from tests.tiny_memory import tiny_memory
from tests.tiny_world import tiny_dit, tiny_world
from tests.training.memory.walks import episode, walk
from tests.training.test_training import latents
from worldsim.datasets.loading.walks import Walk
from worldsim.datasets.store.store import EpisodeStore, split_of
from worldsim.diffusion.dynamics_loss import dynamics_loss
from worldsim.diffusion.error_bank import ErrorBank
from worldsim.diffusion.settings import DynamicsTraining, NoiseSettings
from worldsim.simulation.chunk_sampler import ChunkSampler
from worldsim.simulation.memory.camera import turned
from worldsim.simulation.memory.drawn_latents import drawn_latents
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.camera import MINECRAFT_CAMERA
from worldsim.training.memory import drawn as module
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


def test_each_chunk_is_drawn_from_where_its_stretch_began(monkeypatch):
    numbered = standing(17)
    monkeypatch.setattr(module, "STRETCH", 3)
    drawn, shown = drawn_along(tiny_memory(amount=0), mean_of_cells, [numbered, numbered], 2, 17)
    assert drawn.shape == (2, 9, 4, 6, 10) and not drawn[:, 0].any() and shown.shape == (2, 9, 3, 6, 10)
    grey = numbered.frames[:, 0, 0, 0].float().tolist()
    begins, within = [0], slice(0, ROWS // 8)
    for t in range(1, 9):
        # Latent frame t holds frames 2 t - 1 and 2 t. What memory draws is of the frame that the stretch began with.
        [of] = drawn[:, t, :3, within].unique().tolist()
        begins.append(grey.index(of) // 2)
        share = drawn[:, t, 3]
        assert bool((share[:, within] == 1).all()) and not share[:, -1].any()
        # It is what is shown; where nothing is drawn the recording is.
        assert shown[:, t, :, within].unique().tolist() == [of]
        assert shown[:, t, :, -1].unique().tolist() == [(grey[2 * t - 1] + grey[2 * t]) / 2]
    stretches = np.diff([i for i in range(1, 10) if i == 9 or begins[i] != begins[i - 1] or i == 1])
    assert begins[1] == 0 and max(stretches) <= 3 and len(stretches) > 2
    assert all(begins[t] < t for t in range(1, 9)) and begins == sorted(begins)


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
    learned, shown = drawn_along(memory, world.encode_chunks, [recorded], 2, 3)
    state = world.prefill(frames[None, :1], torch.zeros(1, 0, 22), [0], poses=poses[None, :1])
    seen = []
    plainly = ChunkSampler.sample

    def watched(self, state, actions, drawn=None, *args, **kwargs):
        seen.append(drawn)
        return plainly(self, state, actions, drawn, *args, **kwargs)

    monkeypatch.setattr(ChunkSampler, "sample", watched)
    origin = torch.cat([poses[:1, :4], torch.zeros(1, 1)], 1)
    ahead = torch.stack([turned(pose, origin) for pose in poses[None, 1:].unbind(1)], 1)
    world.step(state, actions[None, :2], poses=ahead)
    torch.testing.assert_close(seen[0], learned[:, 1:2])
    assert shown.shape == (1, 2, learned.shape[2] - 1, *learned.shape[3:])
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
    assert sorted(first) == ["a", "b"] and first["a"].shape[:2] == (4, 7) and calls == [2] * 6
    build("one")
    assert calls == [2] * 6
    build("another")
    assert calls == [2] * 12


def store_camera(store: EpisodeStore):
    from worldsim.datasets.loading.walks import read_walk

    return read_walk(store, "a", depth=False).camera


def test_the_past_is_shown_and_the_target_recorded():
    seen = []

    def forward(x, previous, *rest, **options):
        seen.append(previous)
        return tiny_dit()(x, previous, *rest, **options)

    plain = latents(3)
    batch = replace(plain, shown=plain.latents + 5)
    noise = NoiseSettings(context_noise=0.0, error_injection=0.0, shown_fraction=1.0)
    for fraction, wanted in ((1.0, 5.0), (0.0, 0.0)):
        training = DynamicsTraining(compile=False, image_fraction=0, noise=replace(noise, shown_fraction=fraction))
        generator = torch.Generator().manual_seed(0)
        loss, _ = dynamics_loss(forward, batch, training, generator, ErrorBank())
        away = seen[-1] - torch.cat([torch.zeros_like(plain.latents[:, :1]), plain.latents[:, :-1]], 1)
        assert torch.allclose(away[:, 2:], torch.full_like(away[:, 2:], wanted), atol=1e-5)
        # A clip begins with a still of the recording.
        assert torch.allclose(away[:, 1], torch.zeros_like(away[:, 1]), atol=1e-5)
        assert bool(loss.isfinite())
