"""An OpenAI-compatible endpoint, played by a local web server that checks what it is asked."""

import base64
import http.server
import io
import json
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import av
import numpy as np
import pytest

from tests.datasets.store.test_store import make_episode
from worldsim.datasets.captions.endpoint import (
    Endpoint,
    EndpointCaptioner,
    EndpointError,
    EndpointExpander,
    picture_url,
)


class Stub(http.server.BaseHTTPRequestHandler):
    """Keeps requests and answers from a list."""

    requests: ClassVar[list[tuple[str, dict[str, str], dict[str, Any]]]] = []
    answers: ClassVar[list[tuple[int, bytes]]] = []

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.requests.append((self.path, dict(self.headers), body))
        status, answer = self.answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def says(text: str) -> tuple[int, bytes]:
    return 200, json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()


@pytest.fixture
def url() -> Iterator[str]:
    Stub.requests, Stub.answers = [], []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()


def decoded(picture: str) -> np.ndarray:
    head, content = picture.split(",", 1)
    assert head == "data:image/png;base64"
    with av.open(io.BytesIO(base64.b64decode(content)), "r") as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def test_the_request_shows_frames_of_the_clip_in_order(url: str):
    Stub.answers = [says("  A player walks\n in a forest. ")]
    clip = make_episode(33)
    captioner = EndpointCaptioner(Endpoint(url + "/", "llava", key="secret"), pictures=3, scale=2)
    assert captioner.caption(clip, seed=7) == "A player walks in a forest."
    [(path, headers, body)] = Stub.requests
    assert path == "/v1/chat/completions" and headers["Authorization"] == "Bearer secret"
    assert headers["Content-Type"] == "application/json" and (body["model"], body["seed"]) == ("llava", 7)
    [message] = body["messages"]
    assert message["role"] == "user" and message["content"][0]["type"] == "text"
    shown = [part["image_url"]["url"] for part in message["content"][1:]]
    assert len(shown) == 3 and all(part["type"] == "image_url" for part in message["content"][1:])
    for picture, row in zip(shown, (0, 16, 32), strict=True):
        np.testing.assert_array_equal(decoded(picture), clip.frames[row].repeat(2, 0).repeat(2, 1))
    assert "secret" not in json.dumps(dict(captioner.about()))


def test_without_a_key_none_is_sent(url: str):
    Stub.answers = [says("x")]
    EndpointCaptioner(Endpoint(url, "m")).caption(make_episode(6), 0)
    assert "Authorization" not in Stub.requests[0][1]


def test_passing_troubles_are_tried_again_and_others_are_not(url: str):
    Stub.answers = [(503, b"busy"), (200, b"not json"), says(""), says("at last")]
    assert Endpoint(url, "m", pause=0).chat([{"role": "user", "content": "?"}], seed=0) == "at last"
    Stub.answers = [(401, b"wrong\nkey")]
    with pytest.raises(EndpointError, match="401 wrong key"):
        Endpoint(url, "m", pause=0).chat([], seed=0)
    Stub.answers = [(429, b"later")] * 2
    with pytest.raises(EndpointError, match="429 later"):
        Endpoint(url, "m", pause=0, attempts=2).chat([], seed=0)
    assert len(Stub.requests) == 4 + 1 + 2


def test_an_endpoint_that_is_not_there_is_told():
    with pytest.raises(EndpointError, match="no answer"):
        Endpoint("http://127.0.0.1:9/v1", "m", attempts=1, timeout=2).chat([], seed=0)
    with pytest.raises(ValueError, match="http"):
        Endpoint("localhost:8000", "m")


def test_prompts_are_expanded_in_the_style_of_captions(url: str):
    Stub.answers = [says("The player digs in a desert.")]
    expander = EndpointExpander(Endpoint(url, "m"))
    assert expander.expand("digging", 3) == "The player digs in a desert."
    system, user = Stub.requests[0][2]["messages"]
    assert (
        user == {"role": "user", "content": "digging"}
        and system["role"] == "system"
        and "two blocks of sand" in system["content"].lower()
    )
    with pytest.raises(ValueError, match="empty"):
        expander.expand(" ", 0)


def test_a_picture_survives_its_url():
    frame = make_episode(6).frames[0]
    np.testing.assert_array_equal(decoded(picture_url(frame)), frame)
