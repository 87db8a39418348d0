"""Training of task heads on a frozen world's features, in minutes; calibrated on other maps, judged on yet others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from worldsim.models.fact_heads import FactHeads, FactHeadsConfig
from worldsim.models.shield import shielded
from worldsim.spec.facts import LEARNED
from worldsim.training.calibration import auroc, fit_platt, report
from worldsim.training.task_examples import TaskExamples

# With fewer moments of each kind than this a fact is not learned, or not calibrated.
FEWEST = 8
Embed = Callable[[Sequence[str]], dict[str, Tensor]]


@dataclass(frozen=True, kw_only=True)
class TaskTraining:
    """How heads are trained.

    Attributes:
        hidden: width of the hidden layer.
        steps: gradient steps.
        batch: moments of a step.
        rate: learning rate.
        decay: weight decay.
        balance: how many times as much as a common moment a rare one may count.
        temperature: of the similarities to sentence embeddings.
    """

    hidden: int = 128
    steps: int = 600
    batch: int = 1024
    rate: float = 2e-3
    decay: float = 0.05
    balance: float = 30.0
    temperature: float = 0.07


@shielded
def train_heads(
    train: TaskExamples, validation: TaskExamples, training: TaskTraining, vectors: Mapping[str, Tensor], seed: int = 0
) -> FactHeads:
    """Heads for the facts that the training moments tell; of the steps, the weights best on validation are kept.

    Args:
        train: moments to learn from.
        validation: of other maps: chooses the step and calibrates.
        training: how.
        vectors: sentence embeddings by caption; without any there are no text goals.
        seed: of weights and batches.

    Raises:
        ValueError: no fact has enough moments of both kinds.
    """
    known = tuple(n for n in LEARNED if min(_kinds(train, n)) >= FEWEST)
    if not known:
        raise ValueError("no fact is told often enough to learn it: record more (worldsim collect, policy=chop)")
    text = len(next(iter(vectors.values()))) if vectors else 0
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        features = train.features.shape[1]
        heads = FactHeads(FactHeadsConfig(features=features, hidden=training.hidden, known=known, text=text))
        _fit_facts(heads, train, validation, training)
        if heads.text is not None:
            _fit_text(heads, train, training, vectors)
    heads.eval().requires_grad_(False)
    _calibrate(heads, train, validation)
    return heads


def _kinds(examples: TaskExamples, name: str) -> tuple[int, int]:
    truth = examples.truth[name][examples.known[name]] > 0.5
    return int(truth.sum()), int((~truth).sum())


def _fit_facts(heads: FactHeads, train: TaskExamples, validation: TaskExamples, training: TaskTraining) -> None:
    names = heads.config.known
    truth, mask = (torch.stack([part[n].float() for n in names], 1) for part in (train.truth, train.known))
    kinds = [_kinds(train, n) for n in names]
    weight = torch.tensor([min(training.balance, negative / positive) for positive, negative in kinds])
    parameters = [*heads.trunk.parameters(), *heads.out.parameters()]
    optimizer = torch.optim.AdamW(parameters, training.rate, weight_decay=training.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, training.rate, total_steps=training.steps)
    best, kept = float("inf"), None
    for step in range(training.steps):
        rows = torch.randint(len(train), (training.batch,))
        loss = _loss(heads(train.features[rows]), truth[rows], mask[rows], weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % 50 == 0:
            with torch.no_grad():
                held_out, seen = (
                    torch.stack([p[n].float() for n in names], 1) for p in (validation.truth, validation.known)
                )
                error = float(_loss(heads(validation.features), held_out, seen, weight))
            if error < best:
                best, kept = error, {n: t.clone() for n, t in heads.state_dict().items()}
    assert kept is not None or training.steps < 50
    if kept is not None:
        heads.load_state_dict(kept)
    # What the weighting of the loss added to the odds is taken away again.
    heads.shift.copy_(-weight.log())


def _loss(logits: Tensor, truth: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    each = F.binary_cross_entropy_with_logits(logits, truth, pos_weight=weight, reduction="none")
    return (each * mask).sum() / mask.sum().clamp_min(1)


def _calibrate(heads: FactHeads, train: TaskExamples, validation: TaskExamples) -> None:
    with torch.no_grad():
        logits = heads(validation.features)
    for i, name in enumerate(heads.config.known):
        if min(_kinds(validation, name)) >= FEWEST:
            rows = validation.known[name]
            heads.slope[i], heads.shift[i] = fit_platt(logits[rows, i], validation.truth[name][rows])


def _fit_text(heads: FactHeads, train: TaskExamples, training: TaskTraining, vectors: Mapping[str, Tensor]) -> None:
    """Features are pulled to the embedding of their caption and away from those of other captions."""
    assert heads.text is not None
    captions = sorted({c for c in train.captions if c in vectors})
    table = F.normalize(torch.stack([vectors[c].float() for c in captions]), dim=-1)
    rows = torch.tensor([i for i, c in enumerate(train.captions) if c in vectors])
    target = torch.tensor([captions.index(train.captions[int(i)]) for i in rows])
    optimizer = torch.optim.AdamW(heads.text.parameters(), training.rate, weight_decay=training.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, training.rate, total_steps=training.steps)
    for _ in range(training.steps):
        some = torch.randint(len(rows), (min(training.batch, 512),))
        embedded = heads.embed(train.features[rows[some]])
        alike, own = embedded @ table.T / training.temperature, target[some]
        # Both ways (Radford et al. 2021): of the captions a moment finds its own, and of the moments a caption finds
        # its own; a reward compares moments.
        loss = F.cross_entropy(alike, own) - alike.log_softmax(0).gather(1, own[:, None]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        heads.usual.copy_(heads.embed(train.features).mean(0))


@shielded
@torch.inference_mode()
def evaluate_heads(heads: FactHeads, test: TaskExamples, vectors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Each fact on maps never trained on, the motion head beside the truth, and text goals."""
    read = heads.probabilities(test.features)
    facts = {}
    for name in heads.config.known:
        rows = test.known[name].numpy()
        if rows.any():
            facts[name] = report(test.truth[name].numpy()[rows], read[name].numpy()[rows])
    return {"facts": facts, "motion": _motion(test), "text": _text_goals(heads, test, vectors)}


def _motion(test: TaskExamples) -> dict[str, float]:
    """How the motion head's steps compare with the true ones: what explore and climb_high are judged by."""
    rows = ~test.moved.isnan().any(1)
    if int(rows.sum()) < 2:
        return {}
    true, predicted = test.moved[rows].double().numpy(), test.motion[rows].double().numpy()
    pairs = {
        "up": (true[:, 1], predicted[:, 2]),
        "level": (np.hypot(true[:, 0], true[:, 2]), np.hypot(predicted[:, 0], predicted[:, 1])),
    }
    out = {}
    for name, (a, b) in pairs.items():
        out[f"{name}_correlation"] = float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else float("nan")
        out[f"{name}_error"] = float(np.abs(a - b).mean())
        out[f"{name}_error_of_none"] = float(np.abs(a).mean())
    return out


def _text_goals(heads: FactHeads, test: TaskExamples, vectors: Mapping[str, Tensor]) -> dict[str, float]:
    """AUROC of the similarity to a caption as a sign that a moment has that caption, mean over the test captions."""
    captions = sorted({c for c in test.captions if c in vectors})
    if heads.text is None or len(captions) < 2:
        return {}
    table = F.normalize(torch.stack([vectors[c].float() for c in captions]), dim=-1)
    alike = (heads.embed(test.features) @ table.T).numpy()
    own = np.array(test.captions)
    scores = [auroc((own == c).astype(float), alike[:, i]) for i, c in enumerate(captions)]
    return {"captions": float(len(captions)), "auroc": float(np.nanmean(scores))}
