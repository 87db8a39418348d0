"""How fast random clips come out of a store, beside the same clips out of mp4 files.

Both are measured warm (files in memory), with as many threads, in wall time and in CPU time: on a busy machine the wall
time says little, and the CPU time what an idle core would do.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from worldsim.datasets.loading.clips import ClipSampler
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore
from worldsim.datasets.store.video import write_video

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Rate:
    """Frames that came out, in how many seconds of the clock and of all cores together."""

    frames: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        """Frames a second."""
        return self.frames / max(1e-9, self.seconds)

    @property
    def per_cpu_second(self) -> float:
        """Frames a second of one core's time."""
        return self.frames / max(1e-9, self.cpu_seconds)


def varied_clips(clips: Sequence[NDArray[np.uint8]], length: int, seed: int) -> Iterator[NDArray[np.uint8]]:
    """Endless stretches (length, H, W, 3), all different: clips joined, mirrored, reversed and brightened."""
    rng = np.random.default_rng(seed)
    while True:
        parts: list[NDArray[np.uint8]] = []
        while sum(map(len, parts)) < length:
            clip = clips[int(rng.integers(len(clips)))]
            clip = clip[:: int(rng.choice([-1, 1])), :, :: int(rng.choice([-1, 1]))]
            light = np.arange(256, dtype=np.int16) + int(rng.integers(-12, 13))
            parts.append(np.clip(light, 0, 255).astype(np.uint8)[clip])
        yield np.concatenate(parts)[:length]


def recorded_clips(store: EpisodeStore, length: int, seed: int) -> Iterator[NDArray[np.uint8]]:
    """Endless stretches (length, H, W, 3) of a store's episodes, drawn at random."""
    sampler = ClipSampler(store, None, frames=length, batch=1, seed=seed)
    for batch in sampler.batches():
        yield batch["frames"][0]


def write_measured_store(
    folder: Path, pictures: Iterator[NDArray[np.uint8]], episodes: int, videos: int, progress: Progress
) -> EpisodeStore:
    """Write a store of ``episodes`` episodes, and of the first ``videos`` of them also mp4 files beside it."""
    store = EpisodeStore(folder / "store")
    rng = np.random.default_rng(0)
    for number in range(episodes):
        frames = next(pictures)
        count = len(frames)
        keys = np.zeros((count, 22), np.float32)
        keys[:-1] = rng.normal(size=(count - 1, 22))
        walk = rng.normal(size=(count, 3)).cumsum(0).astype(np.float32)
        episode = Episode(
            frames=np.ascontiguousarray(frames),
            actions=keys,
            rewards=np.zeros(count, np.float32),
            terminated=np.zeros(count, bool),
            state={"position": walk, "yaw": walk[:, 0].copy(), "pitch": walk[:, 1].copy()},
            provenance={"source": "bench", "fps": 20},
        )
        name = f"b{number:06d}"
        store.append(episode, name)
        if number < videos:
            write_video(folder / f"{name}.mp4", frames)
        progress(number + 1, episodes)
    return store


def measure_store(sampler: ClipSampler, seconds: float) -> Rate:
    """Random clips over all episodes, each of which has been opened and verified before."""
    for name in sampler.names:
        sampler.store.read(name, 0, sampler.frames)
    return _measure(lambda i: len(sampler[i]["frames"]) * sampler.frames, seconds)


def measure_videos(
    files: Sequence[Path], clips: Sequence[tuple[int, int]], frames: int, threads: int, seconds: float
) -> Rate:
    """The given clips (file, first frame) out of mp4 files: open, seek to the key frame before, decode, convert."""
    size = 4 * threads
    with ThreadPoolExecutor(threads) as pool:

        def batch(index: int) -> int:
            chosen = [clips[(index * size + i) % len(clips)] for i in range(size)]
            parts = pool.map(lambda clip: video_clip(files[clip[0]], clip[1], frames), chosen)
            return sum(len(part) for part in parts)

        return _measure(batch, seconds)


def measure_whole_videos(files: Sequence[Path], threads: int, seconds: float) -> Rate:
    """mp4 files from beginning to end, every frame used: the best case of a video file."""
    with ThreadPoolExecutor(threads) as pool:

        def batch(index: int) -> int:
            chosen = [files[(index * threads + i) % len(files)] for i in range(threads)]
            return sum(pool.map(lambda file: len(video_clip(file, 0, None)), chosen))

        return _measure(batch, seconds)


def video_clip(file: Path, start: int, frames: int | None) -> NDArray[np.uint8]:
    """Frames ``start`` to ``start + frames`` of an mp4 file, uint8 (F, H, W, 3), the plain way with PyAV."""
    out: list[NDArray[Any]] = []
    with av.open(str(file)) as container:
        stream: VideoStream = container.streams.video[0]
        rate, base = stream.average_rate, stream.time_base
        if rate is None or base is None:
            raise ValueError(f"{file} does not tell its frame rate")
        step = 1 / (rate * base)
        container.seek(int(start * step), stream=stream)
        for frame in container.decode(stream):
            if frame.pts is not None and round(frame.pts / step) >= start:
                out.append(frame.to_ndarray(format="rgb24"))
                if len(out) == frames:
                    break
    return np.stack(cast("list[NDArray[np.uint8]]", out))


def likeness(
    store: EpisodeStore, names: Sequence[str], files: Sequence[Path], clips: Sequence[tuple[int, int]], frames: int
) -> float:
    """PSNR in dB between clips of the store and of the mp4 files: shows that both give the same frames."""
    errors = []
    for file, start in clips:
        a = store.read(names[file], start, start + frames).frames.astype(np.float32)
        errors.append(np.square(a - video_clip(files[file], start, frames)).mean())
    return float(10 * np.log10(255**2 / max(1e-9, float(np.mean(errors)))))


def _measure(batch: Callable[[int], int], seconds: float) -> Rate:
    batch(0)
    count, index = 0, 1
    begun, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - begun < seconds:
        count += batch(index)
        index += 1
    return Rate(count, time.perf_counter() - begun, time.process_time() - cpu)
