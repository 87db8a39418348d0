"""Gamepads under the names that SDL's mapping gives their parts, so that every known pad is played alike.

What a pad does becomes ``CONTROLLERBUTTONDOWN`` and ``CONTROLLERBUTTONUP`` with a ``name``: a button, a trigger that is
pulled, or a direction of the left stick. The right stick turns.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pygame
from numpy.typing import NDArray
from pygame._sdl2 import controller

# SDL's names of the parts in their order, which numbers them: a pad of any maker has them at the same places.
BUTTONS = (
    "pad a", "pad b", "pad x", "pad y", "pad back", "pad guide", "pad start", "pad left stick", "pad right stick",
    "pad left shoulder", "pad right shoulder", "pad up", "pad down", "pad left", "pad right",
)  # fmt: skip
TRIGGERS = {4: "pad left trigger", 5: "pad right trigger"}
TILTS = ("pad tilt up", "pad tilt left", "pad tilt down", "pad tilt right")
NAMES = (*BUTTONS, *TRIGGERS.values(), *TILTS)
# What a pad's parts do while a menu is open.
AS_KEYS = {
    "pad a": pygame.K_RETURN, "pad b": pygame.K_ESCAPE, "pad start": pygame.K_ESCAPE,
    "pad up": pygame.K_UP, "pad down": pygame.K_DOWN, "pad left": pygame.K_LEFT, "pad right": pygame.K_RIGHT,
    "pad tilt up": pygame.K_UP, "pad tilt down": pygame.K_DOWN,
    "pad tilt left": pygame.K_LEFT, "pad tilt right": pygame.K_RIGHT,
}  # fmt: skip
# Sticks and triggers rest where they like, and tremble: what is pressed beyond ON stays so above OFF.
ON, OFF = 0.5, 0.4
# The right stick turns beyond DEAD; its way from there to its edge, to this power, makes small turns fine.
DEAD, CURVE = 0.2, 2.0
# A stick points in each direction of which it has at least this share: so there are eight sectors of one size.
DIAGONAL = float(np.sin(np.pi / 8))
# An axis of a pad without a mapping that rests below this is a trigger.
RESTS = -0.5
# Buttons of a pad without a mapping, as most number them.
UNMAPPED = (
    "pad a", "pad b", "pad x", "pad y", "pad left shoulder", "pad right shoulder", "pad back", "pad start",
    "pad left stick", "pad right stick",
)  # fmt: skip
OF_MAPPED = (pygame.CONTROLLERAXISMOTION, pygame.CONTROLLERBUTTONDOWN, pygame.CONTROLLERBUTTONUP)
OF_PADS = (
    *OF_MAPPED, pygame.JOYDEVICEADDED, pygame.JOYDEVICEREMOVED,
    pygame.JOYAXISMOTION, pygame.JOYBUTTONDOWN, pygame.JOYBUTTONUP, pygame.JOYHATMOTION,
)  # fmt: skip


@dataclass
class Pad:
    """A gamepad.

    Attributes:
        device: SDL's, which must be held for its events to come.
        mapped: whether SDL knows its parts; else buttons are taken in their order, and sticks are guessed.
        axes: values from -1 to 1, of triggers from 0 to 1, by SDL's number.
        buttons: that are held.
        order: of a pad without a mapping: SDL's number for each of its axes.
    """

    device: Any = None
    mapped: bool = True
    axes: dict[int, float] = field(default_factory=dict)
    buttons: set[str] = field(default_factory=set)
    order: dict[int, int] = field(default_factory=dict)
    _beyond: set[str] = field(default_factory=set)

    def move(self, axis: int, value: float) -> None:
        """A stick or a trigger moved."""
        self.axes[axis] = value
        pushed = {name: self.axes.get(number, 0.0) for number, name in TRIGGERS.items()}
        x, y = self.axes.get(0, 0.0), self.axes.get(1, 0.0)
        far = float(np.hypot(x, y))
        # As far as the stick is from its middle, in each direction that it points in.
        for name, share in zip(TILTS, (-y, -x, y, x), strict=True):
            pushed[name] = far if share > DIAGONAL * far else 0.0
        self._beyond = {name for name, at in pushed.items() if at > (OFF if name in self._beyond else ON)}

    def down(self) -> set[str]:
        """The names of what is held."""
        return self.buttons | self._beyond

    def look(self) -> NDArray[np.float64]:
        """How far it turns down and right, each from -1 to 1."""
        stick = np.array([self.axes.get(3, 0.0), self.axes.get(2, 0.0)])
        far = float(np.hypot(*stick))
        if far <= DEAD:
            return np.zeros(2)
        return stick / far * min(1.0, (far - DEAD) / (1 - DEAD)) ** CURVE


class Gamepads:
    """The gamepads that are plugged in."""

    def __init__(self) -> None:
        pygame.joystick.init()
        controller.init()
        self.pads: dict[int, Pad] = {}
        # Those that were there before are told of to nobody but the first who asks.
        for index in range(pygame.joystick.get_count()):
            self._plug(index)

    def read(self, event: Any) -> list[Any]:
        """The events that one stands for: itself, if it is no pad's; a pad's as names that are pressed or let go."""
        if event.type not in OF_PADS:
            return [event]
        before = self._down()
        if event.type == pygame.JOYDEVICEADDED:
            self._plug(event.device_index)
        elif event.type == pygame.JOYDEVICEREMOVED:
            self.pads.pop(event.instance_id, None)
        elif (pad := self.pads.get(event.instance_id)) is not None and pad.mapped is (event.type in OF_MAPPED):
            _take_in(pad, event)
        after = self._down()
        gone = [pygame.event.Event(pygame.CONTROLLERBUTTONUP, name=name) for name in sorted(before - after)]
        return gone + [pygame.event.Event(pygame.CONTROLLERBUTTONDOWN, name=name) for name in sorted(after - before)]

    def look(self) -> NDArray[np.float64]:
        """How far they turn down and right, each from -1 to 1."""
        return np.clip(sum((pad.look() for pad in self.pads.values()), np.zeros(2)), -1, 1)

    def tilts(self) -> set[str]:
        """The directions of left sticks."""
        return self._down() & set(TILTS)

    def _down(self) -> set[str]:
        return {name for pad in self.pads.values() for name in pad.down()}

    def _plug(self, index: int) -> None:
        try:
            if controller.is_controller(index):
                device = controller.Controller(index)
                self.pads.setdefault(device.as_joystick().get_instance_id(), Pad(device))
            else:
                stick = pygame.joystick.Joystick(index)
                at_rest = [stick.get_axis(axis) for axis in range(stick.get_numaxes())]
                self.pads.setdefault(stick.get_instance_id(), Pad(stick, mapped=False, order=guess(at_rest)))
        except pygame.error:
            # Pulled out again before it could be opened.
            return


def guess(at_rest: list[float]) -> dict[int, int]:
    """SDL's numbers for the axes of a pad without a mapping: two sticks; what rests at its lower end is a trigger."""
    triggers = [axis for axis, value in enumerate(at_rest) if value < RESTS]
    sticks = [axis for axis in range(len(at_rest)) if axis not in triggers]
    # Where triggers were not seen to rest, six axes are two sticks and a trigger each, as drivers order them.
    if not triggers and len(at_rest) == 6:
        sticks, triggers = [0, 1, 3, 4], [2, 5]
    return dict(zip(sticks[:4], range(4), strict=False)) | dict(zip(triggers[:2], TRIGGERS, strict=False))


def as_key(event: Any) -> Any:
    """For menus: a key instead of what was pressed on a pad; any other event as it is."""
    if event.type == pygame.CONTROLLERBUTTONDOWN:
        return pygame.event.Event(pygame.KEYDOWN, key=AS_KEYS.get(event.name, pygame.K_UNKNOWN), mod=0)
    return event


def _take_in(pad: Pad, event: Any) -> None:
    if event.type == pygame.CONTROLLERAXISMOTION:
        pad.move(event.axis, max(-1.0, event.value / 32767))
    elif event.type == pygame.JOYAXISMOTION:
        if (axis := pad.order.get(event.axis)) is not None:
            value = float(np.clip(event.value, -1, 1))
            pad.move(axis, (value + 1) / 2 if axis in TRIGGERS else value)
    elif event.type == pygame.JOYHATMOTION:
        x, y = event.value
        hat = {"pad up": y > 0, "pad down": y < 0, "pad left": x < 0, "pad right": x > 0}
        pad.buttons = (pad.buttons - set(hat)) | {name for name, pressed in hat.items() if pressed}
    elif event.button < len(names := BUTTONS if pad.mapped else UNMAPPED):
        pressed = event.type in (pygame.CONTROLLERBUTTONDOWN, pygame.JOYBUTTONDOWN)
        (pad.buttons.add if pressed else pad.buttons.discard)(names[event.button])
