"""``make kills`` without words does all of its jobs, and each of them only when it is named."""

from pathlib import Path

import pytest

from tests.fuzz import kills


@pytest.mark.parametrize(
    ("words", "done"), [([], [*kills.JOBS]), (["all"], [*kills.JOBS]), (["repair", "import"], ["repair", "import"])]
)
def test_jobs_are_done(words: list[str], done: list[str], monkeypatch: pytest.MonkeyPatch):
    called: list[str] = []

    def job(name: str):
        return lambda folder, count, rng: called.append(name) or f"{Path(folder).is_dir()} {count}"

    monkeypatch.setattr(kills, "JOBS", {name: (job(name), count) for name, (_, count) in kills.JOBS.items()})
    assert kills.main(words) == 0 and called == done
