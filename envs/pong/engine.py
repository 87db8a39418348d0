"""Atari's Pong in its emulator, as a learned world of it shows it: what worlds are recorded from and compared with.

The court without the score, 80x80 pixels, 15 pictures a second (every fourth frame of the console), three actions.
Needs the package ``ale-py``, whose wheel carries the ROM.
"""

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import NDArray

from worldsim.datasets.loading.task_facts import points_facts
from worldsim.envs.learned.tasks import FactRewardFunction, TaskLike
from worldsim.errors import UserError
from worldsim.extras import require

SIZE, FRAMESKIP = 80, 4
FPS = 60 // FRAMESKIP
ACTIONS = ("NOOP", "UP", "DOWN")
# What the console calls them; moving up is its joystick to the right.
CONSOLE = ("NOOP", "RIGHT", "LEFT")
# Rows of the console's picture that show the court: 160 rows and 160 columns, halved.
TOP, BOTTOM = 34, 194
# Bytes of the console's memory, and what lies between them and the middle of the thing in rows or columns of the court.
BALL_X, BALL_Y, PADDLE_Y, OPPONENT_Y = (49, -48.0), (54, -46.0), (51, -39.5), (50, -41.0)
# Random play before an episode begins, in steps: the console's own start is always the same.
WARM_UP = (16, 120)


@dataclass(frozen=True)
class PongMoment:
    """A clone of the console with the picture it shows, and whether the game was over; it can be restored any number
    of times.
    """

    state: Any
    frame: NDArray[np.uint8]
    ended: bool


def positions(memory: NDArray[np.uint8]) -> dict[str, float | bool]:
    """Where ball and paddles are, from the console's memory: middles, in pixels of the 80x80 picture, y downwards.

    ``ball_x`` and ``ball_y`` are meaningless where ``ball_seen`` is False: a point was scored, the serve is to come.
    """
    (ball_x, ball_y, paddle_y, opponent_y) = (
        (float(memory[place]) + offset) / 2 for place, offset in (BALL_X, BALL_Y, PADDLE_Y, OPPONENT_Y)
    )
    seen = 0 <= ball_x < SIZE and 0 <= ball_y < SIZE
    return {
        "ball_x": ball_x,
        "ball_y": ball_y,
        "ball_seen": seen,
        "paddle_y": paddle_y,
        "opponent_y": opponent_y,
    }


class PongEngine(gymnasium.Env[NDArray[np.uint8], np.int64]):
    """Pong against the console's own player.

    Observation: uint8 (80, 80, 3). Actions: ``Discrete(3)``: nothing, up, down, without the emulator's random
    repetition, so that a clone that is given the same actions shows the same pictures. Reward: 1 for a point, -1 for
    one of the opponent's. Terminated at 21 points. ``info``: see ``positions``.

    Args:
        task: "points", or a function of ``StepInformation`` (or ``package.module:function``).
        render_mode: "rgb_array" or None.

    Raises:
        UserError: ``ale-py`` is not installed, or the task or render mode is unknown.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": FPS}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(self, task: TaskLike = "points", *, render_mode: str | None = None):
        if task is None or (isinstance(task, str) and task != "points" and ":" not in task):
            raise UserError(f"the emulator of Pong knows one task by name, 'points', not {task!r}")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise UserError(f"render_mode must be 'rgb_array' or None, got {render_mode!r}")
        gymnasium.register_envs(require("ale_py", "Pong's emulator"))
        self.render_mode, self.fact_rewards = render_mode, FactRewardFunction(task, 1 / FPS)
        console = gymnasium.make("ALE/Pong-v5", frameskip=FRAMESKIP, repeat_action_probability=0.0)
        self._console: Any = console.unwrapped
        names = self._console.get_action_meanings()
        self._codes = [names.index(name) for name in CONSOLE]
        self.action_space = spaces.Discrete(len(ACTIONS))
        self.observation_space = spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)
        self._frame: NDArray[np.uint8] | None = None
        self._ended = False

    @property
    def action_meanings(self) -> tuple[str, ...]:
        """What each action stands for, as the learned world of Pong tells it."""
        return ACTIONS

    @property
    def noop_action(self) -> np.int64:
        """The action that does nothing."""
        return np.int64(ACTIONS.index("NOOP"))

    def get_action_meanings(self) -> list[str]:
        """Names of the actions."""
        return list(ACTIONS)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """A new game, some seconds after its beginning: ``seed`` decides how it was played until then.

        Raises:
            UserError: there are options; the emulator has none.
        """
        if options:
            raise UserError(f"unknown reset option {min(options)!r}: the emulator of Pong has none")
        super().reset(seed=seed)
        picture, _ = self._console.reset(seed=int(self.np_random.integers(2**31)))
        action = 0
        for _ in range(int(self.np_random.integers(*WARM_UP))):
            if self.np_random.random() < 0.2:
                action = int(self.np_random.integers(len(ACTIONS)))
            picture = self._console.step(self._codes[action])[0]
        self._frame, self._ended = court(picture), False
        return self._frame.copy(), self._info()

    def step(self, action: np.int64 | int) -> tuple[NDArray[np.uint8], float, bool, bool, dict[str, Any]]:
        """Four frames of the console.

        Raises:
            ResetNeeded: there was no reset, or the episode is over.
            UserError: the action is not 0, 1 or 2.
        """
        if self._frame is None or self._ended:
            raise ResetNeeded("there is no episode, or it is over: call reset() before step()")
        if not self.action_space.contains(action):
            raise UserError(f"an action must be 0, 1 or 2, got {action!r}")
        picture, points, terminated, _, _ = self._console.step(self._codes[int(action)])
        self._frame = court(picture)
        held = np.eye(len(ACTIONS), dtype=np.float32)[None, None, int(action)]
        before, after = (points_facts(np.array([score], np.float32)) for score in (0, points))
        rewards, ends = self.fact_rewards.judge(
            before, after, self._frame[None, None], held, np.zeros((1, 5), np.float32)
        )
        self._ended = bool(terminated or ends[0])
        return self._frame.copy(), float(rewards[0]), self._ended, False, self._info()

    def clone_state(self, include_rng: bool = True) -> PongMoment:
        """A clone of the console, by the name that ALE's own environments have for it."""
        if self._frame is None:
            raise ResetNeeded("there is no episode yet: call reset() first")
        return PongMoment(self._console.ale.cloneState(include_rng=include_rng), self._frame.copy(), self._ended)

    def restore_state(self, moment: PongMoment) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Go back to a moment of this or another emulator; the same actions then show the same pictures."""
        self._console.ale.restoreState(moment.state)
        self._frame, self._ended = moment.frame.copy(), moment.ended
        return self._frame.copy(), self._info()

    def render(self) -> NDArray[np.uint8] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The picture, uint8 (80, 80, 3), in mode "rgb_array"."""
        return self._frame.copy() if self.render_mode == "rgb_array" and self._frame is not None else None

    def close(self) -> None:
        """Stop the emulator."""
        self._console.close()

    def _info(self) -> dict[str, Any]:
        return dict(positions(self._console.ale.getRAM()))


def court(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The court of a console picture uint8 (210, 160, 3), halved by averaging: uint8 (80, 80, 3)."""
    rows = picture[TOP:BOTTOM].reshape(SIZE, 2, SIZE, 2, 3)
    return np.round(rows.mean((1, 3))).astype(np.uint8)
