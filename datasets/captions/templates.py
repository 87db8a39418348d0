"""Short template captions from what is known of an episode: what the player does, where, when."""

from collections import Counter

from worldsim.datasets.store.episode import Episode

PHRASES = {
    "explore": "walking",
    "walk": "walking in all directions",
    "single": "moving steadily",
    "spin": "turning on the spot",
    "look_back": "looking away and back",
    "gaze": "looking around",
    "still": "standing still",
    "return_trip": "walking out and back",
    "push": "walking into things",
    "climb": "climbing",
    "dig": "digging",
    "place": "placing blocks",
    "pillar": "building a pillar",
    "swim": "swimming",
    "chop": "cutting a tree",
    "rest": "resting",
    "look_round": "looking round and back",
    "loop": "walking in a loop",
    "mirror": "walking there and back",
    "alter": "changing a block and looking again",
}
_TIMES = (
    (0.21, "at night"),
    (0.30, "at dawn"),
    (0.45, "in the morning"),
    (0.55, "at noon"),
    (0.70, "in the afternoon"),
    (0.80, "at dusk"),
)


def episode_caption(script: str, biome: str, time_of_day: float) -> str:
    """What, where, when: ``walking in a coniferous forest at noon``. Time is 0 to 1, 0.5 is noon."""
    return f"{PHRASES[script]}{place_phrase(biome)} {time_phrase(time_of_day)}"


def clip_caption(clip: Episode) -> str:
    """The caption of a part of an episode: its own activity, in the place and at the time of the whole.

    An episode that does not tell scripts (``state["script"]``) keeps its text.
    """
    names = clip.provenance.get("scripts")
    known = next((p for p in sorted(PHRASES.values(), key=len, reverse=True) if clip.text.startswith(p)), None)
    if not names or known is None or "script" not in clip.state:
        return clip.text
    script = names[Counter(clip.state["script"].tolist()).most_common(1)[0][0]]
    if "in_water" in clip.state and clip.state["in_water"].mean() > 0.5:
        script = "swim"
    return PHRASES[script] + clip.text.removeprefix(known)


def place_phrase(biome: str) -> str:
    """`` in a snowy grassland`` for ``snowy_grassland``; nothing for an unknown place."""
    name = biome.replace("_", " ").strip()
    if name in ("", "default", "unknown"):
        return ""
    for ending, phrase in ((" ocean", " by the sea"), (" under", " underground"), (" below", " underground")):
        if name.endswith(ending):
            return phrase
    return f" in {'an' if name[0] in 'aeiou' else 'a'} {name}"


def time_phrase(time_of_day: float) -> str:
    """The time of day in words."""
    return next((name for until, name in _TIMES if time_of_day < until), "at night")
