"""A learned captioner over latents: small classifiers read what happens, the caption style puts it into words.

It captions recordings of which nothing but pictures is known. B clips, T latent frames, C channels, h w latent grid.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from worldsim.datasets.captions.clip_facts import ClipFacts, clip_facts
from worldsim.datasets.captions.style import describe
from worldsim.datasets.governance.provenance import ALL, EpisodeFilter
from worldsim.datasets.loading.clips import ClipSampler
from worldsim.datasets.store.episode import Episode
from worldsim.datasets.store.store import EpisodeStore, Split
from worldsim.models.checkpoint import build_module, load_tensors, save_tensors
from worldsim.models.clip_classifier import CaptionerConfig, ClipClassifier
from worldsim.models.shield import shielded
from worldsim.models.tokenizer import VideoTokenizer
from worldsim.spec.damage import reading
from worldsim.spec.from_json import dataclass_of

# What is told apart; activities at the beginning and at the end of the clip.
ATTRIBUTES = ("place", "time", "light", "first", "last", "camera")
# Latents (T, C, h, w) of frames uint8 (F, H, W, 3).
Encode = Callable[[NDArray[np.uint8]], Tensor]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Examples:
    """N clips: latents (N, T, C, h, w), for each attribute their labels, and the episodes they come from."""

    latents: Tensor
    labels: dict[str, list[str]]
    episodes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.latents)


class LearnedCaptioner:
    """Captions by a trained ``ClipClassifier``.

    Args:
        model: trained.
        labels: what the classes of each attribute mean.
        encode: the tokenizer that the model was trained with.
        config: of the model.
        tokenizer: digest of that tokenizer.
    """

    maker = "learned"

    def __init__(
        self,
        model: ClipClassifier,
        labels: Mapping[str, Sequence[str]],
        encode: Encode,
        config: CaptionerConfig,
        tokenizer: str = "",
    ) -> None:
        self.model, self.labels, self.config = model.eval(), {k: list(v) for k, v in labels.items()}, config
        self._encode, self._tokenizer = encode, tokenizer

    def about(self) -> Mapping[str, Any]:
        """Configuration, and digests of the weights and the tokenizer."""
        return {"captioner": weights_digest(self.model), "tokenizer": self._tokenizer, **asdict(self.config)}

    @shielded
    def facts(self, clip: Episode) -> ClipFacts:
        """What the model reads in the pictures of a clip; a clip shorter than two latent frames tells nothing."""
        latents = self._encode(clip.frames)
        if len(latents) < 2:
            return ClipFacts()
        with torch.inference_mode():
            logits = self.model(latents[None].float())
        found = {name: self.labels[name][int(logits[name].argmax())] for name in ATTRIBUTES}
        activities = tuple(dict.fromkeys(a for a in (found["first"], found["last"]) if a))
        return ClipFacts(
            place=found["place"],
            time=found["time"],
            light=found["light"],
            activities=activities,
            camera=found["camera"],
        )

    def caption(self, clip: Episode, seed: int) -> str:
        """The caption of a clip, from its pictures alone."""
        return describe(self.facts(clip), seed)

    def save(self, path: Path, trained_on: Mapping[str, Any] | None = None) -> None:
        """Write weights, labels, configuration and the record of what it was trained on to one safetensors file."""
        about = {"captioner": asdict(self.config), "labels": self.labels, "tokenizer": self._tokenizer}
        save_tensors(path, self.model.state_dict(), about | ({"trained_on": trained_on} if trained_on else {}))


@shielded
def load_captioner(path: Path, tokenizer: VideoTokenizer) -> LearnedCaptioner:
    """Read what ``LearnedCaptioner.save`` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, no captioner, or was trained with another tokenizer.
    """
    tensors, about = load_tensors(path)
    with reading(path, "a captioner"):
        config = dataclass_of(CaptionerConfig, about["captioner"])
        labels = {name: [str(label) for label in about["labels"][name]] for name in ATTRIBUTES}
    digest = weights_digest(tokenizer)
    if about.get("tokenizer") != digest:
        raise ValueError(f"{path} was trained on another tokenizer's latents: train it on this world's")
    counts = {name: len(values) for name, values in labels.items()}
    model = build_module(lambda: ClipClassifier(config, counts), tensors, str(path))
    return LearnedCaptioner(model, labels, encoder(tokenizer), config, digest)


def encoder(tokenizer: VideoTokenizer) -> Encode:
    """Frames to latents; a rest that fills no chunk is left out."""
    chunk = tokenizer.config.chunk

    def encode(frames: NDArray[np.uint8]) -> Tensor:
        whole = len(frames) // chunk * chunk
        video = torch.from_numpy(np.ascontiguousarray(frames[:whole])).permute(0, 3, 1, 2).float() / 255
        if not whole:
            return torch.zeros(0, tokenizer.config.channels, 1, 1)
        with torch.inference_mode():
            return tokenizer.encode_chunks(video.unflatten(0, (-1, chunk))[None])[0].clone()

    return encode


def attributes(facts: ClipFacts) -> dict[str, str]:
    """The labels of a clip."""
    first, last = (facts.activities[0], facts.activities[-1]) if facts.activities else ("", "")
    label_of = {"place": facts.place, "time": facts.time, "light": facts.light, "camera": facts.camera}
    return label_of | {"first": first, "last": last}


@shielded
def make_examples(
    store: EpisodeStore,
    splits: Sequence[Split],
    encode: Encode,
    *,
    clips: int,
    frames: int,
    seed: int = 0,
    progress: Progress = lambda done, total: None,
    only: EpisodeFilter = ALL,
) -> Examples:
    """Latents and labels of random clips of some splits, as many of each split.

    Raises:
        ValueError: a split has no episode that is long enough.
    """
    latents, labels, episodes = list[Tensor](), {name: list[str]() for name in ATTRIBUTES}, set[str]()
    samplers = [ClipSampler(store, split, frames=frames, batch=1, seed=seed, only=only) for split in splits]
    for number in range(clips):
        sampler = samplers[number % len(samplers)]
        clip_number = int(sampler.draw(number)[0])
        clip = sampler.read(clip_number)
        episodes.add(sampler.locate(clip_number)[0])
        latents.append(encode(clip.frames).half())
        for name, label in attributes(clip_facts(clip)).items():
            labels[name].append(label)
        progress(number + 1, clips)
    return Examples(torch.stack(latents), labels, tuple(sorted(episodes)))


@shielded
def train_captioner(
    examples: Examples,
    encode: Encode,
    config: CaptionerConfig,
    *,
    tokenizer: str = "",
    progress: Progress = lambda done, total: None,
) -> LearnedCaptioner:
    """Train the classifiers; the same examples and configuration give the same weights.

    Raises:
        ValueError: there are no examples, or clips are shorter than two latent frames.
    """
    if len(examples) == 0 or examples.latents.shape[1] < 2:
        raise ValueError("a captioner is trained on one clip or more, of two latent frames or more")
    labels = {name: sorted(set(values)) for name, values in examples.labels.items()}
    targets = {
        name: torch.tensor([labels[name].index(value) for value in values]) for name, values in examples.labels.items()
    }
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(config.seed)
        model = ClipClassifier(config, {name: len(values) for name, values in labels.items()})
        steps = config.epochs * -(-len(examples) // config.batch)
        optimizer = torch.optim.AdamW(model.parameters(), config.rate, weight_decay=config.decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.rate, total_steps=steps)
        model.train()
        done = 0
        for _ in range(config.epochs):
            for rows in torch.randperm(len(examples)).split(config.batch):
                logits = model(examples.latents[rows].float())
                loss = torch.stack([F.cross_entropy(logits[n], targets[n][rows]) for n in ATTRIBUTES]).sum()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                done += 1
                progress(done, steps)
    return LearnedCaptioner(model, labels, encode, config, tokenizer)


@shielded
def evaluate_captioner(captioner: LearnedCaptioner, train: Examples, held_out: Examples) -> dict[str, dict[str, float]]:
    """Share of clips whose attribute is read right, beside always naming the most frequent class of the training clips.

    ``balanced`` is the mean share over the held-out classes: naming one class only gives 1 / classes.
    """
    with torch.inference_mode():
        logits = [captioner.model(part.float()) for part in held_out.latents.split(64)]
    out = {}
    for name in ATTRIBUTES:
        guesses = [captioner.labels[name][i] for i in torch.cat([part[name] for part in logits]).argmax(1).tolist()]
        truth = held_out.labels[name]
        right = [guess == true for guess, true in zip(guesses, truth, strict=True)]
        usual = Counter(train.labels[name]).most_common(1)[0][0]
        classes = sorted(set(truth))
        recall = [np.mean([r for r, true in zip(right, truth, strict=True) if true == c]) for c in classes]
        out[name] = {
            "accuracy": float(np.mean(right)),
            "majority": float(np.mean([true == usual for true in truth])),
            "balanced": float(np.mean(recall)),
            "balanced_chance": 1 / len(classes),
            "classes": float(len(classes)),
        }
    return out


def weights_digest(module: nn.Module) -> str:
    """Hexadecimal digest of a module's weights, 16 digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().float().numpy().tobytes())
    return digest.hexdigest()[:16]
