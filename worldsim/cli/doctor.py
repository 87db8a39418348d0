"""``worldsim doctor``: list what is installed and what is missing."""

import importlib.metadata
import platform
from dataclasses import dataclass

import worldsim
from worldsim.extras import EXTRAS, Extra, missing_packages

PACKAGES = ("worldsim", "torch", "numpy", "gymnasium", "pygame", "zarr", "av", "hydra-core")


@dataclass(kw_only=True)
class Doctor:
    """``worldsim doctor`` has no settings."""


def doctor(config: Doctor) -> int:
    """``worldsim doctor``: exit code 1 when something that playing needs is missing."""
    from worldsim.cli.bench.machine import machine

    about = machine()
    print(f"python {about['python']} on {platform.platform()}")
    for package in PACKAGES:
        print(f"{package} {_version(package)}")
    print(f"cpu: {about['cpu']}, {about['cores']} cores, fast bf16: {'yes' if about['bf16'] else 'no'}")
    from worldsim.plotting.window import has_display

    print(f"display: {'yes' if has_display() else 'no (play writes a video instead)'}")
    print(f"real game: {_real_game()}")
    for name, extra in EXTRAS.items():
        print(f"extra {name}: {_about(name, extra)}")
    try:
        world = worldsim.load()
        count = sum(p.numel() for p in world.dit.parameters()) / 1e6
        print(f"shipped world: {world.config.width}x{world.config.height}, {count:.1f} M parameters in its network")
    except (FileNotFoundError, ValueError) as error:
        print(f"shipped world: {error}")
        return 1
    return 0


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
        return "not installed"
