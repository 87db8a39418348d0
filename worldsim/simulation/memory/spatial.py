"""A world's spatial memory: where the camera goes, what memory draws there, what is shown, what is remembered of it.

B worlds, r video frames per step, H W pixels, A action vector, S size of the motion's hidden state.
"""

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from worldsim.simulation.memory.camera import Intrinsics, advance_camera, fixed_to_screen, turned
from worldsim.simulation.memory.compositor import SOURCES, Compositor, staying, whose
from worldsim.simulation.memory.depth import DepthCompletion, decode_depth
from worldsim.simulation.memory.ego_motion import EgoMotion, motion_of
from worldsim.simulation.memory.keyframes import KeyFrames
from worldsim.simulation.memory.memory_state import MemoryState
from worldsim.simulation.memory.observe import MemoryConfig, Observation, observe, recall_along
from worldsim.simulation.memory.render import Drawing
from worldsim.simulation.memory.unet import CELL, HALVINGS
from worldsim.spec.camera import Camera

# Every how many chunks of a past become an observation, beside the last one.
PAST_STRIDE = 4
# Levels of 255 by which a generated pixel must differ from what memory draws there to be news of the world.
NEWS = 24
# Depth that a network predicts differs between views by more than a game's own: the newest view is believed, but for
# what is several times as near (measured: 1.6 dB two frames ahead).
KEY_FRAMES = MemoryConfig(tolerance=0.35, occlusion=3.0, drawn=8, capacity=96)
# Sides of pictures are multiples of it.
SIDE = CELL * 2**HALVINGS
# Number of the step at which play begins: what was seen before has a number too.
BEGINNING = 1 << 20


@dataclass(frozen=True, kw_only=True)
class SpatialMemoryConfig:
    """The game's camera, and how much is remembered.

    Attributes:
        camera: of the game.
        changing: places in the action vector of the keys that change the world (dig, place).
        trust: how much more memory is believed than in training while none of them is pressed, as a logit: what the
            network makes then follows what was shown, right or wrong (measured: about 10 dB on looking back).
        refined_from: pixels that are drawn so many times as large as they were seen, or more, are the network's to show
            anew, told what is drawn: detail that no key frame has; 0: none are.
        keyframes: how much is remembered.
    """

    camera: Camera
    changing: tuple[int, ...] = ()
    trust: float = 6.0
    refined_from: float = 0.0
    keyframes: MemoryConfig = KEY_FRAMES


@dataclass(frozen=True)
class Outlook:
    """What is known of the next r pictures before they are drawn.

    Attributes:
        poses: of the camera (B, r, 5).
        motion: hidden state after them (B, S).
        drawn: what memory shows from there, rows in the order (B r).
        coarse: where that is too coarse to be shown, bool (B r, H, W).
        lens: of the pictures.
        fixed: pixels that the game fixes to the screen, bool (H, W).
    """

    poses: Tensor
    motion: Tensor
    drawn: Drawing
    coarse: Tensor
    lens: Intrinsics
    fixed: Tensor

    def pictures(self) -> tuple[Tensor, Tensor]:
        """What is drawn, uint8 (B, r, H, W, 3), and where, bool (B, r, H, W)."""
        worlds = self.poses.shape[:2]
        return self.drawn.picture.unflatten(0, worlds), self.drawn.covered.unflatten(0, worlds)


class SpatialMemory:
    """The networks of a memory and what they are told. All that changes lives in ``MemoryState``.

    ``overlay``: bool (H, W), pixels above the lowest row of the world that the game fixes to the screen (a crosshair).
    """

    def __init__(
        self,
        config: SpatialMemoryConfig,
        depth: DepthCompletion,
        motion: EgoMotion,
        compositor: Compositor,
        overlay: Tensor | None = None,
    ) -> None:
        self.config = config
        self.overlay = overlay
        self.depth = depth.eval().requires_grad_(False)
        self.motion = motion.eval().requires_grad_(False)
        self.compositor = compositor.eval().requires_grad_(False)

    def modules(self) -> tuple[nn.Module, ...]:
        """Its networks."""
        return self.depth, self.motion, self.compositor

    def to(self, device: torch.device | str) -> "SpatialMemory":
        """The same memory on a device; its networks are moved, as those of a module are."""
        depth, motion, compositor = self.depth.to(device), self.motion.to(device), self.compositor.to(device)
        overlay = None if self.overlay is None else self.overlay.to(device)
        return SpatialMemory(self.config, depth, motion, compositor, overlay)

    def check_fits(self, actions: int, height: int, width: int) -> None:
        """Whether it goes with a world of such action vectors and pictures.

        Raises:
            ValueError: it does not; says why.
        """
        told = {"ego-motion": self.motion.config.actions, "compositor": self.compositor.config.actions}
        if wrong := [f"the {name} reads {size}" for name, size in told.items() if size != actions]:
            raise ValueError(f"{wrong[0]} action values, the game has {actions}")
        camera = self.config.camera
        places = (camera.pitch_action, camera.yaw_action, *self.config.changing)
        if wrong := [place for place in places if not -actions <= place < actions]:
            raise ValueError(f"its memory looks at action {wrong[0]} of {actions}")
        if height % SIDE or width % SIDE:
            raise ValueError(f"a memory takes pictures whose sides are multiples of {SIDE}, got {width}x{height}")
        if self.overlay is not None and tuple(self.overlay.shape) != (height, width):
            raise ValueError(f"its memory has an overlay of {tuple(self.overlay.shape)}, pictures are {height, width}")

    def lens(self, pictures: Tensor) -> Intrinsics:
        """The lens of pictures (..., H, W, 3)."""
        return Intrinsics.of(self.config.camera, *pictures.shape[-3:-1])

    def fixed(self, height: int, width: int) -> Tensor:
        """Which pixels (H, W) the game fixes to the screen: they are neither remembered nor drawn.

        Raises:
            ValueError: the overlay belongs to pictures of another size.
        """
        device = self.motion.recur.weight.device
        return fixed_to_screen(self.config.camera, height, width, self.overlay, device)

    def begin(
        self,
        frames_BFHWC: Tensor,
        actions_BTRA: Tensor,
        poses_BF5: Tensor | None = None,
        depth_BHW: Tensor | None = None,
    ) -> MemoryState:
        """Take in a past of F = 1 + r T frames.

        ``poses_BF5``: of its frames where they are known; only how they differ counts, but for pitch. Else the camera
        is level at first and moves as the actions say. ``depth_BHW``: inverse depth of the last frame, if known.
        """
        batch, r = len(frames_BFHWC), actions_BTRA.shape[2]
        seen = frames_BFHWC[:, ::r]
        pose = torch.zeros(batch, 5, device=seen.device) if poses_BF5 is None else poses_BF5[:, 0].clone()
        motion, places = self.motion.initial(batch), [pose]
        looks: list[tuple[Tensor, Tensor]] = []
        for t in range(actions_BTRA.shape[1]):
            looks.append(self._look(seen[:, t], pose))
            poses, motion = self._advance(pose, motion, actions_BTRA[:, t], *looks[-1])
            pose = poses[:, -1]
            if poses_BF5 is not None:
                lately = poses_BF5[:, (t + 1) * r - 1 : (t + 1) * r + 1]
                pose, motion = lately[:, 1], self.measured(motion, lately)
            places.append(pose)
        depth, confidence = self._look(seen[:, -1], pose)
        looks.append((depth if depth_BHW is None else depth_BHW, confidence))
        # From the start, which is where the last picture was taken.
        origin = torch.cat([pose[:, :4], torch.zeros_like(pose[:, 4:])], 1)
        frames = KeyFrames.empty(batch)
        last = len(places) - 1
        for t in range(last % PAST_STRIDE, last + 1, PAST_STRIDE):
            step = torch.full((batch,), BEGINNING - (last - t), device=seen.device)
            depth, confidence = looks[t]
            observation = Observation(seen[:, t], depth, confidence, turned(places[t], origin), step)
            frames = observe(self.lens(seen), frames, observation, self.config.keyframes)
        return _state(frames, turned(pose, origin), motion, seen[:, -1], *looks[-1])

    def step(
        self, outlook: Outlook, state: MemoryState, actions_BRA: Tensor, generated_BRHWC: Tensor, steps_B: Tensor
    ) -> tuple[Tensor, MemoryState, Tensor]:
        """What is shown, uint8 (B, r, H, W, 3), under r actions at a step, and what is remembered after it.

        The third value is whose each pixel is, (B, r, H, W), of ``SOURCES``.

        ``outlook``: of ``look_ahead``; ``generated_BRHWC``: what the network made of it, uint8.
        """
        pictures, sources = self.compose(outlook, state, generated_BRHWC, actions_BRA)
        return pictures, self.remember(outlook, state, pictures, sources[:, -1], steps_B), sources

    def look_ahead(
        self, state: MemoryState, actions_BRA: Tensor, steps_B: Tensor, poses_BR5: Tensor | None = None
    ) -> Outlook:
        """Where r actions lead, and what memory shows from there; ``poses_BR5``: where they led, if that is known."""
        depth, sure = state.inverse_depth.float(), state.confidence / 255
        poses, motion = self._advance(state.pose, state.motion, actions_BRA, depth, sure)
        if poses_BR5 is not None:
            poses, lately = poses_BR5, torch.cat([state.pose[:, None], poses_BR5], 1)[:, -2:]
            motion = self.measured(motion, lately)
        lens = Intrinsics.of(self.config.camera, *depth.shape[1:])
        hidden = self.fixed(lens.height, lens.width)
        now = steps_B + BEGINNING
        drawn = recall_along(lens, state.frames, poses, now, self.config.keyframes, hidden)
        least = self.config.refined_from or torch.inf
        return Outlook(poses, motion, drawn, drawn.magnification >= least, lens, hidden)

    def compose(
        self, outlook: Outlook, state: MemoryState, generated_BRHWC: Tensor, actions_BRA: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What is shown, uint8 (B, r, H, W, 3), and whose each pixel is most of all, (B, r, H, W), of ``SOURCES``."""
        (batch, r), size = generated_BRHWC.shape[:2], generated_BRHWC.shape[2:4]
        made = self.compositor(
            outlook.drawn,
            state.screen.repeat_interleave(r, 0),
            generated_BRHWC.flatten(0, 1),
            actions_BRA.flatten(0, 1),
            staying(state.pose.repeat_interleave(r, 0), outlook.poses.flatten(0, 1), self.fixed(*size)),
            trust=self._trust(actions_BRA).repeat_interleave(r, 0),
            anew=outlook.coarse,
        )
        pictures = (made.picture.clamp(0, 1) * 255).round().to(torch.uint8).movedim(1, -1).contiguous()
        return pictures.unflatten(0, (batch, r)), whose(made.shares).unflatten(0, (batch, r))

    def remember(
        self, outlook: Outlook, state: MemoryState, pictures_BRHWC: Tensor, sources_BHW: Tensor, steps_B: Tensor
    ) -> MemoryState:
        """The memory after the last of r pictures, seen at ``steps_B``; ``sources``: whose its pixels are.

        What memory knew is observed anew only where the network shows something else there. Else the key frame stays
        its source, and nothing blurs or creeps. What is kept from the screen (hand, crosshair) is not of the world.
        """
        r, now = pictures_BRHWC.shape[1], steps_B + BEGINNING
        drawn = Drawing(*(getattr(outlook.drawn, of.name)[r - 1 :: r] for of in fields(Drawing)))
        pictures, generated = pictures_BRHWC[:, -1], sources_BHW == SOURCES.index("generated")
        differs = (pictures.int() - drawn.picture).abs().amax(-1) > NEWS
        # What is refined stays where it is.
        refined = generated & outlook.coarse[r - 1 :: r]
        remembered = drawn.covered & (refined | ~(generated & differs))
        old = remembered | (sources_BHW == SOURCES.index("screen"))
        depth, confidence = self._look(pictures, outlook.poses[:, -1], unless=old)
        depth = torch.where(remembered, drawn.inverse_depth, depth)
        confidence = torch.where(remembered, drawn.confidence, torch.where(old, 0.0, confidence))
        # The last observation goes now: what it alone showed must be observed again.
        going = torch.tensor([row.fleeting() for row in state.frames.rows], device=now.device)[:, None, None]
        lasting = (now[:, None, None] - drawn.age != going) & ~refined
        kept = remembered & lasting
        observation = Observation(pictures, depth, torch.where(kept, 0.0, confidence), outlook.poses[:, -1], now)
        known = replace(drawn, covered=drawn.covered & lasting)
        frames = observe(self.lens(pictures), state.frames, observation, self.config.keyframes, known)
        return _state(frames, outlook.poses[:, -1], outlook.motion, pictures, depth, confidence)

    def _look(self, pictures: Tensor, poses_B5: Tensor, unless: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Inverse depth and confidence (B, H, W) of pictures; rows in which ``unless`` holds everywhere are skipped.

        The network is not told what memory draws there. Told, it goes on from it: mistakes of its own grow until all
        that is new stands in one plane, sky and ground alike, and whoever walks on walks into a wall.
        """
        size, device = pictures.shape[:3], pictures.device
        depth, confidence = (torch.zeros(size, device=device) for _ in range(2))
        fixed = self.fixed(*size[1:])
        rows = torch.arange(size[0], device=device)
        if unless is not None:
            rows = rows[~(unless | fixed).flatten(1).all(1)]
        if len(rows):
            descents = self.lens(pictures).descents(poses_B5[rows])
            code, logits = self.depth(pictures[rows], descents)
            depth[rows], confidence[rows] = decode_depth(code), logits.sigmoid()
        confidence[:, fixed] = 0
        return depth, torch.where(confidence < self.config.keyframes.least_confidence, 0.0, confidence)

    def measured(self, motion_BS: Tensor, lately_B25: Tensor) -> Tensor:
        """The motion's state where the poses (B, 2, 5) of the last two video frames are known."""
        yawed = torch.remainder(lately_B25[:, 1, 3] - lately_B25[:, 0, 3] + 180, 360) - 180
        return self.motion.measured(motion_BS, motion_of(lately_B25)[:, 0], yawed)

    def _advance(
        self, pose_B5: Tensor, motion_BS: Tensor, actions_BRA: Tensor, depth: Tensor, confidence: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Poses (B, R, 5) after each of R actions, and the motion's hidden state."""
        camera = self.config.camera
        moved, motion = self.motion(motion_BS, actions_BRA, depth, confidence, pose_B5[:, 4])
        turns = torch.stack([actions_BRA[..., camera.pitch_action], actions_BRA[..., camera.yaw_action]], -1)
        poses = []
        for t in range(actions_BRA.shape[1]):
            pose_B5 = advance_camera(pose_B5, turns[:, t : t + 1], moved[:, t], camera.pitch_limits)
            poses.append(pose_B5)
        return torch.stack(poses, 1), motion

    def _trust(self, actions_BRA: Tensor) -> Tensor:
        """How much more than in training memory is believed (B,) under these actions."""
        acts = (actions_BRA[..., list(self.config.changing)] > 0.5).flatten(1).any(1)
        return torch.where(acts, 0.0, self.config.trust)


def _state(
    frames: KeyFrames, pose: Tensor, motion: Tensor, screen: Tensor, depth: Tensor, confidence: Tensor
) -> MemoryState:
    return MemoryState(frames, pose, motion, screen, depth.half(), (confidence * 255).round().to(torch.uint8))
