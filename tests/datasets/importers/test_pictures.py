"""Videos without actions and folders of images."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.import_film import film, random_actions, write_film
from worldsim.datasets.importers.pictures import find_images, find_videos
from worldsim.datasets.importers.recording import piece
from worldsim.datasets.importers.resample import resample
from worldsim.plotting.pictures import write_picture
from worldsim.spec.actions import MINECRAFT, ActionSpec


def episode_of(footage):
    return piece(footage, np.stack(list(footage.frames())), 0, {})


def test_a_video_keeps_its_size_and_rate_and_its_actions_are_unknown(tmp_path: Path):
    actions = random_actions(12)
    write_film(tmp_path / "deep/a b.mp4", actions, fps=30)
    (tmp_path / "deep/a b.txt").write_text("a cave")
    [recording] = find_videos(tmp_path)
    assert recording.name.startswith("deep.a_b-")
    episode = episode_of(recording.open())
    assert episode.frames.shape == (12, 32, 64, 3) and episode.text == "a cave"
    assert not episode.actions.any() and episode.actions.shape == (12, 22)
    assert episode.provenance["actions"] == "unknown" and episode.provenance["fps"] == 30
    assert np.abs(episode.frames.astype(int) - film(actions)).mean() < 3
    spec = ActionSpec(keys=("left", "right"), camera=False)
    assert find_videos(tmp_path, spec)[0].open().actions.shape == (12, 2)


def test_an_image_is_an_episode_of_one_frame(tmp_path: Path):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (3, 20, 30, 3), np.uint8)
    for i, picture in enumerate(pictures):
        write_picture(tmp_path / f"{i}.png", picture)
    for picture, recording in zip(pictures, find_images(tmp_path), strict=True):
        episode = episode_of(recording.open())
        np.testing.assert_array_equal(episode.frames, picture[None])
        assert episode.actions.shape == (1, MINECRAFT.size) and episode.provenance["actions"] == "unknown"
        scaled = episode_of(resample(recording.open(), size=(15, 10), fps=5))
        assert scaled.frames.shape == (1, 10, 15, 3)


def test_a_broken_image_is_told(tmp_path: Path):
    write_picture(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
    content = (tmp_path / "a.png").read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"text", content[:100] + b"\0" * 60 + content[160:]):
        (tmp_path / "a.png").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.png"):
            find_images(tmp_path)[0].open()


def test_frames_that_last_unevenly_are_noticed(tmp_path: Path):
    pictures = film(random_actions(8))
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"  # pyright: ignore
        stream.codec_context.time_base = Fraction(1, 1000)
        for t, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = 50 * t + (300 if t > 4 else 0), Fraction(1, 1000)
            container.mux(stream.encode(frame))  # pyright: ignore
        container.mux(stream.encode())  # pyright: ignore
    footage = find_videos(tmp_path)[0].open()
    assert footage.times is not None and footage.provenance["rate"] == "variable"
    np.testing.assert_allclose(footage.times, [0, 0.05, 0.1, 0.15, 0.2, 0.55, 0.6, 0.65], atol=2e-3)
    assert len(episode_of(footage)) == 8
