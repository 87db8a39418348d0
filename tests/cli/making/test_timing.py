"""Timed steps: of any game's actions, with the settings that the training will have."""

import pytest

from worldsim.cli.making.plan import dynamics_words
from worldsim.cli.making.timing import dynamics_seconds, tokenizer_seconds
from worldsim.datasets.store.recording_format import RecordingFormat
from worldsim.spec.actions import ActionSpec

TINY = [f"model.{name}=8" for name in ("channels", "encoder_width", "decoder_width", "detail_width")]


@pytest.mark.parametrize(
    "spec", [ActionSpec(keys=("up",)), ActionSpec(keys=("left", "right")), ActionSpec(keys=("a",), camera=True)]
)
def test_steps_of_every_game_can_be_timed(spec: ActionSpec):
    recordings = RecordingFormat(spec=spec, height=16, width=32, fps=10)
    words = [*TINY, "model.chunk=1", "batch=1", "chunks=2"]
    assert tokenizer_seconds(words, recordings) > 0
    assert dynamics_seconds(dynamics_words("still", "tiny", ["batch=2", "frames=4"]), words, recordings) > 0
