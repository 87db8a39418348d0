"""The index of a store: name, length, split, source and licence of every episode, in about 50 bytes each.

It saves opening a million manifests, and is never more than that: what an episode is stands in its manifest, which is
read whenever the episode is. An index is made from the manifests, kept in ``STORE/index.npz``, and used again as long
as it can be shown to be complete (see ``EpisodeStore.index``).
"""

import io
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FORMAT = 1
FILE = "index.npz"
# Columns whose few different values are numbered.
LABELS = ("split", "source", "licence")


class Row(NamedTuple):
    """What the index knows of an episode; ``identity`` changes when its folder is replaced."""

    name: str
    identity: int
    frames: int
    split: str
    source: str
    licence: str


@dataclass(frozen=True, eq=False)
class EpisodeIndex:
    """Episodes in the order of their names' bytes.

    Attributes:
        names: the names' bytes, one after another, uint8.
        ends: where each name ends, int64 (N,).
        identity: int64 (N,).
        frames: int32 (N,).
        codes: of ``LABELS``, int16 (N,) each.
        labels: what the codes mean.
        version: of the folder when it was read.
        settled: whether the folder had been at rest, so that nothing can have been missed.
    """

    names: NDArray[np.uint8]
    ends: NDArray[np.int64]
    identity: NDArray[np.int64]
    frames: NDArray[np.int32]
    codes: dict[str, NDArray[np.int16]]
    labels: dict[str, list[str]]
    version: int = 0
    settled: bool = False

    @classmethod
    def build(cls, rows: Iterable[Row], *, version: int = 0, settled: bool = False) -> "EpisodeIndex":
        """From rows in any order."""
        ordered = sorted(rows, key=lambda row: row.name.encode())
        encoded = [row.name.encode() for row in ordered]
        labels: dict[str, list[str]] = {}
        codes: dict[str, NDArray[np.int16]] = {}
        for label in LABELS:
            values = [getattr(row, label) for row in ordered]
            labels[label] = sorted(set(values))
            place = {value: i for i, value in enumerate(labels[label])}
            codes[label] = np.fromiter((place[value] for value in values), np.int16, len(values))
        return cls(
            names=np.frombuffer(b"".join(encoded), np.uint8),
            ends=np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded))),
            identity=np.fromiter((row.identity for row in ordered), np.int64, len(ordered)),
            frames=np.fromiter((row.frames for row in ordered), np.int32, len(ordered)),
            codes=codes,
            labels=labels,
            version=version,
            settled=settled,
        )

    def __len__(self) -> int:
        return len(self.ends)

    def name(self, row: int) -> str:
        """Name of a row."""
        return self._bytes(row).decode()

    def names_of(self, rows: Sequence[int] | NDArray[np.int64] | None = None) -> list[str]:
        """Names of rows, of all if none are given."""
        text = self.names.tobytes()
        ends = self.ends.tolist()
        begins = [0, *ends[:-1]]
        chosen = range(len(ends)) if rows is None else rows
        return [text[begins[row] : ends[row]].decode() for row in chosen]

    def row(self, name: str) -> int | None:
        """Row of a name, None if there is none."""
        wanted = name.encode()
        row = bisect_left(range(len(self)), wanted, key=self._bytes)
        return row if row < len(self) and self._bytes(row) == wanted else None

    def rows(self, **wanted: str | None) -> NDArray[np.int64]:
        """Rows with the given ``split``, ``source`` or ``licence``; None stands for any."""
        chosen = np.ones(len(self), bool)
        for label, value in wanted.items():
            if value is not None:
                known = self.labels[label]
                chosen &= self.codes[label] == (known.index(value) if value in known else -1)
        return np.flatnonzero(chosen)

    def as_rows(self) -> dict[str, Row]:
        """All rows as Python objects by name, to be changed."""
        texts = [[self.labels[label][code] for code in self.codes[label].tolist()] for label in LABELS]
        numbers = zip(self.names_of(), self.identity.tolist(), self.frames.tolist(), *texts, strict=True)
        return {values[0]: Row(*values) for values in numbers}

    def to_bytes(self) -> bytes:
        """The content of ``index.npz``."""
        out = io.BytesIO()
        columns: dict[str, Any] = {f"code_{label}": self.codes[label] for label in LABELS}
        columns |= {f"label_{label}": np.array(self.labels[label], np.str_) for label in LABELS}
        about = np.array([FORMAT, self.version, int(self.settled)], np.int64)
        np.savez(
            out, about=about, names=self.names, ends=self.ends, identity=self.identity, frames=self.frames, **columns
        )
        return out.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "EpisodeIndex":
        """Read what ``to_bytes`` made; its checksums are compared.

        Raises:
            ValueError: it is damaged, or of another format.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                about = file["about"].tolist()
                index = cls(
                    names=file["names"],
                    ends=file["ends"],
                    identity=file["identity"],
                    frames=file["frames"],
                    codes={label: file[f"code_{label}"] for label in LABELS},
                    labels={label: file[f"label_{label}"].tolist() for label in LABELS},
                    version=about[1],
                    settled=bool(about[2]),
                )
        except Exception as error:
            # zipfile, zlib and numpy each have their own ways to say it.
            raise ValueError(f"the index is damaged: {error}") from error
        columns = [index.identity, index.frames, *index.codes.values()]
        if about[0] != FORMAT or any(len(column) != len(index) for column in columns):
            raise ValueError("the index is damaged or of another format")
        return index

    def _bytes(self, row: int) -> bytes:
        begin = int(self.ends[row - 1]) if row else 0
        return self.names[begin : int(self.ends[row])].tobytes()
