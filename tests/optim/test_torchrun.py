"""The command line under torchrun: ranks that are killed, and two machines (network namespaces).

``KILLS=10 pytest tests/optim/test_torchrun.py`` kills ten times instead of twice.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.frozen_measures import DYNAMICS
from tests.test_frozen import FROZEN, unpacked
from tests.timing import PATIENCE, wait_until
from worldsim import cli
from worldsim.models.checkpoint import load_tensors
from worldsim.optim.distributed.checkpoints import newest_step

pytestmark = pytest.mark.alone
KILLS = int(os.environ.get("KILLS", "2"))
# Between two kills there is a state to go on from.
STEPS = max(9, KILLS + 5)
SETTINGS = [*DYNAMICS, "batch=4", f"training.steps={STEPS}", "sample_every=1000"]
LAUNCHER = [sys.executable, "-m", "torch.distributed.run"]


def settings(folder: str, *more: str) -> list[str]:
    return [*(word for word in SETTINGS if not word.startswith(("folder=", "batch=2"))), f"folder={folder}", *more]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frozen latents and a tokenizer, and beside them ``one``, the run of one process."""
    home = unpacked(FROZEN, tmp_path_factory.mktemp("torchrun")) / "dynamics"
    with contextlib.chdir(home):
        assert cli.main(settings("one")) == 0
    return home


def environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[2])
    return os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}


def losses(run: Path) -> dict[int, float]:
    """By step; of a step that was done again after a restart, the last one."""
    return {row["step"]: row["loss"] for row in map(json.loads, (run / "metrics.jsonl").read_text().splitlines())}


def assert_same_training(home: Path, run: str, expected: str = "one", missing: int = 0) -> None:
    """``missing``: rows of the log, at most, that a rank was killed before it could write."""
    one, found = losses(home / expected), losses(home / run)
    assert set(found) <= set(one) and len(one) - len(found) <= missing and STEPS in found
    assert max(abs(one[step] - found[step]) for step in found) < 1e-4
    weights = [load_tensors(home / name / "world/dit.safetensors")[0] for name in (expected, run)]
    # A world's weights are kept in bf16, where what differs in the last bits of fp32 may differ by one in the eighth.
    bit = 2.0**-7
    assert all(torch.allclose(weights[0][name], weights[1][name], rtol=bit, atol=1e-3) for name in weights[0])


def children(process: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return []


def at_work(launcher: int, run: Path, step: int) -> bool:
    return len(children(launcher)) == 2 and newest_step(run / "state") >= step


def test_training_goes_on_after_ranks_are_killed(home: Path):
    run, chance = home / "killed", random.Random(0)
    command = [
        *LAUNCHER, "--standalone", "--nproc-per-node=2", f"--max-restarts={KILLS}", "--monitor-interval=0.2",
        "-m", "worldsim", *settings("killed", "training.save_minutes=0", "training.shard=true"),
    ]  # fmt: skip
    with (home / "killed.log").open("wb") as log:
        launched = subprocess.Popen(command, cwd=home, env=environment(), stdout=log, stderr=subprocess.STDOUT)
        seen: list[int] = []
        try:
            for kill in range(KILLS):
                # At any moment after some more states: in the middle of a step, or of a save.
                goal = 1 + (kill + 1) * (STEPS - 3) // (KILLS + 1)
                # Ranks that died may have saved that state: then these are killed while they start.
                there = partial(at_work, launched.pid, run, goal)
                wait_until(lambda there=there: there() or launched.poll() is not None, f"two ranks and state {goal}")
                time.sleep(chance.random() / 2)
                ranks = children(launched.pid)
                assert len(ranks) == 2, (home / "killed.log").read_text()[-3000:]
                seen.append(newest_step(run / "state"))
                os.kill(chance.choice(ranks), signal.SIGKILL)
                wait_until(lambda ranks=ranks: not set(ranks) & set(children(launched.pid)), "ranks are stopped")
            assert launched.wait(PATIENCE) == 0, (home / "killed.log").read_text()[-3000:]
        finally:
            launched.kill()
            launched.wait()
    assert seen and all(1 <= step < STEPS for step in seen)
    # Whole states alone, the last two; of those that were being written, nothing is left.
    assert sorted(path.name for path in (run / "state").iterdir()) == [f"step-{s:09d}" for s in (STEPS - 1, STEPS)]
    assert_same_training(home, "killed", missing=KILLS)


def test_ranks_train_on_packed_latents_what_one_process_does(home: Path):
    with contextlib.chdir(home):
        assert cli.main(["data", "pack", "latents", "--out", "packs", "megabytes=0.001"]) == 0
        words = ["latents=packs", "training.parts=2", "shuffle_mb=0.05"]
        assert cli.main(settings("alone", *words)) == 0
    launcher = [*LAUNCHER, "--standalone", "--nproc-per-node=2", "-m", "worldsim", *settings("streamed", *words)]
    found = subprocess.run(launcher, cwd=home, env=environment(), capture_output=True, text=True, timeout=PATIENCE)
    assert found.returncode == 0, found.stderr[-3000:]
    assert_same_training(home, "streamed", "alone")


@contextlib.contextmanager
def two_machines() -> Iterator[list[tuple[list[str], str, str]]]:
    """Two network namespaces with a cable between them: how to run in each, its address, its interface."""
    names = [f"ws{os.getpid()}{end}" for end in "ab"]
    cables = [f"v{os.getpid()}{end}" for end in "ab"]

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", cables[0], "type", "veth", "peer", "name", cables[1])
        for number, (name, cable) in enumerate(zip(names, cables, strict=True), 1):
            ip("link", "set", cable, "netns", name)
            ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", cable)
            for link in ("lo", cable):
                ip("-n", name, "link", "set", link, "up")
        yield [
            (["ip", "netns", "exec", name], f"10.77.0.{number}", cable)
            for number, (name, cable) in enumerate(zip(names, cables, strict=True), 1)
        ]
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def can_make_machines() -> bool:
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    with contextlib.suppress(subprocess.CalledProcessError), two_machines():
        return True
    return False


@pytest.mark.skipif(not can_make_machines(), reason="needs root, and network namespaces")
def test_two_machines_train_what_one_process_trains(home: Path):
    with two_machines() as machines, (home / "machines.log").open("wb") as log:
        started = []
        for number, (enter, address, cable) in enumerate(machines):
            # A machine knows by its name whether it is the endpoint; both have this one's.
            host = int(number == 0)
            command = [
                *enter, *LAUNCHER, "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", "--rdzv-id=two",
                f"--rdzv-endpoint={machines[0][1]}:29400", f"--local-addr={address}",
                f"--rdzv-conf=is_host={host},read_timeout={PATIENCE:.0f},join_timeout={PATIENCE:.0f}", "-m", "worldsim",
                *settings("machines"),
            ]  # fmt: skip
            there = environment() | {"GLOO_SOCKET_IFNAME": cable}
            started.append(subprocess.Popen(command, cwd=home, env=there, stdout=log, stderr=subprocess.STDOUT))
        try:
            codes = [process.wait(PATIENCE) for process in started]
            assert codes == [0, 0], (home / "machines.log").read_text()[-3000:]
        finally:
            for process in started:
                process.kill()
                process.wait()
    assert_same_training(home, "machines")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "inverse", "data=latents"], "this command is one"),
        ([word for word in settings("unused") if not word.startswith("folder=")], "several ranks need folder="),
    ],
)
def test_what_cannot_run_on_several_ranks_says_so(
    words: list[str], message: str, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "localhost")):
        monkeypatch.setenv(name, value)
    with contextlib.chdir(home):
        assert cli.main(words) == 2
    assert message in capsys.readouterr().err
