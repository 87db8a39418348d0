"""Integration of ego-motion to a pose."""

import torch
from torch import Tensor


def advance_pose(pose_B5: Tensor, motion_B5: Tensor) -> Tensor:
    """Add a body-frame motion (forward, right, up, yaw, pitch) to poses; yaw in degrees, positive to the right.

    At yaw 0 forward is +z and right is +x, as in Luanti; the step is walked along the mean heading.
    """
    heading = torch.deg2rad(pose_B5[:, 3] + motion_B5[:, 3] / 2)
    forward, right, up = motion_B5[:, 0], motion_B5[:, 1], motion_B5[:, 2]
    x = forward * heading.sin() + right * heading.cos()
    z = forward * heading.cos() - right * heading.sin()
    pitch = (pose_B5[:, 4] + motion_B5[:, 4]).clamp(-90, 90)
    moved = torch.stack([pose_B5[:, 0] + x, pose_B5[:, 1] + up, pose_B5[:, 2] + z, pose_B5[:, 3] + motion_B5[:, 3]], 1)
    return torch.cat([moved, pitch[:, None]], 1)
