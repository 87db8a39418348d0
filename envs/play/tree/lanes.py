"""Where the stretches of a timeline are drawn: rows, so that none covers another."""

from dataclasses import dataclass

from worldsim.envs.play.tree.timeline import Timeline

ROWS = 6


@dataclass(frozen=True)
class Lane:
    """A stretch on the timeline: its row, and the depths of its parent moment and its last."""

    stretch: int
    row: int
    first: int
    last: int


def lanes(timeline: Timeline, shown: int, rows: int = ROWS) -> list[Lane]:
    """Rows for stretches, so that none covers another; the newest go first, after those that lead to what is shown."""
    moments, stretches = timeline.moments, timeline.stretches
    path, number = set(), shown
    while number >= 0:
        path.add(moments[number].stretch)
        number = stretches[moments[number].stretch].parent
    order = sorted(range(len(stretches)), key=lambda i: (i not in path, i in path and i, -i))
    taken: list[list[tuple[int, int]]] = [[] for _ in range(rows)]
    out = []
    for i in order:
        first = moments[stretches[i].parent].depth if stretches[i].parent >= 0 else 0
        last = moments[stretches[i].numbers[-1]].depth
        free = (r for r in range(rows) if all(last < a or first > b for a, b in taken[r]))
        if (row := next(free, None)) is not None:
            taken[row].append((first, last))
            out.append(Lane(i, row, first, last))
    return out
