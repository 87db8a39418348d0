"""The decoder's opponent: sees blur, makes decoded pictures sharper, resumes, leaves nothing behind."""

from collections.abc import Iterator
from itertools import islice

import pytest
import torch

from tests.tiny_world import tiny_tokenizer
from worldsim.models.checkpoint import load_tensors
from worldsim.training.discriminator import Discriminator
from worldsim.training.tokenizer import TokenizerTraining, train_tokenizer


def gravel(index: int) -> torch.Tensor:
    """Clips (2, 4, 32, 32, 3) of black and white grains: more than latents can hold."""
    generator = torch.Generator().manual_seed(index + 10_000)
    grains = torch.rand(2, 4, 16, 16, 1, generator=generator) < 0.5
    return grains.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat(1, 1, 1, 1, 3).byte() * 255


def train(folder, steps: int, initial=None, **options) -> Iterator[tuple[int, dict[str, float]]]:
    training = TokenizerTraining(steps=steps, warmup=2, ema=0.9, validate_every=10_000, latent_noise=0.0, **options)
    given = None if initial is None else load_tensors(initial / "tokenizer.safetensors")[0]
    return train_tokenizer(tiny_tokenizer().config, training, gravel, gravel(-7), folder, initial=given)


@pytest.mark.slow
def test_adversary_tells_blur_from_texture():
    torch.manual_seed(0)
    discriminator = Discriminator(chunk=2, rate=1e-3)
    sharp = torch.rand(8, 2, 3, 32, 32)
    blurred = torch.full_like(sharp, 0.5) + 0.1 * (sharp - 0.5)
    losses = [discriminator.learn(sharp, blurred) for _ in range(60)]
    assert losses[0] > 1.5 and losses[-1] < 0.5
    assert float(discriminator.generator_loss(blurred)) > float(discriminator.generator_loss(sharp))


def test_complaint_reaches_the_decoder_alone():
    discriminator = Discriminator(chunk=2, rate=1e-3)
    decoded = torch.rand(1, 2, 3, 32, 48, requires_grad=True)
    discriminator.generator_loss(decoded).backward()
    assert decoded.grad is not None and bool(decoded.grad.any())
    assert all(p.grad is None for p in discriminator.module.parameters())


@pytest.mark.slow
def test_an_adversary_sharpens_what_is_decoded(tmp_path):
    list(train(tmp_path / "plain", 40, rate=3e-3))
    ways = {"without": {}, "with": {"adversarial": 1.0, "discriminator_rate": 1e-3}}
    sharpness = {}
    for name, options in ways.items():
        run = list(train(tmp_path / name, 40, tmp_path / "plain", rate=3e-3, freeze_encoder=True, **options))
        sharpness[name] = run[-1][1]["validation/sharpness_ratio"]
    assert sharpness["with"] > 1.2 * sharpness["without"]
    written, _ = load_tensors(tmp_path / "with" / "tokenizer.safetensors")
    assert written.keys() == tiny_tokenizer().state_dict().keys()


@pytest.mark.slow
def test_resuming_beside_an_adversary_changes_nothing(tmp_path):
    options = {"adversarial": 0.1, "save_minutes": 0}
    whole = list(train(tmp_path / "whole", 8, **options))
    # The schedule looks at the number of steps in all: stop the same run early instead of asking for fewer.
    list(islice(train(tmp_path / "parts", 8, **options), 4))
    resumed = list(train(tmp_path / "parts", 8, **options))
    assert resumed[0][0] == 5
    for (step, a), (other, b) in zip(resumed, whole[4:], strict=True):
        assert step == other and a["loss"] == pytest.approx(b["loss"], rel=1e-4)
        assert a["discriminator"] == pytest.approx(b["discriminator"], rel=1e-4)
