"""The Python reference: one page a package, with every public name of its modules by its docstring."""

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = "reference/python"
# Links inside of worldsim/ make these importable as worldsim.NAME.
LINKED = ("datasets", "envs", "agents", "configs")
INTRODUCTION = """# Python reference

What most programs need:

| name | what it is |
| --- | --- |
| [worldsim.load][worldsim.load] | a world by name or folder |
| [WorldModel][worldsim.simulation.world_model.WorldModel] | `prefill`, `step`, `branch`: a state in, a state out |
| [WorldSimEnv][worldsim.envs.learned.env.WorldSimEnv] | the Gymnasium environment that `gym.make` gives |
| [WorldSimVecEnv][worldsim.envs.learned.sb3_vec_env.WorldSimVecEnv] | many rows for stable-baselines3 |
| [EpisodeStore][worldsim.datasets.store.store.EpisodeStore] | recorded episodes on disk |
| [ClipSampler][worldsim.datasets.loading.clips.ClipSampler] | batches of clips for training |
| [Recorder][worldsim.datasets.recording.recorder.Recorder] | record your own program |
| [parse_script][worldsim.scripting.grammar.parse_script] | action scripts |

Names that begin with an underscore are private and may change without notice. All packages:

"""


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found: dict[str, Path] = {}
    for folder, package in (("worldsim", "worldsim"), *((name, f"worldsim.{name}") for name in LINKED)):
        for path in sorted((ROOT / folder).rglob("*.py")):
            below = path.relative_to(ROOT / folder)
            if folder == "worldsim" and below.parts[0] in (*LINKED, "assets"):
                continue
            parts = [package, *below.with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def write_tree(folder: Path) -> None:
    """Copy every module to a folder in which each package has an ``__init__.py``.

    mkdocstrings reads the copy: it does not look into packages without that file, as worldsim.datasets is one.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for name, path in modules().items():
        parts = name.split(".")
        target = folder.joinpath(*parts, "__init__.py") if path.name == "__init__.py" else folder.joinpath(*parts)
        target = target if path.name == "__init__.py" else target.with_name(path.name)
        for package in (folder.joinpath(*parts[:n]) for n in range(1, len(parts))):
            package.mkdir(parents=True, exist_ok=True)
            (package / "__init__.py").touch()
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def public_names(module: str, path: Path) -> Iterator[str]:
    """Dotted names of a module's public classes, functions and methods."""
    if any(part.startswith("_") for part in module.split(".")):
        return
    for node in ast.parse(path.read_text()).body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef) or node.name.startswith("_"):
            continue
        yield f"{module}.{node.name}"
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                    yield f"{module}.{node.name}.{inner.name}"


def packages() -> dict[str, list[str]]:
    """The modules of each page: by the subpackage that they lie in."""
    known, found = modules(), {}
    for name, path in known.items():
        if not any(part.startswith("_") for part in name.split(".")):
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            found.setdefault(package, []).append(name)
    return dict(sorted(found.items()))


def pages() -> dict[str, str]:
    """Every page of the reference by its path within ``docs/``."""
    found, index = {}, [INTRODUCTION + "| package | what it holds |", "| --- | --- |"]
    known = modules()
    for package, names in packages().items():
        about = ast.get_docstring(ast.parse(known[package].read_text())) if package in known else None
        first = (about or "").split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
        index.append(f"| [{package}]({package}.md) | {first} |")
        blocks = [f"::: {name}" for name in names]
        found[f"{FOLDER}/{package}.md"] = "\n\n".join([f"# {package}", *blocks]) + "\n"
    return {f"{FOLDER}/index.md": "\n".join(index) + "\n"} | found
