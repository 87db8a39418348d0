"""Plots are drawn from the CSV files as they are, and the files of plots in the documentation are up to date."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from docs.tools import api, check, hooks, plots
from docs.tools.figures import column, numbers, read_table, row, write
from docs.tools.film import write_gif
from docs.tools.pictures import chunks, latent_picture, look_away_and_back, signal_picture, trust_plot, walk_in_curves
from docs.tools.world_film import SCRIPT, written
from tests.tiny_world import HEIGHT, WIDTH, tiny_world
from worldsim.datasets.loading.starts import StartClips
from worldsim.datasets.store.video import VideoWriter
from worldsim.envs.learned.env import WorldSimEnv
from worldsim.simulation.confidence import Trust
from worldsim.spec.actions import MINECRAFT


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("2.2 (.8 to 3.4)", [2.2]),
        ("-.0, .1, -1", [0.0, 0.1, -1.0]),
        ("2.8 +- .3", [2.8, 0.3]),
        (".91 .68", [0.91, 0.68]),
        ("25.9 dB", [25.9]),
        ("1,920", [1920.0]),
        ("none", []),
    ],
)
def test_numbers_of_a_cell(cell: str, found: list[float]):
    assert numbers(cell) == pytest.approx(found)


def test_rows_and_columns_are_found_by_name():
    table = [["a", "b"], ["x", "1"], ["y", "2"]]
    assert row(table, "y") == [2.0] and column(table, "b") == ["1", "2"]
    for wanted, find in (("z", row), ("c", column)):
        with pytest.raises(KeyError):
            find(table, wanted)


def test_tables_with_figures_become_files(tmp_path: Path):
    text = (
        "| a | b |\n| --- | --- |\n| **x, y** | 1 |\n\n| no |\n|---|\n| figure |\n\n| | c |\n|---|---|\n| d | 2 % |\n"
    )
    (tmp_path / "2026-01-01-topic.md").write_text(text)
    assert write(tmp_path) == ["2026-01-01-topic-1.csv", "2026-01-01-topic-3.csv"]
    assert (tmp_path / "figures" / "2026-01-01-topic-1.csv").read_text() == 'a,b\n"x, y",1\n'
    assert (tmp_path / "figures" / "2026-01-01-topic-3.csv").read_text() == ",c\nd,2 %\n"


def test_plots_show_the_figures_of_their_records():
    memory = plots.memory().curves
    assert memory["with memory"] == ([1, 5, 10, 20], [28.9, 23.0, 20.5, 18.5])
    assert memory["without memory"][1] == [25.9, 20.9, 19.0, 16.8]
    night = plots.worlds().curves["2026-11-26, night (samples)"]
    assert night[0][:3] == [1, 2, 3] and night[1][0] == 1.7 and max(night[0]) == 20
    assert plots.compute().curves["seed 2"] == ([1.1, 4.6], [0.357, 0.193])
    assert plots.pong().curves["ball"][1][:2] == [0.91, 0.68]
    assert read_table("2026-11-26-scaling-1")[0][0] == "compute"


def test_the_plots_in_the_documentation_are_up_to_date():
    for name, make in plots.ALL.items():
        text, plot = (plots.PLOTS / f"{name}.svg").read_text(), make()
        assert plot.title in text and all(curve in text for curve in plot.curves)
        assert text.count("<path") == plot.svg().count("<path")
    assert {path.stem for path in plots.PLOTS.glob("*.svg")} == set(plots.ALL)


def test_pictures_of_concepts_are_of_the_world_they_are_given():
    world = tiny_world()
    past = np.random.default_rng(0).integers(0, 255, (1 + 2 * world.chunk, HEIGHT, WIDTH, 3), np.uint8)
    latent = latent_picture(world, past)
    assert latent.shape == (HEIGHT, 3 * WIDTH + 8, 3) and (latent[:, :WIDTH] == past[-1]).all()
    signal = signal_picture(world, past)
    assert signal.shape == (HEIGHT, 5 * WIDTH + 16, 3) and (signal[:, -WIDTH:] == latent[:, -WIDTH:]).all()
    assert (signal[:, :WIDTH] != signal[:, -WIDTH:]).any()
    assert "latent frame 2" in chunks() and "action 5" in chunks()


def test_looking_away_ends_where_it_began_and_trust_is_drawn_by_step():
    rng = np.random.default_rng(0)
    starts = StartClips(
        frames=rng.integers(0, 255, (1, 9, HEIGHT, WIDTH, 3), np.uint8),
        actions=np.zeros((1, 8, MINECRAFT.size), np.float32),
        keys=MINECRAFT.keys,
        provenance=[{}],
    )
    world = tiny_world()
    env = WorldSimEnv(world, starts=starts)
    shown = look_away_and_back(env, start=0, steps=2, rest=1)
    assert len(shown) == 3 and (shown[0] == starts.frames[0, -1]).all() and (shown[1] != shown[0]).any()
    views = walk_in_curves(world, starts, (0, 0), (0.1, 0.4))
    assert [view.shape for view in views] == [(HEIGHT, 2 * WIDTH + 4, 3)] * 3
    assert (views[0][:, :WIDTH] == starts.frames[0, -1]).all() and (views[1] != views[2]).any()
    if isinstance(world.trust, Trust):
        plot = trust_plot(env, steps=3)
        for x, y in plot.curves.values():
            assert x == pytest.approx([0.1, 0.2, 0.3]) and all(0 <= one <= 1 and math.isfinite(one) for one in y)


def test_the_references_take_the_place_of_their_index_in_the_navigation(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(hooks, "TREE", tmp_path / "api")
    before = [{"Start": "index.md"}, {"Reference": [{"Commands": "reference/commands/index.md"}]}]
    nav = hooks.on_config(SimpleNamespace(nav=before)).nav
    assert nav[0] == {"Start": "index.md"}
    assert (tmp_path / "api" / "worldsim" / "datasets" / "__init__.py").read_text() == ""
    for name, path in api.modules().items():
        copied = tmp_path / "api" / name.replace(".", "/")
        copied = copied / "__init__.py" if path.name == "__init__.py" else copied.with_name(path.name)
        assert copied.read_text() == path.read_text()
    inside = nav[1]["Reference"][0]["Commands"]
    assert inside[0] == "reference/commands/index.md" and "reference/commands/train-dynamics.md" in inside


@pytest.mark.slow
def test_a_built_site_is_checked(tmp_path: Path):
    (tmp_path / "reference" / "python").mkdir(parents=True)
    (tmp_path / "index.html").write_text(
        '<h1 id="top">a</h1><a href="b.html#here">b</a><a href="b.html#gone">c</a><a href="#top">d</a>'
        '<img src="no.png"><a href="https://example.org/x">e</a><a href="reference/python/p.html">f</a>'
    )
    (tmp_path / "b.html").write_text('<p id="here">b</p>')
    (tmp_path / "reference" / "python" / "p.html").write_text('<h2 id="worldsim.load">load</h2>')
    assert list(check.broken_links(tmp_path)) == [
        "index.html: b.html#gone: no such place",
        "index.html: no.png: no such file",
    ]
    missing = list(check.missing_names(tmp_path))
    assert "worldsim.load" not in missing and "worldsim.world_folder" in missing
    assert check.main(tmp_path) == 1


def test_a_gif_has_the_first_seconds_of_a_video(tmp_path: Path):
    with VideoWriter(tmp_path / "film.mp4", 20) as film:
        for level in range(0, 200, 5):
            film.append(np.full((32, 64, 3), level, np.uint8))
    assert write_gif(tmp_path / "film.mp4", tmp_path / "film.gif", seconds=1, width=32) == 10
    with Image.open(tmp_path / "film.gif") as gif:
        assert gif.size == (32, 16) and gif.info["duration"] == 100


def test_the_script_of_the_readme_looks_back_and_holds_one_key_at_a_time():
    actions = written(["jump", "forward", "back"], 5, fps=20)
    assert len(actions) == 20 * sum(seconds for seconds, _, _ in SCRIPT)
    assert abs(float(actions[:, -1].sum())) < 1e-3 and float(actions[:, -1].clip(0).sum()) == pytest.approx(
        60, abs=1e-3
    )
    assert actions[:, 1].sum() == 52 and actions[:, 2].sum() == 44 and not actions[:, 0].any()
    assert float(actions[:, :3].sum(1).max()) == 1 and not actions[:20].any()
