"""``worldsim bench data``: how fast random clips come out of a store, beside mp4 files."""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import worldsim
from worldsim.asides import scratch_folder
from worldsim.cli.bench.machine import machine, resident_mb
from worldsim.cli.runs import run_folder
from worldsim.cli.settings import folder_setting, seed_setting, setting
from worldsim.datasets.loading.benchmark import (
    Rate,
    likeness,
    measure_store,
    measure_videos,
    measure_whole_videos,
    recorded_clips,
    varied_clips,
    write_measured_store,
)
from worldsim.datasets.loading.clips import ClipSampler
from worldsim.datasets.loading.starts import load_starts
from worldsim.datasets.store.store import EpisodeStore
from worldsim.errors import UserError
from worldsim.progress import display

# Bytes that a frame may take on disk, generously.
FRAME_BYTES = 40_000
GOAL = 10_000


@dataclass(kw_only=True)
class BenchData:
    """Settings of ``worldsim bench data``."""

    data: str | None = setting(
        None, help="store to take pictures from; default: the shipped world's start clips, varied"
    )
    episodes: int = setting(1000, help="episodes of the store that is made for the measurement", minimum=1)
    episode_frames: int = setting(100, help="length of each", unit="frames", minimum=1)
    mp4_episodes: int = setting(100, help="how many of them are also written as mp4", minimum=1)
    frames: int = setting(16, help="length of a clip", unit="frames", minimum=1)
    batch: int = setting(32, help="clips of a batch", minimum=1)
    threads: int = setting(2, help="that read and decompress", minimum=1)
    seconds: float = setting(10.0, help="length of each measurement", unit="seconds", above=0)
    seed: int = seed_setting("of the draws")
    scratch: str | None = setting(
        None,
        help="folder for the store; default: /dev/shm if it has room, else the system's temporary folder",
    )
    folder: str | None = folder_setting("bench-data")


def bench_data(config: BenchData) -> None:
    """``worldsim bench data``."""
    if config.episode_frames < config.frames:
        raise UserError(f"episode_frames must be at least frames, {config.frames}, got {config.episode_frames}")
    pictures = _pictures(config)
    with scratch_folder(_scratch(config)) as scratch:
        results = _measured(scratch, pictures, config)
    folder = run_folder("bench-data", config)
    (folder / "bench.json").write_text(json.dumps(results, indent=1) + "\n")
    print("\n".join(_lines(results)))
    print(folder / "bench.json")


def _pictures(config: BenchData) -> Iterator[NDArray[np.uint8]]:
    if config.data is None:
        clips = load_starts(worldsim.ASSETS / "minecraft" / "starts").frames
        return varied_clips(list(clips), config.episode_frames, config.seed)
    if "://" not in config.data and not Path(config.data).is_dir():
        raise FileNotFoundError(f"no such store: {config.data}")
    return recorded_clips(EpisodeStore(config.data), config.episode_frames, config.seed)


def _scratch(config: BenchData) -> str | None:
    if config.scratch is not None:
        if not Path(config.scratch).is_dir():
            raise FileNotFoundError(f"no such folder: {config.scratch}")
        return config.scratch
    needed, memory = config.episodes * config.episode_frames * FRAME_BYTES, Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 2 * needed else None


def _measured(scratch: Path, pictures: Iterator[NDArray[np.uint8]], config: BenchData) -> dict[str, Any]:
    videos = min(config.mp4_episodes, config.episodes)
    with display() as show:
        writing = show.stage("writing a store and mp4 files")
        store = write_measured_store(scratch, pictures, config.episodes, videos, writing)
        sampler = ClipSampler(
            store, None, frames=config.frames, batch=config.batch, seed=config.seed, threads=config.threads
        )
        rate = measure_store(sampler, config.seconds)
        files = [scratch / f"{name}.mp4" for name in sampler.names[:videos]]
        rng = np.random.default_rng(config.seed)
        starts = rng.integers(config.episode_frames - config.frames + 1, size=512)
        clips = [(int(rng.integers(videos)), int(start)) for start in starts]
        random = measure_videos(files, clips, config.frames, config.threads, config.seconds)
        whole = measure_whole_videos(files, config.threads, config.seconds)
        psnr = likeness(store, sampler.names, files, clips[:8], config.frames)
    frames = config.episodes * config.episode_frames
    store_bytes = sum(p.stat().st_size for p in (scratch / "store").rglob("*") if p.is_file())
    return {
        "machine": machine(),
        "episodes": config.episodes,
        "clip_frames": config.frames,
        "size": list(store.manifest(sampler.names[0])["size"]),
        "threads": config.threads,
        "store": _numbers(rate) | {"bytes_per_frame": store_bytes / frames},
        "mp4_random": _numbers(random)
        | {"bytes_per_frame": sum(f.stat().st_size for f in files) / videos / config.episode_frames},
        "mp4_whole": _numbers(whole),
        "ratio_wall": rate.per_second / random.per_second,
        "ratio_cpu": rate.per_cpu_second / random.per_cpu_second,
        "ratio_cpu_whole": rate.per_cpu_second / whole.per_cpu_second,
        "same_frames_psnr_db": psnr,
        "resident_mb": resident_mb(),
    }


def _numbers(rate: Rate) -> dict[str, float]:
    return {
        "frames_per_second": rate.per_second,
        "frames_per_cpu_second": rate.per_cpu_second,
        "cores_used": rate.cpu_seconds / rate.seconds,
        "seconds": rate.seconds,
    }


def _lines(results: Mapping[str, Any]) -> list[str]:
    """For people."""
    store, random, whole = results["store"], results["mp4_random"], results["mp4_whole"]
    width, height = results["size"]
    cores = results["threads"]

    def line(what: str, rate: Mapping[str, float]) -> str:
        return (
            f"{what}: {rate['frames_per_second']:,.0f} frames/s on {rate['cores_used']:.2f} cores, "
            f"{rate['frames_per_cpu_second']:,.0f} a CPU second "
            f"({cores * rate['frames_per_cpu_second']:,.0f} on {cores} idle cores)"
        )

    return [
        f"random clips of {results['clip_frames']} frames, {width}x{height}, over {results['episodes']} episodes, "
        f"{cores} threads, files in memory (load average {results['machine']['load']:.1f})",
        line("store", store) + f", {store['bytes_per_frame'] / 1000:.1f} kB a frame",
        line("mp4 with PyAV, the same clips", random) + f", {random['bytes_per_frame'] / 1000:.1f} kB a frame",
        line("mp4 from beginning to end", whole),
        f"the store is {results['ratio_wall']:.1f} times as fast by the clock, {results['ratio_cpu']:.1f} times by CPU "
        f"time ({results['ratio_cpu_whole']:.1f} times against whole files); goal {GOAL:,} frames/s",
        f"same frames: {results['same_frames_psnr_db']:.1f} dB between store and mp4",
    ]
