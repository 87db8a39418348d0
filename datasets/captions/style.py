"""Facts of a clip, or a short prompt, in descriptive English: many phrasings, chosen by a seed, none of them untrue."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from worldsim.datasets.captions.clip_facts import CLIMBED, ClipFacts

# What the player does.
DOING: Mapping[str, tuple[str, ...]] = {
    "forward": ("walks forward", "moves straight ahead", "heads onward"),
    "sprint": ("sprints ahead", "runs forward", "runs on at full speed"),
    "back": ("backs away", "walks backward", "steps back"),
    "left": ("sidesteps to the left", "strafes left", "moves sideways to the left"),
    "right": ("sidesteps to the right", "strafes right", "moves sideways to the right"),
    "jump": ("jumps on the spot", "hops up and down", "keeps jumping"),
    "dig": ("digs", "breaks blocks", "hacks at the blocks in front"),
    "place": ("places blocks", "builds", "sets down blocks"),
    "swim": ("swims", "moves through water", "makes a way through water"),
    "still": ("stands still", "stays in place", "waits"),
}
CAMERA: Mapping[str, tuple[str, ...]] = {
    "left": ("the camera pans to the left", "the view turns left", "the view swings round to the left"),
    "right": ("the camera pans to the right", "the view turns right", "the view swings round to the right"),
    "up": ("the camera tilts up", "the view rises toward the sky", "the gaze lifts"),
    "down": ("the camera tilts down", "the view drops toward the ground", "the gaze lowers"),
    "sweep": ("the camera sweeps to one side and back", "the view swings to and fro", "the player looks about"),
    "still": ("the camera holds steady", "the view stays fixed", "the camera does not turn"),
}
LIGHT: Mapping[str, tuple[str, ...]] = {
    "dark": ("it is dark", "there is hardly any light", "darkness surrounds the player"),
    "dim": ("the light is dim", "the scene is dimly lit", "little light falls here"),
    "bright": ("the light is bright", "the scene is brightly lit", "everything is in full light"),
}
SUBJECTS = ("the player", "someone playing in first person", "the player character")
OPENINGS = (
    "",
    "First-person view{place}{time}: ",
    "A voxel world{place}{time}. ",
    "Gameplay{place}{time}. ",
    "{Time}{place}, ",
)
JOINS = (", then ", " and then ", ", and after that ")
ENDS = (" and finally ", " and at last ", ", and then ")
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
TIMES = ("at night", "at dawn", "in the morning", "at noon", "in the afternoon", "at dusk")
PLACES = (
    "forest",
    "coniferous forest",
    "desert",
    "grassland",
    "savanna",
    "taiga",
    "tundra",
    "rainforest",
    "snowy grassland",
)


def describe(facts: ClipFacts, seed: int) -> str:
    """One or more sentences about a clip; the same facts and seed give the same words."""
    rng = np.random.default_rng(seed)
    opening = str(rng.choice(OPENINGS))
    if "{Time}" in opening and not facts.time:
        opening = ""
    has_opening = bool(opening)
    place, time = facts.place, f" {facts.time}" if facts.time else ""
    subject, deed = str(rng.choice(SUBJECTS)), _deeds(facts, rng)
    camera = _camera(facts, rng)
    where = "" if has_opening else f"{place}{time}"
    if camera and rng.random() < 0.4:
        first, rest = f"{subject} {deed}{where} while {camera}", []
    else:
        first, rest = f"{subject} {deed}{where}", [camera] if camera else []
    head = opening.format(place=place, time=time, Time=facts.time[:1].upper() + facts.time[1:])
    rest += _changes(facts, rng)
    if facts.light:
        rest.append(str(rng.choice(LIGHT[facts.light])))
    # A sentence that was opened with a comma or a colon goes on in small letters.
    lead = first if head.endswith(", ") else _capital(first)
    return " ".join([f"{head}{lead}.", *(f"{_capital(sentence)}." for sentence in rest)])


def expand(prompt: str, seed: int) -> str:
    """A short prompt in the style of ``describe``: what it says stays, what it leaves open is chosen by the seed.

    Raises:
        ValueError: the prompt is empty.
    """
    facts = understand(prompt)
    rng = np.random.default_rng((seed, 1))
    if not facts.place:
        place = str(rng.choice(PLACES))
        facts = _with(facts, place=f" in a {place}")
    if not facts.time:
        facts = _with(facts, time=str(rng.choice(TIMES)))
    if not facts.activities:
        facts = _with(facts, activities=(str(rng.choice(["forward", "forward", "sprint", "still"])),))
    if not facts.camera:
        facts = _with(facts, camera=str(rng.choice(list(CAMERA))))
    if not facts.light:
        facts = _with(facts, light="dark" if facts.time == "at night" else "bright")
    return describe(facts, seed)


def understand(prompt: str) -> ClipFacts:
    """What a short prompt says, as far as it can be told without a language model.

    Raises:
        ValueError: it is empty.
    """
    text = " ".join(prompt.lower().split()).rstrip(".")
    if not text:
        raise ValueError("the prompt is empty")
    time = next((t for t in TIMES if t in text or t.split()[-1] in text.split()), "")
    light = next((kind for kind, words in _LIGHT_WORDS.items() if any(w in text.split() for w in words)), "")
    found = [(m.start(), kind) for kind, words in _DEED_WORDS.items() if (m := re.search(rf"\b(?:{words})", text))]
    return ClipFacts(
        place=_place(text),
        time=time,
        light=light,
        activities=tuple(kind for _, kind in sorted(found)),
        camera=next((kind for kind, words in _CAMERA_WORDS.items() if re.search(words, text)), ""),
    )


_LIGHT_WORDS = {"dark": ("dark", "darkness", "night"), "dim": ("dim", "gloomy"), "bright": ("bright", "sunny")}
_DEED_WORDS = {
    "sprint": "sprint|run", "back": "walk(?:ing|s)? back|back(?:ing|s) away|backward",
    "left": "strafe left|strafing left", "right": "strafe right|strafing right",
    "forward": "walk(?:ing|s)?\\b(?! back)|explor|forward|head", "jump": "jump|hop",
    "dig": "dig|min(?:e|ing)\\b|break", "place": "plac|build", "swim": "swim", "still": "stand|wait|idle",
}  # fmt: skip
_CAMERA_WORDS = {
    "left": r"(?:turn|look|pan)\w* (?:to the )?left", "right": r"(?:turn|look|pan)\w* (?:to the )?right",
    "up": r"(?:look|tilt)\w* up|at the sky", "down": r"(?:look|tilt)\w* down|at the ground",
    "sweep": r"look\w* (?:around|about|away)|turning on the spot",
}  # fmt: skip


_PREPOSITION = r"in|on|through|across|over|by|at|under|while|then|and|with"
_PLACE = re.compile(
    rf"(?:^|\b(in|on|through|across|over|by|explor\w*)\s)\s*(an?|the)\s+((?:(?!{_PREPOSITION})[a-z]+ ?){{1,4}})"
)
# What follows "in" and "on" and is no place.
_NO_PLACE = ("spot", "directions", "circles", "circle", "left", "right", "sky", "ground", "front", "light", "darkness")


def _place(text: str) -> str:
    if "underground" in text.split():
        return " underground"
    for found in _PLACE.finditer(text):
        article, name = found[2], found[3].strip()
        if name.split()[-1] in _NO_PLACE or any(name in time for time in TIMES):
            continue
        if found[1] == "by":
            return f" by the {name}"
        return f" in {article} {name}"
    return ""


def _with(facts: ClipFacts, **changed: object) -> ClipFacts:
    return ClipFacts(**{**vars(facts), **changed})  # pyright: ignore[reportArgumentType]


def _deeds(facts: ClipFacts, rng: np.random.Generator) -> str:
    """What the player does, one thing after another."""
    if not facts.activities:
        return str(rng.choice(["moves about", "plays"]))
    kinds = facts.activities if len(facts.activities) <= 4 else (*facts.activities[:2], *facts.activities[-2:])
    words = [str(rng.choice(DOING[kind])) for kind in kinds]
    if len(words) <= 2:
        text = str(rng.choice(JOINS)).join(words)
    else:
        text = ", then ".join(words[:-1]) + str(rng.choice(ENDS)) + words[-1]
    if facts.climbed >= CLIMBED:
        text += str(rng.choice([", ending higher up", ", climbing on the way"]))
    elif facts.climbed <= -CLIMBED:
        text += str(rng.choice([", ending lower down", ", descending on the way"]))
    return text


def _camera(facts: ClipFacts, rng: np.random.Generator) -> str:
    if not facts.camera:
        return ""
    text = str(rng.choice(CAMERA[facts.camera]))
    if facts.camera in ("left", "right", "up", "down") and facts.degrees >= 20 and rng.random() < 0.6:
        if facts.camera in ("left", "right") and facts.degrees >= 330:
            turns = round(facts.degrees / 360)
            return f"{text}, all the way round" + (f" {NUMBERS[turns]} times" if 1 < turns < len(NUMBERS) else "")
        text += f" by about {round(facts.degrees / 10) * 10:d} degrees"
    return text


def _changes(facts: ClipFacts, rng: np.random.Generator) -> list[str]:
    out = []
    for blocks, verbs in (
        (facts.dug, ("dug away", "broken", "removed")),
        (facts.placed, ("placed", "set down", "put in place")),
    ):
        if blocks:
            many = sum(count for _, count in blocks) > 1
            out.append(f"{_listed(blocks)} {'are' if many else 'is'} {rng.choice(verbs)}")
    return out


def _listed(blocks: Sequence[tuple[str, int]]) -> str:
    words = [f"{'a block' if count == 1 else f'{_number(count)} blocks'} of {name}" for name, count in blocks]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _number(count: int) -> str:
    return NUMBERS[count] if count < len(NUMBERS) else "many"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
