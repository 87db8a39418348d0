"""Text made to fit a space."""

import pytest

from worldsim.plotting.lettering import READABLE, SMALLEST, lay_out, wrapped


class Font:
    """Letters half as wide as high."""

    def __init__(self, points: int):
        self.points = points

    def size(self, text: str) -> tuple[int, int]:
        return len(text) * self.points // 2, self.points

    def get_linesize(self) -> int:
        return self.points


def laid(lines: list[str], space: tuple[int, int], table: bool = False) -> tuple[int, list[str]]:
    out = lay_out(Font, lines, 20, space, table=table)  # pyright: ignore[reportArgumentType]
    return out.font.points, [row for row, _ in out.rows]  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("short", ["short"]),
        ("", [""]),
        ("two words", ["two words"]),
        ("three words here", ["three", "words here"]),
        ("a/path/that/is/long", ["a/path/tha", "t/is/long"]),
        # A wide gap goes first, if the row is not left half empty.
        ("go on.   H: keys", ["go on.", "H: keys"]),
        ("a   b c d e f g", ["a   b c d", "e f g"]),
        # What stands in front of the first word stays with it.
        ("  in and out of", ["  in and", "out of"]),
    ],
)
def test_lines_are_parted_at_spaces(text: str, rows: list[str]):
    assert wrapped(Font(2), text, 10) == rows  # pyright: ignore[reportArgumentType]


def test_prose_is_wrapped_before_it_becomes_smaller_and_a_table_the_other_way_round():
    line = "one two three four five"
    assert laid([line], (180, 200)) == (20, ["one two three", "four five"])
    assert laid([line], (180, 200), table=True) == (14, [line])
    # Too high: smaller letters, down to those that can be read.
    assert laid([line] * 4, (180, 100)) == (14, [line] * 4)
    points, rows = laid([line] * 4, (60, 100))
    assert points == SMALLEST < READABLE and rows[-1].endswith(" ...") and len(rows) == (100 - 8) // SMALLEST


def test_nothing_is_lost_where_there_is_room():
    line = "kept /home/somebody/worlds/of-my-own/runs/play-2026-11-29/recording-12.mp4"
    for width in range(60, 800, 37):
        _, rows = laid([line], (width, 400))
        assert "".join(rows).replace(" ", "") == line.replace(" ", "")
