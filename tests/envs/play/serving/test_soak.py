"""The soak of the page itself, short here, and it notices what it is there to notice."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.envs.play.fake_game import FakeGame
from tests.envs.play.serving.pages import server_of, serving
from tests.envs.play.serving.soak import drive
from tests.envs.play.soak import Report, resident
from worldsim.envs.play.controls import Controls


def soak(folder: Path, seconds: float) -> tuple[Report, list[float]]:
    async def run() -> tuple[Report, list[float]]:
        server = server_of(folder, open_game=lambda tell: FakeGame(seconds=0.05))
        async with serving(server):
            return await drive(server.url, "", resident, seconds)

    return asyncio.run(run())


@pytest.mark.slow
def test_play_on_the_page_costs_no_key(tmp_path: Path):
    report, answers = soak(tmp_path, 6)
    assert report.dropped == [] and report.pressed > 10 and report.steps > 20, report.line()
    assert len(answers) == report.pressed and report.memory and report.gaps


@pytest.mark.slow
def test_a_key_that_is_dropped_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    take = Controls.take

    def forgetful(controls: Controls, frames: int) -> Any:
        controls.tapped.clear()
        return take(controls, frames)

    monkeypatch.setattr(Controls, "take", forgetful)
    report, _ = soak(tmp_path, 4)
    assert len(report.dropped) >= 0.8 * report.pressed > 0
