"""Telling what was done, and the summaries the runtime asks for."""

from __future__ import annotations

from pathlib import Path

from perdure.kernel.events import RequestId, Text, TextDelta, ToolResult
from perdure.kernel.prompt import AssistantItem, Prefix, Prompt, UserItem
from perdure.models.local import COMPACTION
from perdure.models.rehearsal import RehearsalModel

from .rehearsal_stage import Stage, denied


async def test_it_tells_requests_steps_and_answers_from_the_conversation(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    stage = Stage(tmp_path)
    await stage.ask("write 'hi' to b.txt")
    stage.intercept = lambda _: denied()
    await stage.ask("delete a.txt")
    said = await stage.ask("what did you do?")
    assert "2 requests with 2 tool calls" in said
    assert "write “b.txt”: ok" in said
    assert "bash “rm -- a.txt”: denied" in said
    assert "I was not allowed" in said


async def test_with_nothing_done_it_says_so(tmp_path: Path) -> None:
    assert "Nothing yet" in await Stage(tmp_path).ask("what did you do?")


async def test_many_requests_are_told_by_the_last_ones(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    for n in range(15):
        await stage.ask(f"run `echo {n}`")
    said = await stage.ask("what have you done so far?")
    assert "15 requests" in said
    assert "echo 14" in said
    assert "echo 3”" not in said


async def test_what_was_compacted_is_told_as_a_summary(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.items.append(
        UserItem(seq=1, parts=(Text(text="Earlier: a folder was made."),), kind="summary")
    )
    await stage.ask("run `true`")
    assert "Earlier: a folder was made." in await stage.ask("what did you do")


async def test_messages_above_a_summary_are_not_new_requests(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.say("make a folder old")
    stage.items.append(UserItem(seq=2, parts=(Text(text="It was made."),), kind="summary"))
    await stage.ask("make a folder new")
    assert not (tmp_path / "old").exists()
    assert (tmp_path / "new").is_dir()


async def test_a_request_whose_turn_was_compacted_is_still_answered(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.say("make a folder x")
    stage.items.append(UserItem(seq=2, parts=(Text(text="Summary."),), kind="summary"))
    await stage.finish()
    assert (tmp_path / "x").is_dir()


async def test_with_its_tools_withdrawn_it_sums_up(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.say("make a folder x, then make a folder y")
    await stage.step()
    stage.offered = False
    said = await stage.finish()
    assert "limit is used up" in said
    assert "mkdir -p -- x" in said
    assert not (tmp_path / "y").exists()


async def test_it_writes_a_bounded_summary_when_asked_to_compact(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    for n in range(150):
        await stage.ask(f"say {n} {'words ' * 40}")
    stage.say("make a folder x")
    stage.offered = False
    stage.tail = f"<runtime>\n{COMPACTION}\n</runtime>"
    reply = await stage.reply()
    text = "".join(p.text for p in reply.parts if isinstance(p, Text))
    assert reply.stop == "end"
    assert 200 < len(text) < 6_000
    assert "## Open" in text
    assert "make a folder x" in text


async def test_it_summarizes_a_conversation_given_as_text() -> None:
    body = "The conversation goes on:\n\n" + "\n".join(
        f"User: do {n}\nAgent calls bash {{}}\n{'noise ' * 30}" for n in range(200)
    )
    item = UserItem(seq=0, parts=(Text(text=body),), kind="notice")
    prompt = Prompt(
        prefix=Prefix(system="You summarize.", digest="c"),
        items=[item],
        tail=COMPACTION,
        tools=False,
    )
    reply = await RehearsalModel().call(prompt, RequestId("r"), lambda _: None)
    text = "".join(p.text for p in reply.parts if isinstance(p, Text))
    assert "User: do 199" in text
    assert len(text) < len(body) / 2


async def test_the_answer_streams_in_small_pieces(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    said = await stage.ask("help")
    pieces = [d.text for d in stage.deltas if isinstance(d, TextDelta)]
    assert "".join(pieces) == said
    assert max(map(len, pieces)) <= 24
    assert len(pieces) > 20


async def test_call_ids_are_unique_in_a_session(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    for n in range(3):
        await stage.ask(f"read a{n}.txt, b{n}.txt")
    ids = [
        p.id
        for i in stage.items
        if isinstance(i, AssistantItem)
        for p in i.parts
        if hasattr(p, "id")
    ]
    assert len(ids) == len(set(ids)) == 6


async def test_it_costs_nothing(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.say("hello")
    reply = await stage.reply()
    assert reply.cost_usd == 0.0
    assert reply.usage.input == 0


async def test_an_in_doubt_change_is_not_claimed(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.intercept = lambda _: ToolResult(status="in_doubt", parts=(Text(text="A crash."),))
    assert "cannot tell whether" in await stage.ask("delete a.txt")
