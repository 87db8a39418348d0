"""Videos are read as a person sees them: upright, and the frames that are shown."""

from pathlib import Path

import numpy as np
import pytest

from tests.datasets.store.test_picture import QUARTERS
from tests.timing import little_work
from tests.video_files import TURNS, levels, shown_levels, turn_video, write_stamped, write_with_cover, write_with_sound
from worldsim.datasets.store.video import index_times, probe_video, read_video, write_video

FILM = np.repeat(QUARTERS[None], 3, 0)
SHOWN = {
    "upright": QUARTERS,
    "clockwise": np.rot90(QUARTERS, -1),
    "upside down": np.rot90(QUARTERS, 2),
    "counterclockwise": np.rot90(QUARTERS, 1),
    "mirrored": QUARTERS[:, ::-1],
}


@pytest.mark.parametrize("how", list(TURNS))
def test_a_turned_video_is_read_upright(tmp_path: Path, how: str):
    write_video(tmp_path / "a.mp4", FILM, crf=4)
    turn_video(tmp_path / "a.mp4", how)
    wanted, info = SHOWN[how], probe_video(tmp_path / "a.mp4")
    read = read_video(tmp_path / "a.mp4")
    assert read.shape == (3, *wanted.shape) and (info.height, info.width) == wanted.shape[:2]
    corners = np.ix_([4, -5], [4, -5])
    for frame in read:
        np.testing.assert_allclose(frame[corners].astype(int), wanted[corners], atol=12)
    # A size that is asked for is the upright picture's.
    small = read_video(tmp_path / "a.mp4", size=(24, 16))
    assert small.shape == (3, 16, 24, 3)
    np.testing.assert_allclose(small[0][np.ix_([2, -3], [2, -3])].astype(int), wanted[corners], atol=12)


def test_what_an_edit_list_cuts_off_is_not_read(tmp_path: Path):
    stamps = [(t - 5) / 20 for t in range(16)]
    write_stamped(tmp_path / "a.mp4", levels(16), stamps)
    info = probe_video(tmp_path / "a.mp4")
    assert shown_levels(read_video(tmp_path / "a.mp4")) == list(range(5, 16))
    assert info.frames == 11 and info.steady
    np.testing.assert_allclose(info.times, np.arange(11) / 20, atol=1e-3)
    np.testing.assert_allclose(index_times(tmp_path / "a.mp4"), info.times, atol=1e-3)


@pytest.mark.parametrize("late", [0.0, 0.7])
def test_sound_that_comes_first_and_lasts_longer_changes_nothing(tmp_path: Path, late: float):
    write_with_sound(tmp_path / "a.mp4", levels(12), late=late)
    info = probe_video(tmp_path / "a.mp4")
    assert shown_levels(read_video(tmp_path / "a.mp4")) == list(range(12))
    assert info.frames == 12 and info.steady and info.fps == pytest.approx(20, rel=0.01)


def test_a_cover_picture_is_not_the_film(tmp_path: Path):
    write_with_cover(tmp_path / "a.mp4", levels(8))
    assert shown_levels(read_video(tmp_path / "a.mp4")) == list(range(8))
    assert probe_video(tmp_path / "a.mp4").frames == 8


def test_frames_that_are_never_shown_do_not_count(tmp_path: Path):
    # VP8 sends pictures that only later ones refer to.
    write_stamped(tmp_path / "a.webm", levels(30), [t / 20 for t in range(30)], codec="libvpx")
    assert probe_video(tmp_path / "a.webm").frames == len(read_video(tmp_path / "a.webm")) == 30


def test_uneven_frames_keep_their_times(tmp_path: Path):
    stamps = [0, 0.05, 0.1, 0.4, 0.45, 0.5]
    write_stamped(tmp_path / "a.mp4", levels(6), stamps)
    info = probe_video(tmp_path / "a.mp4")
    assert not info.steady and info.fps == pytest.approx(10, rel=0.01)
    np.testing.assert_allclose(info.times, stamps, atol=2e-3)


@pytest.mark.parametrize("name", ["http:x.mp4", "a%03d.mp4", "[1]*.mp4", "concat:a|b.mp4", "gr\udcf6\udcdfe.mp4"])
def test_names_are_names(tmp_path: Path, name: str):
    write_video(tmp_path / "plain.mp4", levels(4))
    (tmp_path / "plain.mp4").replace(tmp_path / name)
    assert shown_levels(read_video(tmp_path / name)) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "text", ["ffconcat version 1.0\nfile plain.mp4\n", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nplain.mp4\n"]
)
def test_a_list_of_other_files_is_no_video(tmp_path: Path, text: str):
    write_video(tmp_path / "plain.mp4", levels(4))
    (tmp_path / "a.mp4").write_text(text)
    with pytest.raises(ValueError, match=r"a\.mp4"):
        read_video(tmp_path / "a.mp4")


def test_a_video_that_declares_a_giant_picture_is_refused_at_once(tmp_path: Path):
    write_video(tmp_path / "a.mp4", levels(4))
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    at = content.index(b"avc1", content.index(b"stsd")) + 4 + 24
    content[at : at + 4] = b"\xff\xf0\xff\xf0"
    (tmp_path / "a.mp4").write_bytes(content)
    with little_work(5):
        # The size of the coded pictures is what counts; the container's alone allocates nothing.
        try:
            frames = read_video(tmp_path / "a.mp4")
            assert frames.shape == (4, 32, 48, 3)
        except ValueError as error:
            assert "pixels" in str(error)
