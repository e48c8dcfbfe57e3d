"""What this installation must not let out, and where that is looked for.

One scanner for a workspace knows every secret the process could hold: the vault's, the model providers'
keys, the server's token, and what the environment names as a credential. Tools' results, messages,
answers on their way out, requests and logs all pass it.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from perdure.kernel.errors import PerdureError
from perdure.kernel.events import (
    AnyEvent,
    ApprovalDecided,
    CompactionFailed,
    CompactionRequested,
    DeliveryEnded,
    HookActed,
    ModelFailed,
    NoticeAdded,
    Part,
    SessionId,
    SessionRenamed,
    SessionStarted,
    StopRequested,
    Text,
    TurnEnded,
)
from perdure.kernel.ports import Outbox, Sent
from perdure.kernel.state import Delivery
from perdure.leaks import Leak, Leaks, Own
from perdure.leaks.forms import SHORTEST
from perdure.sealing import IDENTITY, config_folder
from perdure.secrets import Vault

if TYPE_CHECKING:
    from perdure.agents import Workspace

WITHHELD = "[withheld: it could not be searched for secrets]"
HELD = "held, because it holds "
"""How the error of a letter begins that was not sent."""
_CREDENTIAL = re.compile(
    r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|PAT|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|CREDENTIALS?)(?:_|$)"
)
_HOLDS = {
    "vault": "what secrets.age holds",
    "providers": "the model providers' keys",
    "server": "the server's token",
}
_LEAST = 12
"""Characters of a variable's value that may be a credential."""


_QUOTING: Mapping[type, tuple[str, ...]] = {
    HookActed: ("hook", "detail"),
    NoticeAdded: ("text",),
    ModelFailed: ("message", "partial"),
    TurnEnded: ("error",),
    CompactionFailed: ("reason",),
    DeliveryEnded: ("receipt", "error"),
    SessionStarted: ("title",),
    SessionRenamed: ("title",),
    ApprovalDecided: ("note",),
    CompactionRequested: ("focus",),
    StopRequested: ("reason",),
}
"""Events with words that a person typed, or that quote what something else said."""


class OwnSecrets:
    """All secrets this process could hold. Asked at every scan: looks at the files' stamps only, until
    one has changed."""

    def __init__(
        self, vault: Vault, keys: Path, env: Mapping[str, str], server_file: Path, token: str = ""
    ) -> None:
        self._vault, self._env, self._token = vault, env, token
        self._server_file = server_file
        self._keys = keys
        self._files = tuple(
            map(os.fspath, (keys / "credentials.age", keys / IDENTITY, server_file))
        )
        self._lock = threading.Lock()
        self._stamps: tuple[object, ...] | None = None
        self._own: tuple[Own, ...] = ()
        self._last: dict[str, tuple[Own, ...]] = {}
        self._unread: dict[str, str] = {}

    def unread(self) -> tuple[str, ...]:
        """Why what some store holds is not looked for as it is now: it cannot be opened."""
        self()
        return tuple(self._unread.values())

    def __call__(self) -> Sequence[Own]:
        stamps = (self._vault.stamp(), *map(_stamp, self._files))
        if stamps != self._stamps:
            with self._lock:
                own, whole = self._collect()
                # The list first: who finds these stamps need not wait, and takes it.
                self._own = self._own if own == self._own else own
                # What could not be read now may be readable the next time, with no stamp changed.
                self._stamps = stamps if whole else None
        return self._own

    def _collect(self) -> tuple[tuple[Own, ...], bool]:
        """And whether every source could be read."""
        vault, opened = self._known("vault", self._in_vault)
        providers, known = self._known("providers", self._of_providers)
        server, told = self._known("server", self._of_server)
        found = [*vault, *providers, *server, *self._of_environment()]
        once: dict[str, Own] = {}
        for own in found:
            if len(own.value.strip()) >= SHORTEST:
                once.setdefault(own.value, own)
        return tuple(once.values()), opened and known and told

    def _known(
        self, source: str, read: Callable[[], tuple[Own, ...]]
    ) -> tuple[tuple[Own, ...], bool]:
        """What a store holds; what it held before, and False, while it cannot be opened: a value that was
        never read is in no memory that could let it out."""
        try:
            self._last[source] = read()
        except (PerdureError, OSError, msgspec.DecodeError) as error:
            said = error.message if isinstance(error, PerdureError) else str(error)
            self._unread[source] = (
                f"{_HOLDS[source]} cannot be read, so leaks of it are not found: {said}"
            )
            return self._last.get(source, ()), False
        self._unread.pop(source, None)
        return self._last[source], True

    def _in_vault(self) -> tuple[Own, ...]:
        return tuple(
            Own(name=f"secret://{name}", value=value)
            for name, value in self._vault.values().items()
        )

    def _of_providers(self) -> tuple[Own, ...]:
        from perdure.models.credentials import Credentials

        values = Credentials(self._keys, self._env).values()
        return tuple(Own(name=f"key of {name}", value=value) for name, value in values.items())

    def _of_server(self) -> tuple[Own, ...]:
        try:
            file = msgspec.json.decode(self._server_file.read_bytes(), type=_ServerFile)
        except FileNotFoundError:
            return ()
        return (Own(name="server token", value=file.token),)

    def _of_environment(self) -> list[Own]:
        """Credentials by their names, those aside that say in which file one is kept."""
        configured = [Own(name="server token", value=self._token)] if self._token else []
        return configured + [
            Own(name=f"variable {name}", value=value.strip())
            for name, value in self._env.items()
            if _CREDENTIAL.search(name.upper())
            and len(value.strip()) >= _LEAST
            and not _is_path(value.strip())
        ]


def _is_path(value: str) -> bool:
    """Does it name a place on this machine? Of random values one in sixty-four begins with a slash too."""
    if not value.startswith("/"):
        return False
    path = os.path.normpath("/" + value.lstrip("/"))  # two slashes at its beginning would stay
    folder = os.path.dirname(path)  # noqa: PTH120
    return os.path.lexists(path) or (folder != "/" and os.path.isdir(folder))  # noqa: PTH112


class _ServerFile(msgspec.Struct):
    token: str = ""


class Secrecy:
    """A workspace's vault and scanner, and what the runtime does with them."""

    def __init__(self, private: Path, env: Mapping[str, str], *, token: str = "") -> None:
        """`token`: of the server, as perdure.yaml names it."""
        keys = config_folder(env)
        self.vault = Vault(private, keys)
        own = OwnSecrets(self.vault, keys, env, private / "run/server.json", token)
        self.leaks, self.unread = Leaks(own), own.unread
        self._private = private

    @classmethod
    def of(cls, workspace: Workspace) -> Secrecy:
        token = workspace.config.server.token.get_secret_value()
        return cls(workspace.private, workspace.env, token=token)

    # tools.screening.Screen -----------------------------------------------------------------------

    def clean(self, text: str) -> str:
        """Without the installation's own secrets. What cannot be searched is withheld."""
        try:
            clean, count = self.leaks.redact(text, formats=False)
        except PerdureError:
            return WITHHELD
        return clean if count else text

    def clear(self, texts: Sequence[str]) -> bool:
        """Whether none of them holds one, in one search; False where that cannot be told."""
        try:
            return self.leaks.clear(texts)
        except PerdureError:
            return False

    def refusal(self, paths: Sequence[Path], texts: Sequence[str]) -> str:
        """Credentials do not belong into memory, nor into what agents are made of: all of that is put
        before a model later on."""
        kept = [path for path in paths if self._is_kept(path)]
        if not kept:
            return ""
        try:
            found = [leak for text in texts for leak in self.leaks.scan(text)]
        except PerdureError as error:
            return f"it was not written: {error}"
        if not found:
            return ""
        return (
            f"{kept[0].name} was not written: the text holds {found[0]}. Credentials are kept in no "
            "memory or agent file. Leave it out, or name it as secret://NAME; the owner stores it with: "
            "perdure secrets set NAME"
        )

    def _is_kept(self, path: Path) -> bool:
        try:
            inside = path.relative_to(self._private.resolve())
        except ValueError:
            return path.name == "MEMORY.md"
        return bool(inside.parts) and inside.parts[0] != "sessions"

    def event(self, event: AnyEvent) -> AnyEvent:
        """What is said of failures quotes whoever failed, and people paste. (Messages and tools' results
        are clean before they become events.)"""
        fields = _QUOTING.get(type(event), ())
        changed = {
            name: clean
            for name in fields
            if (text := getattr(event, name)) and (clean := self.clean(text)) is not text
        }
        return msgspec.structs.replace(event, **changed) if changed else event

    # Messages -------------------------------------------------------------------------------------

    def said(self, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        """A message with the name of each secret where somebody has pasted its value."""
        return tuple(
            Text(text=text)
            if isinstance(part, Text) and (text := self.clean(part.text)) is not part.text
            else part
            for part in parts
        )

    def leaving(self, text: str) -> list[Leak]:
        """What must not leave in a message. Raises PerdureError where that cannot be told."""
        return list(self.leaks.scan(text))


class ScreenedOutbox:
    """Implements `kernel.ports.Outbox`: an answer that holds a credential stays here until its owner
    has looked at it; one with a secret of this installation never leaves."""

    def __init__(self, outbox: Outbox, secrecy: Secrecy, begun: Callable[[Delivery], bool]) -> None:
        """`begun`: has the present attempt at a delivery got as far as its channel's command?"""
        self._outbox, self._secrecy, self._begun = outbox, secrecy, begun

    async def send(self, session: SessionId, delivery: Delivery, *, resumed: bool) -> Sent:
        # The attempt is on record before it is looked through: a kill between them has let nothing out.
        under_way = resumed and self._begun(delivery)
        if not under_way and (held := self._held(delivery)):
            return Sent(outcome="failed", error=held)
        sent = await self._outbox.send(session, delivery, resumed=resumed)
        clean = self._secrecy.clean
        return Sent(
            outcome=sent.outcome,
            receipt=clean(sent.receipt),
            error=clean(sent.error),
            retry_after=sent.retry_after,
        )

    async def ended(self, session: SessionId, delivery: Delivery, *, arrived: bool) -> None:
        await self._outbox.ended(session, delivery, arrived=arrived)

    def _held(self, delivery: Delivery) -> str:
        try:
            found = self._secrecy.leaving(delivery.text)
        except PerdureError as error:
            return f"{HELD}what could not be searched for secrets: {error.message}"
        own = [leak for leak in found if leak.own]
        if own:
            return f"{HELD}{own[0]}, which may not leave in a message"
        if delivery.label.secrecy == "secret" and not delivery.error.startswith(HELD):
            return (
                f"{HELD}words from a session that has seen secret data. If they may leave: "
                "perdure outbox retry sends them as they are"
            )
        if found and not delivery.error.startswith(HELD):
            return f"{HELD}{found[0]}. If it may leave: perdure outbox retry sends it as it is"
        return ""


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        stat = os.stat(path)  # noqa: PTH116  # at every scan
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
