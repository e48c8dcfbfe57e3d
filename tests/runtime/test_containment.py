"""The commands of a real runtime's tools are contained, unless their owner said otherwise."""

from __future__ import annotations

from pathlib import Path

from perdure.kernel.events import Text, ToolFinished
from perdure.kernel.prompt import Reply

from .house import call, house, say, seen, workspace

LOOK = "grep ^Seccomp: /proc/self/status; ls -A .perdure | wc -l"


async def result_of(root: Path) -> str:
    async with house(root, [say("", call("c1", "bash", command=LOOK)), say("ok")]) as runtime:
        session = (await runtime.create_session()).id
        accepted = await runtime.submit(session, (Text(text="go"),))
        await runtime.wait(session, accepted.message, 30)
        ends = [r.event for r in await seen(runtime, session) if isinstance(r.event, ToolFinished)]
        assert (await runtime.session(session)).sandbox == "; ".join(
            told.partition(": ")[2] for told in runtime.status().uncontained
        )
        return ends[0].result.text


async def test_a_command_is_contained_by_default(tmp_path: Path) -> None:
    assert (await result_of(tmp_path)).split() == ["Seccomp:", "2", "0"]


async def test_without_a_sandbox_it_is_said_everywhere(tmp_path: Path) -> None:
    workspace(tmp_path)
    with (tmp_path / "perdure.yaml").open("a") as file:
        file.write("\nsandbox: {backend: none}\n")
    assert (await result_of(tmp_path)).split()[:2] == ["Seccomp:", "0"]
    async with house(tmp_path) as runtime:
        assert runtime.status().uncontained == (
            "default: commands run without a sandbox, and can do whatever you can",
        )


async def test_where_nothing_contains_commands_none_run(tmp_path: Path) -> None:
    workspace(tmp_path)
    with (tmp_path / "perdure.yaml").open("a") as file:
        file.write("\nsandbox: {backend: seatbelt}\n")
    text = await result_of(tmp_path)
    assert "commands cannot run" in text
    assert "apt install bubblewrap" in text


async def test_a_sandbox_that_is_tightened_counts_for_the_next_command(tmp_path: Path) -> None:
    workspace(tmp_path)
    file = tmp_path / "perdure.yaml"
    before = file.read_text()
    file.write_text(f"{before}\nsandbox: {{backend: none}}\n")

    async def tighten() -> Reply:
        file.write_text(f"{before}\nsandbox: {{backend: auto}}\n")
        return say("", call("c2", "bash", command=LOOK))

    plan = [say("", call("c1", "bash", command=LOOK)), tighten, say("ok")]
    async with house(tmp_path, plan) as runtime:
        session = (await runtime.create_session()).id
        accepted = await runtime.submit(session, (Text(text="go"),))
        await runtime.wait(session, accepted.message, 30)
        ends = [r.event for r in await seen(runtime, session) if isinstance(r.event, ToolFinished)]
        assert [e.result.text.split()[1] for e in ends] == ["0", "2"]
