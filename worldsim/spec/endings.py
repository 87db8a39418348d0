"""How many ends of episodes a termination head was taught: one that never saw an end says nothing.

A checkpoint's metadata keeps the count under ``KEY``, null where it is not known. Checkpoints of before have no such
key; some of them can be told by what they were trained on.
"""

from collections.abc import Mapping
from typing import Any

# Where metadata keeps the count.
KEY = "ends_taught"
# Sources of recordings in which nothing ever ends: Luanti is recorded with damage off, and its environment never
# terminates.
ENDLESS = frozenset({"luanti"})


def ends_taught(metadata: Mapping[str, Any]) -> int | None:
    """The ends that a head was taught, by its checkpoint's metadata; None where that does not tell.

    Without a count, weights that were trained on endless recordings alone, by their training record, were taught none.
    """
    if KEY in metadata:
        count = metadata[KEY]
        return count if type(count) is int and count >= 0 else None
    record = metadata.get("trained_on")
    stores = record.get("stores") if isinstance(record, Mapping) else None
    if not isinstance(stores, list) or not stores:
        return None
    sources = [set(store.get("sources") or ()) if isinstance(store, Mapping) else set() for store in stores]
    return 0 if all(found and found <= ENDLESS for found in sources) else None


def more_ends(before: int | None, seen: int) -> int | None:
    """The count after ``seen`` ends more; what is not known stays so until a first end is seen."""
    return (before or 0) + seen if seen else before
