"""The direction of imports, between subpackages and within them; the sizes and rules of the house; its links.

Every checker works on a mapping of module names to source text, so that a planted mistake shows that it can fail.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINKED = ("datasets", "envs", "agents")
# Subpackages from the bottom to the top. A module imports from its own subpackage and from those of earlier lines.
# Subpackages of one line do not know each other.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("worldsim.errors", "worldsim.configs", "worldsim.old_names", "worldsim.envs.registration"),
    (
        "worldsim",
        "worldsim.imports",
        "worldsim.processes",
        "worldsim.progress",
        "worldsim.extras",
        "worldsim.asides",
        "worldsim.own_pages",
    ),
    ("worldsim.spec", "worldsim.plotting", "worldsim.cluster"),
    ("worldsim.models",),
    ("worldsim.scripting", "worldsim.optim"),
    ("worldsim.diffusion",),
    ("worldsim.simulation.memory",),
    ("worldsim.simulation",),
    ("worldsim.datasets.store",),
    ("worldsim.datasets.recording", "worldsim.datasets.governance", "worldsim.datasets.captions"),
    (
        "worldsim.datasets.loading",
        "worldsim.datasets.checks",
        "worldsim.datasets.importers",
        "worldsim.datasets.exporters",
    ),
    ("worldsim.training",),
    ("worldsim.envs.learned",),
    ("worldsim.envs.luanti", "worldsim.envs.pong"),
    ("worldsim.envs.play",),
    ("worldsim.envs.rollouts",),
    ("worldsim.generation",),
    ("worldsim.agents.policies",),
    ("worldsim.agents.rl", "worldsim.agents.collection"),
    ("worldsim.evaluation.measures",),
    ("worldsim.evaluation.counterfactuals", "worldsim.evaluation.interface"),
    ("worldsim.evaluation.parts",),
    ("worldsim.evaluation",),
    ("worldsim.evaluation.reports", "worldsim.evaluation.study"),
    ("worldsim.cli",),
    ("worldsim.__main__",),
)
RANK = {package: rank for rank, packages in enumerate(LAYERS) for package in packages}
# The model and its maths: everything below the episodes.
CORE = [package for packages in LAYERS[: RANK["worldsim.simulation"] + 1] for package in packages]
CORE_PACKAGES = {"torch", "numpy", "einops", "safetensors"}
# Imported inside functions only, so that the core loads without them.
OPTIONAL_IN_CORE = {"worldsim.models.text": {"transformers", "tokenizers"}, "worldsim.progress": {"rich"}}
# Pictures are for people: their subpackage may use what draws. The registration belongs to Gymnasium.
FREE = {"worldsim.plotting", "worldsim", "worldsim.envs.registration"}
MAX_LINES, MAX_FUNCTION, MAX_FILES = 300, 60, 16


def house() -> dict[str, str]:
    """Source text of every module of the product, by dotted name."""
    out = {}
    for folder, package in (("worldsim", "worldsim"), *((name, f"worldsim.{name}") for name in LINKED)):
        for path in sorted((ROOT / folder).rglob("*.py")):
            below = path.relative_to(ROOT / folder)
            if below.parts[0] in (*LINKED, "configs", "assets"):
                continue
            parts = [package, *below.with_suffix("").parts]
            out[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return out


def package_of(module: str) -> str | None:
    """The longest entry of the table that a module lies in."""
    parts = module.split(".")
    names = (".".join(parts[:n]) for n in range(len(parts), 1, -1))
    if parts[0] == "worldsim" and len(parts) == 1:
        return "worldsim"
    return next((name for name in names if name in RANK), None)


def imports(name: str, text: str) -> Iterator[tuple[str, bool]]:
    """Absolute names that a module imports (``package.module.attribute``), and whether at its top level.

    What stands under ``if TYPE_CHECKING`` is not imported when the module runs, and does not count.
    """
    tree = ast.parse(text, name)
    top = {id(node) for node in tree.body}
    types_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in types_only:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in top
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            for alias in node.names:
                yield f"{node.module}.{alias.name}", id(node) in top


def module_of(imported: str, modules: Mapping[str, str]) -> str | None:
    """The module of the product that an import reaches."""
    while imported and imported not in modules:
        imported = imported.rpartition(".")[0]
    return imported or None


def imports_upwards(modules: Mapping[str, str]) -> list[str]:
    wrong = []
    for name, text in modules.items():
        own = package_of(name)
        if own is None:
            wrong.append(f"{name} is in no layer")
            continue
        for imported, top in imports(name, text):
            target = module_of(imported, modules)
            package = target and package_of(target)
            if package is None or package == own:
                continue
            # ``worldsim.load`` opens a world when it is called; importing the package loads nothing.
            late = own == "worldsim" and not top
            if RANK[package] >= RANK[own] and not late:
                wrong.append(f"{name} imports {imported}")
    return wrong


def circles(modules: Mapping[str, str]) -> list[list[str]]:
    """Groups of modules that import each other, late imports included (Tarjan 1972)."""
    graph = {
        name: {t for i, _ in imports(name, text) if (t := module_of(i, modules)) and t not in (name, "worldsim")}
        for name, text in modules.items()
    }
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    out: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for after in sorted(graph[node]):
            if after not in index:
                visit(after)
            if after in stack:
                low[node] = min(low[node], low[after])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                out.append(sorted(group))

    for node in graph:
        if node not in index:
            visit(node)
    return out


def foreign_in_core(modules: Mapping[str, str]) -> list[str]:
    wrong = []
    for name, text in modules.items():
        if (package := package_of(name)) not in CORE or package in FREE:
            continue
        for imported, top in imports(name, text):
            first = imported.split(".")[0]
            allowed = first in CORE_PACKAGES | {"worldsim"} or first in sys.stdlib_module_names
            if not allowed and (top or first not in OPTIONAL_IN_CORE.get(name, ())):
                wrong.append(f"{name} imports {imported}")
    return wrong


def too_long(modules: Mapping[str, str]) -> list[str]:
    wrong = [f"{n}: {lines} lines" for n, text in modules.items() if (lines := len(text.splitlines())) > MAX_LINES]
    for name, text in modules.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION:
                    wrong.append(f"{name}.{node.name}: {length} lines")
    return wrong


def test_the_table_names_what_is_there():
    modules = house()
    assert len(modules) > 150
    used = {package_of(name) for name in modules}
    assert used == set(RANK) - {"worldsim.configs"}


@pytest.mark.slow
def test_imports_run_one_way():
    wrong = imports_upwards(house())
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_no_module_is_part_of_a_circle():
    found = circles(house())
    assert not found, "\n".join(map(str, found))


def test_core_imports_only_its_four_packages():
    wrong = foreign_in_core(house())
    assert not wrong, "\n".join(wrong)


def test_files_and_functions_are_short():
    wrong = too_long(house())
    assert not wrong, "\n".join(wrong)


def test_folders_are_small():
    counts: dict[Path, int] = {}
    for folder in ("worldsim", *LINKED):
        for path in (ROOT / folder).rglob("*.py"):
            if not set(path.relative_to(ROOT / folder).parts) & {*LINKED, "configs"}:
                counts[path.parent] = counts.get(path.parent, 0) + 1
    assert counts
    assert not {str(folder): n for folder, n in counts.items() if n > MAX_FILES}


PLANTS = {
    "a function's import upwards": (
        imports_upwards,
        {
            "worldsim.models.dit": "def f():\n    from worldsim.envs.learned.env import X\n",
            "worldsim.envs.learned.env": "",
        },
    ),
    "a neighbour of the same layer": (
        imports_upwards,
        {"worldsim.scripting.grammar": "from worldsim.optim import muon\n", "worldsim.optim.muon": ""},
    ),
    "a folder that the table does not know": (imports_upwards, {"worldsim.odds.thing": ""}),
    "a circle inside a folder": (
        circles,
        {
            "worldsim.spec.actions": "from worldsim.spec.pose import move\n",
            "worldsim.spec.pose": "def f():\n    import worldsim.spec.actions\n",
        },
    ),
    "a package that the core does not need": (foreign_in_core, {"worldsim.models.dit": "import hydra\n"}),
    "an optional package at the top": (foreign_in_core, {"worldsim.models.text": "import transformers\n"}),
    "a long file": (too_long, {"worldsim.models.dit": "x = 1\n" * (MAX_LINES + 1)}),
    "a long function": (too_long, {"worldsim.models.dit": "def f():\n" + "    x = 1\n" * MAX_FUNCTION}),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_mistake_is_found(plant: str):
    checker, modules = PLANTS[plant]
    assert checker(modules)


@pytest.mark.parametrize("folder", LINKED)
def test_folders_have_no_init_file(folder: str):
    """With one, Python started at the repository root would take the folder for the package of that name."""
    assert not (ROOT / folder / "__init__.py").exists()


@pytest.mark.parametrize("folder", [*LINKED, "configs"])
def test_links_for_checkouts_exist(folder: str):
    link = ROOT / "worldsim" / folder
    assert link.is_symlink() and link.resolve() == ROOT / folder


def test_no_catch_all_modules():
    names = {name.rpartition(".")[2] for name in house()}
    assert not names & {"utils", "helpers", "common", "misc"}
