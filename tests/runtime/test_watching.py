"""perdure.yaml counts as soon as it is saved; while it is broken, what it said before does."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.kernel.events import NoticeAdded
from perdure.kernel.labels import UNKNOWN
from perdure.storage.attributes import SUPPORTED, write

from .house import ask, house, say, seen, workspace


def settings(root: Path, text: str) -> None:
    (root / "perdure.yaml").write_text(f"apiVersion: perdure/v1\nkind: Workspace\n{text}")


async def test_what_is_saved_counts_without_a_reload(tmp_path: Path) -> None:
    workspace(tmp_path)
    async with house(tmp_path) as runtime:
        outside = runtime._team.outside
        assert outside.rules().default == "ask"
        settings(
            tmp_path,
            "egress: {default: deny}\nweb: {fetch: false}\ncheckpoints: {keep: 7}\n"
            "outbox: {desk: {command: cat}}\nspending: {day: {cost_usd: 3}}\n"
            "budget: {rounds: 4}\nsandbox: {processes: 99}\nmodel: ollama/tiny\n",
        )
        assert outside.rules().default == "deny" and not outside.tools()
        assert runtime._team._checkpoint_limits().keep == 7
        assert list(runtime._team.channels()) == ["desk"]
        found = await runtime.spending()
        assert found.workspace[0].caps == {"cost_usd": 3}
        agent = runtime._agents.get("default")
        assert agent.limits.rounds == 4 and agent.sandbox.processes == 99
        assert agent.model == "ollama/tiny"
        assert runtime.status().trouble == "" and runtime.status().restart == ()


async def test_what_the_server_read_when_it_began_is_said_to_need_a_restart(tmp_path: Path) -> None:
    workspace(tmp_path)
    async with house(tmp_path) as runtime:
        settings(tmp_path, "server: {port: 4711, rate: 5}\n")
        assert runtime.status().restart == ("server.port", "server.rate")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("egress: {default: alow}\n", "perdure.yaml:3"),
        ("egress: [\n", "perdure.yaml"),
        (None, "perdure.yaml"),
        ("", "is empty"),
        (" \n", "is empty"),
    ],
)
async def test_a_broken_edit_widens_nothing_and_is_said_everywhere(
    tmp_path: Path, text: str | None, said: str
) -> None:
    workspace(tmp_path)
    settings(tmp_path, "egress: {default: deny}\nweb: {fetch: false}\n")
    async with house(tmp_path, [say("one"), say("two"), say("three")]) as runtime:
        session = (await runtime.create_session()).id
        if text is None:
            (tmp_path / "perdure.yaml").unlink()
        elif not text.strip():
            (tmp_path / "perdure.yaml").write_text(text)
        else:
            settings(tmp_path, text)
        assert runtime._team.outside.rules().default == "deny"
        assert not runtime._team.outside.tools()
        assert said in runtime.status().trouble
        assert said in (await runtime.reload()).errors[0]
        await ask(runtime, session, "hi")
        await ask(runtime, session, "once more")
        settings(tmp_path, "egress: {default: allow}\n")
        assert runtime._team.outside.rules().default == "allow"
        assert runtime.status().trouble == ""
        await ask(runtime, session, "and now")
        told = [r.event for r in await seen(runtime, session) if isinstance(r.event, NoticeAdded)]
        assert len(told) == 1 and said in told[0].text and told[0].audience == "user"


async def test_a_broken_agent_file_is_told_in_the_chat(tmp_path: Path) -> None:
    workspace(tmp_path)
    file = tmp_path / ".perdure/agents/default/agent.yaml"
    async with house(tmp_path, [say("one")]) as runtime:
        session = (await runtime.create_session()).id
        file.write_text(file.read_text().replace("spec:", "spec:\n  modle: x"))
        await ask(runtime, session, "hi")
        told = [r.event for r in await seen(runtime, session) if isinstance(r.event, NoticeAdded)]
        assert "agent.yaml" in told[0].text and "did you mean `model`" in told[0].text


async def test_the_same_trouble_is_told_once_however_often_the_session_is_opened(
    tmp_path: Path,
) -> None:
    workspace(tmp_path)
    file = tmp_path / ".perdure/agents/default/agent.yaml"
    whole = file.read_text()
    broken = whole.replace("spec:", "spec:\n  modle: x")
    plan = [say(f"answer {number}") for number in range(6)]
    told: list[str] = []
    async with house(tmp_path, plan) as runtime:
        session = (await runtime.create_session()).id
    for text in (broken, broken, broken.replace("modle", "modl"), whole, broken):
        async with house(tmp_path, plan) as runtime:
            file.write_text(whole)
            runtime._agents.get("default")
            file.write_text(text)
            await ask(runtime, session, "hi")
            records = await seen(runtime, session)
            told = [r.event.text for r in records if isinstance(r.event, NoticeAdded)]
    assert len(told) == 3, told
    assert ["modle" in text for text in told] == [True, False, True]


@pytest.mark.skipif(not SUPPORTED, reason="no extended attributes here")
async def test_what_was_written_with_others_words_at_hand_does_not_count(tmp_path: Path) -> None:
    workspace(tmp_path)
    async with house(tmp_path) as runtime:
        settings(tmp_path, "egress: {default: allow}\n")
        if not write(str(tmp_path / "perdure.yaml"), UNKNOWN):
            pytest.skip("no extended attributes here")
        assert runtime._team.outside.rules().default == "ask"
        assert "label clear" in runtime.status().trouble
