"""Branches in clones of the emulator, what is compared with them, and the command."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny_world import shaken, tiny_world
from worldsim import cli
from worldsim.agents.policies.pong import PONG
from worldsim.errors import UserError
from worldsim.evaluation.counterfactuals.pong import SCRIPTS, Branches, compare, dream_branches, play_branches
from worldsim.models.dit import DiTConfig, WorldDiT
from worldsim.models.tokenizer import TokenizerConfig, VideoTokenizer
from worldsim.simulation.config import WorldConfig
from worldsim.simulation.world_model import WorldModel

pytest.importorskip("ale_py")
PAST, STEPS = 9, 8


def pong_world() -> WorldModel:
    """Random weights in the shape of a world of Pong."""
    torch.manual_seed(0)
    tokenizer = VideoTokenizer(
        TokenizerConfig(
            channels=6, chunk=1, encoder_width=8, encoder_blocks=1, decoder_width=8, decoder_blocks=1, detail_width=8
        )
    )
    dit = WorldDiT(
        DiTConfig(
            channels=6, keys=3, camera=False, chunk=1, width=32, heads=4, kv_heads=2, blocks=2, temporal_every=2,
            registers=1, window=8, text_size=4, modulation=16,
        )
    )  # fmt: skip
    config = WorldConfig(height=80, width=80, fps=15, spec=PONG)
    return WorldModel(config, tokenizer, shaken(dit, 0), bf16=False)  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="module")
def branches() -> Branches:
    return play_branches(2, past=PAST, steps=STEPS)


@pytest.fixture(scope="module")
def world() -> WorldModel:
    return pong_world()


@pytest.mark.slow
def test_branches_part_from_one_past_by_their_actions_alone(branches: Branches):
    assert branches.past.shape == (2, PAST, 80, 80, 3) and branches.past_actions.shape == (2, PAST - 1, 3)
    assert branches.frames.shape == (2, len(SCRIPTS), STEPS, 80, 80, 3)
    assert (branches.actions.sum(-1) == 1).all()
    for game in range(2):
        # "up" and "up, then down" are the same for the first half, and part in the second one.
        same = branches.frames[game, 0, : STEPS // 2] == branches.frames[game, 3, : STEPS // 2]
        assert same.all()
        assert (branches.frames[game, 0, -1] != branches.frames[game, 3, -1]).any()
    again = play_branches(2, past=PAST, steps=STEPS)
    assert np.array_equal(again.frames, branches.frames) and np.array_equal(again.past, branches.past)
    assert not np.array_equal(play_branches(1, past=PAST, steps=1, seed=1).past, branches.past[:1])


@pytest.mark.slow
def test_the_truth_agrees_with_itself_and_other_actions_do_not(branches: Branches, world: WorldModel):
    result = compare(world, branches, branches.frames, np.roll(branches.frames, -1, 1))
    perfect, other = result["rows"]["model"], result["rows"]["shuffled"]
    assert perfect["psnr"] == [60.0] * STEPS
    assert set(perfect["ball"]) == {0.0} and set(perfect["ball_kept"]) == {1.0} and set(perfect["paddle"]) == {0.0}
    assert other["psnr"][-1] < 60 and other["paddle"][-1] > 1
    assert result["up_above_down"] == 1 and result["up_below_down"] == 0
    assert result["retrieval"] == {"3": 1.0, "4": 1.0, "5": 1.0, "6": 1.0}
    # The last frame of the past is the worse a guess the later it stands for the truth.
    repeat = result["rows"]["repeat"]
    assert repeat["ball"][0] < repeat["ball"][-1] and repeat["psnr"][0] > repeat["psnr"][-1]


def test_dreams_of_the_same_actions_are_the_same(branches: Branches, world: WorldModel):
    dreamt = dream_branches(world, branches, branches.actions)
    assert dreamt.shape == branches.frames.shape
    assert np.array_equal(dreamt[:, 0, : STEPS // 2], dreamt[:, 3, : STEPS // 2])
    assert (dreamt[:, 0, -1] != dreamt[:, 3, -1]).any()


def test_another_game_is_refused(branches: Branches):
    with pytest.raises(UserError, match="no world of Pong"):
        dream_branches(tiny_world(), branches, branches.actions)


def test_the_command_writes_and_tells(tmp_path: Path, world: WorldModel, capsys: pytest.CaptureFixture[str]):
    world.save(tmp_path / "world")
    given = [f"world={tmp_path / 'world'}", "games=1", "steps=4", "past=5", f"folder={tmp_path / 'run'}"]
    assert cli.main(["truth", *given]) == 0
    printed = capsys.readouterr().out
    assert "1 test games, 6 branches each, 4 steps" in printed and "step   4: model" in printed
    result = json.loads((tmp_path / "run" / "truth.json").read_text())
    with (tmp_path / "run" / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["model_psnr"]) for row in rows] == result["rows"]["model"]["psnr"]
    assert (tmp_path / "run" / "game0.mp4").stat().st_size > 0
    assert cli.main(["truth", *given[:2], "steps=0"]) == 2
