"""Films between known frames and before them: filled in window by window, by a world that was trained to.

In a window some latent frames are known and the others are filled in together. A window's first latent stands for a
still picture, as the first one of every clip does: where it is not known it is filled in too and left out of the film.

T latent frames, K chunks, r video frames per chunk, H W pixels, C channels, h w latent grid, A action vector.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldsim.diffusion.infilling import sample_infilling
from worldsim.diffusion.noise import noise
from worldsim.errors import UserError
from worldsim.generation.keeping import Keeper
from worldsim.generation.sources import Source
from worldsim.models.patchify import previous_of
from worldsim.models.shield import shielded
from worldsim.simulation.world_model import WorldModel

Frames = NDArray[np.uint8]
Progress = Callable[[str, int, int], None]
# Latent frames of a window: as long as a clip in training is by default, no matter how far back a world remembers.
WINDOW = 32
# Latent frames that a window has to have of each side that is known, where there are so many.
CONTEXT = 8
# Number of the noise of the first window; those that follow count down.
FIRST_WINDOW = -1000


@dataclass(frozen=True, kw_only=True)
class Filler:
    """Fills in windows for one film.

    Attributes:
        world: was trained to.
        seed: of the noise.
        prompt: text condition, "" for none.
    """

    world: WorldModel
    seed: int
    prompt: str

    @property
    def window(self) -> int:
        """Latent frames of a window."""
        return min(WINDOW, self.world.dit.config.window + 1)

    def most_between(self) -> int:
        """Chunks that can be filled in between two films at once."""
        return self.window - 2 * min(CONTEXT, self.window // 4)

    @shielded
    @torch.inference_mode()
    def fill(self, known: Tensor, unknown: int, after: Tensor, leading: NDArray[np.float32], number: int) -> Tensor:
        """Latents (unknown, C, h, w) between ``known`` ones (T, C, h, w) and those ``after``; either may be none.

        Args:
            known: those before.
            unknown: how many to fill in.
            after: those after.
            leading: the actions (T, r, A) that lead into each latent frame of the window, nan where not known.
            number: of the window, which decides the noise.
        """
        world, like = self.world, known if len(known) else after
        holes = like.new_zeros(unknown, *like.shape[1:])
        data = torch.cat([known, holes, after])[None]
        index = torch.arange(data.shape[1], device=world.device)
        mask = ((index < len(known)) | (index >= len(known) + unknown))[None]
        actions = torch.as_tensor(np.nan_to_num(leading), dtype=torch.float32)[None]
        present = torch.as_tensor(np.isfinite(leading).all((1, 2)))[None]
        text = world.embed([self.prompt], 1) if self.prompt else None

        def predict(x: Tensor, tau: Tensor) -> Tensor:
            return world.sampler.predict(x, previous_of(x), tau, actions, present, text, known=mask)

        start = noise([self.seed], [FIRST_WINDOW - number], tuple(data.shape[1:]), world.device)
        return sample_infilling(predict, data, mask, start, world.config.sampling.steps)[0, ~mask[0]]

    def between(self, first: Source, second: Source, actions: NDArray[np.float32]) -> Frames:
        """What leads from the end of one film to the beginning of another in K r frames.

        ``actions`` (K r, A): those that lead into each frame in between, nan where they are not known.

        Raises:
            UserError: K is more than is filled in at once.
        """
        world, r = self.world, self.world.chunk
        count = len(actions) // r
        if count > self.most_between():
            raise UserError(f"{count} chunks between two films: at most {self.most_between()} are filled in at once")
        room, head = self.window - count, _chunks(second.frames, r)
        before = min((len(first.frames) - 1) // r + 1, max(room // 2, room - len(head)))
        tail, head = first.frames[len(first.frames) - 1 - r * (before - 1) :], head[: room - before]
        known = world.encode(tail[None])[0]
        after = world.encode_chunks(torch.as_tensor(head, device=world.device)[None])[0]
        # Nothing is known to lead into the first picture of either film.
        nothing = np.full((r, world.spec.size), np.nan, np.float32)
        own = first.actions[len(first.actions) - r * (before - 1) :]
        theirs = np.concatenate([nothing[:1], second.actions, nothing])[: r * len(head)]
        leading = np.concatenate([nothing, own, actions, theirs]).reshape(-1, r, world.spec.size)
        middle = self.fill(known, count, after, leading, 0)
        shown, _ = world.decode(torch.cat([known, middle, after])[None])
        return shown[0, before : before + count].reshape(-1, *shown.shape[3:])

    def before(
        self, film: Source, count: int, actions: NDArray[np.float32], keeper: Keeper, progress: Progress
    ) -> Frames:
        """What leads to a film in ``count`` r frames, filled in from its beginning back, window by window.

        ``actions`` (count r, A): those that lead from each of these frames to the next, the last one to the film; nan
        where they are not known.
        """
        world, r = self.world, self.world.chunk
        head = _chunks(film.frames, r)[: self.window]
        recorded = world.encode_chunks(torch.as_tensor(head, device=world.device)[None])[0]
        kept, about = keeper.load("before")
        latents = torch.cat([kept["latents"].to(world.device), recorded]) if kept else recorded
        done, number = about.get("done", 0), about.get("windows", 0)
        # What leads into each frame, from the chunk on that stands before all and is not shown.
        nothing = np.full((r * self.window, world.spec.size), np.nan, np.float32)
        into = np.concatenate([nothing[: r + 1], actions, film.actions, nothing])
        warm = latents[:0]
        while done < count:
            context = latents[: max(1, self.window // 2)]
            unknown = min(self.window - len(context), count - done + 1)
            at = count - done - unknown + 1
            leading = into[r * at : r * (at + unknown + len(context))].reshape(-1, r, world.spec.size)
            filled = self.fill(latents[:0], unknown, context, leading, number)
            warm, latents = filled[:1], torch.cat([filled[1:], latents])
            done, number = done + unknown - 1, number + 1
            progress("before", done, count)
            if done < count:
                keeper.save("before", {"latents": latents[: len(latents) - len(recorded)]}, done=done, windows=number)
        shown = self._decoded(torch.cat([warm, latents[:count]]))
        return shown[len(warm) * r :]

    def _decoded(self, latents_TChw: Tensor) -> Frames:
        """Frames (T r, H, W, 3), decoded as one film, some latents at a time."""
        shown, past = [], None
        for part in latents_TChw.split(WINDOW):
            chunks, past = self.world.decode(part[None], past)
            shown.append(chunks[0].reshape(-1, *chunks.shape[3:]))
        return np.concatenate(shown)


def _chunks(film: Frames, r: int) -> Frames:
    """The first whole chunks (K, r, H, W, 3) of a film; a film of fewer frames is held."""
    if len(film) < r:
        film = np.concatenate([film, np.repeat(film[-1:], r - len(film), 0)])
    return film[: len(film) // r * r].reshape(-1, r, *film.shape[1:])
