"""What changes perdure.yaml while a command runs does not count until its owner has vouched for it."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from perdure.agents import Watched, document, open_workspace
from perdure.kernel.errors import ConfigError
from perdure.kernel.labels import UNKNOWN
from perdure.runtime import Runtime
from perdure.runtime.labelling import file_labels
from perdure.storage import attributes

from .house import ask, call, house, say, workspace

OPEN = "apiVersion: perdure/v1\nkind: Workspace\negress: {default: allow}\n"
SLEEPS = [say("", call("c1", "process", action="start", command="sleep 600")), say("ok")]


def save(root: Path, text: str = OPEN) -> None:
    """As editors do: another file takes its place."""
    (root / "new").write_text(text)
    (root / "new").replace(root / "perdure.yaml")


def vouch(root: Path) -> list[Path]:
    labels = file_labels(root / ".perdure")
    try:
        return labels.clear(root / "perdure.yaml")
    finally:
        labels.close()


def default(runtime: Runtime) -> str:
    return runtime._team.outside.rules().default


async def test_a_save_while_a_command_runs_waits_for_its_owner(tmp_path: Path) -> None:
    workspace(tmp_path)
    async with house(tmp_path, SLEEPS) as runtime:
        session = (await runtime.create_session()).id
        await ask(runtime, session, "go")
        save(tmp_path)
        assert default(runtime) == "ask"
        assert "while a command ran" in runtime.status().trouble
        assert "perdure label clear" in runtime.status().trouble
        assert vouch(tmp_path) == [tmp_path / "perdure.yaml"]
        assert default(runtime) == "allow" and runtime.status().trouble == ""
        save(tmp_path, OPEN.replace("allow", "deny"))
        assert default(runtime) == "allow"  # it runs still
        await runtime.reload()
        assert default(runtime) == "allow"
        for process in await runtime._team._commands.background.all(session):
            await runtime._team._commands.background.stop(process)


async def test_nor_does_it_count_at_the_next_start(tmp_path: Path) -> None:
    workspace(tmp_path)
    async with house(tmp_path, SLEEPS) as runtime:
        session = (await runtime.create_session()).id
        await ask(runtime, session, "go")
        background = runtime._team._commands.background
    save(tmp_path)
    with pytest.raises(ConfigError, match="while a command ran"):
        async with house(tmp_path):
            pass
    assert vouch(tmp_path) == [tmp_path / "perdure.yaml"]
    async with house(tmp_path) as runtime:
        assert default(runtime) == "allow"
        background = runtime._team._commands.background
        for process in await background.all(session):
            await background.stop(process)
        for end in tmp_path.glob(".perdure/processes/*/*/exit"):
            os.utime(end, (0, 0))  # times are not told apart within milliseconds
        save(tmp_path, OPEN.replace("allow", "deny"))
        assert default(runtime) == "deny"  # nothing runs any more


async def test_a_command_that_has_ended_meanwhile_has_had_its_chance(tmp_path: Path) -> None:
    workspace(tmp_path)
    command = "echo; while test ! -e done; do sleep 0.01; done"
    plan = [say("", call("c1", "bash", command=command)), say("ok")]
    async with house(tmp_path, plan) as runtime:
        session = (await runtime.create_session()).id

        async def changes() -> None:
            folder = tmp_path / ".perdure/processes"
            while not list(folder.glob("*/began")):
                await asyncio.sleep(0.005)
            save(tmp_path)
            (tmp_path / "done").touch()

        task = asyncio.create_task(changes())
        await ask(runtime, session, "go")
        await task
        assert default(runtime) == "ask"
        assert "while a command ran" in runtime.status().trouble


async def test_the_book_is_believed_where_files_keep_no_attributes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attributes, "SUPPORTED", False)
    workspace(tmp_path)
    async with house(tmp_path) as runtime:
        runtime._team.labels.mark(tmp_path / "perdure.yaml", UNKNOWN)
        save(tmp_path)
        runtime._team.labels.mark(tmp_path / "perdure.yaml", UNKNOWN)
        assert default(runtime) == "ask"


async def test_what_could_not_be_read_for_a_moment_counts_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace(tmp_path)
    async with house(tmp_path) as runtime:
        save(tmp_path)
        with monkeypatch.context() as full:

            def none_left(file: Path) -> bytes:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

            full.setattr(document, "_bytes", none_left)
            assert default(runtime) == "ask"
            assert "Too many open files" in runtime.status().trouble
        assert default(runtime) == "allow" and runtime.status().trouble == ""


def test_a_change_between_reading_and_watching_is_seen(tmp_path: Path) -> None:
    found = open_workspace(workspace(tmp_path))
    save(tmp_path)
    assert Watched(found).look().config.egress.default == "allow"


def test_each_change_is_told_once(tmp_path: Path) -> None:
    told: list[str] = []
    watched = Watched(
        open_workspace(workspace(tmp_path)), tell=lambda error: told.append(str(error or ""))
    )
    save(tmp_path)
    for _ in range(3):
        watched.read()
    save(tmp_path, "egress: [")
    for _ in range(3):
        watched.read()
    assert len(told) == 2 and told[0] == "" and "perdure.yaml" in told[1]


async def test_an_agent_that_names_a_file_too_early_is_well_when_it_is_there(
    tmp_path: Path,
) -> None:
    workspace(tmp_path)
    folder = tmp_path / ".perdure/agents/default"
    file = folder / "agent.yaml"
    async with house(tmp_path) as runtime:
        runtime._agents.get("default")
        file.write_text(file.read_text().replace("spec:", "spec:\n  soul: NEW.md"))
        assert "NEW.md" in runtime._agents.trouble("default")
        (folder / "NEW.md").write_text("You are calm.")
        assert runtime._agents.trouble("default") == ""
        texts = [t.text for t in runtime._agents.get("default").texts]
        assert "You are calm." in texts
