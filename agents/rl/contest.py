"""Players that are compared: each plays the same episodes in the same places, here or on a Ray cluster.

An episode follows from the place, the player and its seed, so it is the same whoever plays it, after whichever others.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from worldsim.agents.policies.player import Env, Player, make_player
from worldsim.agents.rl.envs import make_one
from worldsim.agents.rl.evaluation import Played, Progress, play_episodes
from worldsim.cluster import connected, results_of

Show = Callable[[str, float, float], None]
# By place, the episodes of each player in the order of their seeds.
Results = dict[str, list[list[Played]]]


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Who plays where, and which episodes.

    Attributes:
        opens: id and settings of the environment in a place; sent to workers.
        places: the learned world (``dream``), the real game (``engine``).
        players: names, see ``make_player``.
        steps: after which an episode is cut.
        episodes: of each player in each place.
        seed: of the first; the following ones count up.
        deterministic: always the likeliest action.
        threads: of PyTorch on each worker; None leaves that to it.
        gpus: that a worker takes for itself.
    """

    opens: Callable[[str], tuple[str, Mapping[str, Any]]]
    places: Sequence[str]
    players: Sequence[str]
    steps: int
    episodes: int
    seed: int = 0
    deterministic: bool = False
    threads: int | None = None
    gpus: int = 0

    def environment(self, place: str) -> Env:
        """A place to play in."""
        env, kwargs = self.opens(place)
        return make_one(env, steps=self.steps, kwargs=kwargs)

    def player(self, env: Env, name: str) -> Player:
        """Who plays in an environment.

        Raises:
            UserError: there is no such player, or it does not fit.
        """
        return make_player(name, env, deterministic=self.deterministic)

    def play(self, env: Env, player: Player, numbers: range, progress: Progress = lambda *_: None) -> list[Played]:
        """Episodes of these numbers, by a player that begins anew with each."""
        return play_episodes(env, player, len(numbers), self.seed + numbers.start, progress)


def play_here(contest: Contest, show: Show) -> Results:
    """All episodes one by one in this process; ``show`` shows progress by stage."""
    found: Results = {}
    for place in contest.places:
        with closing(contest.environment(place)) as env:
            # All of them before the first plays: a name that is wrong is told at once.
            players = [contest.player(env, name) for name in contest.players]
            found[place] = [
                contest.play(env, player, range(contest.episodes), partial(show, f"{name} in the {place}"))
                for name, player in zip(contest.players, players, strict=True)
            ]
    return found


def play_on_ray(contest: Contest, address: str, show: Show) -> Results:
    """All episodes as tasks of a Ray cluster; what a worker that dies was to play is played by another.

    Args:
        contest: its environments and players have to be found by all workers: at paths that all machines share.
        address: ``local`` starts a cluster on this machine, ``auto`` takes the one this machine is part of, else the
            address of one.
        show: shows progress by stage.

    Raises:
        UserError: Ray is not installed, there is no such cluster, or a player does not fit.
    """
    with connected(address, os.cpu_count() or 1) as ray:
        groups = [(place, player) for place in contest.places for player in range(len(contest.players))]
        jobs = list(_jobs(groups, contest.episodes, int(ray.cluster_resources().get("CPU", 1))))
        arguments = [(contest, place, contest.players[player], numbers) for place, player, numbers in jobs]
        played: dict[int, list[Played]] = {}

        def tell(*done: float) -> None:
            show("episodes on Ray", *done)

        for number, episodes in results_of(ray, _play, arguments, tell, contest.gpus):
            played[number] = episodes
    found: Results = {place: [[] for _ in contest.players] for place in contest.places}
    for number, (place, player, _) in enumerate(jobs):
        found[place][player] += played[number]
    return found


def _jobs(groups: Sequence[tuple[str, int]], episodes: int, workers: int) -> Iterator[tuple[str, int, range]]:
    """Numbers of episodes of each place and player, in no more pieces than keep all workers busy.

    Every task opens its environment, which takes seconds.
    """
    pieces = min(episodes, -(-workers // len(groups)))
    for place, player in groups:
        for piece in range(pieces):
            yield place, player, range(episodes * piece // pieces, episodes * (piece + 1) // pieces)


def _play(contest: Contest, place: str, player: str, numbers: range) -> list[Played]:
    """On a worker."""
    if contest.threads is not None:
        torch.set_num_threads(contest.threads)
    with closing(contest.environment(place)) as env:
        return contest.play(env, contest.player(env, player), numbers)
