"""The labels of a checkpoint's files: kept with them, and given back with them (S4).

Invariant: at every instant of a restore the label on record of a path is at least that of what lies there.
So it is raised before a file comes back, and set to what it was once it is there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from perdure.kernel.errors import StorageError
from perdure.kernel.labels import SELF, Label

from .cache import Seen, seen
from .compare import Difference, Step
from .scan import Found
from .tree import File, Link, shown, to_name, to_text

_decoder = msgspec.json.Decoder(dict[str, Label])
_encoder = msgspec.json.Encoder(order="deterministic")


class Labels(Protocol):
    """Labels of files. Folders are resolved; methods that write raise StorageError."""

    def own(self, handle: int) -> Label | None:
        """What an open file says of itself. Never raises."""

    def noted(self, folder: Path) -> Collection[str]:
        """Paths below a folder of which something is known now. Never raises."""

    def labelled(
        self, folder: Path, files: Mapping[str, Seen], noted: Collection[str]
    ) -> Mapping[str, Label]:
        """Of files, by their paths in the folder and as they were seen: the labels of those that have one
        besides their own. `noted`: before they were seen. Never raises: what cannot be told is the worst."""

    def expected_all(self, files: Sequence[tuple[Path, Label]]) -> None:
        """They will get, besides what they have, content with these labels. Leaves the files alone."""

    def mark_all(self, paths: Sequence[Path], label: Label) -> None:
        """They have, besides what they had, content with this label."""

    def replaced_all(self, files: Sequence[tuple[Path, Label]]) -> None:
        """They hold content with these labels and nothing else."""


def kept(labels: Labels, folder: Path, found: Found, noted: Collection[str]) -> Mapping[str, Label]:
    """The labels of what was found, by path as in trees."""
    whole = dict(labels.labelled(folder, found.seen, noted))
    for path, own in found.labels.items():
        whole[path] = whole.get(path, SELF).join(own)
    return {to_text(path): label for path, label in whole.items()}


def write(labels: Mapping[str, Label]) -> bytes:
    return _encoder.encode(labels)


def read(data: bytes) -> Mapping[str, Label]:
    """Raises msgspec.DecodeError."""
    return _decoder.decode(data)


class Coming:
    """Files of a checkpoint on their way back, with their labels."""

    def __init__(
        self,
        labels: Labels | None,
        folder: Path,
        then: Mapping[str, Label] | None,
        unlabelled: Label,
    ) -> None:
        """`then`: their labels as kept, by path; None: nobody kept any, and each has `unlabelled`."""
        self._labels, self._folder = labels, folder
        self._then, self._unlabelled = then, unlabelled

    def before(self, steps: Iterable[Step]) -> None:
        """They are about to come. Raises StorageError, and then they must not."""
        if self._labels is not None:
            self._labels.expected_all(self._of(steps))

    def after(
        self, difference: Difference, done: Iterable[Step], now: Mapping[str, Label], found: Found
    ) -> None:
        """They are there, and nothing that was in their place; what stayed as it was has its label back,
        too. `now`, `found`: labels and files as they were just before."""
        if self._labels is None:
            return
        with contextlib.suppress(StorageError):  # then they have both labels
            if self._then is None:
                self._labels.mark_all([p for p, _ in self._of(done)], self._unlabelled)
                return
            other = {shown(step.path) for step in difference.steps}
            other.update(left.path for left in difference.kept)
            same = [
                (self._folder / to_name(path), then)
                for path, label in now.items()
                if shown(path) not in other
                and label != (then := self._then.get(path, SELF))
                and _still(self._folder / to_name(path), found.seen.get(to_name(path)))
            ]
            self._labels.replaced_all([*self._of(done), *same])

    def _of(self, steps: Iterable[Step]) -> list[tuple[Path, Label]]:
        return [
            (
                self._folder / to_name(step.path),
                self._unlabelled if self._then is None else self._then.get(step.path, SELF),
            )
            for step in steps
            if step.action in ("add", "change") and isinstance(step.then, File | Link)
        ]


def _still(path: Path, known: Seen | None) -> bool:
    try:
        return seen(path.lstat()) == known
    except OSError:
        return False
