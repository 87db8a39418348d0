from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.datasets.captions.test_clip_facts import make_clip
from tests.tiny_world import tiny_tokenizer
from worldsim.datasets.captions.clip_facts import ClipFacts
from worldsim.datasets.captions.maker import Captioner, RuleCaptioner
from worldsim.datasets.store.store import EpisodeStore, split_of
from worldsim.models.clip_classifier import ASIDE, DOWN, GAPS, CaptionerConfig, ClipClassifier, apparent_motion
from worldsim.training.captioner import (
    ATTRIBUTES,
    Examples,
    attributes,
    encoder,
    evaluate_captioner,
    load_captioner,
    make_examples,
    train_captioner,
    weights_digest,
)

SMALL = CaptionerConfig(channels=8, width=16, frames=12, epochs=20, batch=16, rate=5e-3, dropout=0.0)
CAMERA = ("left", "right", "still")


def moving_latents(count: int, seed: int) -> Examples:
    """A bright column that moves to one side or stands; the time of day is the brightness of a channel."""
    rng = np.random.default_rng(seed)
    latents, labels = np.zeros((count, 6, 8, 6, 10), np.float32), {name: [""] * count for name in ATTRIBUTES}
    for i in range(count):
        camera, night = int(rng.integers(3)), bool(rng.integers(2))
        for t in range(6):
            # What the camera turns away from moves to the other side.
            latents[i, t, 0, :, 5 + (1, -1, 0)[camera] * (t - 2)] = 3.0
        latents[i, :, 1] = -1.0 if night else 1.0
        latents[i] += 0.1 * rng.normal(size=latents[i].shape)
        labels["camera"][i], labels["time"][i] = CAMERA[camera], "at night" if night else "at noon"
    return Examples(torch.from_numpy(latents), labels)


def nothing(frames: np.ndarray) -> torch.Tensor:
    raise AssertionError("no pictures are needed here")


@pytest.mark.slow
def test_what_can_be_seen_in_latents_is_learned_and_held_out_clips_are_read():
    train, held_out = moving_latents(160, 0), moving_latents(60, 1)
    captioner = train_captioner(train, nothing, SMALL)
    results = evaluate_captioner(captioner, train, held_out)
    for name in ("camera", "time"):
        assert results[name]["accuracy"] > 0.9 > results[name]["majority"] + 0.2
        assert results[name]["balanced"] > 0.9 and results[name]["balanced_chance"] <= 0.5
    # An attribute of which there is one class only is no achievement, and the numbers say so.
    assert results["place"]["accuracy"] == results["place"]["majority"] == 1.0 == results["place"]["classes"]


def test_training_is_a_function_of_examples_and_seed():
    examples, short = moving_latents(40, 0), CaptionerConfig(**{**vars(SMALL), "epochs": 2})
    a, b = (weights_digest(train_captioner(examples, nothing, short).model) for _ in range(2))
    other = train_captioner(examples, nothing, CaptionerConfig(**{**vars(short), "seed": 1}))
    assert a == b != weights_digest(other.model)


def test_an_unknown_class_of_other_maps_counts_as_wrong():
    train, held_out = moving_latents(40, 0), moving_latents(20, 1)
    held_out.labels["place"][:] = [" in a cave"] * 20
    captioner = train_captioner(train, nothing, CaptionerConfig(**{**vars(SMALL), "epochs": 1}))
    assert evaluate_captioner(captioner, train, held_out)["place"]["accuracy"] == 0.0


def test_apparent_motion_is_greatest_at_the_shift_that_happened():
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(1, 1, 8, 9, 40, generator=generator)
    for shift in (-2, 0, 1):
        moving = torch.cat([wide[..., 10 - shift * t : 28 - shift * t] for t in range(3)], 1)
        features = apparent_motion(moving).reshape(len(GAPS), len(DOWN), len(ASIDE), 2)
        for half in (0, 1):
            best = int(features[0, ..., half].flatten().argmax())
            assert (DOWN[best // len(ASIDE)], ASIDE[best % len(ASIDE)]) == (0, shift)
        # Four latent frames apart there is nothing in a clip of three.
        assert not features[GAPS.index(4)].any()


@pytest.mark.parametrize(("length", "height", "width"), [(2, 4, 6), (5, 6, 10), (9, 3, 3)])
def test_any_size_and_length_is_read(length: int, height: int, width: int):
    model = ClipClassifier(SMALL, {name: 3 for name in ATTRIBUTES}).eval()
    latents = torch.randn(4, length, 8, height, width)
    out = model(latents)
    assert all(out[name].shape == (4, 3) for name in ATTRIBUTES)
    torch.testing.assert_close(model(latents[1:2])["camera"], out["camera"][1:2])


def test_a_saved_captioner_says_the_same_and_knows_its_tokenizer(tmp_path: Path):
    tokenizer = tiny_tokenizer()
    encode = encoder(tokenizer)
    clips = [make_clip(13, provenance={"start": {"time_of_day": t}}) for t in (0.5, 0.9)]
    for clip, value in zip(clips, (250, 10), strict=True):
        clip.frames.flags.writeable = True
        clip.frames[:] = value
    big = [type(c)(**{**vars(c), "frames": c.frames.repeat(4, 1).repeat(4, 2)}) for c in clips]
    examples = Examples(
        torch.stack([encode(clip.frames) for clip in big] * 8),
        {name: [attributes(ClipFacts(time=t))[name] for t in ("at noon", "at night")] * 8 for name in ATTRIBUTES},
    )
    captioner = train_captioner(examples, encode, SMALL, tokenizer=weights_digest(tokenizer))
    captioner.save(tmp_path / "captioner.safetensors", {"format": 1, "stores": []})
    again = load_captioner(tmp_path / "captioner.safetensors", tokenizer)
    for clip, time in zip(big, ("at noon", "at night"), strict=True):
        assert time in captioner.caption(clip, 3).lower() and again.caption(clip, 3) == captioner.caption(clip, 3)
    assert again.about() == captioner.about() and again.facts(make_clip(1)) == ClipFacts()
    with pytest.raises(ValueError, match="another tokenizer"):
        load_captioner(tmp_path / "captioner.safetensors", tiny_tokenizer(1))
    with pytest.raises(ValueError, match="not a captioner"):
        from worldsim.models.checkpoint import save_tensors

        save_tensors(tmp_path / "other.safetensors", {"x": torch.zeros(1)})
        load_captioner(tmp_path / "other.safetensors", tokenizer)


def test_examples_come_from_the_splits_that_are_asked_for(tmp_path: Path):
    store = EpisodeStore(tmp_path)
    for seed in (0, 1, 2, 12):
        clip = make_clip(20, held={"forward": slice(None)})
        pictures = np.full((20, 32, 32, 3), seed * 20, np.uint8)
        store.append(type(clip)(**{**vars(clip), "frames": pictures, "provenance": {
            **clip.provenance, "seed": seed, "split": split_of(seed)}}), f"e{seed}")  # fmt: skip
    encode = encoder(tiny_tokenizer())
    train = make_examples(store, ["train"], encode, clips=6, frames=12)
    held_out = make_examples(store, ["validation", "test"], encode, clips=6, frames=12)
    assert set(train.episodes) <= {"e0", "e12"} and held_out.episodes == ("e1", "e2")
    assert train.latents.shape == (6, 6, 8, 4, 4) and train.labels["first"] == ["forward"] * 6
    assert not train.latents.isnan().any() and len(held_out) == 6


def test_makers_are_captioners():
    rules: Captioner = RuleCaptioner()
    clip = make_clip(33, held={"forward": slice(None)}, provenance={"biome": "desert"})
    assert isinstance(rules.about(), Mapping) and "desert" in rules.caption(clip, 0) and rules.maker == "rules"


def test_nothing_to_train_on_is_told():
    empty = Examples(torch.zeros(0, 2, 8, 4, 4), {name: [] for name in ATTRIBUTES})
    with pytest.raises(ValueError, match="two latent frames"):
        train_captioner(empty, nothing, SMALL)
