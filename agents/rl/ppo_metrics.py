"""A training run's metrics, in stable-baselines3's own files: ``progress.csv``, TensorBoard's, ``evaluations.npz``.

A resumed run goes on after the rows that its checkpoint has seen; later ones are dropped, for their steps are taken
again.
"""

import csv
import importlib.util
from pathlib import Path

import numpy as np
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.logger import CSVOutputFormat, Logger, configure

from worldsim.agents.policies.policy_net import FILE
from worldsim.errors import UserError
from worldsim.models.checkpoint import read_metadata
from worldsim.spec.damage import reading

# As stable-baselines3 names them.
TABLE, STEPS_COLUMN, EVALUATIONS = "progress.csv", "time/total_timesteps", "evaluations.npz"

Row = dict[str, int | float | None]


def make_logger(folder: Path, steps: int) -> Logger:
    """stable-baselines3's logger into ``folder``; the table goes on after the rows of the first ``steps`` steps."""
    # The writer begins an empty file.
    rows = read_table(folder / TABLE, steps)
    formats = ["csv"] if importlib.util.find_spec("tensorboard") is None else ["csv", "tensorboard"]
    logger = configure(str(folder), formats)
    for writer in logger.output_formats:
        if isinstance(writer, CSVOutputFormat):
            for row in rows:
                writer.write(row, {})
    return logger


def read_table(path: Path, steps: int) -> list[Row]:
    """Rows of the first ``steps`` steps; a row that a killed run left unfinished is dropped."""
    if not steps or not path.is_file():
        return []
    rows: list[Row] = []
    with path.open(newline="") as file:
        for texts in csv.DictReader(file):
            try:
                row = {name: _number(text) for name, text in texts.items()}
            except ValueError:
                continue
            done = row.get(STEPS_COLUMN)
            if done is not None and done <= steps:
                rows.append(row)
    return rows


def _number(text: str | None) -> int | float | None:
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        return float(text)


def resume_evaluations(evaluation: EvalCallback, folder: Path, steps: int) -> None:
    """Go on after the evaluations of the first ``steps`` steps, and replace the best policy by a better one only.

    Raises:
        UserError: those evaluations had another number of episodes.
    """
    if (folder / "best" / FILE).is_file():
        with reading(folder / "best" / FILE, "a policy of this run"):
            evaluation.best_mean_reward = float(read_metadata(folder / "best" / FILE)["about"]["evaluation"])
    if not (folder / EVALUATIONS).is_file():
        return
    with reading(folder / EVALUATIONS, "evaluations of this run"):
        with np.load(folder / EVALUATIONS, allow_pickle=False) as stored:
            kept = {name: values[stored["timesteps"] <= steps].tolist() for name, values in stored.items()}
        results, steps_of, lengths = kept["results"], kept["timesteps"], kept["ep_lengths"]
    for episodes in results:
        if len(episodes) != evaluation.n_eval_episodes:
            raise UserError(f"{folder} was evaluated over {len(episodes)} episodes, not {evaluation.n_eval_episodes}")
    evaluation.evaluations_timesteps, evaluation.evaluations_results = steps_of, results
    evaluation.evaluations_length, evaluation.evaluations_successes = lengths, kept.get("successes", [])
