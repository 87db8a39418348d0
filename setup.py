"""Adds to setuptools what pyproject.toml cannot say: two files beside the packages that register the environments.

See ``envs/autoload.py``. Everything else stands in pyproject.toml.
"""

import base64
import hashlib
import zipfile
from pathlib import Path

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.editable_wheel import editable_wheel

MODULE = "_worldsim_autoload"


def add_autoload(folder: str | None) -> None:
    """Add the module and its ``.pth`` line to the newest wheel in ``folder``, with their lines in RECORD."""
    wheel = max(Path(folder or "dist").glob("worldsim-*.whl"), key=lambda path: path.stat().st_mtime)
    files = {
        f"{MODULE}.py": (Path(__file__).parent / "envs" / "autoload.py").read_bytes(),
        "worldsim_autoload.pth": f"import {MODULE}\n".encode(),
    }
    whole = wheel.with_suffix(".tmp")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as new:
        record = next(name for name in old.namelist() if name.endswith(".dist-info/RECORD"))
        lines = old.read(record).decode()
        for name, content in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            lines += f"{name},sha256={digest},{len(content)}\n"
            new.writestr(name, content)
        for item in old.infolist():
            new.writestr(item, lines if item.filename == record else old.read(item.filename))
    whole.replace(wheel)


class WheelWithAutoload(bdist_wheel):
    """An ordinary wheel and the two files."""

    def run(self) -> None:
        """Build."""
        super().run()
        add_autoload(self.dist_dir)


class EditableWithAutoload(editable_wheel):
    """An editable wheel and the two files."""

    def run(self) -> None:
        """Build."""
        super().run()
        add_autoload(self.dist_dir)


setup(cmdclass={"bdist_wheel": WheelWithAutoload, "editable_wheel": EditableWithAutoload})
