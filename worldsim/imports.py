"""Objects that settings name as ``package.module:Name``."""

import importlib
import os
import sys
from typing import Any

from worldsim.errors import UserError
from worldsim.old_names import find_attribute


def load_object(name: str, kind: str) -> Any:
    """What ``package.module:Name`` names; ``kind`` says in errors what it was wanted as.

    Modules of the current folder are found too, after installed ones. The folder stays on the search path, so that
    processes that are started later find them as well. Importing a module runs it: see ``docs/guides/security.md``.

    Raises:
        UserError: there is no such thing.
    """
    module, _, attribute = name.partition(":")
    # As the last place: a file called like an installed package must not be imported in its stead.
    if not {"", here := os.getcwd()} & {*sys.path}:
        sys.path.append(here)
        importlib.invalidate_caches()
    try:
        return find_attribute(module, attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{kind} {name!r} is not available: {error}") from error
