"""Which map an episode shows, as far as its provenance tells."""

from collections.abc import Iterable, Mapping
from typing import Any

# Seeds are called differently by different programs.
SEED_NAMES = ("seed", "map_seed", "world_seed", "level_seed")


def seed_key(provenance: Mapping[str, Any]) -> tuple[str, str] | None:
    """(engine or source, seed) of an episode's map, whatever the seed is called and however it is written."""
    value = next((provenance[name] for name in SEED_NAMES if provenance.get(name) is not None), None)
    if value is None or isinstance(value, bool):
        return None
    maker = str(provenance.get("engine") or provenance.get("source") or "?").lower()
    try:
        # Programs keep seeds as signed or unsigned 64-bit numbers, or as text.
        return maker, str(int(str(value).strip(), 0) % 2**64)
    except ValueError:
        return maker, str(value).strip()


def map_name(provenance: Mapping[str, Any]) -> str | None:
    """``17 of luanti minetest_game``: the seed, the engine (or source) and its game; None where no seed is told."""
    key = seed_key(provenance)
    return None if key is None else f"{key[1]} of {key[0]} {provenance.get('game') or ''}".strip()


def maps_in_words(names: Iterable[str]) -> str:
    """``3, 17 of luanti minetest_game (2)``: maps by ``map_name``, seeds in order, with their number."""
    seeds: dict[str, list[str]] = {}
    for name in names:
        seed, _, game = name.partition(" of ")
        seeds.setdefault(game, []).append(seed)
    ordered = {game: sorted(found, key=lambda seed: (len(seed), seed)) for game, found in sorted(seeds.items())}
    return "; ".join(f"{', '.join(found)} of {game} ({len(found)})" for game, found in ordered.items()) or "none"
