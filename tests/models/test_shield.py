"""The world computes the same whatever the program around it has set, and leaves those settings as they were."""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import worldsim
from tests.tiny_memory import remembering_world
from tests.tiny_world import save_tiny_world, tiny_starts, tiny_world
from worldsim.envs.learned.env import WorldSimEnv
from worldsim.envs.learned.snapshot import Snapshot
from worldsim.models.shield import default_device, shield, shielded

ROOT = Path(__file__).resolve().parents[2]
ACTION = np.array([1, 0, 0, 0, 0, 0, 0, 5, 9])


@contextlib.contextmanager
def setting(write: Callable[[Any], Any], value: Any, before: Any) -> Iterator[None]:
    write(value)
    try:
        yield
    finally:
        write(before)


def attribute(part: Any, name: str) -> Callable[[Any], None]:
    return lambda value: setattr(part, name, value)


MKLDNN = torch.backends.mkldnn
SETTINGS: dict[str, Callable[[], contextlib.AbstractContextManager[Any]]] = {
    "float64": lambda: setting(torch.set_default_dtype, torch.float64, torch.float32),
    "bfloat16": lambda: setting(torch.set_default_dtype, torch.bfloat16, torch.float32),
    "device": lambda: setting(torch.set_default_device, "meta", None),
    "device as a context": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "deterministic": lambda: setting(torch.use_deterministic_algorithms, True, False),
    "product precision": lambda: setting(torch.set_float32_matmul_precision, "medium", "highest"),
    "without oneDNN": lambda: setting(attribute(MKLDNN, "enabled"), False, True),
    "anomalies": lambda: setting(torch.autograd.set_detect_anomaly, True, False),
    "inference": torch.inference_mode,
    "gradients": torch.enable_grad,
    "numpy raises": lambda: np.errstate(all="raise"),
    "two threads": lambda: setting(torch.set_num_threads, 2, torch.get_num_threads()),
}
if hasattr(getattr(MKLDNN, "conv", None), "fp32_precision"):
    SETTINGS["convolution precision"] = lambda: setting(attribute(MKLDNN.conv, "fp32_precision"), "bf16", "none")  # pyright: ignore


def seen() -> tuple[Any, ...]:
    """Everything that the shield touches, as the program sees it."""
    precisions = [getattr(getattr(MKLDNN, part, None), "fp32_precision", None) for part in ("matmul", "conv")]
    return (
        torch.get_default_dtype(), default_device(), torch.is_autocast_enabled("cpu"),
        torch.get_deterministic_debug_mode(), torch.get_float32_matmul_precision(), MKLDNN.enabled,
        torch.get_num_threads(), torch.is_grad_enabled(), np.geterr(), *precisions,
    )  # fmt: skip


def played(world: Any, folder: Path, starts: Any = None) -> list[bytes]:
    """What an environment shows from its making on, through a snapshot in a file."""
    env = WorldSimEnv(world, starts=starts or tiny_starts(), action_space="multidiscrete")
    first, _ = env.reset(seed=3)
    moments = [first.tobytes(), env.step(ACTION)[4]["frames"].tobytes()]
    env.snapshot().save(folder / "moment.safetensors")
    env.fork(1)[0].step(ACTION)
    env.restore(Snapshot.load(folder / "moment.safetensors"))
    _, reward, _, _, info = env.step(ACTION)
    return [*moments, info["frames"].tobytes(), info["pose"].tobytes(), np.float64(reward).tobytes()]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_world(tmp_path_factory.mktemp("shield") / "tiny")


@pytest.fixture(scope="module")
def remembering(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shield") / "remembering"
    remembering_world().save(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_of_the_program_changes_nothing_and_stays(name: str, checkpoint: Path, tmp_path: Path):
    plain = played(worldsim.load(checkpoint, bf16=False), tmp_path)
    with SETTINGS[name]():
        before = seen()
        assert played(worldsim.load(checkpoint, bf16=False), tmp_path) == plain
        assert seen() == before


@pytest.mark.slow
@pytest.mark.parametrize("name", ["float64", "device", "device as a context", "autocast", "numpy raises", "inference"])
def test_a_world_with_a_memory_is_shielded_too(name: str, remembering: Path, tmp_path: Path):
    plain = played(worldsim.load(remembering, bf16=False), tmp_path)
    with SETTINGS[name]():
        before = seen()
        assert played(worldsim.load(remembering, bf16=False), tmp_path) == plain
        assert seen() == before


def test_products_in_bf16_are_the_worlds_own(tmp_path: Path):
    """The one setting that the world itself makes is not undone by its shield."""
    plain = played(tiny_world(bf16=True), tmp_path)
    assert plain != played(tiny_world(), tmp_path)
    with torch.autocast("cpu", torch.float16):
        assert played(tiny_world(bf16=True), tmp_path) == plain


def test_branches_and_batches_under_other_defaults():
    world, past = tiny_world(), tiny_starts().frames[0]
    scripts: list[Any] = ["forward 4", ("forward 2", ["yaw +20 x 2", "yaw -20 x 2"])]
    plain = world.branch(past, scripts)
    with setting(torch.set_default_dtype, torch.float64, torch.float32), torch.device("meta"):
        under = world.branch(past, scripts)
    assert len(plain) == 3
    for a, b in zip(plain, under, strict=True):
        np.testing.assert_array_equal(a.frames, b.frames)
        assert b.state.pose.dtype == torch.float32 and b.state.pose.device.type == "cpu"


@pytest.mark.parametrize("kind", ["checkpoint", "remembering"])
def test_loading_draws_nothing_from_the_programs_generator(kind: str, request: pytest.FixtureRequest):
    folder = request.getfixturevalue(kind)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    worldsim.load(folder)
    assert torch.equal(torch.rand(1), expected)


def test_an_error_inside_leaves_the_settings_as_they_were():
    @shielded
    def fails() -> None:
        assert torch.get_default_dtype() == torch.float32
        raise ValueError("inside")

    with setting(torch.set_default_dtype, torch.float64, torch.float32):
        with pytest.raises(ValueError, match="inside"):
            fails()
        assert torch.get_default_dtype() == torch.float64


def test_one_thread_leaving_does_not_uncover_another():
    inside, left = threading.Event(), threading.Event()
    found: list[torch.dtype] = []

    def compute() -> None:
        with shield():
            inside.set()
            left.wait(30)
            found.append(torch.get_default_dtype())

    with setting(torch.set_default_dtype, torch.float64, torch.float32):
        with shield():
            other = threading.Thread(target=compute)
            other.start()
            assert inside.wait(30)
        left.set()
        other.join(30)
        assert found == [torch.float32] and torch.get_default_dtype() == torch.float64


FORKED = """
import os, sys, torch
torch.set_num_threads(2)
import gymnasium, numpy as np, worldsim
def show(seed):
    env = gymnasium.make("WorldSim-Minecraft-v0", world=sys.argv[1], starts=sys.argv[1] + "/starts")
    env.reset(seed=seed)
    return env.step(np.array([1, 0, 0, 0, 0, 0, 0, 5, 9]))[4]["frames"]
if __name__ == "__main__":
    # Big enough for every thread of the pool.
    torch.randn(600, 600) @ torch.randn(600, 600)
    here = [show(seed) for seed in (0, 1)]
    if sys.argv[2] == "fork":
        read, write = os.pipe()
        if os.fork() == 0:
            os.write(write, show(1).tobytes())
            os._exit(0)
        os.close(write)
        assert open(read, "rb").read() == here[1].tobytes()
    else:
        envs = gymnasium.make_vec(
            "WorldSim-Minecraft-v0", 2, vectorization_mode="async", world=sys.argv[1], starts=sys.argv[1] + "/starts",
        )
        envs.reset(seed=0)
        shown = envs.step(np.array([[1, 0, 0, 0, 0, 0, 0, 5, 9]] * 2))[4]["frames"]
        assert all((shown[i] == here[i]).all() for i in range(2))
        envs.close()
    assert torch.get_num_threads() == 2
    print("equal")
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["fork", "async"])
def test_processes_forked_after_use_show_the_same(how: str, checkpoint: Path, tmp_path: Path):
    """A process whose parent's threads are gone would wait for them without end: the limit is there for that alone."""
    (tmp_path / "forked.py").write_text(FORKED)
    run = subprocess.run(
        [sys.executable, str(tmp_path / "forked.py"), str(checkpoint), how],
        cwd=ROOT, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert run.returncode == 0 and run.stdout.splitlines()[-1] == "equal", run.stderr
