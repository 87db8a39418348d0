"""A car game of fifty lines, and its recording: a road seen from above, three keys, recorded by two lines.

What one sees: the road winds towards the car, faster with gas; beside the road the car sticks in the grass.
Play with the arrow keys: `python examples/car_game.py data/car train 12000`. Close the window to end earlier; what was
recorded so far is kept. Or let a random player drive, without a window:

    python examples/car_game.py data/car train 12000 auto
    python examples/car_game.py data/car validation 1500 auto
    python examples/car_game.py data/car test 1500 auto
    worldsim make-world data/car hours=0.4
"""

import math
import os
import random
import sys

import pygame

from worldsim.datasets.recording.recorder import Recorder

if len(sys.argv) < 4:
    sys.exit(__doc__)
store, split, frames, auto = sys.argv[1], sys.argv[2], int(sys.argv[3]), "auto" in sys.argv[4:]
if auto:
    os.environ["SDL_VIDEODRIVER"] = "dummy"
SIZE, KEYS = 48, {"left": pygame.K_LEFT, "right": pygame.K_RIGHT, "gas": pygame.K_UP}
# A window of 48 pixels could not be seen: it is shown enlarged, and recorded as it is.
screen = pygame.display.set_mode((SIZE, SIZE), 0 if auto else pygame.SCALED)
clock, dice = pygame.time.Clock(), random.Random()
road = random.Random(split)
bends = [(road.uniform(2, 6), road.uniform(60, 200), road.uniform(0, 7)) for _ in range(3)]


def middle(y: float) -> float:
    """The middle of the road, so many pixels from the start."""
    return SIZE / 2 + sum(wide * math.sin(y / long * 6.3 + begin) for wide, long, begin in bends)


def draw(car: float, way: float) -> None:
    """Grass with trees, the road with its marks, the car."""
    for row in range(SIZE):
        y = int(way) + SIZE - row
        screen.fill((70, 150, 60) if y // 12 % 2 else (60, 135, 55), (0, row, SIZE, 1))
        screen.fill((95, 95, 100), (middle(y) - 10, row, 20, 1))
        if y // 6 % 2:
            screen.fill((235, 235, 220), (middle(y) - 1, row, 2, 1))
    for tree in range(int(way) // 24, int(way) // 24 + 4):
        side = 16 + tree * 7 % 6
        x = middle(tree * 24) + (side if tree * 37 % 5 < 2 else -side)
        pygame.draw.circle(screen, (25, 80, 35), (x, SIZE - (tree * 24 - int(way))), 3)
    pygame.draw.rect(screen, (210, 40, 40), (car - 3, SIZE - 13, 6, 9), border_radius=2)
    pygame.display.flip()


car, way, speed, held = middle(9), 0.0, 1.0, set[str]()
with Recorder(store, tuple(KEYS), fps=10, source="car", licence="CC0-1.0", split=split,
              policy="random" if auto else "human") as recorder:  # fmt: skip
    for _ in range(frames):
        if any(event.type == pygame.QUIT for event in pygame.event.get()):
            break
        draw(car, way)
        if auto and dice.random() < 0.15:
            held = {key for key in KEYS if dice.random() < (0.6 if key == "gas" else 0.35)}
            held |= {"right" if car < middle(way + 22) else "left"} if dice.random() < 0.4 else set()
        elif not auto:
            held = {key for key, code in KEYS.items() if pygame.key.get_pressed()[code]}
            clock.tick(10)
        recorder.add(pygame.surfarray.array3d(screen).swapaxes(0, 1), sorted(held))
        grass = abs(car - middle(way + 9)) > 10
        speed += 0.25 * ((1.0 if grass else 4.0 if "gas" in held else 1.0) - speed)
        car = min(SIZE - 4, max(4, car + 2 * ("right" in held) - 2 * ("left" in held)))
        way += speed
