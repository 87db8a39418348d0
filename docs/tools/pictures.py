"""Pictures of the concepts, drawn by code from a world: ``python -m docs.tools.pictures [NAME ...]``."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from docs.tools.figures import DOCS
from docs.tools.plots import Plot
from worldsim.plotting.render import svg
from worldsim.plotting.style import INK, curve_colour

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from worldsim.datasets.loading.starts import StartClips
    from worldsim.envs.learned.env import WorldSimEnv
    from worldsim.simulation.world_model import WorldModel

FOLDER = DOCS / "media" / "concepts"
LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
Frames = NDArray[np.uint8]


def chunks() -> str:
    """Video frames, actions between them, and the latent frame of each pair, as SVG."""

    def draw(figure: "Figure") -> None:
        from matplotlib.patches import Rectangle

        axes = figure.add_subplot(xlim=(-0.2, 9.2), ylim=(-0.3, 3.1))
        axes.axis("off")
        for t in range(6):
            x, colour = 1.5 * t, curve_colour(t // 2)
            axes.add_patch(Rectangle((x, 1.7), 1.0, 0.7, facecolor=colour + "30", edgecolor=colour))
            axes.text(x + 0.5, 2.05, f"frame {t}", ha="center", va="center")
            axes.annotate("", (x + 1.48, 2.05), (x + 1.02, 2.05), arrowprops={"arrowstyle": "->", "color": INK})
            axes.text(x + 1.25, 2.6, f"action {t}", ha="center", fontsize=8)
        for i in range(3):
            x, colour = 3.0 * i, curve_colour(i)
            axes.add_patch(Rectangle((x + 0.5, 0.2), 1.5, 0.6, facecolor=colour + "60", edgecolor=colour))
            axes.text(x + 1.25, 0.5, f"latent frame {i}", ha="center", va="center")
            for at in (x + 0.5, x + 2.0):
                axes.plot((at, x + 1.25), (1.68, 0.82), color=colour, linewidth=1)

    return svg(draw, "Video frames in chunks of two, and their latent frames", height=220, standalone=True)


def latent_picture(world: "WorldModel", frames: Frames) -> Frames:
    """A recorded picture, three channels of its latent frame, and what is decoded of it, side by side.

    Args:
        world: whose tokenizer it is.
        frames: those up to the picture, uint8 (1 + r k, H, W, 3).
    """
    latents_BTCHW = world.encode(frames[None])
    decoded = world.decode(latents_BTCHW)[0][0, -1, -1]
    height, width = frames.shape[1:3]
    cells = latents_BTCHW[0, -1, :3].float().cpu().numpy().transpose(1, 2, 0)
    low, high = cells.min((0, 1)), cells.max((0, 1))
    coloured = (255 * (cells - low) / (high - low + 1e-9)).astype(np.uint8)
    large = coloured.repeat(height // cells.shape[0], 0).repeat(width // cells.shape[1], 1)
    return _beside([frames[-1], large, decoded])


def signal_picture(world: "WorldModel", frames: Frames, levels: Sequence[float] = LEVELS) -> Frames:
    """The last picture of ``frames`` decoded at several signal levels, side by side."""
    import torch

    from worldsim.diffusion.flow import interpolate

    latents_BTCHW = world.encode(frames[None])
    noise = torch.randn(latents_BTCHW[:, -1:].shape, generator=torch.Generator().manual_seed(0))
    shown = []
    for level in levels:
        last = interpolate(latents_BTCHW[:, -1:].float().cpu(), noise, torch.tensor(level))
        mixed = torch.cat([latents_BTCHW[:, :-1].float().cpu(), last], 1).to(latents_BTCHW)
        shown.append(world.decode(mixed)[0][0, -1, -1])
    return _beside(shown)


def look_away_and_back(env: "WorldSimEnv", *, start: int, steps: int = 6, rest: int = 6) -> list[Frames]:
    """The view at the start, after turning away to the right, and after turning back by as much.

    Args:
        env: a learned world with a camera.
        start: the number of the start clip.
        steps: for turning away, and for turning back, as fast as the action space allows.
        rest: steps without an action between both.
    """
    obs, _ = env.reset(seed=0, options={"start": start})
    still = env.noop_action
    right, left = still.copy(), still.copy()
    right[-1], left[-1] = env.action_space.nvec[-1] - 1, 0  # pyright: ignore[reportAttributeAccessIssue]
    shown = [obs]
    for actions in ([right] * steps, [still] * rest + [left] * steps):
        for action in actions:
            obs = env.step(action)[0]
        shown.append(obs)
    return shown


def walk_in_curves(
    world: "WorldModel", starts: "StartClips", some: Sequence[int], seconds: Sequence[float]
) -> list[Frames]:
    """The views (H, W, 3) of walks from some starts, beside each other, after so many seconds, the start first.

    Forward is held, and the mouse turns by -1.5 to 2.5 degrees a frame.
    """
    chosen, rate = list(some), world.config.fps / world.chunk
    state = world.prefill(starts.frames[chosen], starts.actions[chosen], chosen, **starts.known(chosen))
    shown = [_beside(list(starts.frames[chosen, -1]))]
    for t in range(1, round(max(seconds) * rate) + 1):
        action = world.spec.vector({"forward": 1, "camera": (0.0, 2 * np.sin(t / 12) + 0.5)})
        state, step = world.step(state, np.tile(action, (len(chosen), world.chunk, 1)), inplace=True)
        if t in [round(each * rate) for each in seconds]:
            shown.append(_beside(list(step.frames[:, -1])))
    return shown


def trust_plot(env: "WorldSimEnv", *, steps: int) -> Plot:
    """Trust over a rollout, for a player who rests and for one who moves at random."""
    curves, rate = {}, env.metadata["render_fps"]
    for name in ("at rest", "random moves"):
        env.reset(seed=0)
        env.action_space.seed(0)
        values = []
        for _ in range(steps):
            action = env.noop_action if name == "at rest" else env.action_space.sample()
            values.append(env.step(action)[4]["trust"])
        curves[name] = ([(i + 1) / rate for i in range(steps)], values)
    return Plot(title="Trust over a rollout", x_label="seconds since the start", y_label="trust", curves=curves)


def main(names: Sequence[str] = (), folder: Path = FOLDER) -> None:
    """Draw the pictures of the shipped world: those that are named, or all of them."""
    import worldsim
    from worldsim.datasets.loading.starts import load_starts
    from worldsim.envs.learned.env import WorldSimEnv
    from worldsim.plotting.pictures import write_picture

    folder.mkdir(parents=True, exist_ok=True)
    world, starts = worldsim.load("minecraft"), load_starts(worldsim.world_folder("minecraft") / "starts")
    past = starts.frames[0][-1 - 4 * world.chunk :]

    def memory() -> None:
        rows = []
        for each in (world, _without_memory(world)):
            rows.append(_beside(look_away_and_back(WorldSimEnv(each, starts=starts), start=0)))
        write_picture(folder / "memory.png", np.concatenate([rows[0], np.full_like(rows[0][:4], 255), rows[1]]))

    def walks(name: str, *samplings: dict[str, float]) -> None:
        columns = []
        for sampling in samplings:
            columns.append(
                np.concatenate(walk_in_curves(world.with_sampling(**sampling), starts, (2, 8), (1.5, 3, 6, 15)))
            )
        write_picture(folder / f"{name}.png", _beside(columns, gap=12))

    drawn = {
        "chunk": lambda: (folder / "chunk.svg").write_text(chunks()),
        "latent": lambda: write_picture(folder / "latent.png", latent_picture(world, past)),
        "signal": lambda: write_picture(folder / "signal.png", signal_picture(world, past)),
        "memory": memory,
        "noise": lambda: walks("noise", {"inpaint_level": 0}, {"inpaint_level": 0, "noise_metres": 0}),
        "inpainting": lambda: walks("inpainting", {"inpaint_level": 0.7}, {"inpaint_level": 0}),
        "told-once": lambda: walks("told-once", {"inpaint_level": 0.7, "temperature": 0.9}, {}),
        "trust": lambda: (folder / "trust.svg").write_text(
            trust_plot(WorldSimEnv(world, starts=starts), steps=30).svg()
        ),
    }
    for name in names or drawn:
        drawn[name]()


def _without_memory(world: "WorldModel") -> "WorldModel":
    import copy

    other = copy.copy(world)
    other.memory = None
    return other


def _beside(pictures: Sequence[Frames], gap: int = 4) -> Frames:
    white = np.full((pictures[0].shape[0], gap, 3), 255, np.uint8)
    parts = [each for picture in pictures for each in (picture, white)]
    return np.concatenate(parts[:-1], 1)


if __name__ == "__main__":
    main(sys.argv[1:])
