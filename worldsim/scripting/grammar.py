"""Action scripts: a small text language for scripted play, the same for engines and learned worlds.

    # Walk, turn right (positive yaw) by 90 degrees in 6 frames, dig until a block comes out, all of it three times.
    forward 20; yaw +15/frame x 6; attack until event dig within 100; repeat 3

Grammar (``[ ]`` optional, ``{ }`` any number of times, quoted words stand for themselves; ``#`` begins a comment):

    script    = [ statement ] { ( ";" | newline ) [ statement ] }
    statement = action | "repeat" COUNT [ "{" script "}" ]
    action    = ( "wait" | "noop" | term { [ "+" ] term } ) [ length ]
    term      = KEY [ "=" NUMBER ] | ( "yaw" | "pitch" ) NUMBER [ "/frame" | "/s" ]
    length    = [ "x" ] DURATION | "until" condition [ "within" DURATION ]
    condition = "event" NAME | NAME ( "<" | ">" ) NUMBER
    DURATION  = COUNT | NUMBER "s"

A term is a key that is held or a turn of the camera in degrees (positive yaw turns right, positive pitch looks down):
in each frame (``/frame``), a second (``/s``), or, without a unit, in all, spread evenly over the action's frames.
Terms of one action happen together. A length is a number of video frames or of seconds; without one, an action lasts
one frame. ``wait``, or ``noop``, presses nothing (in games that have a key for it, that one). ``until`` goes on until
an event of that kind happens during the action, or until a number that the game tells (``x``, ``y``, ``z``: position
in metres; ``yaw``, ``pitch``; any other in ``info``) is below or above a value; after ``within`` (default: 1000
frames) the script goes on anyway. ``repeat`` with braces plays its block that many times; without braces it means
everything before it in its own block. A key whose name is a word of the language, or no plain name, stands in double
quotes. ``KEY=NUMBER`` is for axes: keys whose names begin with ``axis.`` take -1 to 1.
"""

from worldsim.scripting.syntax_tree import PATIENCE, Act, Duration, Key, Repeat, Script, Turn, Until
from worldsim.scripting.tokens import NOTHING, ScriptError, Token, Where, plain_name, reserved, tokens_of

MOST_REPEATS, DEEPEST = 100_000, 50
# Characters of a script; longer play is a CSV.
LONGEST_TEXT = 2**18


def parse_script(text: str, name: str = "") -> Script:
    """Read a script.

    Args:
        text: the script.
        name: of its file, for messages.

    Raises:
        ScriptError: it does not follow the grammar; tells line and column.
    """
    if len(text) > LONGEST_TEXT:
        raise ScriptError(Where(1, 1), f"the script has {len(text)} characters, more than {LONGEST_TEXT}", name)
    try:
        script = _Parser(text).block(0)
    except ScriptError as error:
        raise ScriptError(error.where, error.reason, name) from None
    if not script:
        raise ScriptError(Where(1, 1), "the script has no actions", name)
    return script


def format_script(script: Script, indent: str = "") -> str:
    """The text of a script, one statement a line: parsing it gives the same script."""
    lines = []
    for one in script:
        if isinstance(one, Repeat):
            lines += [f"{indent}repeat {one.times} {{", format_script(one.body, indent + "  "), indent + "}"]
        else:
            lines.append(f"{indent}{' '.join(map(_term, one.terms)) or 'wait'}{_length(one.length)}")
    return "\n".join(lines)


def _term(term: Key | Turn) -> str:
    if isinstance(term, Turn):
        return f"{term.axis} {term.degrees:+}{'/' + term.per if term.per else ''}"
    name = _quoted(term.name) if reserved(term.name) else _plain(term.name)
    return name if term.value == 1 else f"{name}={term.value:+}"


def _length(length: Duration | Until) -> str:
    if isinstance(length, Duration):
        return f" x {_duration(length)}"
    name = _quoted(length.name) if length.name == "event" else _plain(length.name)
    condition = f"{name} {length.sign} {length.value:+}" if length.sign else f"event {name}"
    return f" until {condition} within {_duration(length.within)}"


def _plain(name: str) -> str:
    return name if plain_name(name) else _quoted(name)


def _quoted(name: str) -> str:
    return f'"{name}"'


def _duration(duration: Duration) -> str:
    return f"{duration.amount}s" if duration.seconds else str(int(duration.amount))


def _levels(script: Script) -> int:
    """How many repeats lie in one another."""
    return max((1 + _levels(one.body) for one in script if isinstance(one, Repeat)), default=0)


class _Parser:
    """Recursive descent, one method per rule of the grammar."""

    def __init__(self, text: str):
        self.tokens = list(tokens_of(text))
        self.at = 0

    @property
    def next(self) -> Token:
        return self.tokens[self.at]

    def take(self) -> Token:
        token = self.next
        self.at += token.kind != "end"
        return token

    def sees(self, *texts: str) -> bool:
        """Whether one of these signs or words comes next."""
        return self.next.kind in ("name", "sign", "times") and self.next.text in texts

    def expected(self, what: str) -> ScriptError:
        return ScriptError(self.next.where, f"expected {what}, got {self.next}")

    def block(self, depth: int) -> Script:
        if depth > DEEPEST:
            raise ScriptError(self.next.where, f"blocks are nested more than {DEEPEST} deep")
        done: list[Act | Repeat] = []
        while True:
            while self.next.kind == "newline" or self.sees(";"):
                self.take()
            if self.next.kind == "end" or self.sees("}"):
                if self.sees("}") and depth == 0:
                    raise ScriptError(self.next.where, "this '}' closes nothing")
                return tuple(done)
            if self.sees("repeat"):
                done = self.repeat(done, depth)
            else:
                done.append(self.action())
            if not (self.next.kind in ("newline", "end") or self.sees(";", "}")):
                raise self.expected("';' or the end of the line")

    def repeat(self, done: list[Act | Repeat], depth: int) -> list[Act | Repeat]:
        where = self.take().where
        times = self.count("a number of times")
        if not 1 <= times <= MOST_REPEATS:
            raise ScriptError(where, f"repeat takes 1 to {MOST_REPEATS}, got {times}")
        ahead = self.at
        while self.tokens[ahead].kind == "newline":
            ahead += 1
        if not (self.tokens[ahead].kind == "sign" and self.tokens[ahead].text == "{"):
            if not done:
                raise ScriptError(where, "there is nothing before this repeat, and no block in braces after it")
            return [self.nested(Repeat(times=times, body=tuple(done), where=where), depth)]
        self.at = ahead
        opened = self.take()
        body = self.block(depth + 1)
        if not self.sees("}"):
            raise ScriptError(opened.where, "this '{' is never closed")
        self.take()
        if not body:
            raise ScriptError(opened.where, "this block has no actions")
        return [*done, self.nested(Repeat(times=times, body=body, where=where), depth)]

    def nested(self, repeat: Repeat, depth: int) -> Repeat:
        """A repeat, unless too many lie in one another: each is a level for whoever plays it, in braces or not."""
        if depth + _levels((repeat,)) > DEEPEST:
            raise ScriptError(repeat.where, f"repeats are nested more than {DEEPEST} deep")
        return repeat

    def action(self) -> Act:
        where, terms = self.next.where, []
        if self.sees(*NOTHING):
            self.take()
        else:
            terms.append(self.term())
            while self.sees("+") or self.next.kind == "quoted" or self._key_follows():
                if self.sees("+"):
                    self.take()
                terms.append(self.term())
        names = [term.name if isinstance(term, Key) else term.axis for term in terms]
        for i, term in enumerate(terms):
            if names[i] in names[:i]:
                raise ScriptError(term.where, f"{names[i]} stands twice in one action")
        length = self.length()
        for term in terms:
            if isinstance(length, Until) and isinstance(term, Turn) and not term.per:
                raise ScriptError(term.where, f"with until, say how fast to turn: {term.axis} {term.degrees:+}/frame")
        return Act(terms=tuple(terms), length=length, where=where)

    def _key_follows(self) -> bool:
        return self.next.kind == "name" and (not reserved(self.next.text) or self.sees("yaw", "pitch"))

    def term(self) -> Key | Turn:
        where = self.next.where
        if self.sees("yaw", "pitch"):
            axis = self.take().text
            degrees, per = self.number("degrees"), ""
            if self.sees("/"):
                self.take()
                if not self.sees("frame", "s"):
                    raise self.expected("'frame' or 's'")
                per = self.take().text
            return Turn(axis=axis, degrees=degrees, per=per, where=where)
        if self.next.kind != "quoted" and not self._key_follows():
            raise self.expected("the name of a key, yaw, pitch, wait (or noop) or repeat")
        name, value = self.take().text, 1.0
        if self.sees("="):
            self.take()
            value = self.number("a number")
        return Key(name=name, value=value, where=where)

    def length(self) -> Duration | Until:
        if self.sees("until"):
            return self.until()
        if self.sees("x"):
            self.take()
            return self.duration()
        return self.duration() if self.next.kind == "number" else Duration(1)

    def until(self) -> Until:
        where = self.take().where
        event = self.sees("event")
        if event:
            self.take()
        if self.next.kind not in ("name", "quoted") and not self.sees("x"):
            raise self.expected("the kind of an event" if event else "'event' or the name of a number")
        name, sign, value = self.take().text, "", 0.0
        if not event:
            if not self.sees("<", ">"):
                raise self.expected("'<' or '>'")
            sign, value = self.take().text, self.number("a number")
        within = Duration(PATIENCE)
        if self.sees("within"):
            self.take()
            within = self.duration()
        return Until(name=name, sign=sign, value=value, within=within, where=where)

    def duration(self) -> Duration:
        where, text = self.next.where, self.next.text
        amount = self.number("a number of frames")
        seconds = self.sees("s") and self.next.joined
        if seconds:
            self.take()
        if amount <= 0 or (not seconds and not text.isdecimal()):
            raise ScriptError(where, f"a length is a whole number of frames from 1, or seconds as in 1.5s, got {text}")
        return Duration(amount if seconds else int(amount), seconds)

    def count(self, what: str) -> int:
        if self.next.kind != "number" or not self.next.text.isdecimal():
            raise self.expected(what)
        return int(self.number(what))

    def number(self, what: str) -> float:
        if self.next.kind != "number":
            raise self.expected(what)
        where, value = self.next.where, float(self.take().text)
        if abs(value) > 1e9:
            raise ScriptError(where, f"{value:g} is too large")
        return value
