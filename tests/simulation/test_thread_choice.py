"""How many threads steps take, on a clock of the test's own."""

from collections.abc import Iterator

import pytest
import torch

from tests.simulation.test_world_model import acts, past
from tests.tiny_world import tiny_world
from worldsim.simulation import thread_choice
from worldsim.simulation.thread_choice import EVERY, LOOK, ThreadChoice, choose_threads, set_threads


class Machine:
    """Takes so long for a step, by its threads."""

    def __init__(self, one: float, two: float) -> None:
        self.seconds, self.now, self.threads = {1: one, 2: two}, 0.0, 2
        self.choice = ThreadChoice(clock=lambda: self.now, use=self.use)

    def use(self, count: int) -> None:
        self.threads = count

    def steps(self, count: int, work: int = 1) -> list[int]:
        out = []
        for _ in range(count):
            with self.choice.measured(work) as count:
                assert self.threads == count
                self.now += self.seconds[count]
            out.append(count)
        return out


@pytest.mark.parametrize(("one", "two", "better"), [(0.1, 0.06, 2), (0.1, 0.2, 1)])
def test_the_faster_count_is_taken_and_the_other_looked_at_now_and_then(one: float, two: float, better: int):
    machine = Machine(one, two)
    machine.steps(EVERY)
    used = machine.steps(10 * EVERY)
    assert used.count(3 - better) == 10 * LOOK


def test_what_is_hardly_better_changes_nothing():
    machine = Machine(0.1, 0.101)
    assert machine.steps(2 * EVERY)[10:].count(1) <= 2 * LOOK


@pytest.mark.parametrize("quiet", [(0.1, 0.06), (0.1, 0.11)])
def test_another_load_is_noticed(quiet: tuple[float, float]):
    machine = Machine(*quiet)
    machine.steps(300)
    machine.seconds = {1: 0.15, 2: 1.0}
    assert machine.steps(2 * EVERY)[-20:].count(1) >= 20 - LOOK
    machine.seconds = {1: 0.1, 2: 0.06}
    assert machine.steps(2 * EVERY)[-20:].count(2) >= 20 - LOOK


def test_a_step_that_hangs_once_changes_nothing_for_long():
    machine = Machine(0.1, 0.06)
    machine.steps(200)
    machine.seconds[2] = 5.0
    machine.steps(1)
    machine.seconds[2] = 0.06
    assert machine.steps(EVERY).count(1) <= LOOK


def test_each_work_has_a_choice_of_its_own():
    machine = Machine(0.1, 0.06)
    machine.steps(40, work=1)
    machine.seconds = {1: 0.1, 2: 0.2}
    machine.steps(40, work=8)
    assert machine.steps(10, work=8) == [1] * 10
    machine.seconds = {1: 0.1, 2: 0.06}
    assert machine.steps(10, work=1) == [2] * 10


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    set_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_worlds_step_by_it_to_the_same_bits(monkeypatch: pytest.MonkeyPatch):
    world, used = tiny_world(), []
    state, actions = world.prefill(*past(world), seeds=[1, 2]), acts(world)

    def walk() -> torch.Tensor:
        now = state
        for _ in range(12):
            now, _ = world.step(now, actions)
        return now.latent

    fixed = walk()
    choose_threads()
    assert thread_choice._choice is not None
    use = thread_choice._choice.use
    monkeypatch.setattr(thread_choice._choice, "use", lambda count: (used.append(count), use(count)))
    assert torch.equal(walk(), fixed) and {1, 2} <= set(used)
    set_threads(1)
    assert thread_choice._choice is None and torch.get_num_threads() == 1


def test_more_threads_than_two_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    choose_threads()
    assert thread_choice._choice is None
