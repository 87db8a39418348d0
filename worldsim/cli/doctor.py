"""``worldsim doctor``: whether one can play, what is installed and what is missing."""

import importlib.metadata
import platform
from dataclasses import dataclass

import worldsim
from worldsim.extras import EXTRAS, Extra, missing_packages

NEEDED = Extra(
    "play",
    {name: name for name in ("worldsim", "torch", "numpy", "gymnasium", "pygame", "zarr", "av")}
    | {"hydra": "hydra-core"},
)


@dataclass(kw_only=True)
class Doctor:
    """``worldsim doctor`` has no settings."""


def doctor(config: Doctor) -> int:
    """``worldsim doctor``: exit code 1 when something that playing needs is missing."""
    if missing := missing_packages(NEEDED):
        print(f"play: not ready: {', '.join(missing)} not installed; pip install . in the repository")
        return 1
    from worldsim.plotting.window import has_display

    display = has_display()
    world = None
    try:
        world = worldsim.load()
    except (FileNotFoundError, ValueError) as error:
        print(f"play: not ready: {error}")
    else:
        print("play: ready (worldsim play)" if display else "play: ready (worldsim play writes a video: no display)")
    _details(display)
    if world is None:
        return 1
    count = sum(p.numel() for p in world.dit.parameters()) / 1e6
    print(f"shipped world: {world.config.width}x{world.config.height}, {count:.1f} M parameters in its network")
    return 0


def _details(display: bool) -> None:
    """Print versions, the machine, the real game and the extras."""
    from worldsim.cli.bench.machine import machine

    about = machine()
    print(f"python {about['python']} on {platform.platform()}")
    for package in NEEDED.packages.values():
        print(f"{package} {_version(package)}")
    print(f"cpu: {about['cpu']}, {about['cores']} cores, fast bf16: {'yes' if about['bf16'] else 'no'}")
    print(f"display: {'yes' if display else 'no (play writes a video instead)'}")
    print(f"real game: {_real_game()}")
    for name, extra in EXTRAS.items():
        print(f"extra {name}: {_about(name, extra)}")


def _real_game() -> str:
    from worldsim.envs.luanti.process import find_programs

    try:
        find_programs()
    except FileNotFoundError as error:
        return f"missing: {error}"
    return "ready"


def _about(name: str, extra: Extra) -> str:
    """What is installed of an extra, what is missing, what to do, what it is for."""
    missing = missing_packages(extra)
    if not missing:
        installed = ", ".join(f"{package} {_version(package)}" for package in extra.packages.values())
        return f"ready ({installed}); for {extra.purpose}"
    besides = f", and {extra.besides}" if extra.besides else ""
    return f"missing {', '.join(missing)}: pip install 'worldsim[{name}]'{besides}; for {extra.purpose}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"
