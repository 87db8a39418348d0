"""Who may connect: pages of this server alone, and, where other machines reach it, who has the token."""

import hmac
import ipaddress
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from worldsim.errors import UserError

VARIABLE, SHORTEST = "WORLDSIM_TOKEN", 16


@dataclass(frozen=True)
class Access:
    """Checks of a connection.

    Attributes:
        local: the server listens on loopback only; then it answers to names of this machine alone, for a foreign site
            could otherwise have its own name point here.
        token: who connects must know it; "": nobody has to.
        origins: sites besides the server's own whose pages may connect.
    """

    local: bool = True
    token: str = field(default="", repr=False)
    origins: Collection[str] = ()

    def refusal(self, host: str, origin: str | None) -> str:
        """Why a request with these headers is refused; "" if it is not."""
        if self.local and not is_loopback(_name(host)):
            return f"this server answers to localhost only, not to {host[:60]!a}"
        # A page's own site is told by the browser. Programs that are no browsers need not tell any.
        if origin is None or origin in self.origins:
            return ""
        own = urlsplit(origin)
        if own.scheme in ("http", "https") and own.netloc.lower() == host.lower():
            return ""
        return f"pages of {origin[:60]!a} may not connect; origins=[...] lists those that may"

    def knows(self, token: str) -> bool:
        """Whether somebody has the token."""
        return not self.token or hmac.compare_digest(token.encode(), self.token.encode())


def access_for(host: str, origins: Collection[str], environ: Mapping[str, str]) -> Access:
    """Access to a server on an address: with the token of the environment, or a drawn one where others reach it.

    Raises:
        UserError: the token is too short, or an origin is none.
    """
    token, local = environ.get(VARIABLE, ""), is_loopback(host)
    if token and (len(token) < SHORTEST or not token.isascii() or not token.isprintable()):
        raise UserError(f"{VARIABLE} must be {SHORTEST} or more printable ASCII characters")
    for origin in origins:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.netloc or origin != f"{parts.scheme}://{parts.netloc}":
            raise UserError(f"origin {origin!r} is not of the form https://NAME or https://NAME:PORT")
    return Access(local, token or ("" if local else secrets.token_urlsafe(24)), tuple(origins))


def is_loopback(name: str) -> bool:
    """Whether an address or name is this machine's own, and nobody else's."""
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
