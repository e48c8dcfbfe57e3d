"""Every call has a result: wrong arguments, raising tools and impossible results included."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from pydantic import ValidationInfo, field_validator

from perdure.kernel.errors import Conflict
from perdure.kernel.events import CallId, Image, Json, Text, ToolCall, ToolResult
from perdure.tools import CORE_TOOLS, Tool, ToolContext
from perdure.tools.base import Effect, Touch

from .world import World


class Odd(Tool):
    """Does what it is told."""

    effects = frozenset({"reads"})
    time_limit = 0.05
    what: str

    async def execute(self, context: ToolContext) -> ToolResult:
        match self.what:
            case "raise":
                raise ValueError("something \udcff odd")
            case "expected":
                raise Conflict("busy")
            case "hang":
                await asyncio.sleep(10)
            case "timeout":
                raise TimeoutError("of its own")
            case "none":
                return None  # type: ignore[return-value]
            case "text":
                return "plain"  # type: ignore[return-value]
            case "nan":
                data = {
                    "a": float("nan"),
                    "b": [float("inf"), 2**70],
                    "c": "\ud800",
                    "d": Path("/"),
                }
                return ToolResult(parts=(Text(text="x\ud800"),), data=data)  # type: ignore[arg-type]
            case "flood":
                image = Image(media_type="image/png", artifact=context.artifacts.put(b"x", ".png"))
                return ToolResult(parts=(Text(text="line\n" * 100_000), image))
        raise AssertionError


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, (*CORE_TOOLS, Odd))


@pytest.mark.parametrize(
    ("what", "status", "text"),
    [
        ("raise", "error", "odd failed: ValueError: something ? odd"),
        ("expected", "error", "odd: busy"),
        ("hang", "timeout", "did not finish within 0.05 s"),
        ("timeout", "error", "odd failed: TimeoutError: of its own"),
        ("none", "error", "returned NoneType"),
        ("text", "ok", "plain"),
    ],
)
async def test_whatever_a_tool_does_becomes_a_result(
    world: World, what: str, status: str, text: str
) -> None:
    result = await world("odd", what=what)
    assert result.status == status
    assert text in result.text


async def test_a_result_can_be_stored_whatever_is_in_it(world: World) -> None:
    result = await world("odd", what="nan")
    assert msgspec.json.decode(msgspec.json.encode(result))["data"] == {
        "a": None,
        "b": [None, str(2**70)],
        "c": "?",
        "d": "/",
    }
    assert result.text == "x?"


async def test_a_flood_is_cut_and_kept_whole(world: World) -> None:
    result = await world("odd", what="flood")
    assert len(result.text) < 31_000
    assert result.artifact is not None
    assert world.artifacts.path(result.artifact).stat().st_size == 500_000
    assert isinstance(result.parts[1], Image)


async def test_an_unknown_tool_names_the_nearest(world: World) -> None:
    result = await world("Reed", path="x")
    assert result.status == "invalid"
    assert "Did you mean read?" in result.text


async def test_wrong_arguments_are_explained(world: World) -> None:
    result = await world("read", pth="x", offset="many", limit=-1)
    assert result.status == "invalid"
    assert "path: missing" in result.text
    assert "pth: there is no such argument; did you mean path?" in result.text
    assert "offset: input should be a valid integer" in result.text
    assert "limit: input should be greater than or equal to 1; got -1" in result.text


async def test_null_for_what_is_optional_is_taken_as_left_out(world: World) -> None:
    world.put("a", "x")
    assert (await world("read", path="a", offset=None, limit=None)).status == "ok"


async def test_huge_arguments_do_not_come_back_in_the_error(world: World) -> None:
    result = await world("read", path=["x" * 10_000_000])
    assert result.status == "invalid"
    assert len(result.text) < 500


async def test_arguments_that_were_no_json_are_told(world: World) -> None:
    call = ToolCall(id=CallId("c"), name="read", arguments={}, unparsed='{"path": "a')
    result = world.bench.prepare(call)
    assert isinstance(result, ToolResult)
    assert '{"path": "a' in result.text


ENDS = (SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit)


class Ender(Tool):
    """Raises what ends programs, wherever it is told to."""

    cooperative = True
    where: str
    what: int

    def _maybe(self, here: str) -> None:
        if self.where == here:
            raise ENDS[self.what]

    @field_validator("what")
    @classmethod
    def _check(cls, what: int, info: ValidationInfo) -> int:
        if info.data.get("where") == "validator":
            raise ENDS[what]
        return what

    def acts(self) -> frozenset[Effect]:
        self._maybe("acts")
        return frozenset({"reads"})

    def touches(self, workdir: Path) -> Sequence[Touch]:
        self._maybe("touches")
        return ()

    def shell(self) -> str | None:
        self._maybe("shell")
        return None

    def preview(self, workdir: Path) -> str:
        self._maybe("preview")
        return "shown"

    def binding(self, workdir: Path) -> bytes:
        self._maybe("binding")
        return b"bound"

    async def execute(self, context: ToolContext) -> ToolResult:
        if self.what != 3:  # GeneratorExit is how a coroutine is closed
            self._maybe("execute")
        return ToolResult()


@pytest.mark.parametrize("what", range(len(ENDS)))
@pytest.mark.parametrize(
    "where", ["validator", "acts", "touches", "shell", "preview", "binding", "execute"]
)
async def test_nothing_that_an_owners_tool_raises_gets_past_the_bench(
    tmp_path: Path, where: str, what: int
) -> None:
    world = World(tmp_path, (Ender,))
    arguments: dict[str, Json] = {"where": where, "what": what}
    prepared = world.bench.prepare(ToolCall(id=CallId("c"), name="ender", arguments=arguments))
    if isinstance(prepared, ToolResult):
        assert where in ("validator", "acts", "touches", "shell")
        assert prepared.status == "error"
        return
    assert where in ("preview", "binding", "execute")
    assert (prepared.preview() == "shown") == (where != "preview")
    assert (prepared.binding() == b"bound") == (where != "binding")
    result = await prepared.run(key="k", emit=lambda _: None, resumed=False)
    assert (result.status == "ok") == (where != "execute" or what == 3)


async def test_a_real_cancellation_passes(tmp_path: Path) -> None:
    class Waits(Tool):
        """Waits."""

        cooperative = True

        async def execute(self, context: ToolContext) -> ToolResult:
            begun.set()
            await asyncio.Event().wait()
            raise AssertionError

    begun = asyncio.Event()
    world = World(tmp_path, (Waits,))
    task = asyncio.create_task(world("waits"))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
