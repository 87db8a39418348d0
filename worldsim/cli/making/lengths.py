"""Whether recordings are long enough for every stage, told before the first of them begins."""

from worldsim.cli.compose import compose
from worldsim.cli.making.plan import Plan, dynamics_words
from worldsim.cli.making.recipes import RECIPES
from worldsim.cli.making.settings import MakeWorld
from worldsim.cli.making.stages import SHORTEST, prefix_of
from worldsim.cli.train.worlds import TrainDynamics, TrainTokenizer
from worldsim.datasets.store.store import EpisodeStore, Split
from worldsim.errors import UserError
from worldsim.training.release import CLIP


def longest_recording(store: EpisodeStore, config: MakeWorld, split: Split) -> int:
    """Video frames of the longest recording of a split that may be used; 0 where there is none."""
    index = store.index()
    return int(index.frames[config.only.rows(index, split, store.url)].max(initial=0))


def check_lengths(store: EpisodeStore, config: MakeWorld, plan: Plan) -> None:
    """Refuse recordings that the dynamics, the start clips or the evaluation could not take clips from.

    Raises:
        UserError: all recordings of a split are too short.
    """
    recipe = RECIPES[plan.kind]
    chunk = compose(TrainTokenizer, ["data=store", *recipe.tokenizer, *config.tokenizer]).model.chunk
    words = dynamics_words(plan.kind, plan.model, config.dynamics)
    clip = 1 + chunk * (compose(TrainDynamics, ["data=store", "tokenizer=file", *words]).frames - 1)
    needed: dict[Split, int] = {"train": clip, "validation": clip}
    needed[plan.split] = max(needed.get(plan.split, 0), CLIP, prefix_of(chunk) + SHORTEST * chunk)
    for split, frames in needed.items():
        longest = longest_recording(store, config, split)
        if longest < frames:
            raise UserError(
                f"the longest {split} recording has {longest} frames, and a world of this kind needs {frames} in a "
                "row: record without a break for longer, or give a higher fps="
            )
