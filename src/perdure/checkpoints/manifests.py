"""The records of checkpoints, `<session>/<id>.json`: one small file each, replaced never."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from perdure.kernel.errors import NotFound, StorageError
from perdure.kernel.events import SessionId, TurnId

from .disk import sync_one, write_whole
from .records import Checkpoint, checked_id

RESERVED = frozenset(("objects",))
_decoder = msgspec.json.Decoder(Checkpoint)


class Manifests:
    def __init__(self, root: Path) -> None:
        self._root = root

    def write(self, checkpoint: Checkpoint) -> None:
        """Durable on return. Raises OSError."""
        folder = self._folder(checkpoint.session)
        if not folder.exists():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            sync_one(folder.parent)
        data = msgspec.json.format(msgspec.json.encode(checkpoint)) + b"\n"
        write_whole(folder / f"{checkpoint.id}.json", data, durable=True)

    def read(self, session: SessionId, id_: str) -> Checkpoint:
        """Raises NotFound, InvalidInput, StorageError when it is damaged."""
        path = self._folder(session) / f"{checked_id(id_, 'checkpoint')}.json"
        try:
            return _read(path)
        except FileNotFoundError:
            raise NotFound(
                f"session {session} has no checkpoint {id_}",
                hint=f"See them: perdure rewind {session} --list",
            ) from None

    def all(self, session: SessionId) -> list[Checkpoint]:
        """Newest first. One that is damaged is left out here: it can still be asked for by its id."""
        found = []
        for name in self._names(session):
            try:
                found.append(_read(self._folder(session) / name))
            except (StorageError, FileNotFoundError):
                continue
        return found

    def of_turn(self, session: SessionId, turn: TurnId) -> Checkpoint | None:
        """The latest checkpoint taken for a turn, if it was for this one."""
        for name in self._names(session):
            try:
                found = _read(self._folder(session) / name)
            except (StorageError, FileNotFoundError):
                continue
            if found.kind == "turn":
                return found if found.turn == turn else None
        return None

    def every(self) -> Iterator[Checkpoint]:
        """Of all sessions. Raises StorageError at one that is damaged."""
        try:
            sessions = [item for item in self._root.iterdir() if item.is_dir()]
        except FileNotFoundError:
            return
        for folder in sessions:
            if folder.name not in RESERVED:
                for path in folder.glob("[!.]*.json"):
                    yield _read(path)

    def prune(self, session: SessionId, keep: int, batch: int) -> int:
        """Drop the oldest beyond `keep`, once there are `batch` more. How many. Raises OSError."""
        names = self._names(session)
        if len(names) < keep + batch:
            return 0
        for name in names[keep:]:
            (self._folder(session) / name).unlink(missing_ok=True)
        return len(names) - keep

    def drop_all(self, session: SessionId) -> bool:
        """Whether there were any."""
        folder = self._folder(session)
        if not folder.exists():
            return False
        shutil.rmtree(folder, ignore_errors=True)
        return True

    def _folder(self, session: SessionId) -> Path:
        return self._root / checked_id(session, "session")

    def _names(self, session: SessionId) -> list[str]:
        """Of files, newest first: ids sort by time."""
        folder = self._folder(session)
        try:
            names = [path.name for path in folder.iterdir()]
        except FileNotFoundError:
            return []
        return sorted((n for n in names if n.endswith(".json") and n[0] != "."), reverse=True)


def _read(path: Path) -> Checkpoint:
    try:
        return _decoder.decode(path.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StorageError(
            f"the checkpoint record {path} is damaged: {error}",
            hint="Delete that file: the checkpoint it describes is lost, the others are not.",
        ) from None
