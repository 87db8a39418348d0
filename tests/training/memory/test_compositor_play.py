"""Worlds in play: recorded chunks belong to the actions, worlds begin anew, gradients are balanced, a run resumes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny_memory import remembering_world
from tests.training.memory.test_compositor import SMALL, numbered_scenes
from worldsim.simulation.memory.compositor import Compositor
from worldsim.training.discriminator import FILE as DISCRIMINATOR
from worldsim.training.memory.compositor import CompositorTraining, train_compositor
from worldsim.training.memory.compositor_play import LONGEST, PAST, SHORTEST, Play, balance


def playing(folder: Path, worlds: int = 2) -> Play:
    world = remembering_world()
    assert world.memory is not None
    walks = [scene.walk for scene in numbered_scenes().scenes]
    return Play(world, world.memory, walks, worlds=worlds, rate=1e-3, folder=folder, seed=0)


def test_what_is_recorded_is_what_the_actions_led_to_and_worlds_begin_anew(tmp_path, monkeypatch):
    play, network = playing(tmp_path), Compositor(SMALL)
    taken = []
    step = play.world.step
    monkeypatch.setattr(
        play.world, "step", lambda state, actions, **kw: (taken.append(actions), step(state, actions, **kw))[1]
    )
    begun = set()
    for _ in range(16):
        recorded, shown = play.advance(network)
        begun |= {(id(p), p.left + 1) for p in play.players}
        assert recorded.shape == shown.shape == (2, 2, 3, 48, 80) and shown.requires_grad
        # Picture n has the value 2 n, action n leads from it to the next.
        numbers = (recorded[:, :, 0, 0, 0] * 255 / 2).round()
        assert torch.equal(taken[-1][..., 0], numbers - 1)
    # Walks of 120 frames cannot be played 16 chunks from every place: some began anew.
    assert len({player for player, _ in begun}) > 2
    assert all(SHORTEST - 16 <= p.left <= LONGEST and p.at > 2 * PAST for p in play.players)


def test_pictures_with_gradients_are_those_that_play_showed(tmp_path, monkeypatch):
    play, network = playing(tmp_path), Compositor(SMALL)
    torch.nn.init.normal_(network.leave.weight, std=0.02)
    seen = []
    step = play.world.step
    monkeypatch.setattr(play.world, "step", lambda *a, **kw: (seen.append(step(*a, **kw)), seen[-1])[1])
    for _ in range(3):
        _, shown = play.advance(network)
        frames = seen[-1][1].frames
        again = (shown.detach().clamp(0, 1) * 255).round().movedim(2, -1).numpy()
        assert np.array_equal(again.astype(np.uint8), frames)


def test_balanced_gradients_are_equally_large_at_the_last_layer():
    network = Compositor(SMALL)
    x = network.leave.weight
    wanted, other = (x * 3).sum(), (x**2 + 5 * x).sum()
    factor = balance(network, wanted, other)
    grown = torch.autograd.grad(factor * other, x, retain_graph=True)[0].norm()
    assert grown.item() == pytest.approx(torch.autograd.grad(wanted, x)[0].norm().item(), rel=1e-5)


def test_a_run_learns_at_play_and_goes_on_with_its_discriminator(tmp_path):
    settings = CompositorTraining(steps=4, warmup=1, adversarial=1.0, worlds=2, validate_every=100, save_minutes=60)
    scenes = numbered_scenes()
    run = train_compositor(scenes, scenes, SMALL, settings, tmp_path, batch=2, play=playing(tmp_path))
    steps = [next(run), next(run)]
    run.close()
    assert all({"loss", "discriminator", "passing"} <= metrics.keys() for _, metrics in steps)
    assert (tmp_path / DISCRIMINATOR).exists()
    play = playing(tmp_path)
    first = playing(tmp_path / "other")
    learned, new = (list(p.discriminator.module.parameters()) for p in (play, first))
    assert any(not torch.equal(a, b) for a, b in zip(learned, new, strict=True))
    before = [p.clone() for p in play.discriminator.module.parameters()]
    after = dict(train_compositor(scenes, scenes, SMALL, settings, tmp_path, batch=2, play=play))
    assert sorted(after) == [3, 4]
    assert any(not torch.equal(a, b) for a, b in zip(before, play.discriminator.module.parameters(), strict=True))
