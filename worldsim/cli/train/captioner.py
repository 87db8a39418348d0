"""``worldsim train captioner``."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import worldsim
from worldsim.cli.runs import run_folder, use_threads
from worldsim.cli.settings import (
    folder_setting,
    group,
    licence_setting,
    seed_setting,
    setting,
    source_setting,
    store_setting,
    threads_setting,
    world_setting,
)
from worldsim.cli.stores import filter_of, open_store
from worldsim.datasets.governance.provenance import training_record
from worldsim.datasets.store.store import Split
from worldsim.progress import display
from worldsim.training import captioner as learned


@dataclass(kw_only=True)
class TrainCaptioner:
    """Settings of ``worldsim train captioner``."""

    data: str = store_setting()
    licence: str | None = licence_setting()
    source: str | None = source_setting()
    world: str = world_setting(
        "the world whose tokenizer makes the latents: a shipped world's name, or a checkpoint folder"
    )
    clips: int = setting(2000, help="of the train split", minimum=1)
    held_out: int = setting(400, help="clips of the validation and test splits: maps never trained on", minimum=1)
    seed: int = seed_setting("decides clips and weights")
    threads: int | None = threads_setting()
    folder: str | None = folder_setting("captioner")
    training: learned.CaptionerConfig = group(learned.CaptionerConfig, filled=("channels", "seed"))


def train_captioner(config: TrainCaptioner) -> None:
    """``worldsim train captioner``."""
    store = open_store(config.data)
    use_threads(config.threads)
    # In full precision on every machine: a captioner knows its tokenizer by the digest of the weights.
    tokenizer = worldsim.load(config.world, bf16=False).tokenizer
    settings = replace(config.training, channels=tokenizer.config.channels, seed=config.seed)
    config.training, encode = settings, learned.encoder(tokenizer)
    folder = run_folder("captioner", config)
    with display() as show:

        def examples(splits: Sequence[Split], clips: int, what: str) -> learned.Examples:
            return learned.make_examples(
                store, splits, encode, clips=clips, frames=settings.frames, seed=config.seed,
                progress=lambda done, _: show(what, done, clips), only=filter_of(config),
            )  # fmt: skip

        train = examples(["train"], config.clips, "encoding clips to train on")
        held_out = examples(["validation", "test"], config.held_out, "encoding clips of other maps")
        captioner = learned.train_captioner(
            train, encode, settings, tokenizer=learned.weights_digest(tokenizer),
            progress=show.stage("training"),
        )  # fmt: skip
    captioner.save(folder / "captioner.safetensors", training_record(store, train.episodes))
    results = learned.evaluate_captioner(captioner, train, held_out)
    about = {"clips": len(train), "held_out": len(held_out), "seed": config.seed, "attributes": results}
    (folder / "captioner.json").write_text(json.dumps(about, indent=1) + "\n")
    print(f"read right on {len(held_out)} clips of maps never trained on, {len(train)} clips trained on:")
    for name, result in results.items():
        print(
            f"{name:8} {result['accuracy']:.2f}, always the most frequent one {result['majority']:.2f}; "
            f"mean over {result['classes']:.0f} classes {result['balanced']:.2f}, "
            f"chance {result['balanced_chance']:.2f}"
        )
    print(folder / "captioner.safetensors")
