"""From a request to films: one seed after another, in memory or into a folder that an interrupted run goes on with.

F video frames, K chunks, r video frames per chunk, H W pixels, A action vector.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import worldsim
from worldsim.datasets.governance.generated import read_sidecar
from worldsim.datasets.governance.provenance import read_training_record
from worldsim.datasets.store.manifest import file_sha256
from worldsim.errors import UserError
from worldsim.generation.between import Filler
from worldsim.generation.films import Generated, Kind, about_film, write_together, write_with_sidecar
from worldsim.generation.forward import edited, first_picture, go_on
from worldsim.generation.keeping import Keeper
from worldsim.generation.request import Request, check_fills_in, chunks_of
from worldsim.generation.sources import Frames, Source, of_size, read_source
from worldsim.models.checkpoint import content_sha256
from worldsim.scripting.action_files import read_actions
from worldsim.simulation.world_model import WorldModel
from worldsim.spec.text_files import read_json

Progress = Callable[[str, int, int], None]
PLAN = "plan.json"


@dataclass(frozen=True, kw_only=True)
class Studio:
    """All that a request's films share: the world, its sources, what their sidecars say.

    Attributes:
        world: of the size that was asked for.
        request: what to make.
        sources: what it is made of: none, one, or two to join.
        actions: (N, A) given as they are, in place of the request's text.
        about: what every sidecar says of world and sources.
    """

    world: WorldModel
    request: Request
    sources: tuple[Source, ...]
    actions: NDArray[np.float32] | None
    about: dict[str, Any]

    def film(self, seed: int, keeper: Keeper, progress: Progress) -> Generated:
        """Make one film."""
        kept, _ = keeper.load("finished")
        if kept:
            parts = (kept["film"].numpy(), kept["actions"].numpy(), kept["recorded"].numpy())
        else:
            parts = self._make(seed, keeper, progress)
            names = ("film", "actions", "recorded")
            keeper.save("finished", {n: torch.from_numpy(x) for n, x in zip(names, parts, strict=True)})
        about = about_film(self.request, *parts, seed) | self.about
        return Generated(frames=parts[0], actions=parts[1], recorded=parts[2], seed=seed, about=about)

    def _make(self, seed: int, keeper: Keeper, progress: Progress) -> tuple[Frames, NDArray, NDArray[np.bool_]]:
        request, world = self.request, self.world
        count = chunks_of(request.seconds, world)
        if request.operation == "edit":
            (source,) = self.sources
            actions = source.actions if self.actions is None else self._done(len(source.actions) // world.chunk)
            film = edited(
                world, source.frames, actions, seed=seed, prompt=request.prompt, strength=request.strength,
                keeper=keeper, progress=progress,
            )  # fmt: skip
            return film, actions, np.zeros(len(film), bool)
        if request.operation in ("loop", "join"):
            return self._between(seed, count, keeper, progress)
        begun = bool(self.sources)
        source = self.sources[0] if begun else _picture(world, first_picture(world, seed, request.prompt))
        after = self._done(count)
        frames, actions, recorded = self._after(source, after, seed, keeper, progress)
        recorded &= begun
        if before := chunks_of(request.before, world):
            unknown = _unknown(before, world)
            filler = Filler(world=world, seed=seed, prompt=request.prompt)
            past = filler.before(source, before, unknown, keeper, progress)
            frames, actions = np.concatenate([past, frames]), np.concatenate([unknown, actions])
            recorded = np.concatenate([np.zeros(len(past), bool), recorded])
        return frames, actions, recorded

    def _after(
        self, source: Source, actions: NDArray[np.float32], seed: int, keeper: Keeper, progress: Progress
    ) -> tuple[Frames, NDArray, NDArray[np.bool_]]:
        """A source and what follows it under actions (K r, A)."""
        world = self.world
        poses = None if source.poses is None else source.poses[None]
        depth = None if source.depth is None else source.depth[None]
        # Of what was not recorded, a world that goes on takes it that nothing was pressed.
        past = np.nan_to_num(source.actions)[None]
        state = world.prefill(source.frames[None], past, [seed], [self.request.prompt], poses, depth)
        future = go_on(world, state, actions, keeper, progress)
        frames = np.concatenate([source.frames, future])
        return frames, np.concatenate([source.actions, actions]), np.arange(len(frames)) < len(source.frames)

    def _between(
        self, seed: int, count: int, keeper: Keeper, progress: Progress
    ) -> tuple[Frames, NDArray, NDArray[np.bool_]]:
        """A film, what leads on from it, and, of a join, the film that it leads to."""
        world, r = self.world, self.world.chunk
        filler = Filler(world=world, seed=seed, prompt=self.request.prompt)
        first, second = self.sources[0], self.sources[-1]
        # More than fits between is gone on with from the first film, until the rest fits.
        ahead = max(0, count - filler.most_between())
        told = self._done(count, between=True)
        frames, actions, recorded = first.frames, first.actions, np.ones(len(first.frames), bool)
        if ahead:
            walked = np.where(np.isnan(told[: ahead * r]), world.spec.idle(), told[: ahead * r])
            frames, actions, recorded = self._after(first, walked, seed, keeper, progress)
        middle = filler.between(replace(first, frames=frames, actions=actions), second, told[ahead * r :])
        progress("between", count, count)
        films, led = [frames, middle], [actions, told[ahead * r :]]
        if self.request.operation == "join":
            films.append(second.frames)
            # Nothing is known to lead into the first frame of the second film.
            led += [_unknown(1, world)[:1], second.actions]
        recorded = np.concatenate([recorded, *(np.full(len(film), film is not middle) for film in films[1:])])
        return np.concatenate(films), np.concatenate(led), recorded

    def _done(self, count: int, between: bool = False) -> NDArray[np.float32]:
        """What is done in ``count`` chunks (K r, A): as it was given, then nothing; or, in between, who knows what."""
        spec, frames = self.world.spec, count * self.world.chunk
        rest = _unknown(count, self.world) if between else np.tile(spec.idle(), (frames, 1))
        given = rest[:0] if self.actions is None else self.actions[:frames]
        return np.concatenate([given, rest[len(given) :]]).astype(np.float32)


def _picture(world: WorldModel, picture: Frames) -> Source:
    return Source(frames=picture[None], actions=_unknown(1, world)[:0], poses=None, about={})


def _unknown(count: int, world: WorldModel) -> NDArray[np.float32]:
    return np.full((count * world.chunk, world.spec.size), np.nan, np.float32)


def studio(
    request: Request,
    world: str | Path | WorldModel = "minecraft",
    *,
    films: Sequence[Frames] = (),
    actions: NDArray[np.float32] | None = None,
    device: str | None = None,
) -> Studio:
    """Load what a request needs.

    Args:
        request: what to make.
        world: name of a shipped one, checkpoint folder, or a loaded world.
        films: frames uint8 (F, H, W, 3) in place of the request's sources.
        actions: (N, A) in place of the request's text.
        device: default: the CPU, or where a loaded world is.

    Raises:
        FileNotFoundError: there is no such world or source.
        UserError: they do not fit, or the world was not trained for what is asked.
    """
    place = str(worldsim.world_folder("minecraft" if isinstance(world, WorldModel) else world))
    model = world if isinstance(world, WorldModel) else worldsim.load(world, device=device or "cpu")
    if request.fills_in:
        what = "extending a film backward" if request.operation == "extend" else f"a {request.operation}"
        check_fills_in(model, what)
    model = of_size(model, request.size)
    if actions is None and request.actions is not None:
        actions = read_actions(request.actions, model.spec, fps=model.config.fps)
    if actions is not None and (actions.ndim != 2 or actions.shape[1] != model.spec.size):
        raise UserError(f"actions must be numbers of shape (frames, {model.spec.size}), got {actions.shape}")
    given = films or [one for one in (request.source, request.to) if one is not None]
    sources = tuple(read_source(one, model, place, request.source_frames) for one in given)
    if request.prompt:
        # Told now rather than when the first film is half done.
        model.embed([request.prompt], 1)
    about = {
        "world": "given" if isinstance(world, WorldModel) else str(world),
        "weights": _weights(world, place),
        "sampling": asdict(model.config.sampling),
        "fps": model.config.fps,
        "software": f"worldsim {worldsim.__version__}",
        "sources": [dict(source.about) for source in sources],
        "trained_on": _records(world, place, sources),
    }
    return Studio(world=model, request=request, sources=sources, actions=actions, about=about)


def generate(
    source: str | Path | Frames | None = None,
    to: str | Path | Frames | None = None,
    *,
    world: str | Path | WorldModel = "minecraft",
    actions: str | NDArray[np.float32] | None = None,
    seeds: Sequence[int] = (0,),
    device: str | None = None,
    **what: Any,
) -> list[Generated]:
    """``worldsim.generate``; ``what``: further fields of the request."""
    given = [one for one in (source, to) if one is not None]
    films = [one for one in given if isinstance(one, np.ndarray)]
    if films and len(films) < len(given):
        raise UserError("of two films, give both as frames or both by name")
    names = ["frames" if isinstance(one, np.ndarray) else os.fspath(one) for one in given]
    first, second = [*names, None, None][:2]
    script = None if isinstance(actions, np.ndarray) else actions
    request = Request(source=first, to=second, actions=script, **what)
    array = actions if isinstance(actions, np.ndarray) else None
    made = studio(request, world, films=films, actions=array, device=device)
    return [made.film(seed, Keeper(), lambda stage, done, total: None) for seed in seeds]


def _weights(world: str | Path | WorldModel, place: str) -> dict[str, str]:
    """SHA-256 of a world's files; of one that is loaded, of its networks' weights."""
    if isinstance(world, WorldModel):
        parts = [{name: t.cpu() for name, t in module.state_dict().items()} for module in world.modules()]
        return {f"network {number}": content_sha256(part, "") for number, part in enumerate(parts)}
    digests = {}
    for path in sorted(Path(place).glob("*.safetensors")):
        with path.open("rb") as file:
            digests[path.name] = file_sha256(file)
    return digests


def _records(world: str | Path | WorldModel, place: str, sources: Sequence[Source]) -> dict[str, dict[str, Any]]:
    """What the weights were trained on, by file, and the stores that sources are from."""
    records: dict[str, dict[str, Any]] = {}
    if not isinstance(world, WorldModel):
        try:
            records = read_training_record(place)
        except UserError:
            # Weights of before training records were kept.
            records = {}
    for number, source in enumerate(sources, 1):
        if source.record is not None:
            records[f"source {number}"] = dict(source.record)
    return records


def generate_into(
    folder: Path,
    made: Studio,
    seeds: Sequence[int],
    *,
    kind: Kind = "mp4",
    scale: int = 1,
    exact: bool = False,
    every: int = 16,
    progress: Progress = lambda stage, done, total: None,
) -> list[Path]:
    """Write a film and its sidecar for each seed, and all side by side; goes on where an earlier run stopped.

    Args:
        folder: receives them.
        made: the request with its world and sources.
        seeds: of the noise, one film each.
        kind: of the files.
        scale: pixels of a file per pixel of the world.
        exact: of an mp4: without loss.
        every: chunks of an unfinished film after which it is kept.
        progress: told seed and stage, what is done and of how much.

    Raises:
        UserError: the folder holds another generation.
    """
    folder.mkdir(parents=True, exist_ok=True)
    plan = {"about": made.about, "request": asdict(made.request), "seeds": list(seeds), "kind": kind, "scale": scale}
    plan = json.loads(json.dumps(plan | {"exact": exact}))
    if (folder / PLAN).is_file() and read_json(folder / PLAN) != plan:
        raise UserError(f"{folder} holds films of another request, world or source: give another folder")
    (folder / PLAN).write_text(json.dumps(plan, indent=1) + "\n")
    fps, keepers = made.world.config.fps, [Keeper(folder / f"seed-{seed}.part.safetensors", every) for seed in seeds]
    finished = [folder / f"seed-{seed}.json" for seed in seeds]
    if all(path.is_file() for path in finished) and not any(keeper.left for keeper in keepers):
        return [folder / read_sidecar(path)["file"] for path in finished]
    films = []
    for seed, keeper in zip(seeds, keepers, strict=True):
        films.append(made.film(seed, keeper, lambda stage, done, total, s=seed: progress(f"{s} {stage}", done, total)))
    paths = [write_with_sidecar(folder, film, kind=kind, fps=fps, scale=scale, exact=exact) for film in films]
    if len(films) > 1:
        paths.append(write_together(folder, films, kind=kind, fps=fps, scale=scale))
    for keeper in keepers:
        keeper.clear()
    return paths
