"""One world on the page: a session of play, who drives it, who looks on.

r video frames per chunk, H W pixels.
"""

import asyncio
import secrets
import struct
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from worldsim.envs.play.bindings import Preferences
from worldsim.envs.play.commands import PlayCommands
from worldsim.envs.play.controls import Controls
from worldsim.envs.play.keeping import Keeper, Outlets
from worldsim.envs.play.pace import Phase
from worldsim.envs.play.seats import YOU
from worldsim.envs.play.serving.messages import AskToDrive, Begin, Do, Give, Go, Hello, Input, Message, ShowStarts
from worldsim.envs.play.serving.outbox import Outbox, encoded
from worldsim.envs.play.serving.people import People, Person
from worldsim.envs.play.serving.picturing import Told, about_game, about_now, about_starts, about_tree, jpeg
from worldsim.envs.play.session import Session
from worldsim.spec.actions import MINECRAFT

# Seconds between two looks at the session: while it plays, while it stands, while nobody is there.
PLAYING, STANDING, DESERTED = 0.004, 0.02, 0.05
# Seconds between two messages about state, and about the timeline while it grows.
STATE_EVERY, TREE_EVERY = 0.25, 1.0
# A world in which nothing was played is not kept for long.
UNTOUCHED = 15.0
# Before each picture: the last input that it shows the effect of, and the moment.
HEADER = struct.Struct(">II")


class Room:
    """A session that pages share.

    Args:
        name: by which pages find it; who knows it may look on.
        session: what is played.
        outlets: where what is kept goes.
        preferences: keys and mouse at first.
        viewers: how many may be connected.
        linger: seconds that it is kept while nobody is connected.
        clock: seconds.
    """

    def __init__(
        self,
        session: Session,
        outlets: Outlets,
        preferences: Preferences,
        *,
        name: str = "",
        viewers: int = 16,
        linger: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.name = name or secrets.token_urlsafe(9)
        self.session, self.preferences, self.linger, self._clock = session, preferences, linger, clock
        self.people = People(viewers, clock)
        # Of the folder for what is kept.
        self.label = "world"
        self.keeper = Keeper(session, replace(outlets, folder=lambda: outlets.folder() / self.label), self._say)
        self.commands = PlayCommands(session, self.keeper, preferences, self._say)
        self.controls = Controls(MINECRAFT, preferences)
        # Nobody was here yet: it waits for the first one.
        self.begun = self._opened = False
        self._left = clock()
        self._interrupted = False
        # Which input a moment is the first to show; the last one that came.
        self._inputs: dict[int, int] = {}
        self._last_input = 0
        self._frame: NDArray[np.uint8] | None = None
        self._picture = b""
        self._state, self._tree, self._starts = Told(clock, STATE_EVERY), Told(clock, TREE_EVERY), ""
        self._keys = Told(clock, float("inf"))

    def over(self) -> bool:
        """Whether it was left for too long, or never came to be."""
        if self.session.phase is Phase.FAILED and self.session.game is None:
            return True
        timeline = self.session.timeline
        untouched = timeline is None or len(timeline.moments) < 2
        kept = min(self.linger, UNTOUCHED) if untouched else self.linger
        return self.begun and not self.people.here and self._clock() > self._left + kept

    async def run(self) -> None:
        """Play until it is over."""
        while not self.over():
            self.look()
            await asyncio.sleep(
                DESERTED if not self.people.here else PLAYING if self.session.phase is Phase.PLAYING else STANDING
            )

    def join(self, hello: Hello, outbox: Outbox) -> Person:
        """Somebody comes, or comes back."""
        person = self.people.join(hello.me, outbox)
        self.begun = True
        outbox.tell("welcome", session=self.name, me=person.secret, number=person.number, linger=self.linger)
        if self._opened:
            outbox.put("game", about_game(self.session, self.preferences))
        for told in (self._state, self._tree, self._keys):
            told.again()
        if self._picture:
            outbox.put("picture", self._picture)
        if person is self.people.driver:
            # A page counts its inputs anew.
            self._inputs, self._last_input = {}, 0
            if self._interrupted:
                self._interrupted = False
                self.session.resume()
        return person

    def leave(self, person: Person, outbox: Outbox) -> None:
        """A connection ended: the world stands still where its driver is lost, or nobody looks on."""
        if self.people.leave(person, outbox):
            if person is self.people.driver:
                self.controls.release()
            playing, alone = self.session.phase is Phase.PLAYING, not self.people.here
            if playing and (alone or (person is self.people.driver and self.session.seats.playing == YOU)):
                self._interrupted = True
                self.session.pause()
            self._left = self._clock()
            self._state.again()

    def close(self) -> None:
        """End the session and keep what was played. Takes some seconds at most."""
        self.session.close()
        self.keeper.close()
        if self.session.game is not None:
            self.session.game.close()

    def receive(self, person: Person, message: Message) -> None:
        """Somebody sent something: the driver's word counts."""
        if isinstance(message, ShowStarts):
            self._show_starts(person)
        elif isinstance(message, AskToDrive):
            self.people.ask(person)
            self._state.again()
        elif person is self.people.driver and self.session.game is not None:
            self._drive(message)

    def look(self) -> None:
        """Let the session go on, and tell everybody what is new."""
        session = self.session
        self._open()
        if self.people.pass_on():
            self._new_driver()
        kept = len(self.keeper.kept)
        frame = session.tick(self._take)
        if frame is not None:
            self._inputs = {moment: number for moment, number in self._inputs.items() if moment >= session.shown}
        elif session.phase in (Phase.READY, Phase.PAUSED) and session.moved:
            there = session.picture()
            changed = self._frame is None or not np.array_equal(there, self._frame)  # pyright: ignore
            frame = there if changed else None
        if frame is not None:
            self._frame = frame
            self._picture = HEADER.pack(self._inputs.get(session.shown, 0), session.shown) + jpeg(frame)
            self.people.put("picture", self._picture)
        for path in self.keeper.kept[kept:]:
            if self.people.driver is not None and self.people.driver.outbox is not None:
                self.people.driver.outbox.tell("file", name=path.name, text=path.read_text())
        self._tell_news()

    def _tell_news(self) -> None:
        session, people = self.session, self.people
        driver = people.driver.number if people.driver else 0
        urgent = (session.phase, session.moving, session.seats.playing, session.error, driver)
        if (state := self._state.news(lambda: about_now(session, people), urgent)) is not None:
            people.put("state", state)
        # What the next step will get: said at once, for a step may take long.
        keys = sorted(self.controls.held | self.controls.tapped)
        if (told := self._keys.news(lambda: encoded("keys", held=keys), keys)) is not None:
            people.put("keys", told)
        if self._opened and session.phase is not Phase.LOADING:
            playing = session.phase is Phase.PLAYING
            urgent = (session.phase, None if playing else session.shown, session.mark)
            if (tree := self._tree.news(lambda: about_tree(session), urgent)) is not None:
                people.put("tree", tree)

    def _open(self) -> None:
        """The game is there: its keys are known."""
        game = self.session.game
        if game is not None and not self._opened:
            self._opened = True
            self.controls = Controls(game.hands.spec, self.preferences)
            self.keeper.know()
            self.people.put("game", about_game(self.session, self.preferences))

    def _drive(self, message: Message) -> None:
        session, game, timeline = self.session, self.session.game, self.session.timeline
        assert game is not None and timeline is not None
        match message:
            case Input():
                self._input(message)
            case Do(what="pause"):
                session.pause()
            case Do(what="resume"):
                session.resume()
            case Do(what=what, further=further):
                self.commands.do(what, further)
            case Go(stretch=stretch, depth=depth):
                if stretch < len(timeline.stretches) and session.phase is not Phase.LOADING:
                    session.go(timeline.at(stretch, depth))
            case Begin(start=start):
                if game.pictures is not None and start < len(game.pictures):
                    session.restart(start)
            case Give(to=number):
                if self.people.give(number):
                    self._new_driver()

    def _input(self, message: Input) -> None:
        game, held = self.session.game, self.controls.held
        assert game is not None
        known = {control for controls, _ in game.hands.meanings for control in controls}
        pressed = message.held - held
        for control in held - message.held:
            self.controls.press(control, False)
        for control in pressed & known:
            self.controls.press(control, True)
        self.controls.motion += message.look
        self._last_input = message.number
        if pressed & known and self.session.phase is Phase.READY:
            self.session.resume()

    def _take(self, frames: int) -> NDArray[np.float32]:
        """The person's controls, for a step that becomes the next moment of the timeline."""
        assert self.session.timeline is not None
        self._inputs[len(self.session.timeline.moments)] = self._last_input
        return self.controls.take(frames)

    def _new_driver(self) -> None:
        self.controls.release()
        self._inputs, self._last_input, self._interrupted = {}, 0, False
        assert self.people.driver is not None
        self._say(f"player {self.people.driver.number} drives")
        self._state.again()

    def _show_starts(self, person: Person) -> None:
        game = self.session.game
        if person.outbox is not None and game is not None and game.pictures is not None:
            self._starts = self._starts or about_starts(game.pictures)
            person.outbox.put("starts", self._starts)

    def _say(self, words: str) -> None:
        # Pages need not know where this machine keeps things.
        for path in self.keeper.kept:
            words = words.replace(str(path), path.name)
        self.people.tell("say", words=words)
