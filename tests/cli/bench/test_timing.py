"""Measuring calls: warm-up is left out, quiet and loaded calls take turns, ratios and operations are right."""

import pytest
import torch

from worldsim.cli.bench.load import busy_processes
from worldsim.cli.bench.tables import loaded_lines, table
from worldsim.cli.bench.timing import TURNS, Times, compared, counted_flop, timed, timed_beside
from worldsim.models.rowwise import RowConv2d, TokenLinear


def test_calls_are_timed_after_the_warm_up():
    calls, told = [], []
    times = timed(lambda: calls.append(1), 5, warm_up=2, tell=lambda: told.append(1))
    assert len(calls) == 7 and len(told) == len(times.wall) == len(times.cpu) == 5
    assert min(times.wall) > 0


def test_quiet_and_loaded_calls_take_turns():
    with busy_processes(1) as busy:
        seen: list[bool] = []
        quiet, loaded = timed_beside(lambda: seen.append(busy.working), 2 * TURNS, busy)
        assert not busy.working
    assert loaded is not None and len(quiet.wall) == len(loaded.wall) == 2 * TURNS
    assert seen.count(True) == seen.count(False)
    changes = sum(a != b for a, b in zip(seen, seen[1:], strict=False))
    assert not seen[0] and changes == 2 * TURNS - 1


def test_the_load_ends_where_a_call_fails():
    def fail() -> None:
        if busy.working:
            raise ValueError("inside")

    with busy_processes(1) as busy:
        with pytest.raises(ValueError, match="inside"):
            timed_beside(fail, 1, busy)
        assert not busy.working


def test_without_load_nothing_is_compared():
    with busy_processes(0) as busy:
        quiet, loaded = timed_beside(lambda: None, 3, busy)
    assert loaded is None and "loaded" not in compared(quiet, None, 1) and len(quiet.wall) == 3


def test_ratios_are_loaded_by_quiet():
    found = compared(Times([1, 1, 3], [1] * 3), Times([2, 2, 12], [1] * 3), frames=10)
    assert found["p50_ms"] == 1000 and found["loaded"]["ratio_p50"] == 2
    assert found["loaded"]["ratio_p95"] == pytest.approx(found["loaded"]["p95_ms"] / found["p95_ms"])
    assert found["frames_per_second"] == pytest.approx(6) and found["loaded"]["frames_per_second"] == 30 / 16
    lines = list(loaded_lines(2, {"step": found}))
    assert "2 busy processes" in lines[0] and "2.00" in lines[2]


def test_tables_have_one_width_a_column():
    lines = list(table(("", "frames/s"), [("play", "1.5"), ("look_ahead", "123456.7")]))
    assert [line.rindex(end) + len(end) for line, end in zip(lines, ("/s", "1.5", ".7"), strict=True)] == [20] * 3


def test_convolutions_count_whichever_kernel_computes_them():
    convolution, picture = RowConv2d(4, 8, 3, padding=1).requires_grad_(False), torch.rand(2, 4, 16, 16)
    picture = picture.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        assert counted_flop(lambda: convolution(picture)) == 2 * 2 * 8 * 4 * 9 * 16 * 16
    assert counted_flop(lambda: torch.nn.functional.linear(torch.rand(3, 5), torch.rand(7, 5))) == 2 * 3 * 5 * 7
    packed = TokenLinear(5, 7, bias=False).requires_grad_(False)
    with torch.inference_mode():
        assert counted_flop(lambda: packed(torch.rand(2, 3, 5))) == 2 * 2 * 3 * 5 * 7
