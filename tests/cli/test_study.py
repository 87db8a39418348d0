"""``worldsim study``: a blind page is made, people answer it in a browser, and what they chose is counted."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from tests.chromium import chromium, needs_chromium
from tests.cli.test_eval import record
from tests.tiny_world import save_tiny_world
from worldsim import cli
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore, split_of
from worldsim.datasets.store.video import read_video
from worldsim.evaluation.study.design import Study, read_key
from worldsim.evaluation.study.films import LARGER, PAGE


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    store = EpisodeStore(folder / "store")
    for seed in [seed for seed in range(200) if split_of(seed) == "test"][:2]:
        record(store, seed)
    save_tiny_world(folder / "world")
    assert cli.main(words(folder, folder / "made")) == 0
    return folder


def words(home: Path, folder: Path, *more: str) -> list[str]:
    given = [f"data={home / 'store'}", f"worlds=[{home / 'world'}]", "clips=3", "seconds=[0.4,1]", f"folder={folder}"]
    return ["study", "make", *given, *more]


def films(folder: Path, study: Study) -> dict[tuple[int, int, float], np.ndarray]:
    """The films of a study by clip, competitor and seconds."""
    out = {}
    for trial in study.trials:
        for side in ("left", "right"):
            path = folder / PAGE / f"{trial.name}-{side}.mp4"
            # One of each block's pixels.
            film = read_video(path)[:, LARGER // 2 :: LARGER, LARGER // 2 :: LARGER]
            out[trial.clip, getattr(trial, side), trial.seconds] = film
    return out


@pytest.mark.slow
def test_both_films_of_a_pair_begin_alike_and_the_game_shows_what_was_recorded(home: Path):
    study = read_key(home / "made")
    about = json.loads((home / "made" / "key.json").read_text())["about"]
    assert study.competitors == (f"{home.name}/world", "recorded") and len(study.trials) == 3 * 2
    shown = films(home / "made", study)
    assert {len(film) for film in shown.values()} == {9, 21}
    store = EpisodeStore(home / "store")
    for (clip, who, _), film in shown.items():
        name, first = about["places"][clip].split(":")
        episode: Episode = store.read(name)
        truth = episode.frames[int(first) + about["past"] - 1 :][: len(film)].astype(float)
        # The video codec rounds a little.
        errors = np.abs(film - truth).mean((1, 2, 3))
        assert errors[0] < 8
        assert (errors.max() < 8) == (who == 1)


@pytest.mark.slow
def test_the_page_names_nobody(home: Path):
    study = read_key(home / "made")
    page = (home / "made" / PAGE / "index.html").read_text()
    assert study.question in page and study.number in page and all(trial.name in page for trial in study.trials)
    assert "recorded" not in page and home.name not in page
    values = json.loads(page.split('id="values">')[1].split("</script>")[0])
    assert set(values) == {"study", "choices", "trials"} and {frozenset(t) for t in values["trials"]} == {
        frozenset({"name", "seconds"})
    }
    files = {path.name for path in (home / "made" / PAGE).iterdir()}
    assert files == {"index.html", *(f"{t.name}-{side}.mp4" for t in study.trials for side in ("left", "right"))}


@pytest.mark.slow
def test_it_goes_on_where_it_was_interrupted_with_the_same_films(home: Path, tmp_path: Path):
    study = read_key(home / "made")
    assert cli.main(words(home, tmp_path / "again")) == 0
    whole, page = films(tmp_path / "again", study), tmp_path / "again" / PAGE
    kept = {path: path.stat().st_mtime_ns for path in sorted(page.glob("*.mp4"))}
    for path in list(kept)[::3]:
        path.unlink()
        del kept[path]
    assert cli.main(words(home, tmp_path / "again")) == 0
    assert read_key(tmp_path / "again") == study and all(path.stat().st_mtime_ns == at for path, at in kept.items())
    for film, before in zip(films(tmp_path / "again", study).values(), whole.values(), strict=True):
        # x264 with two threads does not always write the same bytes.
        assert film.shape == before.shape and float(np.abs(film.astype(float) - before).mean()) < 6


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("game=false",), "two or more"),
        (("seconds=[0]",), "seconds must be above 0"),
        (("seconds=[100]",), "has the"),
        (("worlds=[]",), "worlds must name"),
    ],
)
def test_mistakes_are_told_in_a_line(
    home: Path, tmp_path: Path, more: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(words(home, tmp_path / "new", *more)) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_what_raters_said_is_counted(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    study = read_key(home / "made")
    for rater, liked in (("ann", 1), ("bob", 0)):
        chosen = [("left" if trial.left == liked else "right") for trial in study.trials]
        chosen[-1] = "same"
        answers = [{"trial": t.name, "choice": c, "seconds": 1} for t, c in zip(study.trials, chosen, strict=True)]
        (tmp_path / f"{rater}.json").write_text(json.dumps({"study": study.number, "rater": rater, "answers": answers}))
    given = [f"study={home / 'made'}", f"answers=[{tmp_path / 'ann.json'},{tmp_path / 'bob.json'}]"]
    assert cli.main(["study", "result", *given]) == 0
    out = capsys.readouterr().out
    assert "12 answers of 2 raters" in out and "5 / 2 / 5" in out
    found = json.loads((home / "made" / "result.json").read_text())
    assert found["pairs"][0]["share"] == 0.5 and found["pairs"][0]["ties"] == 2
    assert found["groups"]["rater"]["ann"][0]["share"] == 0 and found["groups"]["rater"]["bob"][0]["share"] == 1
    assert "ann" in (home / "made" / "result.html").read_text()
    assert cli.main(["study", "result", f"study={tmp_path}", "answers=[x]"]) == 2
    assert cli.main(["study", "result", f"study={home / 'made'}", f"answers=[{tmp_path / 'none.json'}]"]) == 2


@needs_chromium
def test_a_person_answers_in_a_browser(home: Path, tmp_path: Path):
    study = read_key(home / "made")
    url = (home / "made" / PAGE / "index.html").as_uri()
    words_of = "document.getElementById('done').textContent"

    async def scene() -> str:
        async with chromium(tmp_path) as browser:
            tab = await browser.open(url)
            assert await tab.value("document.getElementById('start').disabled")
            await tab.value(
                "(({rater}) => { rater.value = 'Eve 1'; rater.dispatchEvent(new Event('input')); })"
                "({rater: document.getElementById('rater')})"
            )
            await tab.click("#start")
            await tab.until(f"{words_of}.startsWith('Pair 1 of 6')")
            # Both films play.
            await tab.until("[...document.querySelectorAll('video')].every(film => film.currentTime > 0)")
            await tab.click("[data-choice=left]")
            await tab.until(f"{words_of}.startsWith('Pair 2')")
            await tab.value("document.dispatchEvent(new KeyboardEvent('keydown', {key: '2'}))")
            await tab.until(f"{words_of}.startsWith('Pair 3')")
            await tab.click("#back")
            await tab.until(f"{words_of}.startsWith('Pair 2')")
            # Whoever comes back goes on.
            await tab.reload()
            await tab.value("document.getElementById('rater').value = 'Eve 1'")
            await tab.value("document.getElementById('rater').dispatchEvent(new Event('input'))")
            await tab.click("#start")
            await tab.until(f"{words_of}.startsWith('Pair 2')")
            for number in range(5):
                await tab.click(f"[data-choice={('right', 'same')[number % 2]}]")
            await tab.until("!document.getElementById('end').hidden")
            await tab.value("document.getElementById('save').click()")
            assert await tab.value("document.getElementById('save').download") == "answers-Eve_1.json"
            assert not browser.complaints
            return await tab.value("fetch(document.getElementById('save').href).then(answer => answer.text())")

    saved = json.loads(asyncio.run(scene()))
    assert saved["study"] == study.number and saved["rater"] == "Eve 1"
    assert [one["trial"] for one in saved["answers"]] == [trial.name for trial in study.trials]
    assert [one["choice"] for one in saved["answers"]] == ["left", "right", "same", "right", "same", "right"]
    assert all(one["seconds"] >= 0 for one in saved["answers"])
