"""Commands that caption clips and expand prompts."""

import os
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import worldsim
from worldsim.cli.runs import use_threads, wanted
from worldsim.cli.settings import (
    licence_setting,
    seed_setting,
    setting,
    source_setting,
    split_setting,
    store_setting,
    threads_setting,
    world_setting,
)
from worldsim.cli.stores import filter_of, open_store, split_in
from worldsim.datasets.captions.endpoint import Endpoint, EndpointCaptioner, EndpointExpander
from worldsim.datasets.captions.files import CaptionWriter
from worldsim.datasets.captions.maker import Captioner, Expander, RuleCaptioner
from worldsim.datasets.store.store import EpisodeStore
from worldsim.errors import UserError
from worldsim.progress import display

URL = "endpoint: up to /v1, say http://localhost:8000/v1"
KEY = "endpoint: environment variable that holds the key, if one is needed"


@dataclass(kw_only=True)
class Caption:
    """Settings of ``worldsim data caption``."""

    data: str = store_setting("folder of the episode store; captions come to STORE/captions/NAME.jsonl", word="STORE")
    licence: str | None = licence_setting()
    source: str | None = source_setting()
    maker: str = setting(
        "rules",
        help="by engine state and actions, from pictures alone, or by a vision-language model",
        choices=("rules", "learned", "endpoint"),
    )
    name: str | None = setting(None, help="of the captions; default: the maker")
    split: str | None = split_setting("only episodes of that split; default: all")
    frames: int = setting(60, help="length of a clip", unit="frames", minimum=2)
    seed: int = seed_setting("chooses phrasings")
    captioner: str | None = setting(None, help="learned: captioner.safetensors of a worldsim train captioner run")
    world: str = world_setting("learned: the world whose tokenizer it was trained with")
    url: str | None = setting(None, help=URL)
    model_name: str | None = setting(None, help="endpoint: name of the model")
    key_variable: str = setting("OPENAI_API_KEY", help=KEY)
    pictures: int = setting(4, help="endpoint: frames of a clip that the model sees", minimum=1)
    scale: int = setting(3, help="endpoint: how many times larger it sees them", minimum=1)
    threads: int | None = threads_setting()


@dataclass(kw_only=True)
class Expand:
    """Settings of ``worldsim expand``."""

    prompt: str = setting(
        help="what to turn into the style of captions", example='"digging in a desert"', word="PROMPT"
    )
    maker: str = setting("rules", help="by rules, or by a language model", choices=("rules", "endpoint"))
    count: int = setting(1, help="how many phrasings", minimum=1)
    seed: int = seed_setting("chooses them")
    url: str | None = setting(None, help=URL)
    model_name: str | None = setting(None, help="endpoint: name of the model")
    key_variable: str = setting("OPENAI_API_KEY", help=KEY)


def caption(config: Caption) -> None:
    """``worldsim data caption``."""
    store = open_store(config.data)
    captioner = _captioner(config)
    spans = _spans(store, config)
    about = {
        "maker": captioner.maker, "software": f"worldsim {worldsim.__version__}", "seed": config.seed,
        "settings": dict(captioner.about()),
    }  # fmt: skip
    with CaptionWriter(store, config.name or captioner.maker, about) as writer, display() as show:
        made = 0
        for number, (name, start, stop) in enumerate(spans):
            if (name, start, stop) not in writer.done:
                clip = store.read(name, start, stop)
                writer.add(name, start, stop, captioner.caption(clip, _seed(config.seed, name, start)))
                made += 1
            show("captioning", number + 1, len(spans))
    print(f"{made} captions made, {len(spans) - made} were there already: {writer.path}")


def expand(config: Expand) -> None:
    """``worldsim expand``."""
    expander: Expander = RuleCaptioner() if config.maker == "rules" else EndpointExpander(_endpoint(config))
    for number in range(config.count):
        print(expander.expand(config.prompt, config.seed + number))


def _captioner(config: Caption) -> Captioner:
    if config.maker == "rules":
        return RuleCaptioner()
    if config.maker == "endpoint":
        return EndpointCaptioner(_endpoint(config), pictures=config.pictures, scale=config.scale)
    from worldsim.training.captioner import load_captioner

    use_threads(config.threads)
    path = wanted(config.captioner, "captioner", "captioner=runs/captioner/captioner.safetensors")
    # In full precision on every machine: a captioner knows its tokenizer by the digest of the weights.
    return load_captioner(Path(path), worldsim.load(config.world, bf16=False).tokenizer)


def _endpoint(config: Caption | Expand) -> Endpoint:
    url = wanted(config.url, "url", "url=http://localhost:8000/v1")
    return Endpoint(
        url, wanted(config.model_name, "model_name", "model_name=NAME"), key=os.environ.get(config.key_variable)
    )


def _spans(store: EpisodeStore, config: Caption) -> list[tuple[str, int, int]]:
    """Each episode cut into clips of equal length; a rest shorter than half of one belongs to the last."""
    spans = []
    index = store.index()
    for row in filter_of(config).rows(index, split_in(config.split), store.url).tolist():
        name, total = index.name(row), int(index.frames[row])
        starts = list(range(0, max(1, total - config.frames // 2), config.frames))
        spans += [(name, a, b) for a, b in zip(starts, [*starts[1:], total], strict=True)]
    if not spans:
        raise UserError(f"there is no {config.split + ' ' if config.split else ''}episode in {store.url}")
    return spans


def _seed(seed: int, name: str, start: int) -> int:
    """A phrasing of its own for every clip, the same whenever it is captioned."""
    return crc32(f"{seed} {name} {start}".encode())
