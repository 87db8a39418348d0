"""Where and how much a server serves."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Serving:
    """How a world is served.

    Attributes:
        host: address to listen on; one that other machines reach wants a token.
        port: to listen on, 0 for a free one.
        sessions: worlds that may be played at the same time.
        viewers: people that may be at one world.
        linger: seconds that a world is kept while nobody is connected.
        origins: sites besides the server's own whose pages may connect, as https://NAME.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    sessions: int = 4
    viewers: int = 16
    linger: float = 300.0
    origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.port < 2**16:
            raise ValueError(f"port must be from 0 to 65535, got {self.port}")
        if self.sessions < 1 or self.viewers < 1:
            raise ValueError(f"sessions and viewers must be at least 1, got {self.sessions} and {self.viewers}")
        if not 0 <= self.linger < float("inf"):
            raise ValueError(f"linger must be 0 or more seconds, got {self.linger}")
