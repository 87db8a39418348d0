"""A network that several ranks run together: each computes some rows of a batch and has all of them afterwards."""

from torch import Tensor

from worldsim.diffusion.noised_clips import Forward
from worldsim.models.dit import DiTOutput
from worldsim.models.heads import HeadOutputs
from worldsim.optim.distributed.shares import Rows


def shared(forward: Forward, rows: Rows) -> Forward:
    """The diffusion Transformer, run by all ranks that share a batch; without keys and values. Alone: as it is.

    Every tensor that it is given has one row a clip. All ranks give the same, and get the same. Gradients flow to the
    rows that this rank computed.
    """
    if rows.count == 1:
        return forward

    def run(*inputs: object, **options: object) -> DiTOutput:
        first = inputs[0]
        assert isinstance(first, Tensor)
        count, mine = len(first), rows.mine(len(first))
        own = [x[mine] if isinstance(x, Tensor) else x for x in inputs]
        out = forward(*own, **{n: x[mine] if isinstance(x, Tensor) else x for n, x in options.items()})
        heads = vars(out.heads)
        latents, *found = rows.gathered([out.latents, *heads.values()], count)
        return DiTOutput(latents, HeadOutputs(**dict(zip(heads, found, strict=True))), [], [])

    return run
