"""Commands that caption clips, train a captioner, and expand prompts."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from rich.progress import Progress

import worldsim
from worldsim.cli_config import build, compose_config, required, run_folder
from worldsim.cli_store import filter_of, open_store
from worldsim.datasets.caption_endpoint import Endpoint, EndpointCaptioner, EndpointExpander
from worldsim.datasets.caption_file import CaptionWriter
from worldsim.datasets.captioner import Captioner, Expander, RuleCaptioner
from worldsim.datasets.governance import training_record
from worldsim.datasets.store import EpisodeStore
from worldsim.errors import UserError
from worldsim.tokenizer import VideoTokenizer

MAKERS = ("rules", "learned", "endpoint")
STORE = "data=data/luanti"


def caption(overrides: Sequence[str], flags: Mapping[str, Any]) -> None:
    """``worldsim data caption``."""
    config = compose_config("data_caption", overrides, flags)
    store = open_store(required(config, "data", STORE))
    if config.frames < 2:
        raise UserError(f"frames must be at least 2, got {config.frames}")
    captioner = _captioner(config)
    spans = _spans(store, config)
    about = {
        "maker": captioner.maker, "software": f"worldsim {worldsim.__version__}", "seed": config.seed,
        "settings": dict(captioner.about()),
    }  # fmt: skip
    with CaptionWriter(store, config.name or captioner.maker, about) as writer, Progress(transient=True) as bar:
        task, made = bar.add_task("captioning", total=len(spans)), 0
        for number, (name, start, stop) in enumerate(spans):
            if (name, start, stop) not in writer.done:
                clip = store.read(name, start, stop)
                writer.add(name, start, stop, captioner.caption(clip, _seed(config.seed, name, start)))
                made += 1
            bar.update(task, completed=number + 1)
    print(f"{made} captions made, {len(spans) - made} were there already: {writer.path}")


def train_captioner(overrides: Sequence[str], flags: Mapping[str, Any]) -> None:
    """``worldsim train captioner``."""
    from worldsim.agents import captioner as learned
    from worldsim.cli_train import use_threads

    config = compose_config("train_captioner", overrides, flags, {"training": learned.CaptionerConfig})
    store = open_store(required(config, "data", STORE))
    if config.clips < 1 or config.held_out < 1:
        raise UserError(f"clips and held_out must be at least 1, got {config.clips} and {config.held_out}")
    use_threads(config.threads)
    tokenizer = _tokenizer(config)
    config.training.channels, config.training.seed = tokenizer.config.channels, config.seed
    settings, encode = build(learned.CaptionerConfig, config.training), learned.encoder(tokenizer)
    folder = run_folder("captioner", config)
    with Progress(transient=True) as bar:

        def examples(splits: Sequence[Any], clips: int, what: str) -> learned.Examples:
            task = bar.add_task(what, total=clips)
            return learned.make_examples(
                store, splits, encode, clips=clips, frames=settings.frames, seed=config.seed,
                progress=lambda done, total: bar.update(task, completed=done), only=filter_of(config),
            )  # fmt: skip

        train = examples(["train"], config.clips, "encoding clips to train on")
        held_out = examples(["validation", "test"], config.held_out, "encoding clips of other maps")
        task = bar.add_task("training", total=None)
        captioner = learned.train_captioner(
            train, encode, settings, tokenizer=learned.weights_digest(tokenizer),
            progress=lambda done, total: bar.update(task, completed=done, total=total),
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


def expand(overrides: Sequence[str], flags: Mapping[str, Any]) -> None:
    """``worldsim expand``."""
    config = compose_config("expand", overrides, flags)
    prompt = required(config, "prompt", '"digging in a desert"')
    if config.maker not in ("rules", "endpoint"):
        raise UserError(f"unknown maker {config.maker!r}; known: rules, endpoint")
    expander: Expander = RuleCaptioner() if config.maker == "rules" else EndpointExpander(_endpoint(config))
    for number in range(config.count):
        print(expander.expand(prompt, config.seed + number))


def _captioner(config: DictConfig) -> Captioner:
    if config.maker == "rules":
        return RuleCaptioner()
    if config.maker == "endpoint":
        return EndpointCaptioner(_endpoint(config), pictures=config.pictures, scale=config.scale)
    if config.maker == "learned":
        from worldsim.agents.captioner import load_captioner

        path = required(config, "captioner", "captioner=runs/captioner/captioner.safetensors")
        return load_captioner(Path(path), _tokenizer(config))
    raise UserError(f"unknown maker {config.maker!r}; known: {', '.join(MAKERS)}")


def _tokenizer(config: DictConfig) -> VideoTokenizer:
    # In full precision on every machine: a captioner knows its tokenizer by the digest of the weights.
    return worldsim.load(config.world, bf16=False).tokenizer


def _endpoint(config: DictConfig) -> Endpoint:
    url = required(config, "url", "url=http://localhost:8000/v1")
    return Endpoint(url, required(config, "model_name", "model_name=NAME"), key=os.environ.get(config.key_variable))


def _spans(store: EpisodeStore, config: DictConfig) -> list[tuple[str, int, int]]:
    """Each episode cut into clips of equal length; a rest shorter than half of one belongs to the last."""
    spans = []
    index = store.index()
    for row in filter_of(config).rows(index, config.split, store.url).tolist():
        name, total = index.name(row), int(index.frames[row])
        starts = list(range(0, max(1, total - config.frames // 2), config.frames))
        spans += [(name, a, b) for a, b in zip(starts, [*starts[1:], total], strict=True)]
    if not spans:
        raise UserError(f"there is no {config.split + ' ' if config.split else ''}episode in {store.url}")
    return spans


def _seed(seed: int, name: str, start: int) -> int:
    """A phrasing of its own for every clip, the same whenever it is captioned."""
    from zlib import crc32

    return crc32(f"{seed} {name} {start}".encode())
