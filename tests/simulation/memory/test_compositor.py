import torch

from tests.simulation.memory.room import LENS
from tests.tiny_world import shaken
from worldsim.simulation.memory.compositor import TONE, Compositor, CompositorConfig
from worldsim.simulation.memory.render import Drawing


def nothing(count: int) -> Drawing:
    """What an empty memory draws."""
    size = (count, LENS.height, LENS.width)
    zeros = torch.zeros(size)
    return Drawing(torch.zeros((*size, 3), dtype=torch.uint8), zeros.bool(), zeros, zeros, zeros.long(), zeros)


def test_the_correction_changes_the_tone_of_what_is_generated_and_not_its_texture(monkeypatch):
    torch.manual_seed(0)
    network = Compositor(CompositorConfig(actions=22, channels=(8, 16, 32), blocks=(1, 1, 1)))
    shaken(network, 0, 0.2)
    grains = torch.randint(90, 160, (2, LENS.height, LENS.width, 3), dtype=torch.uint8)
    wanted: list[torch.Tensor] = []
    run = network.run

    def mild(*inputs: torch.Tensor) -> torch.Tensor:
        out = run(*inputs)
        wanted.append(0.3 * out / out.abs().max())
        return wanted[-1]

    monkeypatch.setattr(network, "run", mild)
    with torch.no_grad():
        made = network(nothing(2), grains, grains, torch.zeros(2, 22), torch.zeros(2, LENS.height, LENS.width).bool())
    asked, change = wanted[0][:, 3:], made.corrected - grains.movedim(-1, 1) / 255
    assert float(made.corrected.min()) > 0 and float(made.corrected.max()) < 1
    # Neighbours differ by two columns of the window at most, however rough what is asked for.
    bound = 2 * float(asked.abs().max()) / TONE
    half = TONE // 2
    inside = change[..., half:-half, half:-half]
    assert float(inside.diff(dim=-1).abs().max()) <= bound < float(asked.diff(dim=-1).abs().max())
    inner = (slice(None), slice(None), LENS.height // 2, LENS.width // 2)
    around = asked[:, :, LENS.height // 2 - half : LENS.height // 2 + half + 1]
    around = around[..., LENS.width // 2 - half : LENS.width // 2 + half + 1]
    torch.testing.assert_close(change[inner], around.mean((2, 3)), atol=1e-5, rtol=1e-4)
