"""Whether a world may be judged on some maps: it must not have been trained on them."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worldsim.datasets.store.store import EpisodeStore, Split


def check_world_unseen(name: str, store: "EpisodeStore", split: "Split", also: Iterable[Path] = ()) -> None:
    """Refuse to judge a world, or by further files, on what it was trained on; warn where nobody can tell.

    Raises:
        UserError: it was.
    """
    import worldsim
    from worldsim.datasets.governance.provenance import TRAINED_ON
    from worldsim.datasets.governance.seen_maps import check_unseen
    from worldsim.models.checkpoint import read_metadata
    from worldsim.simulation.world_model import FILES

    world = worldsim.world_folder(name)
    # Task heads are optional; calibrations and start clips are not trained.
    parts = [world / file for file in FILES]
    heads = [file for file in sorted(world.glob("*.safetensors")) if file not in parts]
    judged = [*parts, *(file for file in heads if TRAINED_ON in read_metadata(file))]
    silent = check_unseen([*judged, *also], store, split)
    if silent:
        print(
            f"warning: nobody can tell whether the {split} maps of {store.url} are new to "
            f"{' and '.join(map(str, silent))}: no record of training in there",
            file=sys.stderr,
        )
