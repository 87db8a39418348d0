"""Videos: what is written comes back; damage is noticed; nothing half-written is left."""

from pathlib import Path

import numpy as np
import pytest

from worldsim.datasets.video import VideoWriter, read_video, write_video


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
