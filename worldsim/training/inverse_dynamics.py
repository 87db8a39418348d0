"""Which actions happened between pictures? A small network trained on recorded play alone, to read dreams with.

B pictures' triples, H W pixels, k keys. It sees three pictures one chunk apart (the first tells how fast things moved
already) and says which keys were down during the last chunk, and by how many degrees the camera turned in it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from worldsim.datasets.governance.provenance import ALL, EpisodeFilter, training_record
from worldsim.datasets.loading.clips import ClipSampler
from worldsim.datasets.store.store import EpisodeStore
from worldsim.errors import UserError
from worldsim.models.checkpoint import build_module, load_tensors, save_tensors
from worldsim.models.shield import shielded
from worldsim.spec.damage import reading
from worldsim.spec.from_json import LARGEST

Progress = Callable[[str, int, int], None]
# Keys with an effect that a picture can show at once.
KEYS = ("forward", "back", "left", "right", "jump", "sneak", "attack", "use")
PICTURES = 3
# Degrees a chunk that the outputs for the camera are scaled by.
CAMERA_SCALE = 5.0


class InverseDynamics(nn.Module):
    """Three pictures to logits of keys and degrees of the camera (pitch, yaw)."""

    def __init__(self, keys: Sequence[str] = KEYS, width: int = 24) -> None:
        super().__init__()
        self.keys = tuple(keys)
        self.width = width
        sizes = [3 * PICTURES, width, 2 * width, 4 * width, 4 * width]
        self.body = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 5 if i == 0 else 3, 2, 2 if i == 0 else 1), nn.GroupNorm(4, b), nn.SiLU())
                for i, (a, b) in enumerate(zip(sizes[:-1], sizes[1:], strict=True))
            )
        )
        self.head = nn.Sequential(nn.LazyLinear(128), nn.SiLU(), nn.Linear(128, len(self.keys) + 2))

    def forward(self, pictures_BPCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures (B, 3, 3, H, W) in 0..1, later last, to logits (B, k) and degrees (B, 2)."""
        first, middle, last = pictures_BPCHW.unbind(1)
        # Differences are what tells; the last picture tells where to look for them.
        stacked = torch.cat([last - 0.5, 4 * (last - middle), 4 * (middle - first)], 1)
        out = self.head(self.body(stacked).flatten(1))
        return out[:, :-2], out[:, -2:] * CAMERA_SCALE

    @shielded
    @torch.inference_mode()
    def read(self, pictures: NDArray[np.uint8], rows: int = 64) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """uint8 (B, 3, H, W, 3) to the probability of each key (B, k) and degrees (B, 2)."""
        parts = [self(as_input(pictures[i : i + rows])) for i in range(0, len(pictures), rows)]
        return torch.cat([p[0] for p in parts]).sigmoid().numpy(), torch.cat([p[1] for p in parts]).numpy()


def as_input(pictures: NDArray[np.uint8]) -> Tensor:
    """uint8 (B, 3, H, W, 3) to (B, 3, 3, H, W) in 0..1."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 1, 4, 2, 3).float() / 255


def targets(actions: NDArray[np.float32], names: Sequence[str], keys: Sequence[str]) -> tuple[NDArray, NDArray]:
    """Actions (..., r, A) of a chunk to keys down in half of it or more (..., k), and its turn in degrees (..., 2)."""
    columns = [list(names).index(key) for key in keys]
    return (actions[..., columns] > 0.5).mean(-2) >= 0.5, actions[..., -2:].sum(-2)


def triples(frames: NDArray[np.uint8], chunk: int) -> NDArray[np.uint8]:
    """Frames (B, 1 + r k, H, W, 3) to triples (B, k - 1, 3, H, W, 3); the last picture of triple i ends chunk i + 1."""
    ends = frames[:, ::chunk]
    return np.stack([ends[:, :-2], ends[:, 1:-1], ends[:, 2:]], 2)


@shielded
def train_inverse(
    store: EpisodeStore, *, chunk: int = 2, steps: int = 1500, batch: int = 64, seed: int = 0, rate: float = 1e-3,
    only: EpisodeFilter = ALL, progress: Progress = lambda *_: None,
) -> tuple[InverseDynamics, dict[str, Any]]:  # fmt: skip
    """Train on clips of training maps; returns the network and what it was trained on.

    Raises:
        ValueError: the store has no training episodes, or their actions have no keys of ours.
    """
    per_clip = 8
    length = 1 + chunk * (per_clip + 1)
    sampler = ClipSampler(store, "train", frames=length, batch=max(1, batch // per_clip), seed=seed, only=only)
    names = store.manifest(sampler.names[0])["provenance"]["keys"]
    keys = [key for key in KEYS if key in names]
    if not keys:
        raise ValueError(f"none of {', '.join(KEYS)} among the recorded keys {', '.join(names[:5])}, ...")
    torch.manual_seed(seed)
    model = InverseDynamics(keys)
    optimizer: torch.optim.Optimizer | None = None
    for step in range(steps):
        clips = sampler[step]
        shown = triples(clips["frames"], chunk)
        chunks = clips["actions"][:, chunk : chunk * (per_clip + 1)].reshape(len(shown), per_clip, chunk, -1)
        down, turned = targets(chunks, names, keys)
        logits, degrees = model(as_input(shown.reshape(-1, *shown.shape[2:])))
        if optimizer is None:
            # The first pass tells the last layer its size.
            optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 50) * min(1.0, 3 * (1 - step / steps))
        loss = F.binary_cross_entropy_with_logits(logits, torch.from_numpy(down.reshape(-1, len(keys))).float())
        aim = torch.from_numpy(turned.reshape(-1, 2)).float()
        loss = loss + 0.3 * F.smooth_l1_loss(degrees, aim, beta=1.0)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        progress("inverse dynamics", step + 1, steps)
    return model.eval(), {"trained_on": training_record(store, sampler.names), "steps": steps, "chunk": chunk}


def save_inverse(path: Path, model: InverseDynamics, about: dict[str, Any]) -> None:
    """Write the network to a safetensors file."""
    size = {"keys": list(model.keys), "width": model.width}
    save_tensors(path, model.state_dict(), {"inverse": size, **about})


@shielded
def load_inverse(path: Path, chunk: int) -> InverseDynamics:
    """Read what ``save_inverse`` wrote, to read chunks of ``chunk`` frames with.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it was trained on chunks of another length.
        ValueError: it holds something else.
    """
    tensors, about = load_tensors(path)
    if "inverse" not in about:
        raise ValueError(f"{path} is not an inverse-dynamics model: train one with worldsim train inverse")
    if about.get("chunk") != chunk:
        raise UserError(
            f"{path} reads chunks of {about.get('chunk')} frames, the world's have {chunk}: "
            f"train one with worldsim train inverse chunk={chunk}"
        )
    with reading(path, "an inverse-dynamics model"):
        keys, width = [str(key) for key in about["inverse"]["keys"]], about["inverse"]["width"]
        if type(width) is not int or not 0 < width <= LARGEST:
            raise ValueError(f"width must be a whole number from 1, got {width!r:.60}")
        read = tensors["head.0.weight"].shape[1]

    def make() -> InverseDynamics:
        model = InverseDynamics(keys, width)
        model.head[0] = nn.Linear(read, 128)
        return model

    return build_module(make, tensors, str(path)).eval()
