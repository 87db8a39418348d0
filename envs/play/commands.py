"""What the window's keys and the lines of its menu do."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from worldsim.envs.play.bindings import COMMANDS, REWINDING, Preferences, spoken
from worldsim.envs.play.keeping import Keeper
from worldsim.envs.play.overlays.menu import Entry
from worldsim.envs.play.overlays.views import next_view
from worldsim.envs.play.pace import REAL, Phase
from worldsim.envs.play.seats import YOU
from worldsim.envs.play.session import Session
from worldsim.plotting.window import Window

if TYPE_CHECKING:
    from worldsim.envs.play.games import Game

# Seconds that "rewind" goes back.
BACK = 2.0
IN_MENU = (
    "rewind", "quick load", "restart", "starts", "player", "real", "view", "save", "keep", "video", "gif", "screenshot",
)  # fmt: skip


class Overlay(Protocol):
    """Opens help, menu or starts, or closes all."""

    def __call__(self, *, menu: bool = False, help: bool = False, starts: bool = False) -> None: ...  # noqa: D102


class PlayCommands:
    """Commands that every surface has, by name; see ``COMMANDS``.

    Args:
        session: what is played.
        keeper: keeps what is asked for.
        preferences: of the person.
        say: shows a line to the player.
    """

    def __init__(self, session: Session, keeper: Keeper, preferences: Preferences, say: Callable[[str], None]):
        self.session, self.keeper, self.preferences, self.say = session, keeper, preferences, say
        self._all: dict[str, Callable[[], Any]] = {
            "pause": self._pause,
            "step": session.single_step,
            "rewind": lambda: session.back(BACK),
            "quick save": self._mark,
            "quick load": self._to_mark,
            "restart": session.restart,
            "player": self._hand_over,
            "save": keeper.save,
            "keep": keeper.keep_episode,
        }

    def do(self, what: str, shift: bool = False) -> None:
        """A command; ``shift``: further."""
        game = self.session.game
        if what in REWINDING and game is not None and not game.rewinds:
            self.say("this game cannot go back")
        elif what in ("earlier", "later"):
            second = 1 if game is None else max(1, round(game.fps / game.chunk))
            self.session.pause()
            self.session.scrub((second if shift else 1) * (-1 if what == "earlier" else 1))
        else:
            self._all[what]()

    def _pause(self) -> None:
        if self.session.phase is Phase.PLAYING:
            self.session.pause()
        else:
            self.session.resume()

    def _mark(self) -> None:
        self.session.set_mark()
        keys = [spoken(key) for key in self.preferences.keys_of("quick load")]
        self.say("marked" + (f": {' or '.join(keys)} returns here" if keys else ""))

    def _to_mark(self) -> None:
        if not self.session.to_mark():
            self.say("no moment is marked")

    def _hand_over(self) -> None:
        if len(self.session.seats.names) < 2:
            self.say("nobody else can play this game")
            return
        self.say(f"{self.session.seats.next()} plays")
        if self.session.seats.playing != YOU and self.session.phase is Phase.READY:
            self.session.resume()


class Commands(PlayCommands):
    """The window's commands: those of every surface, and its own.

    Args:
        session: what is played.
        window: where it is shown.
        keeper: keeps what is asked for.
        preferences: of the person.
        say: shows a line to the player.
        overlay: opens and closes help and menu.
        look: looks at the game in another view.
        beside: opens the real game beside this one, or goes back from there.
    """

    def __init__(
        self,
        session: Session,
        window: Window,
        keeper: Keeper,
        preferences: Preferences,
        say: Callable[[str], None],
        overlay: Overlay,
        look: Callable[[str], None],
        beside: Callable[[], None],
    ):
        super().__init__(session, keeper, preferences, say)
        self.window, self.overlay, self.inside = window, overlay, False
        self.look = look
        self._all |= {
            "starts": lambda: overlay(starts=True),
            "view": self._next_view,
            "real": beside,
            "screenshot": lambda: keeper.screenshot(window.picture()),
            "video": lambda: keeper.toggle(".mp4"),
            "gif": lambda: keeper.toggle(".gif"),
            "inside": self._inside,
            "smooth": self._smooth,
            "full screen": lambda: window.resize(not window.full_screen),
            "help": lambda: overlay(help=True),
            "menu": lambda: overlay(menu=True),
        }

    def entries(self, game: "Game", leave: Callable[[], None], *, real: bool = True) -> list[Entry]:
        """Lines of the menu for a game; ``real``: whether there is a real game to open beside it, or a way back."""
        left_out = () if game.rewinds else REWINDING
        if len(game.views) < 2:
            left_out = (*left_out, "view")
        if not real:
            left_out = (*left_out, "real")
        return [
            Entry(lambda: "Go on", self.overlay),
            Entry(lambda: "Keys", lambda: self.overlay(help=True)),
            *(self._entry(name) for name in IN_MENU if name not in left_out),
            self._entry("smooth"),
            self._entry("full screen"),
            Entry(lambda: "Quit", leave),
        ]

    def pressed(self, key: str) -> None:
        """A key of the game: the moment that stood goes on, if the game knows the key."""
        game = self.session.game
        if game is None:
            return
        if words := game.hands.unheard(self.preferences.keys[key], spoken(key)):
            self.say(words)
        elif self.session.phase is Phase.READY:
            self.session.resume()

    def _entry(self, what: str) -> Entry:
        def text() -> str:
            words = COMMANDS[what]
            if what == "player":
                words = f"who plays: {self.session.seats.playing}"
            elif what == "view":
                words = f"view: {self._view()}"
            elif what == "real":
                words = "back to the dream alone" if self._is_beside() else "the real game beside the dream"
            elif what == "smooth":
                words = f"pixels: {'smooth' if self.window.smooth else 'crisp'}"
            elif what in ("video", "gif") and (recording := self.keeper.films.recording) is not None:
                words = f"stop recording {recording.path.name}"
            return words[:1].upper() + words[1:]

        def choose() -> None:
            self.do(what)
            if what in ("rewind", "quick load", "restart", "view"):
                self.overlay()

        return Entry(text, choose)

    def _next_view(self) -> None:
        game = self.session.game
        if game is not None and len(game.views) > 1:
            self._show(next_view(game.views, self._view()))
        else:
            self.say("this game has one view")

    def _is_beside(self) -> bool:
        return self.session.game is not None and REAL in self.session.game.views

    def _show(self, view: str) -> None:
        self.look(view)
        self.say(f"view: {view}")

    def _view(self) -> str:
        return "" if self.session.game is None else self.session.game.watch

    def _inside(self) -> None:
        self.inside = not self.inside

    def _smooth(self) -> None:
        self.preferences.smooth = self.window.smooth = not self.window.smooth
        try:
            self.preferences.save()
        except OSError as error:
            self.say(f"this lasts until the window closes: {error}")
