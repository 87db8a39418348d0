"""Who is at a world: one drives, the others look on; a connection that is lost may come back."""

import secrets
from collections.abc import Callable
from typing import Any

from worldsim.envs.play.serving.messages import FULL, REPLACED, Refused
from worldsim.envs.play.serving.outbox import Outbox, encoded

# Seconds that the driver's place is kept for a lost connection while others look on.
PLACE_KEPT = 15.0


class Person:
    """Somebody at a page.

    Attributes:
        number: that others see.
        secret: by which the person is known again.
        outbox: of the connection; None: it is lost.
        asks: to drive.
        left: when the connection was lost.
    """

    def __init__(self, number: int):
        self.number, self.secret = number, secrets.token_urlsafe(12)
        self.outbox: Outbox | None = None
        self.asks, self.left = False, 0.0


class People:
    """Everybody at one world.

    Args:
        most: how many may be connected.
        clock: seconds.
    """

    def __init__(self, most: int, clock: Callable[[], float]):
        self._most, self._clock = most, clock
        self._all: list[Person] = []
        self._count = 0
        self.driver: Person | None = None

    @property
    def here(self) -> list[Person]:
        """Who is connected."""
        return [person for person in self._all if person.outbox is not None]

    def join(self, secret: str, outbox: Outbox) -> Person:
        """Come in, or come back; the first one drives.

        Raises:
            Refused: there are too many.
        """
        person = next((one for one in self._all if secret and one.secret == secret), None)
        if person is not None and person.outbox is not None:
            person.outbox.end(REPLACED, "this world was opened in another tab")
            person.outbox = None
        if len(self.here) >= self._most:
            raise Refused(FULL, f"{self._most} people are at this world, which is as many as it takes")
        if person is None:
            self._count += 1
            person = Person(self._count)
            self._all.append(person)
        person.outbox = outbox
        self.driver = self.driver or person
        return person

    def leave(self, person: Person, outbox: Outbox) -> bool:
        """A connection ended; whether the person is gone with it, and has not come back by another one."""
        if person.outbox is not outbox:
            return False
        person.outbox, person.asks, person.left = None, False, self._clock()
        # Of those who are away, as many are remembered as may be here.
        away = sorted((one for one in self._all if one.outbox is None), key=lambda one: one.left)
        for one in [one for one in away if one is not self.driver][: -self._most]:
            self._all.remove(one)
        return True

    def give(self, number: int) -> bool:
        """Let somebody drive who is here; whether that is so."""
        chosen = next((one for one in self.here if one.number == number), None)
        if chosen is not None:
            self.driver, chosen.asks = chosen, False
        return chosen is not None

    def ask(self, person: Person) -> None:
        """Somebody would like to drive."""
        if person is not self.driver:
            person.asks = True

    def pass_on(self) -> bool:
        """Let the first who asks drive where nobody does, or the driver stays away; whether the driver is another."""
        waiting = next((one for one in self.here if one.asks), None)
        absent = self.driver is None or (self.driver.outbox is None and self._clock() > self.driver.left + PLACE_KEPT)
        return absent and waiting is not None and self.give(waiting.number)

    def put(self, kind: str, payload: str | bytes) -> None:
        """Send to everybody who is here."""
        for person in self.here:
            assert person.outbox is not None
            person.outbox.put(kind, payload)

    def tell(self, kind: str, **content: Any) -> None:
        """Send a message to everybody who is here."""
        self.put(kind, encoded(kind, **content))

    def end(self, code: int, words: str) -> None:
        """Let every connection end."""
        for person in self.here:
            assert person.outbox is not None
            person.outbox.end(code, words)

    def about(self) -> list[dict[str, Any]]:
        """For pages: who is here."""
        return [{"number": one.number, "asks": one.asks, "drives": one is self.driver} for one in self.here]
