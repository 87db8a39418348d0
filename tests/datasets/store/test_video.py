"""Videos: what is written comes back; damage is noticed; nothing half-written is left."""

from pathlib import Path

import numpy as np
import pytest

from worldsim.datasets.store.picture import read_picture, scale_picture
from worldsim.datasets.store.video import (
    VideoWriter,
    index_times,
    probe_video,
    read_video,
    stream_video,
    write_video,
)
from worldsim.plotting.pictures import write_picture


def moving_square(frames: int = 12, height: int = 48, width: int = 80) -> np.ndarray:
    out = np.full((frames, height, width, 3), 90, np.uint8)
    for t in range(frames):
        out[t, 8:24, 4 * t : 4 * t + 16] = (200, 60, 20 * t)
    return out


def test_frames_come_back_in_order_and_nearly_equal(tmp_path: Path):
    frames = moving_square()
    write_video(tmp_path / "a.mp4", frames, crf=10)
    back = read_video(tmp_path / "a.mp4")
    assert back.shape == frames.shape and back.dtype == np.uint8
    # Not lossless: colour is stored at half resolution. The order of frames must be exact, though.
    differences = np.array([[np.abs(a.astype(int) - b).mean() for b in frames] for a in back])
    assert (differences.argmin(1) == np.arange(len(frames))).all()
    assert differences.diagonal().max() < 4


def test_one_frame_is_a_video(tmp_path: Path):
    write_video(tmp_path / "a.mp4", moving_square(1))
    assert read_video(tmp_path / "a.mp4").shape == (1, 48, 80, 3)


def test_reading_can_scale(tmp_path: Path):
    write_video(tmp_path / "a.mp4", moving_square())
    assert read_video(tmp_path / "a.mp4", size=(40, 24)).shape == (12, 24, 40, 3)


def test_a_probe_counts_frames_and_tells_their_times(tmp_path: Path):
    write_video(tmp_path / "a.mp4", moving_square(), fps=30)
    info = probe_video(tmp_path / "a.mp4")
    assert (info.width, info.height, info.frames, info.fps, info.steady) == (80, 48, 12, 30, True)
    np.testing.assert_allclose(info.times, np.arange(12) / 30, atol=1e-3)
    np.testing.assert_allclose(index_times(tmp_path / "a.mp4"), info.times, atol=1e-9)


@pytest.mark.parametrize("first", [0, 1, 5, 11])
def test_a_stream_can_begin_anywhere(tmp_path: Path, first: int):
    write_video(tmp_path / "a.mp4", moving_square())
    whole = read_video(tmp_path / "a.mp4")
    start = float(probe_video(tmp_path / "a.mp4").times[first])
    np.testing.assert_array_equal(np.stack(list(stream_video(tmp_path / "a.mp4", start=start))), whole[first:])


def test_pictures_are_read_from_files_and_bytes_and_scaled_by_area(tmp_path: Path):
    picture = moving_square(1)[0]
    write_picture(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), picture)
    np.testing.assert_array_equal(read_picture((tmp_path / "a.png").read_bytes()), picture)
    assert scale_picture(picture, (80, 48)) is picture
    half = scale_picture(picture, (40, 24))
    means = picture.reshape(24, 2, 40, 2, 3).mean((1, 3))
    assert half.shape == (24, 40, 3) and np.abs(half - means).max() < 4
    assert scale_picture(picture, (160, 24)).shape == (24, 160, 3)
    with pytest.raises(FileNotFoundError, match="no such picture"):
        read_picture(tmp_path / "b.png")
    with pytest.raises(ValueError, match="a picture is not"):
        read_picture(b"text")


def test_same_frames_give_the_same_file(tmp_path: Path):
    write_video(tmp_path / "a.mp4", moving_square())
    write_video(tmp_path / "b.mp4", moving_square())
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_a_truncated_video_is_an_error(tmp_path: Path, kept: float):
    rng = np.random.default_rng(0)
    write_video(tmp_path / "a.mp4", rng.integers(0, 255, (20, 48, 80, 3), np.uint8))
    content = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ValueError, match=r"a\.mp4"):
        read_video(tmp_path / "a.mp4")
    with pytest.raises(ValueError, match=r"a\.mp4"):
        probe_video(tmp_path / "a.mp4")


def test_what_is_no_video_is_an_error(tmp_path: Path):
    (tmp_path / "a.mp4").write_text("not a video")
    with pytest.raises(ValueError, match="not a whole video"):
        read_video(tmp_path / "a.mp4")
    with pytest.raises(FileNotFoundError, match="no such video"):
        read_video(tmp_path / "b.mp4")


def test_a_failed_writer_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    write_video(tmp_path / "a.mp4", moving_square())
    before = (tmp_path / "a.mp4").read_bytes()
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / "a.mp4") as video:
        video.append(moving_square()[0])
        raise RuntimeError("stop")
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == before


@pytest.mark.parametrize("shape", [(48, 80), (47, 80, 3), (48, 80, 4)])
def test_wrong_frames_are_refused(tmp_path: Path, shape: tuple[int, ...]):
    with pytest.raises(ValueError), VideoWriter(tmp_path / "a.mp4") as video:
        video.append(np.zeros(shape, np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_frames_of_another_size_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="40x24"), VideoWriter(tmp_path / "a.mp4") as video:
        video.append(np.zeros((48, 80, 3), np.uint8))
        video.append(np.zeros((24, 40, 3), np.uint8))
