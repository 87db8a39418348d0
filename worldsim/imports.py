"""Objects that settings name as ``package.module:Name``."""

from typing import Any

from worldsim.errors import UserError
from worldsim.old_names import find_attribute


def load_object(name: str, kind: str) -> Any:
    """What ``package.module:Name`` names; ``kind`` says in errors what it was wanted as.

    Raises:
        UserError: there is no such thing.
    """
    module, _, attribute = name.partition(":")
    try:
        return find_attribute(module, attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"{kind} {name!r} is not to be had: {error}") from error
