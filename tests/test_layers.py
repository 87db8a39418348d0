"""The direction of imports, the folders' rules and the packaging that DESIGN fixes."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("datasets", "envs", "agents")
# A file may import from its own layer and from those before it.
LAYERS = ("core", "datasets", "envs", "agents", "cli")
CORE_PACKAGES = {"torch", "numpy", "einops", "safetensors"}
# The sentence encoder and the progress display: imported inside functions only, so that the core loads without them.
OPTIONAL_IN_CORE = {"text.py": {"transformers", "tokenizers"}, "progress.py": {"rich"}}


def sources(layer: str) -> list[Path]:
    # The package's own __init__ is its front door: it registers the environments.
    core = sorted(path for path in (ROOT / "worldsim").glob("*.py") if path.name != "__init__.py")
    if layer == "core":
        return [path for path in core if path.name != "__main__.py"]
    if layer == "cli":
        return [ROOT / "worldsim" / "__main__.py", *sorted((ROOT / "worldsim" / "cli").rglob("*.py"))]
    return sorted((ROOT / layer).glob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every absolute module name that a file imports, and whether at its top level."""
    tree = ast.parse(path.read_text(), str(path))
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in top
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", id(node) in top


def layer_of(module: str) -> str | None:
    parts = module.split(".")
    if parts[0] != "worldsim":
        return None
    if len(parts) > 1 and parts[1] in FOLDERS:
        return parts[1]
    if len(parts) > 1 and parts[1] in ("cli", "configs"):
        return "cli"
    return "core"


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_run_one_way(layer: str):
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in sources(layer)
        for module, _ in imports(path)
        if (target := layer_of(module)) and LAYERS.index(target) > LAYERS.index(layer)
    ]
    assert not wrong, "\n".join(wrong)


def test_core_imports_only_its_four_packages():
    wrong = []
    for path in sources("core"):
        for module, top in imports(path):
            package = module.split(".")[0]
            allowed = package in CORE_PACKAGES | {"worldsim"} or package in sys.stdlib_module_names
            if not allowed and (top or package not in OPTIONAL_IN_CORE.get(path.name, ())):
                wrong.append(f"{path.name} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_the_front_door_imports_the_registration_alone_at_once():
    at_once = [module for module, top in imports(ROOT / "worldsim" / "__init__.py") if top and layer_of(module)]
    assert at_once == ["worldsim.envs.registration.register_when_imported"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_folders_have_no_init_file(folder: str):
    """With one, Python started at the repository root would take the folder for the package of that name."""
    assert not (ROOT / folder / "__init__.py").exists()


@pytest.mark.parametrize("folder", [*FOLDERS, "configs"])
def test_links_for_checkouts_exist(folder: str):
    link = ROOT / "worldsim" / folder
    assert link.is_symlink() and link.resolve() == ROOT / folder


def test_no_catch_all_modules():
    names = {path.name for layer in LAYERS for path in sources(layer)}
    assert not names & {"utils.py", "helpers.py", "common.py", "misc.py"}
