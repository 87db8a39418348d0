"""``worldsim play --serve``: the command with a real world, Ctrl-C, mistakes, and the image of a server."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import aiohttp
import pytest

from tests.envs.play.serving.pages import Page
from tests.timing import PATIENCE
from tests.tiny_world import HEIGHT, WIDTH, save_tiny_world
from worldsim import cli
from worldsim.cli.compose import compose
from worldsim.cli.worlds.play import Play
from worldsim.envs.play.serving.access import SHORTEST, VARIABLE, access_for
from worldsim.envs.play.tree.playthrough import Playthrough

ROOT = Path(__file__).resolve().parent.parent.parent
# Guides that tell how the image is run.
PAGES = ("playing", "security", "scaling")


@pytest.mark.alone
def test_a_world_is_served_until_ctrl_c_and_what_was_played_is_kept(tmp_path: Path):
    world = save_tiny_world(tmp_path / "tiny")
    words = ["play", "--serve", "serving.port=0", "--world", str(world), "folder=run", "threads=1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(tmp_path), "WORLDSIM_TOKEN": "t" * 16}
    with subprocess.Popen(
        [sys.executable, "-m", "worldsim", *words], cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as server:  # fmt: skip
        assert server.stdout is not None and server.stderr is not None
        try:
            line = server.stdout.readline()
            found = re.fullmatch(r"the world is at (http://127\.0\.0\.1:\d+/)#token=t{16} \(Ctrl-C ends\)\n", line)
            assert found, line + server.stderr.read()

            async def play() -> None:
                async with aiohttp.ClientSession() as client, client.ws_connect(found[1] + "socket") as socket:
                    page = await Page(socket).hello("t" * 16)
                    await page.phase("ready")
                    about = page.latest["game"]
                    assert (about["width"], about["height"], about["camera"]) == (WIDTH, HEIGHT, True)
                    await page.hold("forward")
                    await page.until(lambda: page.pictures and page.pictures[-1][1] >= 3)
                    assert page.latest["state"]["players"] == ["you", "explore", "random", "planner"]

            asyncio.run(play())
            server.send_signal(signal.SIGINT)
            out, errors = server.communicate(timeout=PATIENCE)
        finally:
            server.kill()
    assert server.returncode == 0 and "Traceback" not in errors
    [saved] = (tmp_path / "run").rglob("*.playthrough.json")
    assert str(saved) in out
    played = Playthrough.load(saved)
    assert len(played.actions()) >= 6 and played.actions()[:, 0].all() and played.origin.world == str(world)
    assert "t" * 16 not in (tmp_path / "run" / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--headless"], "leave --headless"),
        (["policy=walk"], "leave --headless"),
        (["--engine", "luanti"], "leave --headless"),
        (["serving.port=99999"], "port"),
        (["serving.sessions=0"], "at least 1"),
        (["serving.origins=[example.org]"], "https://NAME"),
        (["--world", "missing", "serving.port=0"], "no world 'missing'"),
        (["--load", "missing.json"], "missing.json"),
        (["serving.host=192.0.2.1"], "cannot listen on 192.0.2.1"),
    ],
)
def test_mistakes_are_one_line(words: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        assert cli.main(["play", "--serve", *words]) == 2
    captured = capsys.readouterr()
    assert says in captured.err and captured.err.startswith("worldsim: ") and captured.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_short_token_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("WORLDSIM_TOKEN", "short")
    assert cli.main(["play", "--serve"]) == 2
    assert capsys.readouterr().err.startswith("worldsim: WORLDSIM_TOKEN must be 16")


def test_the_image_of_a_server_starts_what_there_is():
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    lines = dict(line.split(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    program, command, *words = json.loads(lines["ENTRYPOINT"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert program in project["scripts"] and command == "play" and "serve" in project["optional-dependencies"]
    config = compose(Play, words)
    assert config.serve and config.serving.host == "0.0.0.0" and str(config.serving.port) == lines["EXPOSE"]
    assert f"127.0.0.1:{config.serving.port}/health" in lines["HEALTHCHECK"]
    # What the guides say of the image, and what its first lines say, is what is there.
    said = [one.read_text() for one in (ROOT / "Dockerfile", *(ROOT / "docs/guides" / f"{p}.md" for p in PAGES))]
    for run in re.findall(r"docker run .*", "\n".join(said)):
        for published in re.findall(r"-p (?:[\d.]+:)?\d+:(\d+)", run):
            assert published == lines["EXPOSE"], run
        for folder in re.findall(r"-v \w+:(\S+)", run):
            assert f"WORKDIR {folder}\n" in text and f"chown player {folder}\n" in text, run
        for more in re.findall(r" worldsim (--.*)", run):
            assert compose(Play, [*words, *re.sub(r"--(\w+) ", r"\1=", more).split()]).serve, run
    for variable in re.findall(r"-e (\w+)=", "\n".join(said)):
        assert variable == VARIABLE
    # The image has no display, and finds a GPU by itself: no setting says otherwise.
    assert config.device is None and not config.headless
    # On any address but this machine's own there is a token, given or drawn.
    assert len(access_for(config.serving.host, [], {}).token) >= SHORTEST
    # Nothing that the build needs is left out of it.
    ignored = (ROOT / ".dockerignore").read_text().split()
    needed = {"worldsim", "datasets", "envs", "agents", "configs", "pyproject.toml", "README.md", "constraints.txt"}
    assert not needed & set(ignored) and all((ROOT / one).exists() for one in needed)
