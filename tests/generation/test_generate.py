"""Films in memory: what is recorded stays, what is generated follows from world, seed, text and what is known."""

from functools import lru_cache

import numpy as np
import pytest

import worldsim
from tests.tiny_memory import remembering_world
from tests.tiny_world import HEIGHT, PROMPTS, WIDTH, tiny_dit, tiny_starts, tiny_world
from worldsim.errors import UserError
from worldsim.generation.between import Filler
from worldsim.simulation.world_model import WorldModel

WALK = np.zeros((12, 22), np.float32)
WALK[:, 0] = 1


@lru_cache
def filling_world() -> WorldModel:
    """A tiny world that can fill in, as far as random weights can."""
    plain = tiny_world()
    return WorldModel(
        plain.config, plain.tokenizer, tiny_dit(8, infilling=True), prompt_embeddings=plain.prompt_embeddings,
        bf16=False,
    )  # fmt: skip


def film(number: int = 0, frames: int = 5) -> np.ndarray:
    return tiny_starts().frames[number][:frames]


def one(*sources, world: WorldModel | None = None, **what):
    (made,) = worldsim.generate(*sources, world=world or tiny_world(), **what)
    return made


def test_a_picture_is_gone_on_from_as_the_world_steps():
    picture = film()[0]
    made = one(picture, seconds=0.3, actions=WALK, seeds=[7], prompt=PROMPTS[0])
    world = tiny_world()
    state = world.prefill(picture[None, None], np.zeros((1, 0, 22), np.float32), [7], [PROMPTS[0]])
    shown = []
    for at in (0, 2, 4):
        state, step = world.step(state, WALK[None, at : at + 2])
        shown.append(step.frames[0])
    np.testing.assert_array_equal(made.frames, np.concatenate([picture[None], *shown]))
    assert made.recorded.tolist() == [True] + [False] * 6 and made.seed == 7
    np.testing.assert_array_equal(made.actions, WALK[:6])
    first, other = worldsim.generate(picture, world=world, seconds=0.3, seeds=[7, 8])
    assert not np.array_equal(first.frames[1:], other.frames[1:])
    # Too few actions: then nothing is done.
    short = one(picture, seconds=0.3, actions=WALK[:3])
    assert short.actions[:, 0].tolist() == [1, 1, 1, 0, 0, 0]


def test_text_alone_makes_pictures_and_films_of_any_size_of_the_grid():
    forest, desert = (one(prompt=prompt, seconds=0, size=(64, 96)) for prompt in PROMPTS)
    assert forest.frames.shape == (1, 96, 64, 3) and not forest.recorded.any()
    assert not np.array_equal(forest.frames, desert.frames)
    film = one(prompt=PROMPTS[0], seconds=0.2)
    assert film.frames.shape == (5, HEIGHT, WIDTH, 3) and len(film.actions) == 4
    with pytest.raises(UserError, match="multiples of 16"):
        one(prompt=PROMPTS[0], size=(60, 96))


def test_a_world_with_a_memory_goes_on_too():
    made = one(film(), world=remembering_world(), seconds=0.1)
    np.testing.assert_array_equal(made.frames[:5], film())
    assert made.frames.shape == (7, HEIGHT, WIDTH, 3)


def test_a_weak_edit_keeps_the_film_and_a_strong_one_obeys_the_words():
    source, world = film(), tiny_world()
    rebuilt, _ = world.decode(world.encode(source[None]))
    rebuilt = rebuilt[0].reshape(-1, HEIGHT, WIDTH, 3)[1:].astype(float)
    made = {
        (prompt, strength): one(source, operation="edit", prompt=prompt, strength=strength).frames
        for prompt in PROMPTS
        for strength in (1e-4, 1.0)
    }
    far = {key: np.abs(frames - rebuilt).mean() for key, frames in made.items()}
    weak, strong = far[PROMPTS[0], 1e-4], far[PROMPTS[0], 1.0]
    assert weak < 0.2 * strong, far
    apart = [np.abs(made[PROMPTS[0], s].astype(float) - made[PROMPTS[1], s]).mean() for s in (1e-4, 1.0)]
    assert apart[0] < apart[1]
    assert made[PROMPTS[0], 1.0].shape == source.shape
    # Its actions are conditions too, where they are known.
    with_actions = one(source, operation="edit", prompt=PROMPTS[0], strength=1.0, actions=WALK)
    assert not np.array_equal(with_actions.frames[1:], made[PROMPTS[0], 1.0][1:])
    np.testing.assert_array_equal(with_actions.frames[0], made[PROMPTS[0], 1.0][0])


def test_a_join_keeps_both_films_and_its_middle_knows_what_comes():
    a, b, world = film(0), film(1), filling_world()
    made = one(a, b, world=world, operation="join", seconds=0.2)
    assert made.frames.shape == (5 + 4 + 5, HEIGHT, WIDTH, 3)
    np.testing.assert_array_equal(made.frames[made.recorded], np.concatenate([a, b]))
    assert made.recorded.tolist() == [True] * 5 + [False] * 4 + [True] * 5
    assert len(made.actions) == 13 and np.isnan(made.actions[:9]).all()
    other = one(a, film(2), world=world, operation="join", seconds=0.2)
    assert not np.array_equal(made.frames[5:9], other.frames[5:9])
    told = one(a, b, world=world, operation="join", seconds=0.2, actions=WALK)
    assert not np.array_equal(made.frames[5:9], told.frames[5:9])


def test_a_gap_too_long_to_fill_in_at_once_is_gone_on_into_first():
    a, b, world = film(0), film(1), filling_world()
    most = Filler(world=world, seed=0, prompt="").most_between()
    made = one(a, b, world=world, operation="join", seconds=(most + 2) / 10)
    assert len(made.frames) == 10 + 2 * (most + 2)
    ahead = one(a, world=world, seconds=0.2)
    np.testing.assert_array_equal(made.frames[:9], ahead.frames)
    np.testing.assert_array_equal(made.frames[-5:], b)


def test_a_loop_leads_from_the_end_to_the_beginning():
    world = filling_world()
    made = one(film(), world=world, operation="loop", seconds=0.2)
    np.testing.assert_array_equal(made.frames[:5], film())
    assert len(made.frames) == 9 and not made.recorded[5:].any()
    joined = one(film(), film(), world=world, operation="join", seconds=0.2)
    np.testing.assert_array_equal(made.frames, joined.frames[:9])


def test_what_is_put_before_a_film_leads_to_it_window_by_window():
    world, source = filling_world(), film()
    # Nine latent frames a window: two windows.
    made = one(source, world=world, operation="extend", before=1.0, seconds=0.1)
    assert made.frames.shape == (20 + 5 + 2, HEIGHT, WIDTH, 3) and len(made.actions) == 26
    assert made.recorded.tolist() == [False] * 20 + [True] * 5 + [False] * 2
    np.testing.assert_array_equal(made.frames[20:25], source)
    changed = source.copy()
    changed[0] = 255 - changed[0]
    other = one(changed, world=world, operation="extend", before=1.0, seconds=0.0)
    # Of the film's beginning, what is far before it knows too: through the window between.
    assert all(not np.array_equal(made.frames[t], other.frames[t]) for t in (0, 19))
    # From a picture too.
    still = one(source[0], world=world, operation="extend", before=0.2, seconds=0.0)
    assert still.frames.shape == (5, HEIGHT, WIDTH, 3) and still.recorded.tolist() == [False] * 4 + [True]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"operation": "loop"}, "not trained for a loop.*infilling.fraction"),
        ({"operation": "join", "to": film(1)}, "not trained for a join"),
        ({"operation": "extend", "before": 1.0}, "not trained for extending a film backward"),
        ({"operation": "extend", "seconds": 0.0}, "extend by nothing"),
        ({"operation": "edit"}, "needs a prompt"),
        ({"operation": "edit", "prompt": PROMPTS[0], "strength": 0.0}, "strength"),
        ({"operation": "join"}, "two films"),
        ({"operation": "melt"}, "one of new, extend"),
        ({"seconds": -1.0}, "seconds must be from 0"),
        ({"actions": np.zeros((3, 5), np.float32)}, "shape"),
        ({"to": "b.mp4", "operation": "join"}, "both as frames"),
    ],
)
def test_what_cannot_be_made_is_told_in_one_line(what, said):
    with pytest.raises(UserError, match=said):
        worldsim.generate(film(), world=tiny_world(), **what)
    with pytest.raises(UserError, match="nothing to begin from"):
        worldsim.generate(world=tiny_world())
