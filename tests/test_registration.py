"""``import worldsim`` registers the environments, in any order with Gymnasium, and stays light.

Each case is a process of its own, started without its site packages' start-up files (``-S``): what is installed beside
the checkout does not matter.
"""

import os
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from worldsim.envs.registration import register_envs

ROOT = Path(__file__).resolve().parent.parent

REGISTERED = """
import sys, gymnasium, importlib.machinery, importlib.resources
ids = {name for name in gymnasium.registry if name.startswith("WorldSim-")}
assert ids == {"WorldSim-Minecraft-v0", "WorldSim-Luanti-v0", "WorldSim-Pong-v0", "WorldSim-PongEngine-v0"}, ids
assert not [finder for finder in sys.meta_path if type(finder).__module__.startswith("worldsim")]
assert type(gymnasium.__spec__.loader) is type(gymnasium.__loader__) is importlib.machinery.SourceFileLoader
assert importlib.resources.files("gymnasium").joinpath("__init__.py").is_file()
"""
# What the tests of threads and failures import in Gymnasium's place.
FAKE = """
registry = {}

def register(id, **settings):
    assert id not in registry
    registry[id] = settings
"""


def run(code: str, folder: Path, *paths: Path) -> None:
    """Run ``code`` in a new process that finds modules in ``paths``, in the checkout and where this process does."""
    places = [str(path) for path in (*paths, ROOT)] + [path for path in sys.path if path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "imports",
    [
        "import worldsim, gymnasium",
        "import gymnasium, worldsim",
        "import worldsim; from gymnasium.envs.registration import EnvSpec",
        "import worldsim.envs.registration, gymnasium",
        "import gymnasium; gymnasium.make('worldsim:WorldSim-PongEngine-v0')",
        "import gymnasium; gymnasium.make('worldsim.envs.registration:WorldSim-PongEngine-v0')",
        # What packages do to see what is installed: it must not use up the registration.
        "import importlib.util as u, worldsim; assert u.find_spec('gymnasium'); import gymnasium",
        "import importlib.util as u; assert u.find_spec('gymnasium'); import worldsim, gymnasium",
        "import importlib, worldsim; importlib.reload(worldsim); import gymnasium; importlib.reload(worldsim)",
        "import importlib, worldsim, gymnasium; importlib.reload(gymnasium)",
        "import sys, worldsim; del sys.modules['worldsim'], sys.modules['worldsim.envs.registration']; import worldsim;"
        "import gymnasium; sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != '_GymnasiumFinder']",
    ],
)
def test_every_order_of_imports_registers_once(imports: str, tmp_path: Path):
    run(f"{imports}\n{REGISTERED}", tmp_path)


def test_importing_worldsim_imports_nothing_but_the_standard_library(tmp_path: Path):
    code = """
import sys
before = set(sys.modules)
import worldsim
new = {name.partition(".")[0] for name in set(sys.modules) - before}
assert new - set(sys.stdlib_module_names) == {"worldsim"}, new
assert {name for name in sys.modules if name.startswith("worldsim.")} == {"worldsim.envs", "worldsim.envs.registration"}
"""
    run(code, tmp_path)


def test_registering_imports_no_environment(tmp_path: Path):
    code = """
import sys, worldsim, gymnasium
dear = {"torch", "pygame", "av", "worldsim.simulation.world_model"} & set(sys.modules)
assert not dear, dear
"""
    run(code, tmp_path)


def test_without_gymnasium_worldsim_can_be_imported(tmp_path: Path):
    run("import sys; sys.modules['gymnasium'] = None; import worldsim; worldsim.world_folder('pong')", tmp_path)


def test_another_thread_that_is_still_importing_gymnasium_is_waited_for(tmp_path: Path):
    (tmp_path / "gymnasium.py").write_text(f"import meeting\nmeeting.begun.set()\nmeeting.go_on.wait(60)\n{FAKE}")
    (tmp_path / "meeting.py").write_text("import threading\nbegun, go_on = threading.Event(), threading.Event()\n")
    code = """
import importlib, sys, threading, meeting
threading.Thread(target=importlib.import_module, args=["gymnasium"]).start()
assert meeting.begun.wait(60)
assert not hasattr(sys.modules["gymnasium"], "register")
threading.Timer(0.2, meeting.go_on.set).start()
import worldsim
assert len(sys.modules["gymnasium"].registry) == 4
"""
    run(code, tmp_path, tmp_path)


def test_an_import_of_gymnasium_that_failed_may_be_tried_again(tmp_path: Path):
    (tmp_path / "gymnasium.py").write_text(f"import sys\nif not hasattr(sys, 'ready'):\n    raise ImportError\n{FAKE}")
    code = """
import sys, worldsim
try:
    import gymnasium
except ImportError:
    sys.ready = True
import gymnasium
assert len(gymnasium.registry) == 4
"""
    run(code, tmp_path, tmp_path)


def test_registering_twice_keeps_what_stands():
    before = dict(gymnasium.registry)
    register_envs()
    assert gymnasium.registry == before


@pytest.mark.slow
@pytest.mark.parametrize("name", ["WorldSim-PongEngine-v0", "worldsim:WorldSim-PongEngine-v0"])
def test_processes_of_a_vector_environment_know_the_environments(name: str, tmp_path: Path):
    code = f"""
import gymnasium, numpy as np
{"" if ":" in name else "import worldsim"}
def pictures(mode, **settings):
    envs = gymnasium.make_vec("{name}", num_envs=2, vectorization_mode=mode, vector_kwargs=settings)
    first = envs.reset(seed=3)[0]
    then = envs.step(np.array([1, 2]))[0]
    envs.close()
    return np.stack([first, then])
assert (pictures("async", context="spawn") == pictures("sync")).all()
"""
    run(code, tmp_path)


@pytest.mark.parametrize("name", ["WorldSim-Pong-v0", "worldsim:WorldSim-Pong-v0"])
def test_stable_baselines3_makes_an_environment_by_its_name(name: str):
    from stable_baselines3 import PPO

    model = PPO("CnnPolicy", name, n_steps=8, batch_size=8, seed=0, device="cpu")
    assert model.env is not None
    obs = model.env.reset()
    assert isinstance(obs, np.ndarray) and obs.dtype == np.uint8 and obs.any()
    assert model.predict(obs)[0].shape[0] == 1
