"""What a compositor learns from, and that it learns which picture is right."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny_memory import BLOCKS, CHANNELS, tiny_memory
from tests.tiny_world import tiny_world
from worldsim.datasets.loading.walks import Walk
from worldsim.simulation.memory.camera import fixed_to_screen
from worldsim.simulation.memory.compositor import Compositor, CompositorConfig
from worldsim.simulation.memory.render import Drawing
from worldsim.spec.camera import MINECRAFT_CAMERA
from worldsim.training.memory.compositor import CompositorTraining, compose, judge_compositor, train_compositor
from worldsim.training.memory.compositor_examples import STRIDE, ChunkBatch, Scene, Scenes, scene_of

FIXED = fixed_to_screen(MINECRAFT_CAMERA, 48, 80)
SMALL = CompositorConfig(actions=22, channels=CHANNELS, blocks=BLOCKS)
FRAMES = 120


def numbered_walk() -> Walk:
    """Every picture and action says which frame it belongs to; the camera stands still."""
    number = torch.arange(FRAMES)
    frames = (number * 2).to(torch.uint8)[:, None, None, None].expand(-1, 48, 80, 3).contiguous()
    actions = torch.zeros(FRAMES, 22)
    actions[:, 0] = number.float()
    return Walk(MINECRAFT_CAMERA, frames, actions, torch.zeros(FRAMES, 5), None, 20)


def numbered_scenes() -> Scenes:
    walk = numbered_walk()
    lasts = list(range(40, 100, STRIDE))
    generated = torch.stack([walk.frames[t + 1 : t + 3] + 1 for t in lasts])
    depth = torch.zeros(FRAMES // STRIDE, 48, 80, dtype=torch.float16)
    sure = torch.full((FRAMES // STRIDE, 48, 80), 255, dtype=torch.uint8)
    return Scenes([Scene(walk, lasts, generated, depth, sure)], 2, FIXED)


def test_pictures_actions_and_sources_of_a_batch_belong_together():
    scenes = numbered_scenes()
    for step in range(5):
        e = scenes.batch(0, step, 4, drift=0.0, holes=0.0)
        last = e.screen[::2, 0, 0, 0].int() // 2
        assert e.truth[::2, 0, 0, 0].int().tolist() == (2 * (last + 1)).tolist()
        assert e.truth[1::2, 0, 0, 0].int().tolist() == (2 * (last + 2)).tolist()
        assert torch.equal(e.generated.int(), e.truth.int() + 1)
        # Row t of the actions leads from frame t to frame t + 1.
        assert e.actions[::2, 0].tolist() == last.tolist() and e.actions[1::2, 0].tolist() == (last + 1).tolist()
        covered = e.drawn.covered[::2]
        assert bool(covered[:, : scenes.rows].all()) and not bool(covered[:, scenes.rows :].any())
        # Nothing moves: the newest source is what is drawn.
        newest = last - e.ages[::2]
        assert e.drawn.picture[::2, 5, 5, 0].int().tolist() == (2 * newest).tolist()
        assert e.drawn.age[::2, 5, 5].tolist() == (last // 2 + 1 - newest // 2).tolist()


def test_what_is_generated_depends_on_the_actions_up_to_it_and_on_no_later_ones():
    world, depth = tiny_world(window=16), tiny_memory().depth
    rng = np.random.default_rng(0)
    frames = torch.from_numpy(rng.integers(0, 256, (60, 48, 80, 3), dtype=np.uint8))
    walk = Walk(MINECRAFT_CAMERA, frames, torch.zeros(60, 22), torch.zeros(60, 5), None, 20)
    plain = scene_of(world, depth, walk, 0.5, 0, FIXED)
    place = len(plain.lasts) // 2
    last = plain.lasts[place]
    assert plain.generated.shape[1:] == (2, 48, 80, 3)
    for changed, differs in ((last, True), (last + 1, True), (last + 2, False)):
        actions = walk.actions.clone()
        actions[changed, 0] = 1
        other = scene_of(world, depth, replace(walk, actions=actions), 0.5, 0, FIXED)
        assert other.lasts == plain.lasts
        assert torch.equal(other.generated[place], plain.generated[place]) != differs


class Puzzles:
    """Memory is right above the middle, the screen below it, the network where memory draws nothing."""

    rows, chunk = 24, 2

    def batch(self, seed: int, step: int, size: int, *, drift: float, holes: float) -> ChunkBatch:
        generator = torch.Generator().manual_seed(seed * 1000 + step)
        pictures = torch.randint(0, 256, (3, 2 * size, 12, 20, 3), generator=generator, dtype=torch.uint8)
        drawn, screen, generated = pictures.repeat_interleave(4, 2).repeat_interleave(4, 3)
        row = torch.arange(48)[:, None].expand(48, 80)
        covered = (torch.rand(2 * size, 1, 1, generator=generator).expand(-1, 48, 80) < 0.5) & (row < 24)
        truth = torch.where(covered[..., None], drawn, generated)
        truth = torch.where((row >= 24)[..., None], screen, truth)
        zeros = torch.zeros(2 * size, 48, 80)
        drawing = Drawing(
            torch.where(covered[..., None], drawn, 0), covered, zeros, covered.float(), zeros.long(), covered.float()
        )
        actions = torch.zeros(2 * size, 22)
        may_stay = (row[:, :1] >= 24).expand(2 * size, -1, -1)
        return ChunkBatch(drawing, screen, generated, truth, actions, may_stay, torch.zeros(2 * size, dtype=torch.long))


def run(folder: Path, steps: int, stop: int | None = None) -> dict[str, float]:
    training = CompositorTraining(steps=steps, warmup=5, rate=3e-3, validate_every=steps, ema=0.9)
    metrics: dict[str, float] = {}
    puzzles = Puzzles()
    for done, each in train_compositor(puzzles, puzzles, SMALL, training, folder, batch=2):  # pyright: ignore[reportArgumentType]
        metrics = each
        if done == stop:
            break
    return metrics


@pytest.mark.slow
def test_it_learns_which_picture_is_right(tmp_path):
    before = judge_compositor(Compositor(SMALL), Puzzles(), chunks=8, batch=4)  # pyright: ignore[reportArgumentType]
    after = run(tmp_path, 100)
    # Below the middle nothing but the screen is right.
    assert before["hud"] < 15 and after["validation/hud"] > 30
    # Above it, memory or the network, whichever is right: better than either alone.
    assert after["validation/shown"] > 8 + max(after["validation/generated"], after["validation/memory"])


@pytest.mark.slow
def test_a_resumed_training_is_the_uninterrupted_one(tmp_path):
    whole = run(tmp_path / "whole", 6)
    run(tmp_path / "parts", 6, stop=3)
    assert run(tmp_path / "parts", 6) == whole


def test_shares_are_sharp_at_play_and_soft_in_training():
    e = Puzzles().batch(0, 0, 2, drift=0, holes=0)
    network = Compositor(SMALL).eval()
    sharp, soft = compose(network, e).shares, compose(network, e, sharp=False).shares
    assert torch.allclose(sharp.sum(1), torch.ones_like(sharp[:, 0]))
    covered = e.drawn.covered
    # What stays is told by where it may, and memory goes before it.
    assert bool(((soft[:, 1] > 0) == (e.may_stay.expand_as(covered) & ~covered)).all())
    assert bool((sharp[:, 0][covered] == 1).all()) and bool((sharp[:, 0][~covered] == 0).all())
    assert bool((soft[:, 0][covered] < 0.9).all())


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"drift": 2.0}, {"holes": -0.1}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError):
        CompositorTraining(**wrong)
