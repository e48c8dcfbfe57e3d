"""What lies between a folder as it is and as it was: the steps that lead back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from .records import Change, LeftOut, Why
from .tree import Entry, File, Folder, Left, Link, Load, shown


class Step(msgspec.Struct, frozen=True):
    action: Literal["add", "change", "remove", "mode"]
    path: str
    """As in trees, see `tree.to_text`."""
    now: File | Link | Folder | None
    then: File | Link | Folder | None

    def change(self) -> Change:
        entry = self.then or self.now
        assert entry is not None
        kind: Literal["file", "link", "folder"] = (
            "file" if isinstance(entry, File) else "link" if isinstance(entry, Link) else "folder"
        )
        size = entry.size if isinstance(entry, File) else 0
        return Change(path=shown(self.path), action=self.action, kind=kind, bytes=size)


@dataclass(slots=True)
class Difference:
    """Steps in the order in which they can be done, but for the modes of folders, which come last."""

    steps: list[Step] = field(default_factory=list)
    kept: list[LeftOut] = field(default_factory=list)

    def keep(self, path: str, why: Why) -> None:
        self.kept.append(LeftOut(path=shown(path), why=why))


def compare(load: Load, now: str, then: str) -> Difference:
    """From the tree `now` to the tree `then`. Raises StorageError when a tree is missing or damaged."""
    found = Difference()
    _Walk(load, found).folder("", now, then)
    return found


class _Walk:
    def __init__(self, load: Load, found: Difference) -> None:
        self._load, self._found = load, found

    def folder(self, path: str, now: str, then: str) -> None:
        if now == then:
            return
        present, past = self._load(now), self._load(then)
        for name in sorted({*present, *past}):
            self._entry(path + name, present.get(name), past.get(name))

    def _entry(self, path: str, now: Entry | None, then: Entry | None) -> None:
        found = self._found
        if now == then:
            return
        if isinstance(now, Left) or isinstance(then, Left):
            self._left(path, now, then)
        elif then is None:
            assert now is not None
            self._remove(path, now)
        elif now is None:
            self._add(path, then)
        elif isinstance(now, Folder) and isinstance(then, Folder):
            if now.mode != then.mode:
                found.steps.append(Step("mode", path, now, then))
            self.folder(f"{path}/", now.tree, then.tree)
        elif isinstance(now, Folder):
            if any(self._left_in(now.tree)):
                found.keep(path, "occupied")
            else:
                self._remove(path, now)
                self._add(path, then)
        elif isinstance(then, Folder):
            found.steps.append(Step("remove", path, now, None))
            self._add(path, then)
        elif isinstance(now, File) and isinstance(then, File) and now.content == then.content:
            found.steps.append(Step("mode", path, now, then))
        else:
            found.steps.append(Step("change", path, now, then))

    def _left(self, path: str, now: Entry | None, then: Entry | None) -> None:
        """One side was not taken: it cannot be known, or not be made good, so all stays as it is."""
        if isinstance(then, Left):
            if isinstance(now, Left):
                return
            self._found.keep(path, "gone" if now is None else then.why)
        elif isinstance(now, Left) and not (then is None and now.why == "ignored"):
            self._found.keep(path, now.why)

    def _remove(self, path: str, entry: File | Link | Folder) -> None:
        if isinstance(entry, Folder):
            stays = False
            for inner in self._load(entry.tree).values():
                if isinstance(inner, Left):
                    stays = True
                    self._left(f"{path}/{inner.name}", inner, None)
                else:
                    self._remove(f"{path}/{inner.name}", inner)
                    if isinstance(inner, Folder) and any(self._left_in(inner.tree)):
                        stays = True
            if stays:
                return
        self._found.steps.append(Step("remove", path, entry, None))

    def _add(self, path: str, entry: File | Link | Folder) -> None:
        self._found.steps.append(Step("add", path, None, entry))
        if isinstance(entry, Folder):
            for inner in self._load(entry.tree).values():
                if isinstance(inner, Left):
                    self._found.keep(f"{path}/{inner.name}", "gone")
                else:
                    self._add(f"{path}/{inner.name}", inner)

    def _left_in(self, tree: str) -> Iterator[Left]:
        for entry in self._load(tree).values():
            if isinstance(entry, Left):
                yield entry
            elif isinstance(entry, Folder):
                yield from self._left_in(entry.tree)
