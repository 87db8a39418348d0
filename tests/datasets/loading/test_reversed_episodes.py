import json
from dataclasses import replace

import numpy as np
import torch

from tests.datasets.loading.test_latents import encode, episode
from worldsim.datasets.governance.provenance import identity
from worldsim.datasets.loading.latent_build import build_latents, is_current
from worldsim.datasets.loading.latent_cache import LatentCache
from worldsim.datasets.loading.latent_pack import pack_latents, unpack_latents
from worldsim.datasets.loading.latents import LatentClips
from worldsim.datasets.loading.reversed_episodes import REVERSED, chosen, reversed_episode
from worldsim.datasets.store.recording_format import recording_format
from worldsim.datasets.store.store import EpisodeStore


def test_the_choice_of_episodes_is_a_fraction_and_does_not_depend_on_their_order():
    names = [f"e{i}" for i in range(40)]
    some = chosen(names, 0.25)
    assert len(some) == 10 and some == chosen(names[::-1], 0.25) and set(some) < set(chosen(names, 0.5))
    assert chosen(names, 0) == [] and len(chosen(names, 0.001)) == 1 and chosen(names, 1.0) == sorted(names)


def store_of(folder, count=3) -> EpisodeStore:
    store = EpisodeStore(folder)
    for i in range(count):
        recorded = episode(seed=i)
        actions = recorded.actions.copy()
        # Nothing but walking and turning, except every seventh frame.
        actions[np.arange(len(actions)) % 7 > 0, 4:-2] = 0
        store.append(replace(recorded, actions=actions), f"e{i}")
    return store


def test_a_cache_holds_the_film_in_reverse_encoded_from_its_own_frames(tmp_path):
    store = store_of(tmp_path / "store")
    build_latents(store, "train", tmp_path / "l", encode, 2, tokenizer="x", reversed_fraction=1.0)
    cache, spec = LatentCache(tmp_path / "l"), recording_format(store, ["e0"]).spec
    assert cache.index["names"] == ["e0", "e1", "e2", *(f"e{i}{REVERSED}" for i in range(3))]
    assert cache.index["backwards"] == [False] * 3 + [True] * 3
    forwards, backwards = cache.episode(1), cache.episode(4)
    used = 1 + 2 * (len(forwards["latents"]) - 1)
    film = store.read("e1").frames[:used][::-1]
    chunks = torch.from_numpy(film[1:].copy()).unflatten(0, (-1, 2))[None]
    np.testing.assert_allclose(backwards["latents"][1:], encode(chunks)[0].numpy(), atol=0.1)
    still = torch.from_numpy(film[:1].repeat(2, 0))[None, None]
    np.testing.assert_allclose(backwards["stills"][0], encode(still)[0, 0].numpy(), atol=0.1)
    assert not backwards["terminated"].any()
    expected = reversed_episode(store.read("e1"), 2, spec).actions[: used - 1].reshape(-1, 2, spec.size)
    np.testing.assert_array_equal(backwards["actions"][1:], expected)
    batch = LatentClips(tmp_path / "l", frames=4, batch=2).at(np.array([cache.begins[1], cache.begins[4]]))
    assert batch.backwards is not None and batch.backwards.tolist() == [0, 1]
    assert batch.known is not None and batch.known.shape == (2, 4) and batch.known[0].all()
    assert batch.actions.isfinite().all()
    told = np.asarray(~np.isnan(backwards["actions"][:4]).any((1, 2)))
    assert batch.known[1].tolist() == told.tolist() and 0 < told.sum() < 4
    assert batch.has_action()[1].tolist() == [False, *told[1:].tolist()]
    halves = batch.half_clips()
    assert halves.known is not None and torch.equal(halves.known.unflatten(0, (2, 2)).flatten(1, 2), batch.known)
    assert halves.backwards is not None and halves.backwards.tolist() == [0, 0, 1, 1]


def test_an_episode_in_reverse_counts_once_in_the_training_record(tmp_path):
    store = store_of(tmp_path / "store")
    build_latents(store, "train", tmp_path / "l", encode, 2, tokenizer="x", reversed_fraction=0.5)
    record = LatentClips(tmp_path / "l", frames=4, batch=2).store_record()
    assert record["episodes"] == {f"e{i}": identity(store.manifest(f"e{i}"))[:16] for i in range(3)}
    assert record["frames"] == sum(len(store.read(name)) for name in record["episodes"])


def test_what_is_there_is_taken_over_and_packs_keep_the_direction(tmp_path):
    store, seen = store_of(tmp_path / "store"), []

    def watched(chunks):
        seen.append(chunks.shape[1])
        return encode(chunks)

    names, folder = store.names("train"), tmp_path / "l"
    build_latents(store, "train", folder, watched, 2, tokenizer="x")
    once = len(seen)
    assert is_current(folder, store, names, "x") and not is_current(folder, store, names, "x", 0.34)
    assert "backwards" not in json.loads((folder / "index.json").read_text())
    build_latents(store, "train", folder, watched, 2, tokenizer="x", reversed_fraction=0.34)
    assert len(seen) == once * 4 // 3 and is_current(folder, store, names, "x", 0.34)
    pack_latents(folder, tmp_path / "packs")
    unpack_latents(tmp_path / "packs", tmp_path / "back")
    assert LatentCache(tmp_path / "back").index["backwards"] == [False] * 3 + [True]
    again = LatentClips(tmp_path / "back", frames=4, batch=16)(0)
    assert again.backwards is not None and set(again.backwards.tolist()) == {0.0, 1.0}
