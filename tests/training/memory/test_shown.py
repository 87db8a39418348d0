"""What a world shows along recorded walks: the past of play, at the places of the recording."""

from dataclasses import replace

import torch

from tests.tiny_memory import remembering_world
from tests.tiny_world import tiny_dit
from tests.training.test_training import latents
from worldsim.datasets.loading.walks import Walk
from worldsim.diffusion.dynamics_loss import dynamics_loss
from worldsim.diffusion.error_bank import ErrorBank
from worldsim.diffusion.settings import DynamicsTraining, NoiseSettings
from worldsim.simulation.memory.camera import turned
from worldsim.spec.camera import MINECRAFT_CAMERA
from worldsim.training.memory import shown as module
from worldsim.training.memory.shown import shown_along


def walk(frames: int) -> Walk:
    """Noise, seen from a camera that turns and goes sideways: nothing that any network expects."""
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (frames, 48, 80, 3), generator=generator, dtype=torch.uint8)
    at = torch.arange(frames, dtype=torch.float32)
    poses = torch.stack([0.3 * at, 0 * at, -0.1 * at, 3 * at - 170, 0 * at + 5], 1)
    return Walk(MINECRAFT_CAMERA, pictures, torch.zeros(frames, 22), poses, None, 20)


def test_a_world_is_played_along_the_recording_and_begins_anew(monkeypatch):
    monkeypatch.setattr(module, "STRETCH", 3)
    monkeypatch.setattr(module, "PAST", 2)
    world, recorded = remembering_world(), walk(16)
    shown = shown_along(world, recorded, seed=7)
    encoded = world.encode(recorded.frames[None, :15])[0].float()
    # 15 of 16 frames are whole chunks of 2 behind the first.
    assert shown.shape == encoded.shape and len(shown) == 8
    assert torch.equal(shown[0], encoded[0]) and not any(
        torch.equal(a, b) for a, b in zip(shown[1:], encoded[1:], strict=True)
    )
    # The stretch behind latent frame 3, played by hand: its past are two chunks, its poses those of the recording.
    frames, poses = recorded.frames[None], recorded.poses[None]
    state = world.prefill(frames[:, 2:7], torch.zeros(1, 4, 22), [10], poses=poses[:, 2:7])
    origin = torch.cat([poses[:, 6, :4], torch.zeros(1, 1)], 1)
    for t in range(3):
        ahead = torch.stack([turned(poses[:, 7 + 2 * t + k], origin) for k in range(2)], 1)
        state, _ = world.step(state, torch.zeros(1, 2, 22), poses=ahead)
        assert state.memory is not None and torch.equal(state.memory.pose, ahead[:, -1])
        torch.testing.assert_close(shown[4 + t], state.latent[0], atol=1e-2, rtol=0)
        assert float(state.memory.pose[0, 0].abs()) > 0.1 * t


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
