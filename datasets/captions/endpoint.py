"""Captions and prompts by any language model with pictures behind an OpenAI-compatible endpoint.

``POST {url}/chat/completions`` with a few frames as base64 PNG pictures in the message, as vLLM, llama.cpp, Ollama,
LM Studio and the hosted services take it: https://platform.openai.com/docs/api-reference/chat/create
"""

import base64
import io
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.datasets.captions.clip_facts import ClipFacts
from worldsim.datasets.captions.style import describe
from worldsim.datasets.store.episode import Episode
from worldsim.spec.text_files import parse_json

INSTRUCTION = (
    "You see frames of a short first-person game recording, in order. Describe it in one to three sentences: the "
    "place, the light and time of day, what the player does over time, how the camera moves, and what changes in the "
    "world. Tell only what can be seen. No preface."
)
EXPANSION = (
    "Rewrite the user's short prompt as the description of a first-person game recording, one to three sentences: "
    "place, light and time of day, what the player does over time, how the camera moves. Keep everything that the "
    "prompt says and add only what fits. No preface. Examples of the style:\n"
)
# Answers that mean "later": too many requests, and servers that are starting or overloaded.
RETRIED = (429, 500, 502, 503, 504)


class EndpointError(OSError):
    """The endpoint cannot be reached, refuses, or gives no usable answer."""


class Endpoint:
    """A chat endpoint.

    Args:
        url: up to ``/v1``, say ``http://localhost:8000/v1``.
        model: the name the endpoint knows the model by.
        key: sent as a bearer token if given; never stored.
        timeout: seconds for an answer.
        attempts: tries at a request that fails for reasons that pass.
        pause: seconds before the second try; doubled each time.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: str | None = None,
        timeout: float = 120.0,
        attempts: int = 4,
        pause: float = 1.0,
    ):
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"an endpoint is http://... or https://..., up to /v1, got {url!r}")
        self.url, self.model = url.rstrip("/"), model
        self._key, self._timeout, self._attempts, self._pause = key, timeout, attempts, pause

    def chat(self, messages: Sequence[Mapping[str, Any]], *, seed: int, tokens: int = 160) -> str:
        """The answer to messages.

        Raises:
            EndpointError: there is none, after all attempts.
        """
        body = {"model": self.model, "messages": list(messages), "seed": seed, "max_tokens": tokens, "temperature": 0.7}
        reason = "no attempt was made"
        for attempt in range(self._attempts):
            try:
                return _text(self._post(body))
            except urllib.error.HTTPError as error:
                reason = f"{error.code} {_short(error.read())}"
                if error.code not in RETRIED:
                    break
            except (OSError, ValueError, TimeoutError) as error:
                reason = str(getattr(error, "reason", error))
            if attempt + 1 < self._attempts:
                time.sleep(self._pause * 2**attempt)
        raise EndpointError(f"{self.url} with model {self.model!r} gives no answer: {reason}")

    def _post(self, body: Mapping[str, Any]) -> bytes:
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        request = urllib.request.Request(f"{self.url}/chat/completions", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=self._timeout) as answer:
            return answer.read()


class EndpointCaptioner:
    """Captions by a vision-language model that sees a few frames of each clip.

    Args:
        endpoint: where the model is.
        pictures: frames it sees, evenly over the clip.
        scale: pixels per pixel of the recording: most models see nothing in very small pictures.
        instruction: what it is asked to do.
    """

    maker = "endpoint"

    def __init__(self, endpoint: Endpoint, *, pictures: int = 4, scale: int = 3, instruction: str = INSTRUCTION):
        if pictures < 1 or scale < 1:
            raise ValueError(f"pictures and scale must be at least 1, got {pictures} and {scale}")
        self.endpoint, self.pictures, self.scale, self.instruction = endpoint, pictures, scale, instruction

    def about(self) -> Mapping[str, Any]:
        """Endpoint, model and settings."""
        return {
            "url": self.endpoint.url, "model": self.endpoint.model, "pictures": self.pictures, "scale": self.scale,
            "instruction": self.instruction,
        }  # fmt: skip

    def caption(self, clip: Episode, seed: int) -> str:
        """The caption of a clip.

        Raises:
            EndpointError: the endpoint gives no answer.
        """
        chosen = np.unique(np.linspace(0, len(clip) - 1, self.pictures).round().astype(int))
        content: list[dict[str, Any]] = [{"type": "text", "text": self.instruction}]
        for row in chosen:
            content.append({"type": "image_url", "image_url": {"url": picture_url(clip.frames[row], self.scale)}})
        return self.endpoint.chat([{"role": "user", "content": content}], seed=seed)


class EndpointExpander:
    """Turns short prompts into the style of captions with a language model."""

    def __init__(self, endpoint: Endpoint):
        self.endpoint = endpoint

    def expand(self, prompt: str, seed: int) -> str:
        """A descriptive prompt.

        Raises:
            ValueError: the prompt is empty.
            EndpointError: the endpoint gives no answer.
        """
        if not prompt.strip():
            raise ValueError("the prompt is empty")
        facts = ClipFacts(
            place=" in a desert", time="at dusk", light="dim", activities=("forward", "dig"), camera="right",
            degrees=60, dug=(("sand", 2),),
        )  # fmt: skip
        examples = "\n".join(f"- {describe(facts, number)}" for number in range(3))
        messages = [{"role": "system", "content": EXPANSION + examples}, {"role": "user", "content": prompt}]
        return self.endpoint.chat(messages, seed=seed)


def picture_url(frame: NDArray[np.uint8], scale: int = 1) -> str:
    """A frame, uint8 (H, W, 3), as a data URL that holds a PNG picture ``scale`` times as large."""
    large = frame.repeat(scale, 0).repeat(scale, 1)
    return "data:image/png;base64," + base64.b64encode(_png(large)).decode()


def _png(frame: NDArray[np.uint8]) -> bytes:
    import av

    with io.BytesIO() as out:
        codec = av.CodecContext.create("png", "w")
        codec.height, codec.width = frame.shape[:2]  # type: ignore[attr-defined]
        codec.pix_fmt = "rgb24"  # type: ignore[attr-defined]
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        for packet in [*codec.encode(picture), *codec.encode(None)]:  # type: ignore[attr-defined]
            out.write(bytes(packet))
        return out.getvalue()


def _text(answer: bytes) -> str:
    try:
        content = parse_json(answer)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"an answer without choices[0].message.content: {_short(answer)}") from error
    text = " ".join(str(content or "").split())
    if not text:
        raise ValueError("an empty answer")
    return text


def _short(answer: bytes) -> str:
    return " ".join(answer.decode(errors="replace").split())[:120]
