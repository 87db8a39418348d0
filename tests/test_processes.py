"""Ctrl-C reaches a whole terminal's processes: one answers, and no child shows a traceback."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# The child announces itself while it still imports, where Ctrl-C would otherwise show where it was.
PARENT = """
import multiprocessing, sys, time
from worldsim.processes import interrupts_stay_here
def work():
    time.sleep(60)
if __name__ == "__main__":
    worker = multiprocessing.get_context("spawn").Process(target=work)
    try:
        with interrupts_stay_here():
            worker.start()
        time.sleep(60)
    except KeyboardInterrupt:
        worker.terminate()
        worker.join()
        print("stopped", worker.exitcode, flush=True)
else:
    print("child", flush=True)
    time.sleep(1)
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="this system has no masks of signals")
def test_a_child_hears_nothing_of_ctrl_c_even_while_it_imports(tmp_path: Path):
    (tmp_path / "parent.py").write_text(PARENT)
    run = subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py")], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
        # Where the tests are a background job, Ctrl-C would be ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert run.stdout is not None and run.stdout.readline() == "child\n"
    os.killpg(run.pid, signal.SIGINT)
    out, errors = run.communicate(timeout=120)
    assert (out, errors) == (f"stopped {-signal.SIGTERM}\n", "")


GAME = """
import sys, time
import gymnasium, numpy as np
class Drawn(gymnasium.Env):
    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}
    def __init__(self, render_mode=None):
        import pygame
        pygame.init()
        self.screen = pygame.display.set_mode((48, 32))
        self.render_mode = render_mode
        self.action_space, self.observation_space = gymnasium.spaces.Discrete(2), gymnasium.spaces.Box(0, 1, (1,))
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        print("playing", file=sys.stderr, flush=True)
        return np.zeros(1, np.float32), {}
    def step(self, action):
        import pygame
        pygame.event.pump()
        time.sleep(0.01)
        return np.zeros(1, np.float32), 0.0, False, False, {}
    def render(self):
        return np.zeros((32, 48, 3), np.uint8)
gymnasium.register("Drawn-v0", "__main__:Drawn" if __name__ == "__main__" else "drawn:Drawn")
if __name__ == "__main__":
    from worldsim.cli import main
    sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_sigterm_ends_a_collection_in_a_game_that_draws_with_pygame(tmp_path: Path):
    (tmp_path / "drawn.py").write_text(GAME)
    settings = ["source=gym", "env=Drawn-v0", "frames=render", "episodes=5000", "episode_frames=60", "policy=random"]
    run = subprocess.Popen(
        [sys.executable, str(tmp_path / "drawn.py"), "collect", *settings, "workers=0", "licence=CC0-1.0",
         f"out={tmp_path / 'store'}", f"folder={tmp_path / 'run'}"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"},
    )  # fmt: skip
    assert run.stderr is not None
    # Once to look at it, then to play.
    for _ in range(2):
        while "playing" not in (line := run.stderr.readline()):
            assert line, "the collection ended by itself"
    time.sleep(0.5)
    run.terminate()
    out, errors = run.communicate(timeout=60)
    assert run.returncode == 130 and "Traceback" not in errors, errors
    assert "frames/s" in out, "what was recorded is told"
