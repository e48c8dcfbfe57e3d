"""A bench with everything real but the session's artifacts, which are plain files here."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from perdure.kernel.errors import NotFound
from perdure.kernel.events import (
    AnyDelta,
    ArtifactId,
    CallId,
    Json,
    OutputDelta,
    SessionId,
    ToolCall,
    ToolResult,
)
from perdure.sandbox import SupervisedCommands
from perdure.tools import CORE_TOOLS, Bench, Tool, Toolbox


class FileArtifacts:
    """Implements tools.Artifacts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, data: bytes, ext: str) -> ArtifactId:
        self._folder.mkdir(exist_ok=True)
        name = hashlib.sha256(data).hexdigest() + ext
        (self._folder / name).write_bytes(data)
        return ArtifactId(name)

    def put_file(self, path: Path, ext: str) -> ArtifactId:
        self._folder.mkdir(exist_ok=True)
        name = hashlib.sha256(str(path).encode()).hexdigest() + ext
        shutil.copy(path, self._folder / name)
        return ArtifactId(name)

    def path(self, artifact: ArtifactId) -> Path:
        if "/" in artifact or not (self._folder / artifact).exists():
            raise NotFound(f"no artifact {artifact}")
        return self._folder / artifact


class World:
    """A working directory and a session that works in it."""

    def __init__(self, root: Path, tools: Sequence[type[Tool]] = CORE_TOOLS) -> None:
        self.workdir = root / "work"
        self.workdir.mkdir()
        self.state = root / "state"
        self.state.mkdir()
        self.artifacts = FileArtifacts(root / "artifacts")
        self.commands = SupervisedCommands(self.state)
        self.toolbox = Toolbox(core=tools)
        self.output: list[AnyDelta] = []
        self.calls = 0
        self.bench = self.open()

    def open(self, max_result_chars: int = 30_000) -> Bench:
        return Bench(
            self.toolbox,
            session=SessionId("s_1"),
            workdir=self.workdir,
            artifacts=self.artifacts,
            commands=self.commands,
            scratch=self.state,
            max_result_chars=max_result_chars,
        )

    async def __call__(self, tool: str, **arguments: Json) -> ToolResult:
        """Call a tool as a model would."""
        return await self.call(tool, arguments)

    async def call(
        self,
        tool: str,
        arguments: dict[str, Json],
        *,
        key: str = "",
        resumed: bool = False,
        bench: Bench | None = None,
    ) -> ToolResult:
        self.calls += 1
        call = ToolCall(id=CallId(f"c{self.calls}"), name=tool, arguments=arguments)
        prepared = (bench or self.bench).prepare(call)
        if isinstance(prepared, ToolResult):
            return prepared
        return await prepared.run(
            key=key or f"s_1.{self.calls}", emit=self.output.append, resumed=resumed
        )

    def shown(self) -> str:
        return "".join(d.text for d in self.output if isinstance(d, OutputDelta))

    def path(self, name: str) -> Path:
        return self.workdir / name

    def put(self, name: str, content: str | bytes) -> Path:
        path = self.workdir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path
