"""Nothing outside of a source is read, whatever paths and links its files hold."""

from pathlib import Path

from worldsim.errors import UserError


def inside(root: Path, path: Path) -> Path:
    """``path``, if it lies in the folder ``root`` once links and ``..`` are followed.

    A snapshot in Hugging Face's cache (``.../snapshots/REVISION``) consists of links to ``.../blobs``: its own too.

    Raises:
        UserError: it lies elsewhere.
    """
    home = root.resolve()
    homes = [home, home.parent.parent / "blobs"] if home.parent.name == "snapshots" else [home]
    try:
        target = path.resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{path} leads nowhere: {error}") from error
    if not any(target.is_relative_to(each) for each in homes):
        raise UserError(f"{path} lies outside of {root}: a source is read alone, copy what belongs to it")
    return path
