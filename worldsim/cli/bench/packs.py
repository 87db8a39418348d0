"""``worldsim bench packs``: what the index and the order of clips cost for more episodes than there are here.

The index is that of a set of packs, with names and identities of episodes as real ones have; there are no packs.
"""

import hashlib
import json
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from worldsim.asides import scratch_folder
from worldsim.cli.bench.machine import machine, resident_mb
from worldsim.cli.runs import run_folder
from worldsim.cli.settings import folder_setting, seed_setting, setting
from worldsim.datasets.governance.provenance import store_record
from worldsim.datasets.loading.block_shuffle import BlockShuffle
from worldsim.datasets.loading.latent_pack import SET, set_index
from worldsim.datasets.loading.latent_stream import LatentPacks

# Bytes of a row in memory, where latents are those of 144x80 pixels and two frames a chunk; four rows share a still.
ROW_BYTES = {"latents": 11520, "actions": 176, "motion": 20, "terminated": 4, "stills": 11520}
# Packed, a row takes that share of it.
PACKED = 0.15


@dataclass(kw_only=True)
class BenchPacks:
    """Settings of ``worldsim bench packs``."""

    episodes: int = setting(1_000_000, help="of the set", minimum=1)
    shortest: int = setting(100, help="episode", unit="latent frames", minimum=1)
    longest: int = setting(900, help="episode", unit="latent frames", minimum=1)
    megabytes: float = setting(15.0, help="size of a pack", unit="MB", above=0)
    frames: int = setting(32, help="latent frames per clip", minimum=1)
    batch: int = setting(64, help="clips per batch", minimum=1)
    parts: int = setting(8, help="batches of a step", minimum=1)
    shuffle_mb: float = setting(1024.0, help="memory of the packs that clips are shuffled among", unit="MB", above=0)
    batches: int = setting(1000, help="how many are asked for, far from each other", minimum=1)
    seed: int = seed_setting("of lengths and order")
    folder: str | None = folder_setting("bench-packs")


def bench_packs(config: BenchPacks) -> None:
    """``worldsim bench packs``."""
    results = {"machine": machine(), **measured(config)}
    folder = run_folder("bench-packs", config)
    (folder / "bench.json").write_text(json.dumps(results, indent=1) + "\n")
    index, order = results["index"], results["order"]
    print(
        f"{config.episodes:,} episodes, {index['hours']:,.0f} hours at 20 frames/s, in {index['packs']:,} packs\n"
        f"index: {index['megabytes']:.0f} MB, opened in {index['seconds']:.1f} s, "
        f"{index['resident_mb']:.0f} MB resident\n"
        f"order of an epoch: {order['epoch_seconds']:.2f} s for {config.parts} parts, {order['places']:,} places\n"
        f"a batch anywhere in the first ten epochs: {order['locate_ms']:.3f} ms once their order is known "
        f"({order['ten_epochs_seconds']:.1f} s), its block's clips shuffled in {order['shuffle_ms']:.1f} ms\n"
        f"a block: {order['block_packs']:.0f} packs, {order['block_episodes']:.0f} episodes, "
        f"{order['block_batches']:.0f} batches, at most {order['block_mb']:.0f} MB\n"
        f"{folder / 'bench.json'}"
    )


def measured(config: BenchPacks) -> dict[str, Any]:
    """Time and memory of the index and of the order."""
    rng = np.random.default_rng(config.seed)
    lengths = rng.integers(config.shortest, max(config.shortest, config.longest) + 1, config.episodes)
    with scratch_folder() as scratch:
        (scratch / SET).write_bytes(_index(lengths, config))
        size = (scratch / SET).stat().st_size
        before, begun = resident_mb(), time.process_time()
        packs = LatentPacks(scratch)
        index = {"seconds": time.process_time() - begun, "resident_mb": resident_mb() - before}
    index |= {"megabytes": size / 1e6, "packs": len(packs.names), "hours": float(lengths.sum()) * 2 / 20 / 3600}
    return {"index": index, "order": _order(packs, config)}


def _index(lengths: np.ndarray, config: BenchPacks) -> bytes:
    packed = np.cumsum(lengths * sum(ROW_BYTES.values()) * PACKED)
    episodes = np.bincount((packed // (config.megabytes * 1e6)).astype(np.int64))
    episodes = episodes[episodes > 0]
    digests = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(max(len(lengths), len(episodes)))]
    columns = {
        "names": [f"pack-{number:03d}.zip" for number in range(len(episodes))],
        "bytes": [int(config.megabytes * 1e6)] * len(episodes),
        "sha256": digests[: len(episodes)],
        "episodes": episodes.tolist(),
    }
    about = {"fps": 20.0, "licence": "CC0-1.0", "source": "luanti"}
    records = (
        {"name": f"s0-w{number:06d}-e00", "identity": digests[number], "frames": int(length) * 2, **about}
        for number, length in enumerate(lengths)
    )
    return set_index({}, columns, lengths, ROW_BYTES, store=store_record("simulated", list(records)))


def _order(packs: LatentPacks, config: BenchPacks) -> dict[str, float]:
    places, nbytes = packs.places(config.frames), packs.nbytes
    shuffle = BlockShuffle(
        places, nbytes, batch=config.batch, seed=config.seed, lanes=config.parts, limit=int(config.shuffle_mb * 2**20)
    )
    begun = time.process_time()
    for lane in range(config.parts):
        shuffle.locate(lane)
    epoch = time.process_time() - begun
    far = 10 * int(places.sum()) // config.batch
    begun = time.process_time()
    for lane in range(config.parts):
        shuffle.locate(far - far % config.parts + lane)
    ten = time.process_time() - begun
    asked = far - np.random.default_rng(config.seed).integers(int(places.sum()) // config.batch, size=config.batches)
    begun = time.process_time()
    blocks = [shuffle.locate(int(number))[0] for number in asked]
    locate = (time.process_time() - begun) / len(asked)
    held = [shuffle.packs(block) for block in blocks[:100]]
    begun = time.process_time()
    drawn = [shuffle.order(block, int(places[some].sum())) for block, some in zip(blocks[:100], held, strict=True)]
    shuffled = (time.process_time() - begun) / len(drawn)
    return {
        "places": int(places.sum()),
        "epoch_seconds": epoch,
        "ten_epochs_seconds": ten,
        "locate_ms": 1000 * locate,
        "shuffle_ms": 1000 * shuffled,
        "block_packs": float(np.mean([len(some) for some in held])),
        "block_episodes": float(np.mean([len(some) for some in held])) * config.episodes / len(packs.names),
        "block_batches": float(np.mean([len(each) for each in drawn])),
        "block_mb": max(float(nbytes[some].sum()) for some in held) / 1e6,
    }
