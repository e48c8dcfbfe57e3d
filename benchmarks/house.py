"""Perdure as a contestant: a workspace on disk, and a driver that opens it in this process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lookup import lookup

if TYPE_CHECKING:
    from perdure.kernel.events import SessionId
    from perdure.runtime import Runtime
    from perdure.storage import RealDisk

_WORKSPACE = """\
apiVersion: perdure/v1
kind: Workspace
default_agent: default
model:
  provider: openai-chat
  name: bench
  base_url: {url}
  context_window: 1000000000
  extra: {{stream: {stream}}}
budget: {{rounds: 1000000}}
"""


def prepare(folder: Path, url: str, *, stream: bool = True) -> Path:
    """A workspace as `perdure init` makes it, in mode auto, with the local server as its model and a
    window that nothing fills, so that no result is cleared and every round sends the whole history."""
    from perdure.agents import scaffold

    scaffold(folder)
    text = _WORKSPACE.format(url=url, stream=str(stream).lower())
    (folder / "perdure.yaml").write_text(text)
    (folder / ".perdure" / "policy.yaml").write_text("mode: auto\n")
    return folder


class House:
    """Sessions are named by what they are called here, or by their id when they are on disk."""

    def __init__(self, folder: str, effects: str, disk: RealDisk | None = None) -> None:
        self._folder, self._effects, self._disk = Path(folder), effects, disk
        self._sessions: dict[str, SessionId] = {}
        self.runtime: Runtime

    async def ready(self) -> None:
        from perdure.runtime import open_runtime

        tools: Any = [tool(self._effects)]
        self.runtime = await open_runtime(self._folder, tools=tools, disk=self._disk)
        await self._session("warm")

    async def turn(self, session: str, message: str) -> str:
        from perdure.kernel.events import Text

        id_ = await self._session(session)
        accepted = await self.runtime.submit(id_, (Text(text=message),))
        outcome = await self.runtime.wait(id_, accepted.message, 3600)
        assert outcome is not None
        return outcome.text or outcome.error

    async def close(self) -> None:
        await self.runtime.close()

    async def _session(self, name: str) -> SessionId:
        from perdure.kernel.events import SessionId

        if (self._folder / ".perdure" / "sessions" / name).is_dir():
            return SessionId(name)
        if name not in self._sessions:
            self._sessions[name] = (await self.runtime.create_session()).id
        return self._sessions[name]


def tool(effects: str) -> type:
    """The lookup, as a tool that only reads, or as one that writes: its intent is then synced too."""
    from perdure.tools import Tool, ToolContext, ToolResult
    from perdure.tools.base import ok

    class Lookup(Tool):
        """Look up an entry by its key."""

        key: str

        async def execute(self, context: ToolContext) -> ToolResult:
            return ok(lookup(self.key))

    Lookup.effects = frozenset({effects})  # type: ignore[arg-type]
    Lookup.cooperative = True  # it does not block, so it needs no thread of its own
    return Lookup


def make(*, url: str, folder: str, stream: bool, effects: str = "writes") -> House:
    """`url` and `stream` are in the workspace's files."""
    return House(folder, effects)
