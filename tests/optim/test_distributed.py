"""Several ranks learn what one process learns; states move between any number of them. Gloo, on this machine."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._C._distributed_c10d import HashStore

from tests.ranks import run_ranks
from tests.timing import PATIENCE
from tests.tiny_world import tiny_dit, tiny_tokenizer
from tests.training.test_training import latents
from worldsim.diffusion.settings import DynamicsTraining, LossSettings, OptimizerSettings, SelfRolloutSettings
from worldsim.errors import UserError
from worldsim.models.checkpoint import load_tensors
from worldsim.models.dit import WorldDiT
from worldsim.optim import loop
from worldsim.optim.distributed.checkpoints import newest_step, step_folder
from worldsim.optim.distributed.engines import shard, spread_like, whole, whole_state
from worldsim.optim.distributed.ranks import ALONE, Ranks, ranks
from worldsim.optim.distributed.ranks import _start as start_number
from worldsim.optim.distributed.shares import Rows, Share, share_of
from worldsim.optim.loop import split_optimizers
from worldsim.optim.train_state import state_tensors
from worldsim.training.dynamics import prepared, train_dynamics
from worldsim.training.tokenizer import TokenizerTraining, train_tokenizer

CONFIG = replace(tiny_dit().config, blocks=2)
# Everything that couples the clips of a batch, or decides how often the network runs.
COUPLED: dict[str, Any] = {
    "image_fraction": 0.2,
    "half_clip_fraction": 0.3,
    "self_rollout": SelfRolloutSettings(fraction=0.25, max_frames=2),
    "loss": LossSettings(shortcut_from=3, saliency_weight=0.5),
}


@pytest.fixture(autouse=True)
def counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operations are counted once instead of over many draws: what that gives is not looked at here."""
    monkeypatch.setattr("worldsim.training.flops.DRAWS", 1)


@pytest.fixture(autouse=True, scope="module")
def exact_products() -> Iterator[None]:
    """Sums over ranks have other last bits, and where products run in bf16 those become as large as what is judged."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("worldsim.models.precision.fast_bf16", lambda: False)
        yield


def train(folder: Path, stop: int, steps: int, options: dict[str, Any]) -> list[dict[str, float]]:
    """A training of ``steps`` steps in all, up to step ``stop``: metrics of each step done."""
    training = DynamicsTraining(
        steps=steps,
        optimizer=OptimizerSettings(warmup=2),
        compile=False,
        validate_every=10,
        save_minutes=1e9,
        **options,
    )
    run = train_dynamics(CONFIG, training, latents, latents(-7), folder)
    found = []
    for step, metrics in run:
        found.append(metrics)
        if step == stop < steps:
            # As after Ctrl-C: all ranks stop at the same step, and save.
            ranks().stop(True)
            run.close()
    return found


def apart(one: list[dict[str, float]], other: list[dict[str, float]]) -> float:
    """The largest difference of any metric of any step."""
    assert len(one) == len(other) and all(a.keys() == b.keys() for a, b in zip(one, other, strict=True))
    return max(abs(a[name] - b[name]) for a, b in zip(one, other, strict=True) for name in a)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    return train(tmp_path_factory.mktemp("single"), 50, 50, {})


@pytest.mark.slow
@pytest.mark.parametrize(("count", "sharded"), [(2, False), (2, True), (4, False), (4, True)])
def test_ranks_learn_what_one_process_learns(count: int, sharded: bool, tmp_path: Path, single: list[dict[str, float]]):
    found = run_ranks(count, train, tmp_path, 50, 50, {"shard": sharded, "recompute": sharded})
    assert single[-1]["loss"] < 0.9 * single[0]["loss"]
    assert max(abs(a["loss"] - b["loss"]) for a, b in zip(single, found[0], strict=True)) < 1e-4
    # Every rank has the same numbers, to the bit.
    assert all(other == found[0] for other in found)


@pytest.mark.slow
@pytest.mark.parametrize("sharded", [False, True])
def test_what_couples_clips_is_that_of_the_whole_batch(sharded: bool, tmp_path: Path):
    """Three ranks do not even divide the four clips."""
    one = train(tmp_path / "one", 8, 8, COUPLED)
    three = run_ranks(3, train, tmp_path / "three", 8, 8, {**COUPLED, "shard": sharded})[0]
    assert apart(one, three) < 1e-4
    assert any("termination" not in metrics for metrics in one), "no step of images was drawn"


@pytest.mark.slow
@pytest.mark.parametrize(("parts", "count", "sharded"), [(4, 2, False), (4, 2, True), (2, 4, True)])
def test_what_is_learned_depends_on_the_parts_and_not_on_the_ranks(
    parts: int, count: int, sharded: bool, tmp_path: Path
):
    """Two parts a rank, one after another; and two ranks a part, which share its rows."""
    options = {**COUPLED, "parts": parts}
    one = train(tmp_path / "one", 4, 4, options)
    found = run_ranks(count, train, tmp_path / "ranks", 4, 4, {**options, "shard": sharded})
    assert apart(one, found[0]) < 1e-4 and all(apart(found[0], other) == 0 for other in found)
    assert apart(one[:1], train(tmp_path / "other", 1, 4, {**COUPLED, "parts": 1})) > 1e-3


def train_in_bf16(folder: Path, sharded: bool) -> list[dict[str, float]]:
    with pytest.MonkeyPatch.context() as patch:
        for module in ("optim.distributed.engines", "training.dynamics"):
            patch.setattr(f"worldsim.{module}.fast_precision", lambda device: torch.autocast("cpu", torch.bfloat16))
        return train(folder, 3, 3, {"shard": sharded, "image_fraction": 0.0})


@pytest.mark.slow
def test_where_products_run_in_bf16_masters_stay_fp32(tmp_path: Path):
    one = train_in_bf16(tmp_path / "one", False)
    two = run_ranks(2, train_in_bf16, tmp_path / "two", True)[0]
    assert all(a["loss"] == pytest.approx(b["loss"], rel=0.01) for a, b in zip(one, two, strict=True))
    exact = train(tmp_path / "exact", 3, 3, {"image_fraction": 0.0})
    assert any(a["loss"] != b["loss"] for a, b in zip(exact, two, strict=True)), "nothing ran in bf16"
    files = step_folder(tmp_path / "two/state", 3).glob("*.safetensors")
    tensors = [tensor for file in files for tensor in load_tensors(file)[0].values()]
    assert tensors and all(tensor.dtype == torch.float32 for tensor in tensors if tensor.is_floating_point())


def state_on_ranks(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Whole tensors of the state that a run goes on from, as NumPy arrays."""
    trained = prepared(WorldDiT(CONFIG), DynamicsTraining(**options), folder / "state.safetensors")
    found = trained.restore()
    assert found is not None
    kept = state_tensors(trained.module, trained.ema, trained.optimizers, found.more)
    return {name: whole(tensor).detach().numpy() for name, tensor in kept.items()} | {"step": np.array(found.step)}


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)


@pytest.mark.slow
def test_a_state_of_four_ranks_goes_on_with_any_number(tmp_path: Path):
    """Saved on 4 ranks, read on 4, 2 (sharded or not), 3 and 1: the same; and from 1 back to 2."""
    run_ranks(4, train, tmp_path, 6, 12, {"shard": True})
    assert newest_step(tmp_path / "state") == 6
    four = run_ranks(4, state_on_ranks, tmp_path, {"shard": True})[0]
    assert int(four["step"]) == 6 and any(name.startswith("optimizer1/") for name in four)
    for count, sharded in ((3, True), (2, True), (2, False)):
        assert all(same(four, found) for found in run_ranks(count, state_on_ranks, tmp_path, {"shard": sharded}))
    assert same(four, state_on_ranks(tmp_path, {}))
    # What is exported is whole, in one file, and the averaged weights.
    exported, _ = load_tensors(tmp_path / "dit.safetensors")
    assert all((exported[name].numpy() == four[f"ema/{name}"]).all() for name in exported if f"ema/{name}" in four)
    # One process goes on, and two ranks after it.
    rest = train(tmp_path, 9, 12, {})
    assert len(rest) == 3 and load_tensors(tmp_path / "state.safetensors")[1]["step"] == 9
    rest += run_ranks(2, train, tmp_path, 12, 12, {"shard": True})[0]
    whole_run = train(tmp_path / "whole", 12, 12, {})
    assert apart(whole_run[6:], rest) < 1e-4


@pytest.mark.slow
def test_the_state_is_that_of_the_step_although_steps_go_on(tmp_path: Path):
    """Writing happens beside the training: what later steps change is not in the file."""
    run_ranks(2, train, tmp_path / "stopped", 4, 8, {"shard": True})
    run_ranks(2, train_saving_at_four, tmp_path / "going")
    tensors = [
        {n: t for f in sorted(step_folder(tmp_path / run / "state", 4).glob("*.safetensors")) for n, t in read(f)}
        for run in ("stopped", "going")
    ]
    assert tensors[0].keys() == tensors[1].keys() and len(tensors[0]) > 50
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])


def read(path: Path) -> list[tuple[str, Tensor]]:
    return [(f"{path.name}/{name}", tensor) for name, tensor in load_tensors(path)[0].items()]


def train_saving_at_four(folder: Path) -> None:
    steps = iter([0.0, *([0.0] * 3), 1e9, *([1e9] * 100)])

    class Clock:
        monotonic = staticmethod(lambda: next(steps))

    loop.time = Clock  # pyright: ignore[reportAttributeAccessIssue]
    training = DynamicsTraining(
        steps=8, optimizer=OptimizerSettings(warmup=2), compile=False, validate_every=10, save_minutes=1.0, shard=True
    )
    list(train_dynamics(CONFIG, training, latents, latents(-7), folder))


class Matrices(nn.Module):
    """Matrices of two shapes, neither of which the ranks divide; and a vector."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ParameterList(torch.randn(*shape) for shape in ((5, 7), (10, 4), (5, 7), (5, 7), (1, 3)))
        self.vector = nn.Parameter(torch.randn(7))


def muon_steps(sharded: bool) -> dict[str, Any]:
    module = Matrices()
    if sharded:
        shard(module, [])
    optimizers = split_optimizers(module, "blocks", 0.1, 0.1)
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        for parameter in module.parameters():
            gradient = torch.randn(parameter.shape, generator=generator)
            parameter.grad = spread_like(gradient, parameter)
        for optimizer in optimizers:
            optimizer.step()
    return {name: tensor.numpy() for name, tensor in whole_state(module).items()}


@pytest.mark.parametrize("count", [2, 3])
def test_muon_orthogonalises_whole_matrices(count: int):
    expected = muon_steps(False)
    for found in run_ranks(count, muon_steps, True):
        assert found.keys() == expected.keys()
        assert all(abs(found[name] - expected[name]).max() < 1e-5 for name in expected)


def pictures(index: int) -> Tensor:
    flat = torch.rand(4, 4, 4, 4, 3, generator=torch.Generator().manual_seed(abs(index)))
    return (flat.repeat_interleave(8, 2).repeat_interleave(8, 3) * 255).byte()


def code(folder: Path, stop: int, options: dict[str, Any]) -> list[dict[str, float]]:
    training = TokenizerTraining(steps=6, warmup=2, validate_every=3, saliency_weight=0.5, **options)
    run = train_tokenizer(tiny_tokenizer().config, training, pictures, pictures(999), folder)
    found = []
    for step, metrics in run:
        found.append(metrics)
        if step == stop < 6:
            ranks().stop(True)
            run.close()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"adversarial": 0.5}, {"parts": 4}])
def test_ranks_train_the_tokenizer_that_one_process_trains(options: dict[str, Any], tmp_path: Path):
    one = code(tmp_path / "one", 6, options)
    found = run_ranks(2, code, tmp_path / "two", 3, options)
    found[0] += run_ranks(4, code, tmp_path / "two", 6, options)[0]
    # Adam takes whole steps along gradients that are rounding alone.
    assert apart(one, found[0]) < 5e-3
    weights = [load_tensors(tmp_path / run / "tokenizer.safetensors")[0] for run in ("one", "two")]
    assert all(torch.allclose(weights[0][name], weights[1][name], atol=3e-3) for name in weights[0])


@pytest.mark.parametrize(("parts", "count"), [(1, 1), (1, 4), (2, 4), (8, 4), (6, 2)])
def test_every_part_is_learned_once_by_so_many_rows(parts: int, count: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("worldsim.optim.distributed.shares.distributed.new_group", lambda members: tuple(members))
    learned: dict[int, set[tuple[int, int]]] = {}
    mean = 0.0
    for rank in range(count):
        known = Ranks(rank, count)
        monkeypatch.setattr("worldsim.optim.distributed.shares.ranks", lambda known=known: known)
        share = share_of(parts)
        assert share.indices(3) == [3 * parts + part for part in share.mine]
        assert share.following(share.indices(3)[-1]) == share.indices(4)[0]
        # Engines average over ranks: of gradients that are 1 for each whole part, that is to be 1.
        mean += share.scale * len(share.mine) / share.rows.count / count
        for part in share.mine:
            learned.setdefault(part, set()).add((share.rows.index, share.rows.count))
    assert sorted(learned) == list(range(parts)) and mean == pytest.approx(1)
    for rows in learned.values():
        each = max(1, count // parts)
        assert rows == {(index, each) for index in range(each)}


@pytest.mark.parametrize(("rows", "count"), [(1, 3), (4, 3), (6, 3), (7, 2)])
def test_ranks_compute_all_rows_and_equally_many(rows: int, count: int):
    found = [Rows(index, count).mine(rows) for index in range(count)]
    assert all(isinstance(mine, Tensor) and len(mine) == len(torch.as_tensor(found[0])) for mine in found)
    assert {int(row) for mine in found for row in torch.as_tensor(mine)} == set(range(rows))
    assert torch.cat([torch.as_tensor(mine) for mine in found])[:rows].tolist() == list(range(rows))


def test_parts_and_ranks_that_do_not_divide_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("worldsim.optim.distributed.shares.ranks", lambda: Ranks(0, 4))
    with pytest.raises(UserError, match="parts=6 does not go with 4 ranks"):
        share_of(6)


def test_alone_nothing_is_waited_for():
    assert ranks() is ALONE and ALONE.first and ALONE.total([2.0]) == [2.0] and not ALONE.any(False)
    share = share_of(1)
    assert share == Share(ALONE, 1, range(1), Rows()) and share.scale == 1 and share.rows.mine(5) == slice(None)


class Died(Exception):
    pass


class MortalStore:
    """A store for threads that play ranks; those in ``dead`` do nothing any more."""

    def __init__(self) -> None:
        self.store = HashStore()
        self.dead: set[threading.Thread] = set()

    def __getattr__(self, name: str) -> Any:
        if threading.current_thread() in self.dead:
            raise Died
        return getattr(self.store, name)

    def get(self, key: str) -> bytes:
        while not self.check([key]):
            time.sleep(0.01)
        return self.store.get(key)


def test_every_start_of_the_ranks_has_a_number_of_its_own():
    """After starts in which some ranks never came, and the others died waiting for them."""
    store = MortalStore()

    def begin(rank: int, found: dict[int, str]) -> threading.Thread:
        def come() -> None:
            with contextlib.suppress(Died):
                found[rank] = start_number(store, rank, 3)  # pyright: ignore[reportArgumentType]

        thread = threading.Thread(target=come, daemon=True)
        thread.start()
        return thread

    numbers = []
    for coming in ((0, 1, 2), (1, 2), (0, 2), (0, 1), (0, 1, 2), (0, 1, 2)):
        found: dict[int, str] = {}
        threads = [begin(rank, found) for rank in coming]
        if len(coming) < 3:
            time.sleep(0.1)
            assert not found
            store.dead |= set(threads)
        for thread in threads:
            thread.join(PATIENCE)
        if len(coming) == 3:
            assert len(found) == 3 and len(set(found.values())) == 1
            numbers.append(found[0])
    assert len(set(numbers)) == 3
