"""What is to be generated: plain values, which a run's folder and every sidecar hold."""

from dataclasses import dataclass
from typing import Literal, get_args

from worldsim.errors import UserError
from worldsim.simulation.world_model import WorldModel

Operation = Literal["new", "extend", "loop", "join", "edit"]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)
# Of what one film can be.
LONGEST_SECONDS = 3600.0


@dataclass(frozen=True, kw_only=True)
class Request:
    """One film, or several by several seeds.

    Attributes:
        operation: "new" goes on from a source, or begins from text alone; "extend" puts film before and after a source;
            "loop" leads from its end to its beginning; "join" from its end to the beginning of ``to``; "edit" makes it
            anew under a prompt.
        source: a start clip's number, a picture, a video, or STORE:EPISODE[@FRAME]; None: text alone.
        to: what "join" leads to, likewise.
        prompt: text condition; "" for none.
        seconds: of film that is generated after the source ("new", "extend") or in between ("loop", "join").
        before: seconds of film that "extend" puts before the source.
        strength: of "edit": 0 leaves the film as it is, 1 keeps nothing of it but its length and actions.
        actions: what is done meanwhile: a CSV, a .script file or a script; None: nothing is pressed, or, between known
            frames, nothing is known of it. Of "extend", what is done after the source: before it, nothing is known. Of
            "edit", instead of the recorded ones.
        source_frames: how much of a source is taken in, at most.
        size: width and height in pixels; None: the world's own.
    """

    operation: Operation = "new"
    source: str | None = None
    to: str | None = None
    prompt: str = ""
    seconds: float = 2.0
    before: float = 0.0
    strength: float = 0.5
    actions: str | None = None
    source_frames: int = 2000
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Check what can be checked without a world.

        Raises:
            UserError: something is missing, or out of its range.
        """
        if self.operation not in OPERATIONS:
            raise UserError(f"operation must be one of {', '.join(OPERATIONS)}, got {self.operation!r}")
        if self.operation != "new" and self.source is None:
            raise UserError(f"{self.operation} needs a source: a video, a picture, STORE:EPISODE or a start clip")
        if self.operation == "new" and self.source is None and not self.prompt:
            raise UserError("there is nothing to begin from: give a prompt, a picture, a video or a start clip")
        if self.operation == "join" and self.to is None:
            raise UserError("join needs two films: worldsim generate join A B")
        if self.operation == "edit" and not self.prompt:
            raise UserError("edit needs a prompt that says what the film is to become: prompt='at night'")
        for name, value in (("seconds", self.seconds), ("before", self.before)):
            if not 0 <= value <= LONGEST_SECONDS:
                raise UserError(f"{name} must be from 0 to {LONGEST_SECONDS:g}, got {value:g}")
        if self.operation == "extend" and self.seconds + self.before == 0:
            raise UserError("extend by nothing: give after=SECONDS, before=SECONDS or both")
        if self.operation in ("loop", "join") and self.seconds == 0:
            raise UserError(f"{self.operation} needs seconds above 0 for what is in between")
        if not 0 < self.strength <= 1:
            raise UserError(f"strength must be above 0 and at most 1, got {self.strength:g}")
        if self.size is not None and any(side <= 0 or side % 16 for side in self.size):
            raise UserError(f"size must be positive multiples of 16 pixels, got {self.size[0]}x{self.size[1]}")
        if self.source_frames < 1:
            raise UserError(f"source_frames must be at least 1, got {self.source_frames}")

    @property
    def fills_in(self) -> bool:
        """Whether it needs a world that fills in frames before known ones."""
        return self.operation in ("loop", "join") or (self.operation == "extend" and self.before > 0)


def chunks_of(seconds: float, world: WorldModel) -> int:
    """Steps of a world that last so long: at least one, unless it is no time at all."""
    return max(1, round(seconds * world.config.fps / world.chunk)) if seconds else 0


def check_fills_in(world: WorldModel, what: str) -> None:
    """Check that a world was trained to fill in frames before known ones.

    Raises:
        UserError: it was not; says how to train one.
    """
    if not world.dit.config.infilling:
        raise UserError(
            f"this world was not trained for {what}, which takes frames to come into account: train one that is with "
            "worldsim train dynamics initial=WORLD/dit.safetensors training.infilling.fraction=0.25"
        )
