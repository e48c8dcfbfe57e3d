"""A snapshot spares work and changes nothing: the next request is the same to the byte with it, without
it, and with one that is broken or foreign."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from perdure.context import SessionContext
from perdure.kernel.events import Image, Native, Part, SessionId, Text, ToolCall, Usage
from perdure.kernel.prompt import AssistantItem, ImageSource, Item, Prompt, Reply
from perdure.models import ModelSpec
from perdure.models.adapter import Adapter
from perdure.models.anthropic import Anthropic
from perdure.models.gemini import Gemini
from perdure.models.openai_chat import OpenAIChat
from perdure.models.openai_responses import OpenAIResponses
from perdure.models.transcript import Transcript
from perdure.runtime import Runtime, live, saving
from perdure.storage import SystemClock

from .house import call, house, until, workspace

NATIVE = {
    "openai-chat": b'{"role": "assistant",\n "content": "in its own words %d"}',
    "anthropic": b'{"role":"assistant","content":[{"type":"text","text":"in its own words %d"}]}',
}
AGENT = """\
apiVersion: perdure/v1
kind: Agent
metadata: {name: default}
spec:
  model: {provider: openai-chat, name: m, base_url: "http://127.0.0.1:9/v1"}
  context: {window: 9000, keep_results: 2, clear_at: 0.3, keep_tokens: 800, max_result_tokens: 900}
"""
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


USAGE = Usage(input=500, output=20)


class Noon(SystemClock):
    def now(self) -> datetime:
        return datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


class Silent(Adapter):
    """Writes its requests as ever, and sends them to nobody. What it answers depends on them only."""

    bodies: list[bytes]

    async def call(self, prompt: Prompt, request: Any, emit: Any) -> Reply:
        self.bodies.append(b"".join(self.request(prompt)[1]))
        count = sum(isinstance(i, AssistantItem) for i in prompt.items) + len(prompt.items)
        if not prompt.tools:
            return Reply(model="m", parts=(Text(text=f"summary {count}"),), stop="end", usage=USAGE)
        calls: tuple[ToolCall, ...] = ()
        if Random(count).random() < 0.6:
            calls = tuple(
                call(f"c{count}.{n}", "read", path=f"{n}.txt") for n in range(count % 3 + 1)
            )
        native = None
        if not calls and count % 2 and (body := NATIVE.get(self.format)):
            native = Native(format=self.format, body=msgspec.Raw(body % count))
        text = f"in its own words {count}"
        return Reply(
            model="m",
            parts=(Text(text=text), *calls),
            stop="tools" if calls else "end",
            native=native,
            usage=USAGE,
        )


class SilentChat(OpenAIChat, Silent): ...


class SilentResponses(OpenAIResponses, Silent): ...


class SilentGemini(Gemini, Silent): ...


class SilentAnthropic(Anthropic, Silent): ...


KINDS: dict[str, Callable[..., Silent]] = {
    "openai-chat": SilentChat,
    "mistral": SilentChat,
    "openai": SilentResponses,
    "gemini": SilentGemini,
    "anthropic": SilentAnthropic,
}


class SilentModels:
    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def open(self, spec: ModelSpec) -> Silent:
        model = KINDS[spec.provider](spec, None)
        model.bodies = self.bodies
        return model

    def window(self, spec: Any) -> int:
        return 100_000

    async def close(self) -> None: ...


class Story:
    """One workspace and one session in it, which is opened and closed again and again."""

    def __init__(self, root: Path) -> None:
        workspace(root)
        self.root, self.aside = root, root.parent / "aside"
        (root / ".perdure" / "agents" / "default" / "agent.yaml").write_text(AGENT)
        for n, size in enumerate((40, 900, 3000)):
            (root / f"{n}.txt").write_text(f"file {n} " + "abc\n" * (size // 4))
        self.session = SessionId("")
        self.said = 0
        self.older = b""
        """The snapshot as it once was."""

    @property
    def snapshot(self) -> Path:
        return self.root / ".perdure" / "sessions" / self.session / "snapshot.json"

    async def open(self, *steps: Callable[[Runtime], Any]) -> list[bytes]:
        """All requests made meanwhile."""
        models = SilentModels()
        async with house(self.root, source=models, clock=Noon()) as runtime:
            if not self.session:
                self.session = (await runtime.create_session()).id
            for step in steps:
                await step(runtime)
        return models.bodies

    async def ask(self, runtime: Runtime, *more: Part) -> None:
        self.said += 1
        parts = (Text(text=f"question {self.said} " + "w " * (self.said * 37 % 200)), *more)
        accepted = await runtime.submit(self.session, parts)
        outcome = await runtime.wait(self.session, accepted.message, 30)
        assert outcome is not None and not outcome.error, outcome

    async def picture(self, runtime: Runtime) -> None:
        image = await runtime.store_image(self.session, "image/png", PICTURE)
        assert isinstance(image, Image)
        await self.ask(runtime, image)

    async def compact(self, runtime: Runtime) -> None:
        await runtime.compact(self.session)
        live = runtime._rooms.get(self.session)
        assert live is not None
        await until(lambda: not live.running and not live.state.compaction_due)

    async def fork(self, runtime: Runtime) -> None:
        last = (await runtime.records(self.session, limit=100_000))[-1].seq
        self.session = (await runtime.fork(self.session, max(3, last - 7))).id

    async def other_model(self, runtime: Runtime, name: str) -> None:
        await runtime.configure(self.session, model=name)

    def other_identity(self) -> None:
        (self.root / ".perdure" / "agents" / "default" / "SOUL.md").write_text(f"I am {self.said}.")

    async def same_request(self, *changes: Callable[[], None], compacting: bool = False) -> None:
        """What is asked next is the same whatever becomes of the snapshot while it is closed.
        `compacting`: first of all, so that the request for it ends with an item of before."""
        steps = [self.compact, self.ask] if compacting else [self.ask]
        shutil.rmtree(self.aside, ignore_errors=True)
        shutil.copytree(self.root, self.aside)
        said, found = self.said, []
        for change in changes:
            shutil.rmtree(self.root)
            shutil.copytree(self.aside, self.root)
            self.said = said
            change()
            found.append(await self.open(*steps))
        assert found[0] and all(other == found[0] for other in found[1:])

    def keep(self) -> None:
        assert self.snapshot.exists()

    def lose(self) -> None:
        self.snapshot.unlink()

    def age(self) -> None:
        self.snapshot.write_bytes(self.older)

    def damage(self) -> None:
        data = bytearray(self.snapshot.read_bytes())
        data[len(data) // 2] ^= 1
        self.snapshot.write_bytes(data)


@pytest.fixture(autouse=True)
def _at_every_close(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SNAPSHOT_EVERY", 8)


@pytest.mark.parametrize("seed", range(6))
async def test_a_request_is_the_same_with_a_snapshot_and_without(tmp_path: Path, seed: int) -> None:
    random, story = Random(seed), Story(tmp_path / "w")
    models = [
        "openai-chat/n",
        "mistral/x",
        "openai/gpt-5",
        "gemini/gemini-3-pro",
        "anthropic/claude",
    ]
    await story.open(story.ask, story.ask)
    for _ in range(2):
        steps: list[Callable[[Runtime], Any]] = []
        for _ in range(random.randrange(1, 5)):
            kind = random.randrange(10)
            if kind < 5:
                steps.append(story.ask)
            elif kind == 5:
                steps.append(story.picture)
            elif kind == 6:
                steps.append(story.compact)
            elif kind == 7:
                steps.append(story.fork)
            else:
                name = random.choice(models)
                steps.append(lambda runtime, name=name: story.other_model(runtime, name))
        story.older = story.snapshot.read_bytes()
        await story.open(*steps, story.ask)
        if random.random() < 0.4:
            story.other_identity()
        changes = (story.keep, story.lose, story.damage, story.age)
        await story.same_request(*changes, compacting=random.random() < 0.4)


async def test_a_snapshot_of_another_version_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story(tmp_path / "w")
    monkeypatch.setattr(saving, "_FORM", "0.0.1 7")
    await story.open(story.ask, story.ask)
    monkeypatch.undo()
    await story.same_request(story.keep, story.lose)


async def test_a_snapshot_of_another_session_is_not_read(tmp_path: Path) -> None:
    other, story = Story(tmp_path / "v"), Story(tmp_path / "w")
    await other.open(other.ask, other.ask, other.ask)
    await story.open(story.ask, story.ask)
    story.older = other.snapshot.read_bytes()
    await story.same_request(story.age, story.lose)


async def test_a_picture_is_in_no_snapshot_and_one_that_is_gone_is_not_sent_from_it(
    tmp_path: Path,
) -> None:
    story = Story(tmp_path / "w")
    sent = await story.open(story.picture)
    picture = base64.b64encode(PICTURE)
    assert picture in sent[-1] and picture not in story.snapshot.read_bytes()

    def delete() -> None:
        for file in (story.snapshot.parent / "artifacts").glob("*.png"):
            file.unlink()

    def delete_both() -> None:
        delete()
        story.lose()

    await story.same_request(story.keep, story.lose)
    await story.same_request(delete, delete_both)


class Counting(SilentChat):
    """Counts what it encodes, and looks at no item besides."""

    def __init__(self, spec: ModelSpec, http: Any) -> None:
        super().__init__(spec, http)
        self.seen: list[int] = []
        self.transcript = Transcript(self._counted, "as ever")

    def _counted(self, item: Item, images: ImageSource | None) -> bytes:
        self.seen.append(item.seq)
        return self._items.item(item, images)

    async def call(self, prompt: Prompt, request: Any, emit: Any) -> Reply:
        self.bodies.append(b"".join(self.request(prompt)[1]))
        return Reply(model="m", parts=(Text(text="yes"),), stop="end", usage=USAGE)


async def test_what_was_encoded_before_is_not_encoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Counting] = []

    def counting(spec: ModelSpec, http: Any) -> Counting:
        made.append(Counting(spec, http))
        return made[-1]

    monkeypatch.setitem(KINDS, "openai-chat", counting)
    story = Story(tmp_path / "w")
    await story.open(*[story.ask] * 10)
    before = len(made[-1].seen)
    await story.open(story.ask)
    assert before == 19 and len(made[-1].seen) == 2  # the last answer and the new question


async def test_a_snapshot_written_before_the_first_turn_keeps_what_was_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Counting] = []

    def counting(spec: ModelSpec, http: Any) -> Counting:
        made.append(Counting(spec, http))
        return made[-1]

    monkeypatch.setitem(KINDS, "openai-chat", counting)
    story = Story(tmp_path / "w")
    await story.open(*[story.ask] * 10)
    before = story.snapshot.read_bytes()

    async def title(runtime: Runtime) -> None:
        for n in range(8):  # so many records that it is written anew
            await runtime.configure(story.session, title=f"{n}")

    await story.open(title)
    assert story.snapshot.read_bytes() != before
    made.clear()
    await story.open(story.ask)
    assert len(made[-1].seen) == 2


async def test_what_a_snapshot_said_is_not_in_memory_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Any] = []
    load = SessionContext.load

    def noted(self: Any, data: Any, items: Any) -> None:
        found.append(items)
        load(self, data, items)

    monkeypatch.setattr(SessionContext, "load", noted)
    story = Story(tmp_path / "w")
    await story.open(story.ask, story.ask)
    await story.open(story.ask)
    (items,) = found
    assert isinstance(items, bytes) and len(items) < story.snapshot.stat().st_size


async def test_what_is_deleted_leaves_no_snapshot(tmp_path: Path) -> None:
    story = Story(tmp_path / "w")
    await story.open(story.ask)
    assert story.snapshot.exists()
    await story.open(lambda runtime: runtime.delete(story.session))
    left = [p for p in (tmp_path / "w" / ".perdure" / "sessions").rglob("*") if p.is_file()]
    assert not left
