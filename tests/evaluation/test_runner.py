"""Parts as they are kept and taken over: keys, settings, revisions."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from worldsim.evaluation import runner
from worldsim.evaluation.config import PRESETS, EvalThresholds
from worldsim.evaluation.interface.part import Evaluation, EvaluationPart
from worldsim.evaluation.interface.settings import Checked, limit
from worldsim.evaluation.listing import PARTS
from worldsim.evaluation.parts import text as text_part
from worldsim.evaluation.parts.text import Text
from worldsim.evaluation.runner import part_digest
from worldsim.simulation.config import SamplingConfig

# Beginnings of the keys of the presets quick and full, as they were before parts were classes: runs of that time are
# still taken over.
KEYS = {
    "horizons": ("a14586342d98b7ca", "e8769a6bb9aefec6"),
    "actions": ("9916acfc0d3fa168", "c0841a348d55a6e2"),
    "forced": ("820d08caf86d0374", "9e2bfe81b3296f59"),
    "perceptual": ("df61d40f5c63a1f1", "cd3c06e4296fbcc5"),
    "inverse": ("f1d07e7809b03bca", "a80057922d1f0a4c"),
    "branches": ("13144b409a6c9dc5", "7df4715d013b17e8"),
    "objects": ("8c4904bf6cf0ba15", "a2f9f303450de93b"),
    "obstacles": ("f43d6375fcfcbda9", "6f9eb569f4b8c0b8"),
    "text": ("49380dee812b0b09", "4d24a5b409d28ebb"),
    "long": ("7f9ff58d18c46fe3", "c0e2611958fdd45c"),
    "measures": ("e625b475763abf89", "e625b475763abf89"),
}


@dataclass
class Sampling:
    steps: int = 2
    fold: bool = True


@dataclass
class RenamedSampling:
    steps: int = 2
    reuse_last_eval_for_cache: bool = True


@dataclass
class Config:
    height: int = 80
    sampling: Any = field(default_factory=Sampling)


def evaluation(preset: str = "quick", config: Config | None = None) -> Evaluation:
    world: Any = SimpleNamespace(config=config or Config(), bf16=False, device=torch.device("cpu"), memory=None)
    store: Any = SimpleNamespace(
        names=lambda split: [f"{split}-a", f"{split}-b"], digest=lambda name: f"of {name}", url="store"
    )
    return Evaluation(
        world=world, store=store, split="test", preset=PRESETS[preset], thresholds=EvalThresholds(), seed=3,
        folder=Path("x"), branches=Path("x"), rows=4,
    )  # fmt: skip


@pytest.mark.parametrize("name", KEYS)
def test_keys_are_those_of_earlier_runs(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(text_part, "encoder_installed", lambda: False)
    for preset, key in zip(("quick", "full"), KEYS[name], strict=True):
        assert part_digest(evaluation(preset), PARTS[name], "weights")[:16] == key


def test_worlds_with_a_memory_are_measured_anew_where_the_memory_came_to_work_otherwise(
    monkeypatch: pytest.MonkeyPatch,
):
    e = evaluation()

    def key(memory: object) -> str:
        world: Any = SimpleNamespace(**{**vars(e.world), "memory": memory})
        return part_digest(replace(e, world=world), PARTS["horizons"], "weights")

    before = key(None), key("a memory")
    monkeypatch.setattr(runner, "MEMORY_REVISION", runner.MEMORY_REVISION + 1)
    assert key(None) == before[0] and key("a memory") not in before


def test_settings_that_a_world_does_not_heed_do_not_count():
    def key(sampling: SamplingConfig, memory: object) -> str:
        e = evaluation(config=Config(sampling=sampling))
        world: Any = SimpleNamespace(**{**vars(e.world), "memory": memory})
        return part_digest(replace(e, world=world), PARTS["forced"], "")

    settings = SamplingConfig(), SamplingConfig(noise_metres=0), SamplingConfig(inpaint_level=0)
    assert len({key(each, None) for each in settings}) == 1
    assert len({key(each, "a memory") for each in settings}) == 3


def test_a_sampling_setting_that_was_renamed_keeps_the_keys():
    renamed = Config(sampling=RenamedSampling())
    keys = {part_digest(evaluation(config=config), PARTS["forced"], "weights") for config in (None, renamed)}
    assert len(keys) == 1


def test_text_is_measured_anew_when_it_came_to_measure_more_and_other_parts_are_not(monkeypatch: pytest.MonkeyPatch):
    e = evaluation()

    def keys() -> list[str]:
        return [part_digest(e, PARTS[name], "weights") for name in ("text", "horizons")]

    monkeypatch.setattr(text_part, "encoder_installed", lambda: True)
    there = keys()
    monkeypatch.setattr(text_part, "encoder_installed", lambda: False)
    away = keys()
    assert there[0] != away[0] and there[1] == away[1]
    monkeypatch.setattr(Text, "revision", 2)
    assert keys()[0] != away[0] and keys()[1] == away[1]


def test_thresholds_of_a_new_part_are_in_its_own_key_alone():
    @dataclass(frozen=True, kw_only=True)
    class Limits(Checked):
        darkness: float = limit(5.0, "how dark is dark")

    class Dark(EvaluationPart):
        name, thresholds = "dark", Limits

        def run(self, e: Evaluation):
            return {}, {}

    e = evaluation()
    brighter, darker = (
        replace(e, thresholds=SimpleNamespace(**vars(e.thresholds), darkness=darkness)) for darkness in (5.0, 6.0)
    )
    keys = {name: part_digest(e, part, "weights") for name, part in PARTS.items()}
    assert keys == {name: part_digest(darker, part, "weights") for name, part in PARTS.items()}
    assert part_digest(brighter, Dark(), "weights") != part_digest(darker, Dark(), "weights")
