"""Settings of trainings: values out of range are refused by name; keys of earlier versions are mapped to today's."""

import math
from dataclasses import asdict, fields
from typing import Any

import pytest

from worldsim.diffusion.settings import GROUPS, OLD_KEYS, DynamicsTraining, from_flat
from worldsim.training.tokenizer import TokenizerTraining

# Built by name, as the command line does.
PARTS: dict[type, str] = {owner: f"{group}." for group, owner in GROUPS.items()}
NUMBERS = [
    (owner, field.name)
    for owner in (DynamicsTraining, TokenizerTraining, *PARTS)
    for field in fields(owner)
    if isinstance(field.default, int | float) and not isinstance(field.default, bool)
]
# Flat settings as runs of earlier versions kept them.
OLD: dict[str, Any] = {
    "steps": 7, "rate": 1e-3, "matrix_rate": 3e-3, "warmup": 3, "cooldown": 1.0, "ema": 0.9, "action_drop": 0.2,
    "text_drop": 1.0, "mouse_jitter": 0.5, "context_noise": 0.05, "error_injection": 0.25, "play_share": 0.6,
    "play_steps": 1, "noise_weight": 0.5, "twin_noises": True, "repulsion": 0.9, "rare_weight": 0.75,
    "halved_share": 0.35, "rollout_share": 0.45, "rollout_frames": 8, "rollout_level": 0.3, "image_share": 0.02,
    "shortcut_from": 400, "shortcut_share": 0.5, "finest": 32, "motion_weight": 0.4, "action_weight": 0.03,
    "termination_weight": 0.015, "save_minutes": 2.0, "validate_every": 10, "compile": False, "recompute": True,
}  # fmt: skip


@pytest.mark.parametrize(("owner", "name"), NUMBERS, ids=lambda value: getattr(value, "__name__", value))
def test_no_number_may_be_negative_or_nothing(owner: Any, name: str):
    for value in (-1, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"^{PARTS.get(owner, '')}{name} must be"):
            owner(**{name: value})
    again = owner(**{name: getattr(owner(), name)})
    assert again == owner()


@pytest.mark.parametrize("name", ["steps", "noise.sampler_steps", "self_rollout.max_frames", "loss.max_shortcut_steps"])
def test_some_numbers_may_not_be_zero(name: str):
    with pytest.raises(ValueError, match=f"^{name} must be above 0"):
        from_flat({name: 0})


@pytest.mark.parametrize(
    "name",
    [
        "optimizer.ema", "noise.inference_level_fraction", "image_fraction", "optimizer.cooldown",
        "conditioning.action_drop", "half_clip_fraction", "self_rollout.fraction",
    ],
)  # fmt: skip
def test_fractions_end_at_one(name: str):
    from_flat({name: 1})
    with pytest.raises(ValueError, match=f"^{name} must be at least 0 and at most 1"):
        from_flat({name: 1.01})


# Settings that there were not when all were flat.
NEWER = {
    "learn", "parts", "shard", "conditioning.drawing_drop", "infilling.fraction", "infilling.reversed_fraction",
    "noise.shown_fraction",
}  # fmt: skip


def test_flat_settings_of_earlier_versions_are_mapped_and_none_is_lost():
    assert set(OLD) == set(OLD_KEYS) | {"steps", "save_minutes", "validate_every", "compile", "recompute"}
    settings = asdict(from_flat(OLD))
    for key, value in OLD.items():
        group, _, name = OLD_KEYS.get(key, key).rpartition(".")
        assert (settings[group] if group else settings)[name] == value
    reached = {OLD_KEYS.get(key, key) for key in OLD}
    everything = {name for name, value in settings.items() if not isinstance(value, dict)}
    everything |= {f"{group}.{name}" for group in GROUPS for name in settings[group]}
    assert reached == everything - NEWER


def test_settings_are_read_back_from_plain_values():
    made = from_flat(OLD)
    assert from_flat(asdict(made)) == made
    assert from_flat({}) == DynamicsTraining()
    for unknown in ("speed", "optimizer.speed", "engine.rate"):
        with pytest.raises(TypeError):
            from_flat({unknown: 1})
