"""A bench whose files are labelled, and a conversation that can be tainted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from perdure.kernel.labels import OWNER, Label
from perdure.storage import FileLabels
from perdure.tools import CORE_TOOLS, Answer, Tool
from tests.tools.world import World

WEB = Label(trust="third_party", origins=("web:evil.example",))


class Scribe:
    """Implements tools.Reader by saying what it was told to."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, int]] = []

    async def __call__(self, instructions: str, content: str, rejected: object = (), /) -> Answer:
        self.asked.append((instructions, content, len(rejected)))  # type: ignore[arg-type]
        return Answer(text=self.answers.pop(0), cost_usd=0.25)


class Labelled(World):
    def __init__(
        self, root: Path, tools: tuple[type[Tool], ...] = (), *, online: bool = False
    ) -> None:
        self.labels = FileLabels(
            root / "labels.sqlite", boot="b", secret=lambda p: p.name == ".env"
        )
        self.said = OWNER
        self.reader = Scribe()
        super().__init__(root, (*CORE_TOOLS, *tools))
        self.commands.online = online

    def open(self, max_result_chars: int = 30_000):  # type: ignore[no-untyped-def]
        bench = super().open(max_result_chars)
        return replace(bench, labels=self.labels, context=lambda: self.said, reader=self._read)

    async def _read(self, instructions: str, content: str, rejected: object = (), /) -> Answer:
        return await self.reader(instructions, content, rejected)

    def foreign(self, name: str, text: str) -> Path:
        """A file that others wrote."""
        path = self.put(name, text)
        self.labels.mark(path, WEB)
        return path

    async def label(self, tool: str, **arguments: object) -> Label:
        result = await self(tool, **arguments)  # type: ignore[arg-type]
        assert result.label is not None
        return result.label
