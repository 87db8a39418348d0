"""What a page may send: every message is read as it stands, anything else is refused in words that fit into a close."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldsim.envs.play.serving.access import access_for
from worldsim.envs.play.serving.messages import (
    BURST,
    FLOOD,
    MALFORMED,
    MOST_LETTERS,
    RATE,
    Allowance,
    AskToDrive,
    Begin,
    Do,
    Give,
    Go,
    Hello,
    Input,
    Refused,
    ShowStarts,
    parse,
)
from worldsim.errors import UserError

GOOD: list[tuple[dict[str, Any], Any]] = [
    ({"type": "hello", "token": "t", "session": "", "me": "x"}, Hello("t", "", "x")),
    (
        {"type": "input", "number": 7, "held": ["forward", "jump"], "look": [-1.5, 20]},
        Input(7, frozenset({"forward", "jump"}), (-1.5, 20.0)),
    ),
    ({"type": "do", "what": "quick load", "further": False}, Do("quick load", False)),
    ({"type": "go", "stretch": 1, "depth": 40}, Go(1, 40)),
    ({"type": "begin", "start": 3}, Begin(3)),
    ({"type": "starts"}, ShowStarts()),
    ({"type": "drive"}, AskToDrive()),
    ({"type": "give", "to": 2}, Give(2)),
]


@pytest.mark.parametrize(("content", "message"), GOOD)
def test_every_message_is_read(content: dict[str, Any], message: Any):
    assert parse(json.dumps(content)) == message


@pytest.mark.parametrize("content", [content for content, _ in GOOD])
def test_a_field_more_or_less_is_refused(content: dict[str, Any]):
    for wrong in [content | {"more": 1}, *({k: v for k, v in content.items() if k != name} for name in content)]:
        with pytest.raises(Refused) as caught:
            parse(json.dumps(wrong))
        assert caught.value.code == MALFORMED


@pytest.mark.parametrize(
    "text",
    [
        "", "nonsense", "[]", "7", "null", "{}", '{"type": 3}', '{"type": ["input"]}', '{"type": "shell"}',
        '{"type": "input", "number": -1, "held": [], "look": [0, 0]}',
        '{"type": "input", "number": true, "held": [], "look": [0, 0]}',
        '{"type": "input", "number": 1, "held": ["rm"], "look": [0, 0]}',
        '{"type": "input", "number": 1, "held": [[]], "look": [0, 0]}',
        '{"type": "input", "number": 1, "held": "forward", "look": [0, 0]}',
        '{"type": "input", "number": 1, "held": [], "look": [NaN, 0]}',
        '{"type": "input", "number": 1, "held": [], "look": [1e999, 0]}',
        '{"type": "input", "number": 1, "held": [], "look": [0]}',
        '{"type": "input", "number": 1, "held": [], "look": [0, true]}',
        '{"type": "do", "what": "screenshot", "further": false}',
        '{"type": "do", "what": ["pause"], "further": false}',
        '{"type": "do", "what": "pause", "further": 0}',
        '{"type": "go", "stretch": 0, "depth": 99999999999}',
        '{"type": "go", "stretch": 0.5, "depth": 1}',
        '{"type": "hello", "token": "\\ud800", "session": "", "me": ""}',
        "[" * 1000, '{"type":' * 200, '{"type": ' + "[" * 900 + "]" * 900 + "}",
        "x" * (MOST_LETTERS + 1),
    ],
)  # fmt: skip
def test_nonsense_is_refused_in_words(text: str):
    with pytest.raises(Refused) as caught:
        parse(text)
    words = str(caught.value)
    # The end of a connection has room for 123 bytes.
    assert caught.value.code == MALFORMED and 5 < len(words.encode()) <= 123 and words.isprintable()


FIELDS = st.sampled_from(["type", "number", "held", "look", "what", "to"])
VALUES = st.none() | st.integers() | st.floats() | st.text() | st.sampled_from(["input", "do", "give"])


@pytest.mark.slow
@given(st.text() | st.recursive(VALUES, lambda inner: st.lists(inner) | st.dictionaries(FIELDS, inner)))
def test_whatever_comes_is_a_message_or_refused(content: Any):
    text = content if isinstance(content, str) else json.dumps(content)
    try:
        parse(text)
    except Refused as refused:
        assert str(refused).encode("utf-8")


def test_a_flood_is_refused_and_a_steady_hand_is_not():
    now = [100.0]
    flood = Allowance(lambda: now[0])
    for _ in range(int(BURST)):
        flood.take()
    with pytest.raises(Refused) as caught:
        flood.take()
    assert caught.value.code == FLOOD
    now[0] += 1.0
    for _ in range(int(RATE)):
        flood.take()
    with pytest.raises(Refused):
        flood.take()
    steady = Allowance(lambda: now[0])
    for _ in range(3000):
        now[0] += 1 / 120
        steady.take()


@pytest.mark.parametrize(
    ("listen", "host", "origin", "refused"),
    [
        ("127.0.0.1", "127.0.0.1:8765", None, False),
        ("127.0.0.1", "localhost:9000", "http://localhost:9000", False),
        ("localhost", "[::1]:8765", "http://[::1]:8765", False),
        ("127.0.0.1", "localhost:8765", "http://evil.example", True),
        ("127.0.0.1", "localhost:8765", "http://localhost:1234", True),
        ("127.0.0.1", "localhost:8765", "null", True),
        # A foreign name that was made to point here.
        ("127.0.0.1", "evil.example:8765", "http://evil.example:8765", True),
        ("127.0.0.1", "127.0.0.1.evil.example", None, True),
        ("127.0.0.1", "", None, True),
        ("127.0.0.1", "[::1", None, True),
        ("0.0.0.0", "play.example:8765", "http://play.example:8765", False),
        ("0.0.0.0", "inside:8765", "https://play.example", False),
        ("0.0.0.0", "inside:8765", "https://evil.example", True),
    ],
)
def test_only_pages_of_this_server_may_connect(listen: str, host: str, origin: str | None, refused: bool):
    access = access_for(listen, ["https://play.example"], {})
    assert bool(access.refusal(host, origin)) == refused


def test_where_others_reach_it_there_is_a_token():
    assert access_for("127.0.0.1", [], {}).token == "" and access_for("::1", [], {}).knows("")
    drawn, other = access_for("0.0.0.0", [], {}), access_for("192.168.1.5", [], {})
    assert len(drawn.token) >= 32 and drawn.token != other.token
    assert drawn.knows(drawn.token) and not drawn.knows("") and not drawn.knows(other.token)
    assert drawn.token not in repr(drawn)
    given = {"WORLDSIM_TOKEN": "sixteen-letters!"}
    assert access_for("127.0.0.1", [], given).knows("sixteen-letters!")
    assert not access_for("127.0.0.1", [], given).knows("")
    for short in ("short", "sixteen-letters\n", "sixteen-létters!!"):
        with pytest.raises(UserError, match="WORLDSIM_TOKEN"):
            access_for("127.0.0.1", [], {"WORLDSIM_TOKEN": short})
    for origin in ("example.org", "ftp://example.org", "https://example.org/path", "https://"):
        with pytest.raises(UserError, match="origin"):
            access_for("127.0.0.1", [origin], {})
