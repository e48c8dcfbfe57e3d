"""The walk over a working folder: what is in it now, written down as trees.

Invariant: everything in a folder appears in its tree, as what it is or as `Left`, except the runtime's
own `.perdure` and our drafts. So a name that a tree does not have was not there.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from perdure import credentials
from perdure.kernel.labels import Label

from . import ignore
from .cache import Known, Seen, StatCache, seen
from .disk import storage_error
from .objects import read_all
from .records import LeftOut, Limits, Why
from .tree import Entry, File, Folder, Left, Link, Load, encode, shown, to_text

PRIVATE = ".perdure"
DRAFTS = ".perdure-rewind-"
"""How our own drafts in a working folder are named."""
DEEPEST = 100
NOTED = 50
"""Left-out things that a checkpoint names; the trees have them all."""
TRIES = 2
UNSETTLED: Seen = (0, 0, 0, 0)
"""Of a file that was being written while it was read."""
Own = Callable[[int], Label | None]
"""What an open file says of its label."""


def unlabelled(handle: int) -> Label | None:
    """Where nobody cares."""
    return None


class Sink(Protocol):
    """Takes contents. Implemented by `objects.Batch` and, where only names are wanted, `Measure`."""

    new_bytes: int

    def put(self, data: bytes) -> str: ...

    def put_file(self, source: int, size: int, stop: Callable[[], None]) -> tuple[str, int]: ...


@dataclass(slots=True)
class Found:
    """What a walk found."""

    tree: str = ""
    """Of the whole folder."""
    trees: dict[str, bytes] = field(default_factory=dict)
    seen: dict[str, Seen] = field(default_factory=dict)
    """Files and links by path, as they were when they were taken."""
    labels: dict[str, Label] = field(default_factory=dict)
    """What files say of themselves, by path."""
    files: int = 0
    bytes: int = 0
    skipped: int = 0
    left_out: list[LeftOut] = field(default_factory=list)


class Scan:
    """One walk. Use once."""

    def __init__(
        self,
        root: Path,
        cache: StatCache,
        sink: Sink,
        limits: Limits,
        *,
        room: int,
        late: Callable[[], bool],
        stop: Callable[[], None],
        wanted: tuple[str, Load] | None = None,
        own: Own = unlabelled,
    ) -> None:
        """`room`: bytes that may be added to the store. `late`: whether the time is up. `stop` is called
        often, and may raise. `wanted`: the tree of an earlier checkpoint; what it has is taken even
        where it is ignored now. `own`: what an open file says of its label."""
        self._root, self._cache, self._sink, self._limits = root, cache, sink, limits
        self._room, self._late, self._stop = room, late, stop
        self._wanted, self._own = wanted, own
        self._entries = 0
        self._device = 0
        self.found = Found()

    def run(self) -> Found:
        """Raises StorageError when the folder itself cannot be read, or the store cannot be written."""
        try:
            handle = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise storage_error("read the working folder", error) from error
        try:
            self._device = os.fstat(handle).st_dev
            wanted = self._load(self._wanted[0]) if self._wanted else {}
            rules = ignore.Chain([ignore.Rules(ignore.DEFAULTS), *_above(self._root)])
            self.found.tree = self._folder(handle, "", rules, wanted, 0)
        finally:
            os.close(handle)
        return self.found

    def _load(self, tree: str) -> dict[str, Entry]:
        assert self._wanted is not None
        return self._wanted[1](tree)

    def _folder(
        self, handle: int, path: str, rules: ignore.Chain, wanted: dict[str, Entry], deep: int
    ) -> str:
        """The name of the folder's tree. `path`: empty, or ending in `/`."""
        self._stop()
        with os.scandir(handle) as listing:
            items = sorted(listing, key=_name)
        rules = self._with_rules(handle, path, rules, items)
        known, noted = self._cache.folder(to_text(path))
        entries: list[Entry] = []
        for item in items:
            name = item.name
            if name == PRIVATE or (not deep and name.startswith(DRAFTS)):
                continue
            text = name if name.isascii() else to_text(name)
            asked = wanted.get(text) if wanted else None
            entry: Entry | Why
            try:
                status = item.stat(follow_symlinks=False)
                kind = status.st_mode & 0o170000
                is_folder = kind == stat.S_IFDIR
                kept = asked is not None and not isinstance(asked, Left)
                if not kept and rules.ignores(name, path + name, is_folder):
                    entries.append(Left(text, "ignored"))
                    continue
                if is_folder:
                    entry = self._subfolder(handle, name, path, rules, asked, status, deep)
                elif kind == stat.S_IFREG:
                    entry = self._file(handle, name, text, path, status, known.get(text), noted)
                elif kind == stat.S_IFLNK:
                    target = to_text(os.readlink(name, dir_fd=handle))
                    self.found.seen[path + name] = seen(status)
                    self._entries += 1
                    entry = Link(text, target)
                else:
                    entry = "special"
            except FileNotFoundError:
                continue  # it went while we looked
            except _Refused:
                entry = "unreadable"
            if isinstance(entry, str):
                self._leave(path + name, entry)
                entry = Left(text, entry)
            entries.append(entry)
        data = encode(entries)
        tree = self._sink.put(data)
        self.found.trees[tree] = data
        return tree

    def _with_rules(
        self, handle: int, path: str, rules: ignore.Chain, items: list[os.DirEntry[str]]
    ) -> ignore.Chain:
        present = {item.name for item in items if item.name in ignore.FILES}
        for name in ignore.FILES:
            if name in present and (text := _text(name, handle)):
                found = ignore.Rules(text, cut=len(path))
                if found:
                    rules = rules.with_rules(found)
        return rules

    def _subfolder(
        self,
        parent: int,
        name: str,
        path: str,
        rules: ignore.Chain,
        asked: Entry | None,
        status: os.stat_result,
        deep: int,
    ) -> Entry | Why:
        if credentials.folder(name):
            return "secret"
        if status.st_dev != self._device:
            return "elsewhere"
        if deep >= DEEPEST:
            return "deep"
        if self._entries >= self._limits.files and asked is None:
            return "many"
        handle = _open(name, _FOLDER, parent)
        try:
            if os.fstat(handle).st_dev != self._device:
                return "elsewhere"
            wanted = self._load(asked.tree) if isinstance(asked, Folder) else {}
            tree = self._folder(handle, f"{path}{name}/", rules, wanted, deep + 1)
        finally:
            os.close(handle)
        self._entries += 1
        return Folder(to_text(name), stat.S_IMODE(status.st_mode), tree)

    def _file(
        self,
        parent: int,
        name: str,
        text: str,
        path: str,
        status: os.stat_result,
        known: Known | None,
        noted: dict[str, Known],
    ) -> Entry | Why:
        now = seen(status)
        size = now[0]
        if known is not None and known[0] == now:
            content, own = known[1], known[2]
            if not content:
                noted[text] = known
                return "secret"
        elif credentials.by_name(name):
            return "secret"
        else:
            content, own = "", None
        found = self.found
        if size > self._limits.file_bytes:
            return "large"
        if self._entries >= self._limits.files:
            return "many"
        if found.bytes + size > self._limits.bytes:
            return "full"
        if not content:
            if self._late():
                return "late"
            if self._sink.new_bytes + size > self._room:
                return "full"
            taken = self._take(parent, name)
            if taken is None:
                noted[text] = (now, "", None)
                return "secret"
            content, size, now, own = taken
        if self._cache.settled(now):
            noted[text] = (now, content, own)
        found.seen[path + name] = now
        if own is not None:
            found.labels[path + name] = own
        found.files += 1
        found.bytes += size
        self._entries += 1
        return File(text, status.st_mode & 0o7777, size, content)

    def _take(self, parent: int, name: str) -> tuple[str, int, Seen, Label | None] | None:
        """Name of the content, its size, the file as it was then, and its own label. None: it is a secret."""
        handle = _open(name, _FILE, parent)
        try:
            for left in range(TRIES, 0, -1):
                before = os.fstat(handle)
                if not stat.S_ISREG(before.st_mode):
                    raise _Refused
                if credentials.by_content(os.pread(handle, credentials.HEAD, 0)):
                    return None
                os.lseek(handle, 0, os.SEEK_SET)
                content, size = self._sink.put_file(handle, before.st_size, self._stop)
                # After the content: a label is written before what it is for.
                own = self._own(handle)
                now = seen(before)
                if seen(os.fstat(handle)) == now:
                    return content, size, now, own
                if left == 1:
                    break  # it is being written all the time: what was read is what there is
        finally:
            os.close(handle)
        return content, size, UNSETTLED, own

    def _leave(self, path: str, why: Why) -> None:
        found = self.found
        found.skipped += 1
        if len(found.left_out) < NOTED:
            found.left_out.append(LeftOut(path=shown(to_text(path)), why=why))


_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC


class _Refused(Exception):
    """It cannot be read."""


def _open(name: str, flags: int, parent: int) -> int:
    """Raises FileNotFoundError, _Refused, and OSError for what is not this file's fault."""
    try:
        return os.open(name, flags, dir_fd=parent)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        raise _Refused from None


def _name(item: os.DirEntry[str]) -> str:
    return item.name


def _text(name: str, parent: int | None) -> str:
    """An ignore file's content; empty when it cannot be read."""
    try:
        handle = os.open(name, _FILE, dir_fd=parent)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return ""
        return os.fsdecode(read_all(handle, ignore.MOST_BYTES)[: ignore.MOST_BYTES])
    finally:
        os.close(handle)


def _above(root: Path) -> list[ignore.Rules]:
    """The `.gitignore` files above a folder that is part of a larger repository."""
    chain: list[ignore.Rules] = []
    prefix = ""
    at = root
    while not (at / ".git").exists():
        if at.parent == at:
            return []
        prefix = f"{at.name}/{prefix}"
        at = at.parent
        if text := _text(os.fspath(at / ".gitignore"), None):
            chain.insert(0, ignore.Rules(text, prefix=prefix))
    return chain
