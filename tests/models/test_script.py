"""Playing a script."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.kernel.errors import ModelError
from perdure.kernel.events import (
    AnyDelta,
    CallDelta,
    CallId,
    RequestId,
    Text,
    TextDelta,
    Thinking,
    ThinkingDelta,
    ToolCall,
    ToolResult,
)
from perdure.kernel.prompt import (
    AssistantItem,
    CallResult,
    Item,
    Prefix,
    Prompt,
    Reply,
    ResultsItem,
    UserItem,
)
from perdure.models.local import COMPACTION
from perdure.models.script import ScriptModel


class Played:
    """A conversation with a script; `restart` puts a fresh model in the place of the old."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path / "script.yaml"
        self.path.write_text(text)
        self.items: list[Item] = []
        self.deltas: list[AnyDelta] = []
        self.slept: list[float] = []
        self.model = self.restart()

    def restart(self) -> ScriptModel:
        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)

        self.model = ScriptModel.load(self.path, name="script:script.yaml", sleep=sleep)
        return self.model

    def say(self, text: str) -> None:
        self.items.append(UserItem(seq=len(self.items) + 1, parts=(Text(text=text),)))

    async def call(self, *, tail: str = "", tools: bool = True) -> Reply:
        prefix = Prefix(system="You help.", digest="d")
        prompt = Prompt(prefix=prefix, items=self.items, tail=tail, tools=tools)
        return await self.model.call(prompt, RequestId("r"), self.deltas.append)

    async def step(self, result: ToolResult | None = None) -> str:
        reply = await self.call()
        seq = len(self.items) + 1
        self.items.append(
            AssistantItem(seq=seq, parts=reply.parts, native=reply.native, model=reply.model)
        )
        calls = [p for p in reply.parts if isinstance(p, ToolCall)]
        if calls:
            result = result or ToolResult(parts=(Text(text="fine"),))
            results = tuple(
                CallResult(call=c.id, tool=c.name, seq=seq + 1, result=result) for c in calls
            )
            self.items.append(ResultsItem(seq=seq + 1, results=results))
        return "".join(p.text for p in reply.parts if isinstance(p, Text))


THREE = "replies:\n- text: one\n- text: two\n- text: three\n"


async def test_replies_are_played_in_order(tmp_path: Path) -> None:
    played = Played(tmp_path, THREE)
    played.say("go")
    assert [await played.step() for _ in range(3)] == ["one", "two", "three"]


async def test_a_fresh_model_goes_on_where_the_conversation_stands(tmp_path: Path) -> None:
    played = Played(tmp_path, THREE)
    played.say("go")
    await played.step()
    played.restart()
    assert await played.step() == "two"


async def test_a_retry_gives_the_same_reply_again(tmp_path: Path) -> None:
    played = Played(tmp_path, THREE)
    assert (await played.call()) == (await played.call())


async def test_a_reply_that_a_hook_rewrote_still_counts(tmp_path: Path) -> None:
    played = Played(tmp_path, THREE)
    played.items.append(AssistantItem(seq=1, parts=(Text(text="ONE"),), model="script:script.yaml"))
    assert await played.step() == "two"


async def test_replies_of_another_model_do_not_count(tmp_path: Path) -> None:
    played = Played(tmp_path, THREE)
    played.items.append(AssistantItem(seq=1, parts=(Text(text="hi"),), model="other/model"))
    assert await played.step() == "one"


async def test_its_place_survives_a_compaction(tmp_path: Path) -> None:
    played = Played(tmp_path, f"summary: All was said.\n{THREE}")
    played.say("go")
    await played.step()
    await played.step()
    reply = await played.call(tail=f"<runtime>\n{COMPACTION}\n</runtime>", tools=False)
    summary = "".join(p.text for p in reply.parts if isinstance(p, Text))
    assert summary.startswith("All was said.")
    played.items = [UserItem(seq=9, parts=(Text(text=summary),), kind="summary")]
    played.restart()
    assert await played.step() == "three"


async def test_a_script_that_ended_says_so(tmp_path: Path) -> None:
    played = Played(tmp_path, "replies:\n- text: one\n")
    await played.step()
    with pytest.raises(ModelError, match="has ended after 1 replies") as caught:
        await played.call()
    assert caught.value.kind == "invalid"


async def test_a_script_can_repeat(tmp_path: Path) -> None:
    played = Played(tmp_path, "at_end: repeat\nreplies:\n- text: one\n- text: two\n")
    said = [await played.step() for _ in range(5)]
    assert said == ["one", "two", "one", "two", "one"]


async def test_a_reply_has_thinking_text_calls_usage_and_cost(tmp_path: Path) -> None:
    played = Played(
        tmp_path,
        "replies:\n"
        "- thinking: Let me see.\n"
        "  text: I look.\n"
        "  calls:\n"
        "  - {tool: read, arguments: {path: a.txt, limit: 3, deep: [1, null, {x: 1.5}]}}\n"
        "  - {tool: bash, arguments: {command: ls}, id: mine}\n"
        "  - {tool: edit, unparsed: '{\"path\": '}\n"
        "  usage: {input: 10, output: 5, cache_read: 3}\n"
        "  cost_usd: 0.25\n"
        "- text: cut\n"
        "  stop: length\n",
    )
    reply = await played.call()
    thinking, text, read, bash, edit = reply.parts
    assert thinking == Thinking(text="Let me see.")
    assert text == Text(text="I look.")
    assert read == ToolCall(
        id=CallId("script_0_0"),
        name="read",
        arguments={"path": "a.txt", "limit": 3, "deep": [1, None, {"x": 1.5}]},
    )
    assert isinstance(bash, ToolCall) and bash.id == "mine"
    assert isinstance(edit, ToolCall) and (edit.arguments, edit.unparsed) == ({}, '{"path": ')
    assert reply.stop == "tools"
    assert (reply.usage.input, reply.usage.output, reply.usage.cache_read) == (10, 5, 3)
    assert reply.cost_usd == 0.25
    await played.step()
    assert (await played.call()).stop == "length"


async def test_it_streams_in_chunks_with_pauses(tmp_path: Path) -> None:
    played = Played(
        tmp_path,
        "chunk: 5\ndelay: 0.5\nreplies:\n- {text: abcdefghijkl, thinking: hm, wait: 2}\n"
        "- {calls: [{tool: bash, arguments: {command: ls}}], delay: 0}\n",
    )
    await played.step()
    assert [d.text for d in played.deltas if isinstance(d, TextDelta)] == ["abcde", "fghij", "kl"]
    assert [d.text for d in played.deltas if isinstance(d, ThinkingDelta)] == ["hm"]
    assert [s for s in played.slept if s] == [2, 0.5, 0.5, 0.5, 0.5]
    played.deltas.clear()
    await played.step()
    assert played.deltas == [
        CallDelta(request=RequestId("r"), index=0, name="bash", arguments='{"command":"ls"}')
    ]


async def test_errors_come_as_often_as_asked_and_then_the_next_reply(tmp_path: Path) -> None:
    played = Played(
        tmp_path,
        "replies:\n"
        "- {error: rate_limited, status: 429, retry_after: 1.5, times: 2}\n"
        "- {error: cut, text: half a, message: The line went dead.}\n"
        "- text: at last\n",
    )
    for _ in range(2):
        with pytest.raises(ModelError) as limited:
            await played.call()
        assert (limited.value.kind, limited.value.status) == ("rate_limited", 429)
        assert limited.value.retry_after == 1.5
    with pytest.raises(ModelError, match="The line went dead") as cut:
        await played.call()
    assert (cut.value.kind, cut.value.partial) == ("cut", "half a")
    assert await played.step() == "at last"


EXPECT = """\
replies:
- expect: {message: tidy, tools: true, system: help}
  calls: [{tool: bash, arguments: {command: ls}}]
- expect:
    results: fine
    status: [ok]
  text: done
"""


async def test_expectations_that_hold_are_silent(tmp_path: Path) -> None:
    played = Played(tmp_path, EXPECT)
    played.say("please tidy up")
    await played.step()
    assert await played.step() == "done"


@pytest.mark.parametrize(
    ("message", "result", "problem"),
    [
        ("hello", ToolResult(), r":2: expected the last message to contain 'tidy'.*'hello'"),
        ("tidy", ToolResult(parts=(Text(text="bad"),)), r":5: expected result 1 to contain 'fine'"),
        (
            "tidy",
            ToolResult(parts=(Text(text="fine"),), status="denied"),
            r":5: expected the status of result 1 to contain 'ok', but it is 'denied'",
        ),
    ],
)
async def test_an_expectation_that_fails_names_its_line(
    tmp_path: Path, message: str, result: ToolResult, problem: str
) -> None:
    played = Played(tmp_path, EXPECT)
    played.say(message)
    with pytest.raises(ModelError, match=problem) as caught:
        await played.step(result)
        await played.step()
    assert caught.value.kind == "invalid"


async def test_a_result_that_is_expected_and_missing_fails(tmp_path: Path) -> None:
    played = Played(tmp_path, "replies:\n- {expect: {results: [x]}, text: y}\n")
    with pytest.raises(ModelError, match="no such result"):
        await played.call()


async def test_finding_its_place_does_not_cost_more_in_a_long_conversation(tmp_path: Path) -> None:
    played = Played(tmp_path, THREE)
    await played.step()
    looked_at = 0

    class Counting(list[Item]):
        def __getitem__(self, index):  # type: ignore[no-untyped-def]
            nonlocal looked_at
            looked_at += 1
            return super().__getitem__(index)

        def __reversed__(self):  # type: ignore[no-untyped-def]
            for n in range(len(self) - 1, -1, -1):
                yield self[n]

    last = played.items[-1]
    played.items = Counting([UserItem(seq=1, parts=())] * 10_000 + [last])
    assert (await played.call()).parts == (Text(text="two"),)
    assert looked_at < 10


def test_the_runtime_s_request_to_compact_is_recognized() -> None:
    from perdure.context.compaction import TASK

    assert TASK.startswith(COMPACTION)
