"""All checkpoints of a workspace: taking, listing, comparing and restoring them, and letting go of what no
one needs.

Two locks order the processes and threads that do so. `lock`: shared by who reads or adds contents,
exclusive for who removes them. `folders.lock`: shared by who takes a checkpoint, exclusive for who puts a
folder back, so that a turn's first change waits for the end of a restore.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from perdure.kernel.errors import Conflict, InvalidInput, NotFound
from perdure.kernel.events import SessionId, TurnId
from perdure.kernel.labels import UNKNOWN, Label
from perdure.kernel.ports import Clock, Ids

from . import restore
from .cache import StatCache
from .compare import Difference, compare
from .disk import Clone, locked, reflink, storage_error
from .keeping import Coming, Labels, kept, read, write
from .manifests import Manifests
from .objects import Batch, Measure, Objects, damaged
from .records import Changes, Checkpoint, Limits, Restored
from .scan import Found, Scan, unlabelled
from .tree import Entry, decode, shown, to_name, to_text
from .unneeded import Collected, collect

PRUNE = 10
"""So many checkpoints more than wanted are let go of together, because looking for what is not needed any
more reads the records of all of them."""
_NO_TURN = TurnId("")
_NO_LABELS: Mapping[str, Label] = {}


def _go_on() -> None: ...


def _real(workdir: Path) -> Path:
    return Path(os.path.realpath(workdir))


class _Taken(msgspec.Struct, frozen=True):
    checkpoint: Checkpoint
    found: Found
    labels: Mapping[str, Label]
    """Of the files, by path as in trees."""


class Checkpoints:
    """The folder `checkpoints/` of a workspace's `.perdure`. Touches nothing until used; several may be
    used at once, in any threads and processes. All methods block. They raise StorageError, and
    InvalidInput for what can be no id."""

    def __init__(
        self,
        root: Path,
        clock: Clock,
        ids: Ids,
        limits: Callable[[], Limits] = Limits,
        *,
        clone: Clone = reflink,
        labels: Labels | None = None,
    ) -> None:
        """`labels`: of the files, kept with them. None: nobody cares."""
        self._root = root
        self._labels = labels
        self._clock, self._ids = clock, ids
        self._limits = limits
        """Asked at each checkpoint, so that what the owner changes takes effect."""
        self._objects = Objects(root / "objects", clone)
        self._manifests = Manifests(root)
        # Beside the objects: who deletes them deletes what is believed of them, too.
        self._caches = root / "objects" / "seen"

    # Taking ---------------------------------------------------------------------------------------

    def take(
        self,
        session: SessionId,
        workdir: Path,
        *,
        turn: TurnId,
        seq: int,
        stop: Callable[[], None] = _go_on,
    ) -> Checkpoint:
        """The folder as it is now, durable on return. A turn has one: asked for again, it is returned.
        `stop` is called often and may raise; then nothing was taken."""
        with self._working(changing=False, stop=stop):
            known = self._manifests.of_turn(session, turn)
            if known is not None:
                return known
            checkpoint = self._take(session, workdir, "turn", seq, turn=turn, stop=stop).checkpoint
        self._prune(session)
        return checkpoint

    def _take(
        self,
        session: SessionId,
        workdir: Path,
        kind: Literal["turn", "rewind"],
        seq: int,
        *,
        turn: TurnId | None = None,
        restores: Checkpoint | None = None,
        stop: Callable[[], None] = _go_on,
    ) -> _Taken:
        began = self._clock.monotonic()
        batch = self._objects.batch()
        try:
            cache = self._cache(workdir, keep=True)
            noted = self._labels.noted(_real(workdir)) if self._labels else ()
            wanted = restores.tree if restores else None
            found = self._scan(workdir, cache, batch, began, stop, wanted)
            labels, name = _NO_LABELS, ""
            if self._labels is not None:
                labels = kept(self._labels, _real(workdir), found, noted)
                name = batch.put(write(labels))
            batch.settle()
            cache.save()
        finally:
            batch.discard()
        checkpoint = Checkpoint(
            id=self._ids.new("c"),
            session=session,
            kind=kind,
            at=self._clock.now(),
            seq=seq,
            turn=turn or _NO_TURN,
            restores=restores.id if restores else "",
            workdir=to_text(os.fspath(workdir)),
            tree=found.tree,
            files=found.files,
            bytes=found.bytes,
            new_bytes=batch.new_bytes,
            skipped=found.skipped,
            left_out=tuple(found.left_out),
            labels=name,
            ms=round((self._clock.monotonic() - began) * 1000),
        )
        self._manifests.write(checkpoint)
        return _Taken(checkpoint, found, labels)

    def _scan(
        self,
        workdir: Path,
        cache: StatCache,
        sink: Batch | Measure,
        began: float,
        stop: Callable[[], None],
        wanted: str | None,
    ) -> Found:
        limits, clock = self._limits(), self._clock
        room = limits.bytes
        if isinstance(sink, Batch):
            room = max(0, shutil.disk_usage(self._objects.folder).free - limits.spare_bytes)
        return Scan(
            workdir,
            cache,
            sink,
            limits,
            room=room,
            late=lambda: clock.monotonic() - began > limits.seconds,
            stop=stop,
            wanted=(wanted, self._load) if wanted else None,
            own=self._labels.own if self._labels is not None else unlabelled,
        ).run()

    # Looking --------------------------------------------------------------------------------------

    def list(self, session: SessionId) -> list[Checkpoint]:
        """Newest first."""
        return self._manifests.all(session)

    def get(self, session: SessionId, checkpoint: str) -> Checkpoint:
        """Raises NotFound."""
        return self._manifests.read(session, checkpoint)

    def changes(self, session: SessionId, checkpoint: str) -> Changes:
        """What restoring it now would do. Raises NotFound."""
        with self._working(changing=False):
            wanted = self.get(session, checkpoint)
            workdir = self._folder_of(wanted)
            cache = self._cache(workdir, keep=False)
            began = self._clock.monotonic()
            found = self._scan(workdir, cache, Measure(), began, _go_on, wanted.tree)
            difference = self._compare(found, wanted)
        return Changes(
            checkpoint=wanted.id,
            workdir=shown(wanted.workdir),
            changes=tuple(step.change() for step in difference.steps),
            kept=tuple(difference.kept),
        )

    # Going back -----------------------------------------------------------------------------------

    def restore(
        self, session: SessionId, checkpoint: str, *, seq: int, unlabelled: Label = UNKNOWN
    ) -> Restored:
        """Put the folder back, after a checkpoint of how it is now; each file that comes back has the label
        it had. `seq`: the session's last record. `unlabelled`: the label of all that comes back from a
        checkpoint that kept none. Raises NotFound; whatever it raises, it has changed no file."""
        with self._working(changing=True):
            wanted = self.get(session, checkpoint)
            workdir = self._folder_of(wanted)
            restore.clean(workdir)
            before = self._take(session, workdir, "rewind", seq, restores=wanted)
            difference = self._compare(before.found, wanted)
            back = Coming(self._labels, _real(workdir), self._kept(wanted), unlabelled)
            back.before(difference.steps)
            try:
                done = restore.apply(workdir, self._objects, difference, before.found.seen)
            except OSError as error:
                raise storage_error("restore the checkpoint", error) from error
            back.after(difference, done, before.labels, before.found)
        return Restored(
            checkpoint=wanted.id,
            undo=before.checkpoint.id,
            workdir=shown(wanted.workdir),
            changes=tuple(step.change() for step in done),
            kept=tuple(difference.kept),
        )

    # Letting go -----------------------------------------------------------------------------------

    def fork(self, parent: SessionId, session: SessionId, at: int) -> None:
        """Give a fork its parent's checkpoints up to the record `at`."""
        mine = [one for one in self.list(parent) if one.kind == "turn" and one.seq <= at]
        if mine:
            with self._working(changing=False):
                for one in mine:
                    self._manifests.write(msgspec.structs.replace(one, session=session))

    def forget(self, session: SessionId) -> None:
        """The session was deleted."""
        if self._manifests.drop_all(session):
            self.collect()

    def collect(self) -> Collected | None:
        """Remove contents that no checkpoint needs; None when others are at work just now.
        Raises StorageError, and removes nothing, when a checkpoint's record or tree cannot be read."""
        with contextlib.suppress(Conflict), self._failing("clean up the checkpoints"):
            if not self._objects.folder.exists():
                return Collected(0, 0)
            with locked(self._root / "lock", exclusive=True, seconds=0):
                return collect(self._manifests, self._objects, self._caches, self._load)
        return None

    def _prune(self, session: SessionId) -> None:
        if self._manifests.prune(session, self._limits().keep, PRUNE):
            self.collect()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """While this lasts nothing is removed. For who copies the store."""
        with self._failing("read the checkpoints"):
            if not self._root.exists():
                yield
                return
            with locked(self._root / "lock"):
                yield

    # ----------------------------------------------------------------------------------------------

    @contextmanager
    def _working(self, *, changing: bool, stop: Callable[[], None] = _go_on) -> Iterator[None]:
        with self._failing("keep a checkpoint"):
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self._objects.litter():
                with (
                    contextlib.suppress(Conflict),
                    locked(self._root / "lock", exclusive=True, seconds=0),
                ):
                    self._objects.sweep()
            with (
                locked(self._root / "folders.lock", exclusive=changing, stop=stop),
                locked(self._root / "lock", stop=stop),
            ):
                yield

    @contextmanager
    def _failing(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise storage_error(doing, error) from error

    def _cache(self, workdir: Path, *, keep: bool) -> StatCache:
        return StatCache.of(self._caches, os.fspath(workdir), keep=keep)

    def _compare(self, found: Found, wanted: Checkpoint) -> Difference:
        def load(tree: str) -> dict[str, Entry]:
            mine = found.trees.get(tree)
            return decode(mine) if mine is not None else self._load(tree)

        return compare(load, found.tree, wanted.tree)

    def _load(self, tree: str) -> dict[str, Entry]:
        try:
            return decode(self._objects.read(tree))
        except msgspec.DecodeError:
            raise damaged(tree) from None

    def _kept(self, checkpoint: Checkpoint) -> Mapping[str, Label] | None:
        """Labels by path as in trees; None: there are none."""
        if not checkpoint.labels:
            return None
        try:
            return read(self._objects.read(checkpoint.labels))
        except msgspec.DecodeError:
            raise damaged(checkpoint.labels) from None

    @staticmethod
    def _folder_of(checkpoint: Checkpoint) -> Path:
        workdir = Path(to_name(checkpoint.workdir))
        if not workdir.is_absolute():
            raise InvalidInput(f"checkpoint {checkpoint.id} names no folder")
        if not workdir.is_dir():
            raise NotFound(
                f"the folder {shown(checkpoint.workdir)} is gone",
                hint="Make it again, empty, to restore the checkpoint into it.",
            )
        return workdir
