"""``worldsim rollout``: counterfactual futures, and the same in the real engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldsim.cli.runs import existing_path, playthrough_of, run_folder, use_threads, wanted
from worldsim.cli.settings import (
    device_setting,
    folder_setting,
    seed_setting,
    setting,
    threads_setting,
    world_setting,
)
from worldsim.errors import UserError
from worldsim.progress import display
from worldsim.simulation.devices import device_of

if TYPE_CHECKING:
    from worldsim.envs.learned.initial_context import InitialContext
    from worldsim.envs.learned.world_rewards import WorldRewardFunction
    from worldsim.evaluation.counterfactuals.engine_branches import Truth
    from worldsim.simulation.branch_tree import Node
    from worldsim.simulation.branching import Tree
    from worldsim.simulation.world_model import WorldModel

POLICY_SECONDS = 4.0


@dataclass(kw_only=True)
class Rollout:
    """Settings of ``worldsim rollout``."""

    world: str = world_setting()
    seed: int = seed_setting("of the noise, which all branches share, and of players")
    prefix: str | None = setting(
        None,
        help="video.mp4, STORE:EPISODE[@FRAME], or the number of a start clip; default: where the playthrough began",
    )
    playthrough: str | None = setting(
        None, help="branches that were played in the window, a file that worldsim play saved; default: none"
    )
    prefix_frames: int = setting(33, help="how much of the past to take in", unit="frames", minimum=1)
    actions: list[str] = setting(
        [],
        help="one per branch, --actions repeated: CSV (columns: names of keys, pitch, yaw, repeat), .script file or "
        "script",
    )
    tree: str | None = setting(None, help="branches that part again: a .tree, .yaml or .json file; default: none")
    policy: str | None = setting(
        None,
        help="branches by players, comma-separated: explore, walk, ..., mixture, random, noop, planner; default: none",
    )
    prompt: str | None = setting(None, help="text, where the world takes one; default: none")
    human: bool = setting(False, help="play branches in a window; R begins another one")
    sensitivity: float | None = setting(
        None, help="human: of the mouse; default: what the window's menu was set to", unit="degrees per pixel", above=0
    )
    task: str | None = setting(
        None,
        help="what the rewards are for; default: points, in a world that tells them, else metres explored, as it "
        "estimates them",
    )
    seconds: float | None = setting(
        None, help="cut branches of actions to this length; length of policies (default: 4)", unit="seconds", above=0
    )
    against: str | None = setting(
        None,
        help="play the same branches in the engine that recorded the prefix, and score the rollout; default: do not",
        choices=("engine",),
    )
    again: int = setting(
        1,
        help="against engine: branches to play twice, which tells how far the engine agrees with itself",
        minimum=0,
    )
    scale: int = setting(2, help="the videos' pixels per world pixel", minimum=1)
    out: str | None = setting(None, help="folder for the results; default: the run folder")
    device: str | None = device_setting()
    threads: int | None = threads_setting()
    folder: str | None = folder_setting("rollout")


def rollout(config: Rollout) -> None:
    """``worldsim rollout``."""
    if not (config.actions or config.tree or config.policy or config.playthrough or config.human):
        raise UserError(
            "there are no branches: give --actions a.csv --actions 'forward 20', --tree, --policy, --playthrough or "
            "--human"
        )
    if config.playthrough is None:
        wanted(config.prefix, "prefix", "--prefix 0")
    for path in (config.playthrough, config.tree):
        if path is not None:
            existing_path(path)
    from worldsim.envs.learned.initial_context import resolve
    from worldsim.envs.learned.world_rewards import WorldRewardFunction
    from worldsim.envs.rollouts.prefix import find_prefix
    from worldsim.envs.rollouts.rollout import write_rollout

    use_threads(config.threads)
    saved = playthrough_of(config, config.playthrough)
    world, starts = resolve(config.world, None, device_of(config.device))
    begun = None
    if saved is not None:
        world, begun = saved.origin.beginning(world, starts, saved.seed)
    if config.task is None and _counts_points(world):
        config.task = "points"
    judge = WorldRewardFunction(world, config.task)
    nodes = _nodes(config, world, judge)
    if saved is not None:
        nodes += saved.nodes()
    if config.prefix is not None or begun is None:
        prefix = wanted(config.prefix, "prefix", "--prefix 0")
        past = find_prefix(prefix, world, starts, frames=config.prefix_frames, seed=config.seed)
        past = replace(past, prompt=config.prompt or None)
    else:
        past = replace(begun, prompt=config.prompt or begun.prompt)
    if config.human:
        from worldsim.envs.rollouts.human_branches import played_by_a_person

        nodes += played_by_a_person(world, starts, past, sensitivity=config.sensitivity)
    if not nodes:
        raise UserError("there are no branches: what was given holds none")
    scores, truth = None, None
    if config.against == "engine":
        past, tree, truth = _against_engine(config, world, past, nodes, judge)
        from worldsim.evaluation.counterfactuals.branch_scores import score_branches

        scores = score_branches(tree, truth, world.chunk, task=config.task, fps=world.config.fps)
    else:
        tree = _grow(world, past, nodes, judge)
    folder = Path(config.out) if config.out else run_folder("rollout", config)
    films = None if truth is None else [film.frames for film in truth.branches]
    summary = write_rollout(
        folder, past, tree, fps=world.config.fps, scale=config.scale, task=config.task or "m explored", scores=scores,
        truth=films,
    )  # fmt: skip
    _tell(summary, folder, camera=world.spec.camera)


def _counts_points(world: "WorldModel") -> bool:
    """Whether a world is of a game that counts points: there, no motion head tells metres."""
    from worldsim.spec.tasks import find_task

    known = world.fact_heads.config.known if world.fact_heads else ()
    return set(find_task("points").needs) <= set(known)


def _nodes(config: Rollout, world: "WorldModel", judge: "WorldRewardFunction") -> tuple["Node", ...]:
    """The branches that were asked for, in the order of flags: actions, tree, policies."""
    from worldsim.agents.policies.branch_players import players
    from worldsim.envs.rollouts.tree_files import read_tree
    from worldsim.scripting.action_files import branch_name, read_actions
    from worldsim.simulation.branch_tree import Node

    fps = world.config.fps
    find = players(world, seed=config.seed, judge=judge)
    longest = None if config.seconds is None else max(1, round(config.seconds * fps))
    nodes = [
        Node(name=branch_name(file), actions=read_actions(file, world.spec, fps=fps)[:longest])
        for file in config.actions
    ]
    if config.tree is not None:
        nodes += read_tree(config.tree, world.spec, fps=fps, players=find)
    frames = longest or round(POLICY_SECONDS * fps)
    names = [name.strip() for name in (config.policy or "").split(",") if name.strip()]
    nodes += [Node(name=name, player=find(name), frames=frames) for name in names]
    return tuple(nodes)


def _grow(world: "WorldModel", past: "InitialContext", nodes: Sequence["Node"], judge: "WorldRewardFunction") -> "Tree":
    from worldsim.envs.learned.initial_context import prefill
    from worldsim.simulation.branching import expand_tree

    with display() as show:
        return expand_tree(
            world, prefill(world, [past]), nodes, frame=past.frames[-1], judge=judge,
            progress=lambda chunks: show("chunks", chunks),
        )  # fmt: skip


def _against_engine(
    config: Rollout,
    world: "WorldModel",
    past: "InitialContext",
    nodes: Sequence["Node"],
    judge: "WorldRewardFunction",
) -> tuple["InitialContext", "Tree", "Truth"]:
    """Play the past in its engine, dream from there, and play the dream's actions in the engine."""
    from worldsim.envs.rollouts.prefix import find_recorded
    from worldsim.evaluation.counterfactuals.engine_branches import Check, replay_branches
    from worldsim.evaluation.counterfactuals.engine_replays import engine_of, pose_of

    recorded = find_recorded(wanted(config.prefix, "prefix", "--prefix STORE:EPISODE"), config.prefix_frames)
    last = len(recorded) - 1
    check = Check(frame=recorded.frames[last], pose=pose_of({k: v[last] for k, v in recorded.state.items()}))
    dreamed: list[tuple[InitialContext, Tree]] = []

    def dream(film: Any) -> Any:
        # The engine's own pictures of the past: a map made anew may differ in a few trees far away.
        begun = replace(past, frames=film.frames[-len(past.frames) :])
        dreamed.append((begun, _grow(world, begun, nodes, judge)))
        return [branch.actions for branch in dreamed[0][1].branches]

    with engine_of(recorded.provenance) as engine, display() as show:
        if engine.spec.size != world.spec.size:
            raise UserError(f"the engine takes {engine.spec.size} action values, the world {world.spec.size}")
        truth = replay_branches(
            engine, recorded.actions[:last], dream, again=config.again, check=check,
            progress=lambda stage, done, total: show("playing in the engine", done, total or None),
        )  # fmt: skip
    return (*dreamed[0], truth)


def _apart(number: int, branch: Mapping[str, Any], *, camera: bool, alone: bool) -> str:
    """How far a branch is from the first; where the first one ends, in a game whose camera moves."""
    if number == 0:
        x, y, z, yaw, pitch = branch["pose"]
        where = f"ends at {x:.1f} {y:.1f} {z:.1f} m, {yaw:.0f} {pitch:.0f} degrees" if camera else ""
        ended = f"over after {branch['ended']} steps" if branch["ended"] is not None else ""
        return "; ".join(one for one in (where, ended, "" if alone else "the others are compared with it") if one)
    first = branch["first_different_frame"]
    where = "equal to the first branch" if first is None else f"differs from frame {first} on"
    return f"mean absolute difference {branch['mean_abs_difference']:.3f} of 255, {where}"


def _tell(summary: Mapping[str, Any], folder: Path, *, camera: bool) -> None:
    scores, alone = summary.get("engine"), len(summary["branches"]) == 1
    for number, branch in enumerate(summary["branches"]):
        apart = _apart(number, branch, camera=camera, alone=alone)
        line = f"{branch['name']}: reward {branch['reward']:+.3f}{', ' if apart else ''}{apart}"
        if scores is not None:
            one = scores["branches"][number]
            line += f"; in the engine: {one['psnr']:.1f} dB (last picture held: {one['repeat']:.1f})"
            line += f", off by {one['metres']:.2f} m and {one['degrees']:.1f} degrees" if "metres" in one else ""
            line += "" if one["engine_reward"] is None else f", reward {one['engine_reward']:+.3f}"
            line += "" if one["found"] else ", nearer to another branch"
        print(line)
    if scores is not None:
        floor = scores["floor"]
        line = f"engine: {scores['psnr']:.1f} dB, retrieval {scores['retrieval']:.2f} (chance {scores['chance']:.2f}), "
        line += f"effect ratio {scores['effect_ratio']}, agreement {scores['effect_agreement']}"
        print(line + ("" if floor is None else f"; engine against itself {floor['psnr']:.1f} dB"))
    for path in ("rollout.mp4", "branch-1.mp4, ...", "tree.png", "divergence.csv", "divergence.png", "divergence.json"):
        print(folder / path)
