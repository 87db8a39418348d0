"""A task of Pong that pictures alone can judge: what to learn from where a world is unsure of points."""

import numpy as np

from worldsim.envs.learned.tasks import StepInformation
from worldsim.envs.pong.engine import SIZE
from worldsim.envs.pong.pixels import PADDLE_X, read

# Of the court's width, from where on a paddle should be where the ball is; and the pixels off it that earn nothing.
NEAR_SIDE, FAR = SIZE / 2, 10.0


def follow_ball(step: StepInformation) -> tuple[float, bool]:
    """How near the paddle is to the ball's height while the ball is on its side: 1 if level, 0 from 10 pixels on.

    Nothing where the ball, or the paddle, is not to be seen, so that a ball that is missed, or forgotten, earns no
    more: were being far off punished instead, losing the ball would pay. An episode never ends by it. For
    ``task="worldsim.envs.pong.tasks:follow_ball"``, in the dream and in the console alike.
    """
    sight = read(step.frames[-1:])
    ball_x, away = float(sight.ball_x[0]), float(abs(sight.ball_y[0] - sight.paddle_y[0]))
    if np.isnan(ball_x) or np.isnan(away) or not NEAR_SIDE <= ball_x <= PADDLE_X.stop:
        return 0.0, False
    return max(0.0, 1.0 - away / FAR), False
