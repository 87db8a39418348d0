"""A checkout of DIAMOND (Alonso et al. 2024, github.com/eloialonso/diamond), by its folder: its branch main or csgo.

Sizes and sampler are those of its configuration files. What is measured is the drawing of frames: the denoiser, and the
upsampler of CS:GO; rewards and ends are not.

B rows, T frames of context, H W pixels.
"""

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
import yaml

from worldsim.cli.bench.peers.peer import Peer, for_play, in_fast_precision
from worldsim.errors import UserError
from worldsim.spec.damage import reading

# Atari's full set; the game decides how many there are.
ATARI_ACTIONS = 18
# Its modules import them for training; drawing does without.
FOR_TRAINING = ("omegaconf", "wandb")


@dataclass(frozen=True)
class _Layout:
    """Where a branch keeps its configuration."""

    game: str
    agent: str
    env: str
    samplers: str
    sampler: str


ATARI = _Layout(
    "Atari", "config/agent/default.yaml", "config/env/atari.yaml", "config/trainer.yaml", "diffusion_sampler"
)
CSGO = _Layout(
    "CS:GO, fast", "config/agent/csgo.yaml", "config/env/csgo.yaml", "config/world_model_env/fast.yaml",
    "diffusion_sampler_next_obs",
)  # fmt: skip


def diamond(folder: Path) -> Peer:
    """Its world with random weights. Importing its modules runs them.

    Raises:
        FileNotFoundError: that is no checkout of it.
        UserError: its modules or settings are not as expected.
    """
    layout = CSGO if (folder / CSGO.agent).is_file() else ATARI
    for file in ("src/models/diffusion/__init__.py", layout.agent, layout.env, layout.samplers):
        if not (folder / file).is_file():
            raise FileNotFoundError(f"no checkout of DIAMOND: {folder} has no {file}")
    agent, env, samplers = (_settings(folder / file) for file in (layout.agent, layout.env, layout.samplers))
    samplers = samplers.get("world_model_env", samplers)
    try:
        with _modules_of(folder / "src"):
            theirs = importlib.import_module("models.diffusion")
        actions = int(env.get("num_actions", ATARI_ACTIONS))
        size = env["train"]["size"]
        height, width = size if isinstance(size, list) else (size, size)
        drawing = _Stage.of(theirs, agent["denoiser"], samplers[layout.sampler], actions)
        larger = None
        if agent.get("upsampler"):
            larger = _Stage.of(theirs, agent["upsampler"], samplers["diffusion_sampler_upsampling"], actions)
            factor = larger.factor
            height, width = height // factor, width // factor
    except (ImportError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder} is not a DIAMOND that is known here: {type(error).__name__}: {error}") from error
    stages = (drawing,) if larger is None else (drawing, larger)
    shown = height * (1 if larger is None else larger.factor), width * (1 if larger is None else larger.factor)
    steps = " + ".join(str(stage.steps) for stage in stages)
    name = f"DIAMOND, {layout.game}, {shown[1]}x{shown[0]}, {steps} steps"
    networks = tuple(stage.denoiser for stage in stages)
    return Peer(name, networks, 1, lambda rows: _begun(drawing, larger, (rows, height, width), actions))


@dataclass(frozen=True)
class _Stage:
    """A denoiser and its sampler."""

    denoiser: Any
    sampler: Any
    steps: int
    context: int
    factor: int

    @staticmethod
    def of(theirs: Any, network: Mapping[str, Any], sampler: Mapping[str, Any], actions: int) -> "_Stage":
        inner = _made(theirs.InnerModelConfig, network["inner_model"], num_actions=actions)
        denoiser = theirs.Denoiser(_made(theirs.DenoiserConfig, network, inner_model=inner))
        for_play(denoiser)
        # Convolutions of the libraries are faster so.
        denoiser.to(memory_format=torch.channels_last)
        config = _made(theirs.DiffusionSamplerConfig, sampler)
        factor = int(network.get("upsampling_factor") or 1)
        return _Stage(
            denoiser, theirs.DiffusionSampler(denoiser, config), config.num_steps_denoising,
            inner.num_steps_conditioning, factor,
        )  # fmt: skip


def _begun(drawing: _Stage, larger: _Stage | None, size: tuple[int, int, int], actions: int) -> Callable[[], Any]:
    rows, height, width = size
    act_BT = torch.randint(actions, (rows, drawing.context))
    past = torch.rand(rows, drawing.context, 3, height, width) * 2 - 1
    scale = 1 if larger is None else larger.factor
    large = torch.rand(rows, 1 if larger is None else larger.context, 3, height * scale, width * scale) * 2 - 1

    def step() -> Any:
        nonlocal past, large
        shown, _ = drawing.sampler.sample(past, act_BT)
        past = torch.cat([past[:, 1:], shown[:, None].float()], 1)
        if larger is None:
            return shown
        rough = F.interpolate(shown.float(), scale_factor=scale, mode="bicubic")[:, None]
        shown, _ = larger.sampler.sample(torch.cat([large, rough], 1), None)
        large = torch.cat([large[:, 1:], shown[:, None].float()], 1)
        return shown

    return in_fast_precision(step)


def _settings(path: Path) -> dict[str, Any]:
    with reading(path, "settings"):
        found = yaml.safe_load(path.read_text())
        if not isinstance(found, dict):
            raise ValueError("no settings by name")
        return found


def _made(owner: Any, values: Mapping[str, Any], **more: Any) -> Any:
    """A configuration of theirs; values that only their own reader understands keep their defaults."""
    names = {one.name for one in fields(owner)}
    plain = {name: _number(each) for name, each in values.items() if name in names and "${" not in str(each)}
    return owner(**plain | more)


def _number(value: Any) -> Any:
    # YAML 1.1 reads 2e-3 as a text.
    with contextlib.suppress(ValueError):
        return float(value) if isinstance(value, str) else value
    return value


@contextlib.contextmanager
def _modules_of(source: Path) -> Iterator[None]:
    """A context to import modules of a folder with common names (data, utils) in; afterwards they are forgotten.

    What only training needs may be missing.
    """
    names = {path.stem for path in source.iterdir() if path.suffix == ".py" or path.is_dir()}

    def taken_out() -> dict[str, ModuleType]:
        return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in names}

    before = taken_out()
    absent = [name for name in FOR_TRAINING if importlib.util.find_spec(name) is None]
    sys.modules.update({name: _Absent(name) for name in absent})
    sys.path.insert(0, str(source))
    try:
        yield
    finally:
        sys.path.remove(str(source))
        for name in absent:
            sys.modules.pop(name, None)
        taken_out()
        sys.modules.update(before)


class _Absent(ModuleType):
    """In place of a package that is not installed: any name can be imported from it, and is of no use."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return object
