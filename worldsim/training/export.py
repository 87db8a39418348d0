"""From the results of training runs to a playable world."""

import shutil
from pathlib import Path

import torch

from worldsim.datasets.loading.latent_stream import open_latents
from worldsim.datasets.store.recording_format import RecordingFormat
from worldsim.errors import UserError
from worldsim.models.checkpoint import build_module, load_tensors
from worldsim.models.dit import DiTConfig, WorldDiT
from worldsim.models.shield import shielded
from worldsim.models.tokenizer import TokenizerConfig, VideoTokenizer
from worldsim.simulation.config import SamplingConfig, WorldConfig
from worldsim.simulation.memory.files import FILE as MEMORY_FILE
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.compute import Compute
from worldsim.spec.damage import reading
from worldsim.spec.endings import ends_taught
from worldsim.spec.from_json import dataclass_of


@shielded
def load_tokenizer(path: Path) -> VideoTokenizer:
    """Read ``tokenizer.safetensors``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no tokenizer.
    """
    tensors, metadata = load_tensors(path)
    if "tokenizer" not in metadata:
        raise UserError(f"{path} holds no tokenizer")
    with reading(path, "a tokenizer"):
        sizes = dataclass_of(TokenizerConfig, metadata["tokenizer"])
    return build_module(lambda: VideoTokenizer(sizes), tensors, str(path)).eval()


def _sampling_for(network: DiTConfig) -> SamplingConfig:
    level = 0.0 if network.drawn else SamplingConfig.inpaint_level
    return SamplingConfig(reuse_last_eval_for_cache=network.clean_past, inpaint_level=level)


@shielded
def export_world(
    folder: Path,
    tokenizer: Path,
    latents: str | Path,
    recordings: RecordingFormat,
    sampling: SamplingConfig | None = None,
) -> Path:
    """Join the averaged weights of a dynamics run and a tokenizer into the playable world ``folder/world``.

    A run that was trained with a memory holds its ``memory.safetensors``, which the world gets too. A network that is
    told what a memory draws is evaluated once: a second evaluation costs time and accuracy there.
    """
    tensors, metadata = load_tensors(folder / "dit.safetensors")
    with reading(folder / "dit.safetensors", "a world's network"):
        sizes = dataclass_of(DiTConfig, metadata["dit"])
    dit = build_module(lambda: WorldDiT(sizes), tensors, str(folder / "dit.safetensors"))
    prompts, vectors = open_latents(f"{latents}/train").common_prompts()
    embedded = None if vectors is None else torch.from_numpy(vectors)
    config = WorldConfig(
        height=recordings.height,
        width=recordings.width,
        fps=recordings.fps,
        spec=recordings.spec,
        sampling=sampling or _sampling_for(sizes),
        prompts=tuple(prompts),
    )
    world = WorldModel(
        config, load_tokenizer(tokenizer), dit, prompt_embeddings=embedded, bf16=False,
        compute=Compute.from_json(metadata.get("compute")), ends_taught=ends_taught(metadata),
    )  # fmt: skip
    trained_on = {"dit": metadata.get("trained_on"), "tokenizer": load_tensors(tokenizer)[1].get("trained_on")}
    world.save(folder / "world", {name: {"trained_on": record} for name, record in trained_on.items() if record})
    if (folder / MEMORY_FILE).is_file():
        shutil.copyfile(folder / MEMORY_FILE, folder / "world" / MEMORY_FILE)
    return folder / "world"
