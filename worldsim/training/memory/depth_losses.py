"""What depth completion learns from: a game's depth where there is one, and how well pictures reproject onto others.

Each takes tensors and gives a scalar. B pictures, N other pictures of the same places, H W pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from worldsim.simulation.memory.camera import Intrinsics, relative_pose, reproject, within
from worldsim.simulation.memory.depth import decode_depth, encode_depth

# Mean absolute difference of colour (of 1) at which a reprojected pixel is right with probability 1/e.
COLOUR_SCALE = 0.05
DISTANT = 60.0


def depth_loss(code: Tensor, inverse_depth: Tensor, counts: Tensor, far: float = 1.0) -> Tensor:
    """Mean absolute logarithmic error (B, H, W) against the game's own depth, over the pixels (B, H, W) that count.

    What is more than ``DISTANT`` metres away counts by ``far``: walking hardly moves it in the picture.
    """
    error = (code - encode_depth(inverse_depth)).abs()
    return _mean(torch.where(inverse_depth * DISTANT < 1, far * error, error), counts)


def edge_loss(code: Tensor, inverse_depth: Tensor, counts: Tensor) -> Tensor:
    """Mean absolute error of the differences between neighbours that count, at three scales: edges where they are.

    A depth that ramps where the game's has a step is torn apart as soon as it is seen from another place. Source:
    Ranftl et al. 2020, "Towards robust monocular depth estimation", the gradient matching term.
    """
    error, total = code - encode_depth(inverse_depth), code.new_zeros(())
    for stride in (1, 2, 4):
        coarse, known = error[:, ::stride, ::stride], counts[:, ::stride, ::stride]
        total = total + _mean(coarse.diff(dim=1).abs(), known[:, 1:] & known[:, :-1])
        total = total + _mean(coarse.diff(dim=2).abs(), known[:, :, 1:] & known[:, :, :-1])
    return total


def reprojection_error(
    lens: Intrinsics,
    code: Tensor,
    pictures: Tensor,
    poses_B5: Tensor,
    others: Tensor,
    other_poses: Tensor,
    rows: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean absolute difference of colour, 0 to 1, of each pixel and where its depth says that other pictures show it.

    Args:
        lens: the camera of all pictures.
        code: code of the pictures' inverse depth (B, H, W).
        pictures: uint8 (B, H, W, 3).
        poses_B5: where they were taken.
        others: uint8 (B, N, H, W, 3), from near by.
        other_poses: (B, N, 5).
        rows: of the other pictures, from the top, that show the world; default: all.

    Returns:
        The error (B, N, H, W), and whether the pixel lies within the other picture (B, N, H, W) bool.
    """
    relative = relative_pose(poses_B5[:, None], other_poses).unsqueeze(2)
    u, v, depth = reproject(lens, relative, *lens.pixels(device=code.device), decode_depth(code)[:, None])
    inside = within(lens, u, v, depth).bool() & (v < (lens.height if rows is None else rows) - 0.5)
    grid = torch.stack([u / (lens.width - 1) * 2 - 1, v / (lens.height - 1) * 2 - 1], -1).clamp(-2, 2)
    colours = others.flatten(0, 1).movedim(-1, 1) / 255
    there = F.grid_sample(colours, grid.flatten(0, 1), padding_mode="border", align_corners=True)
    error = (there.unflatten(0, others.shape[:2]) - (pictures.movedim(-1, 1) / 255)[:, None]).abs().mean(2)
    return error, inside


def self_supervised_loss(
    lens: Intrinsics,
    code: Tensor,
    pictures: Tensor,
    poses_B5: Tensor,
    others: Tensor,
    other_poses: Tensor,
    rows: int | None = None,
) -> Tensor:
    """Reprojection error of the other picture that fits best: what one does not show another may.

    Pixels that fit better without any motion (HUD, hand) teach nothing (Godard et al. 2019, minimum reprojection and
    auto-masking). Arguments as in ``reprojection_error``.
    """
    error, inside = reprojection_error(lens, code, pictures, poses_B5, others, other_poses, rows)
    still = ((others.float() - pictures[:, None].float()) / 255).abs().mean(-1).amin(1)
    best = torch.where(inside, error, torch.inf).amin(1)
    counts = inside.any(1) & (best < still)
    return _mean(torch.where(counts, best, 0.0), counts)


def smoothness_loss(code: Tensor, pictures: Tensor) -> Tensor:
    """Depth changes where colours change: differences of neighbours' codes, less where their colours differ."""
    colour = pictures.float() / 255
    across = (code[:, :, 1:] - code[:, :, :-1]).abs() * (-10 * _step(colour, 2)).exp()
    down = (code[:, 1:] - code[:, :-1]).abs() * (-10 * _step(colour, 1)).exp()
    return across.mean() + down.mean()


def confidence_loss(logits: Tensor, error: Tensor, inside: Tensor) -> Tensor:
    """Cross-entropy of the confidence (B, H, W) against what reprojection gets right; least at exp(-error / scale).

    ``error`` and ``inside`` are (B, N, H, W), as ``reprojection_error`` gives them; depth learns nothing from this.
    """
    right = torch.exp(-error.detach() / COLOUR_SCALE)
    entropy = F.binary_cross_entropy_with_logits(logits[:, None].expand_as(right), right, reduction="none")
    return _mean(entropy, inside)


def _step(colour: Tensor, dim: int) -> Tensor:
    """Mean absolute difference of colour between neighbours along a dimension of (B, H, W, 3)."""
    return colour.diff(dim=dim).abs().mean(-1)


def _mean(values: Tensor, counts: Tensor) -> Tensor:
    """Mean over what counts; 0 where nothing does."""
    return torch.where(counts, values, 0.0).sum() / counts.sum().clamp(min=1)
