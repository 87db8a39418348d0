"""``worldsim generate``: its files, what they say of themselves, interruptions, mistakes."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.datasets.loading.test_latents import episode
from tests.generation.test_generate import filling_world
from tests.tiny_world import HEIGHT, PROMPTS, WIDTH, save_tiny_world, tiny_starts
from worldsim import cli
from worldsim.datasets.governance.generated import read_sidecar
from worldsim.datasets.governance.withdrawal import withdraw
from worldsim.datasets.loading.starts import load_starts
from worldsim.datasets.store.picture import read_picture
from worldsim.datasets.store.store import EpisodeStore
from worldsim.datasets.store.video import read_video, write_video
from worldsim.generation import run
from worldsim.generation.request import Request


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    return save_tiny_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def filling(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("filling")
    filling_world().save(folder)
    return folder


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("films")
    for number in (0, 1):
        write_video(folder / f"{number}.mp4", tiny_starts().frames[number], exact=True)
    return [folder / "0.mp4", folder / "1.mp4"]


def generate(world: Path, out: Path, *words: object) -> int:
    return cli.main(["generate", *map(str, words), f"world={world}", f"folder={out}", "device=cpu"])


def test_films_of_several_seeds_with_their_sidecars(world, films, tmp_path, capsys):
    out = tmp_path / "out"
    words = ("films=2", "seconds=0.2", "exact=true", "actions=forward 4", f"prompt={PROMPTS[0]}")
    assert generate(world, out, films[0], *words) == 0
    assert capsys.readouterr().out.split()[-1] == str(out / "together.mp4")
    first, second = (read_video(out / f"seed-{seed}.mp4") for seed in (0, 1))
    np.testing.assert_array_equal(first[:5], tiny_starts().frames[0])
    assert first.shape == (9, HEIGHT, WIDTH, 3) and not np.array_equal(first[5:], second[5:])
    assert read_video(out / "together.mp4").shape == (9, HEIGHT + 20, 2 * WIDTH, 3)
    assert not list(out.glob("*.part*"))
    about = read_sidecar(out / "seed-1.mp4")
    assert (about["seed"], about["prompt"], about["frames"]) == (1, PROMPTS[0], 9)
    assert about["recorded"] == [[0, 5]] and about["size"] == [WIDTH, HEIGHT] and about["fps"] == 20
    digests = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in world.glob("*.safetensors")}
    assert about["weights"] == digests and len(digests) == 2
    assert about["sources"] == [{"source": str(films[0]), "sha256": hashlib.sha256(films[0].read_bytes()).hexdigest()}]
    # Of the video nothing is known; then the script.
    pressed = about["actions_per_frame"]
    assert pressed[:4] == [None] * 4 and [row[0] for row in pressed[4:]] == [1, 1, 1, 1]
    # Finished: nothing is made again, and nothing else is put into the folder.
    before = (out / "seed-0.mp4").stat().st_mtime_ns
    assert generate(world, out, films[0], *words) == 0
    assert (out / "seed-0.mp4").stat().st_mtime_ns == before
    assert generate(world, out, films[0], *words[1:]) == 2
    assert "another request" in capsys.readouterr().err


def test_pictures_and_gifs(world, tmp_path):
    assert generate(world, tmp_path / "a", f"prompt={PROMPTS[1]}", "seconds=0", "format=png", "size=96x64") == 0
    assert read_picture(tmp_path / "a" / "seed-0.png").shape == (64, 96, 3)
    assert generate(world, tmp_path / "b", "2", "seconds=0.1", "format=png", "scale=2") == 0
    pictures = sorted((tmp_path / "b" / "seed-0").iterdir())
    assert len(pictures) == 7
    shown = np.stack([read_picture(path) for path in pictures])
    np.testing.assert_array_equal(shown[:5, ::2, ::2], load_starts(world / "starts").frames[2])
    assert read_sidecar(tmp_path / "b" / "seed-0")["file"] == "seed-0"
    assert generate(world, tmp_path / "c", "0", "seconds=0.1", "format=gif") == 0
    with Image.open(tmp_path / "c" / "seed-0.gif") as gif:
        assert gif.size == (WIDTH, HEIGHT) and gif.info["duration"] == 50


@pytest.mark.slow
def test_every_operation_has_its_command(world, filling, films, tmp_path):
    a, b = films
    kept = tiny_starts().frames[:2]
    for name, where, words, frames, recorded in (
        ("extend", world, [a, "after=0.2"], 9, [[0, 5]]),
        ("extend", filling, [a, "before=0.2", "after=0.1"], 11, [[4, 9]]),
        ("loop", filling, [a, "seconds=0.2"], 9, [[0, 5]]),
        ("join", filling, [a, b, "seconds=0.2"], 14, [[0, 5], [9, 14]]),
        ("edit", world, [a, f"prompt={PROMPTS[0]}", "strength=0.8"], 5, []),
    ):
        out = tmp_path / f"{name}-{frames}"
        assert generate(where, out, name, *words, "exact=true") == 0
        film, about = read_video(out / "seed-0.mp4"), read_sidecar(out / "seed-0.json")
        assert len(film) == frames == about["frames"] and about["recorded"] == recorded
        assert about["operation"] == name
        for (begin, end), source in zip(recorded, kept, strict=False):
            np.testing.assert_array_equal(film[begin:end], source)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["loop", "0"], "not trained for a loop"),
        (["join", "0", "1"], "not trained for a join"),
        (["extend", "0", "before=1"], "worldsim train dynamics"),
        (["extend", "0"], "after=SECONDS"),
        ([], "nothing to begin from"),
        (["there-is-none.mp4"], "there-is-none.mp4"),
        (["99"], "no start clip 99"),
        (["0", "size=100x50"], "multiples of 16"),
        (["0", "size=large"], "WIDTHxHEIGHT"),
        (["0", "prompt=a castle of glass on the moon"], "prompt"),
        (["edit", "0", f"prompt={PROMPTS[0]}", "strength=2"], "strength"),
        (["0", "actions=fly 3"], "fly"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(world, tmp_path, capsys, monkeypatch, words, said):
    monkeypatch.setattr("worldsim.models.text.encoder_installed", lambda: False)
    monkeypatch.setattr("worldsim.models.text.default_encoder", lambda: None)
    assert generate(world, tmp_path / "out", *words) == 2
    told = capsys.readouterr().err.strip()
    assert said in told and "Traceback" not in told and len(told.splitlines()) == 1
    assert not (tmp_path / "out" / "plan.json").exists()


class StoppedError(Exception):
    """The person pulls the plug."""


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["new", "extend", "edit"])
def test_an_interrupted_film_goes_on_to_the_same_bytes(filling, films, tmp_path, operation):
    what = {"new": {"seconds": 0.4}, "extend": {"before": 1.2, "seconds": 0.0}, "edit": {"prompt": PROMPTS[0]}}
    request = Request(operation=operation, source=str(films[0]), **what[operation])
    made = run.studio(request, filling)

    def films_of(folder: Path, stop: int | None = None) -> dict[str, bytes]:
        told = []

        def progress(*stage: object) -> None:
            told.append(stage)
            if len(told) == stop:
                raise StoppedError

        run.generate_into(folder, made, (3, 4), exact=True, every=1, progress=progress)
        counted.append(len(told))
        # Encoders with loss may differ by how their threads are scheduled.
        assert len(read_video(folder / "together.mp4")) == read_sidecar(folder / "seed-4.json")["frames"]
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.stem != "together"}

    counted: list[int] = []
    whole = films_of(tmp_path / "whole")
    stop = counted[0] // 2 + 2
    with pytest.raises(StoppedError):
        films_of(tmp_path / "parts", stop)
    assert not (tmp_path / "parts" / "seed-3.json").exists()
    assert films_of(tmp_path / "parts") == whole
    # The first film was finished, and of the second no step that was kept was done again.
    assert counted[1] <= counted[0] - stop + 2


def test_a_film_is_audited_as_its_weights_and_its_sources_are(world, tmp_path, capsys):
    store = EpisodeStore(tmp_path / "store")
    coarse = np.repeat(np.repeat(episode(frames=9).frames[:, :6, :10], 8, 1), 8, 2)
    recorded = episode(frames=9)
    store.append(type(recorded)(**{**vars(recorded), "frames": coarse}), "e0")
    out = tmp_path / "out"
    assert generate(world, out, f"{store.path}:e0", "seconds=0.1") == 0
    about = read_sidecar(out / "seed-0.mp4")
    assert about["sources"][0]["episode"] == "e0" and len(about["actions_per_frame"]) == 10
    assert all(row is not None for row in about["actions_per_frame"])
    capsys.readouterr()
    for named in (out / "seed-0.mp4", out / "seed-0.json"):
        assert cli.main(["data", "audit", str(named)]) == 0
        told = capsys.readouterr().out
        assert "seed 0" in told and about["weights"]["dit.safetensors"][:16] in told and "e0" in told
        assert "WITHDRAWN" not in told
    withdraw(EpisodeStore(store.path), "e0", "the player asked for it")
    assert cli.main(["data", "audit", str(out / "seed-0.mp4")]) == 1
    assert "WITHDRAWN" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["{", "{}", '{"format": "other"}', "cut", "record"])
def test_a_damaged_sidecar_is_told(world, tmp_path, capsys, damage):
    assert generate(world, tmp_path / "out", "0", "seconds=0", "format=png") == 0
    file = tmp_path / "out" / "seed-0.json"
    about = json.loads(file.read_text())
    texts = {
        "cut": json.dumps({name: value for name, value in about.items() if name != "seed"}),
        "record": json.dumps(about | {"trained_on": {"dit.safetensors": {"format": 99}}}),
    }
    file.write_text(texts.get(damage, damage))
    capsys.readouterr()
    assert cli.main(["data", "audit", str(file)]) == 2
    told = capsys.readouterr().err
    assert "seed-0.json" in told and len(told.strip().splitlines()) == 1
    assert cli.main(["data", "audit", str(tmp_path / "nothing.mp4")]) == 2
    assert "nothing.mp4" in capsys.readouterr().err
