"""What runs, what asks, what is refused, and what an approval is good for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from perdure.kernel.events import ApprovalDecided, CallId, ToolCall, ToolStarted
from perdure.kernel.labels import OWNER
from perdure.kernel.ports import Ask, Refuse
from perdure.tools import files

from .world import World, yes


async def test_in_mode_ask_reads_inside_run_and_the_rest_asks(world: World) -> None:
    assert await world.says("read", {"path": "a"}) == "allow"
    assert await world.says("read", {"path": "../perdure.yaml"}) == "allow"
    assert await world.says("look") == "allow"
    assert await world.says("read", {"path": "artifact:xyz"}) == "allow"
    assert await world.says("read", {"path": "/etc/passwd"}) == "ask"
    assert await world.says("write", {"path": "a", "content": ""}) == "ask"
    assert await world.says("edit", {"path": "a", "old_string": "a", "new_string": ""}) == "ask"
    assert await world.says("bash", {"command": "ls"}) == "ask"
    assert await world.says("post") == "ask"


async def test_in_mode_auto_everything_inside_runs_and_outside_asks(world: World) -> None:
    world.write_policy("mode: auto\n")
    assert await world.says("write", {"path": "a", "content": ""}) == "allow"
    assert await world.says("bash", {"command": "ls; ls"}) == "allow"
    assert await world.says("post") == "allow"
    assert await world.says("buy") == "ask"
    assert await world.says("read", {"path": "/etc/passwd"}) == "ask"
    assert await world.says("write", {"path": "../../x", "content": ""}) == "ask"


async def test_a_link_is_judged_by_where_it_leads(world: World, tmp_path: Path) -> None:
    world.write_policy("mode: auto\n")
    (world.workdir / "out").symlink_to(tmp_path)
    assert await world.says("write", {"path": "out/x", "content": ""}) == "ask"
    assert await world.says("read", {"path": "/proc/self/root/etc/passwd"}) == "ask"
    (world.workdir / "in").symlink_to(world.control)
    assert await world.says("write", {"path": "in/policy.yaml", "content": ""}) == "refuse"


@pytest.mark.parametrize(
    "path",
    [
        "../.perdure/policy.yaml",
        "../.perdure/policy.local.yaml",
        "../.perdure/agents/ann/agent.yaml",
        "../.perdure/agents/ann/SOUL.md",
        "../.perdure/agents/ann/policy.yaml",
        "../.perdure/agents/bob/memory/MEMORY.md",
        "../.perdure/agents/ann/memory/../policy.yaml",
        "../.perdure/hooks/x.py",
        "../.perdure/tools/x.py",
        "../.perdure/sessions/s/events.jsonl",
        "../.perdure/processes/x",
        "../.perdure/new",
        "../.perdure",
        "../perdure.yaml",
        "./../work/../.perdure/policy.yaml",
        ".perdure",
        "nested/perdure.yaml",
        "nested/.perdure/policy.yaml",
    ],
)
@pytest.mark.parametrize("policy", ["mode: auto\nallow: [{tool: '*'}]\n", "mode: ask\n"])
async def test_control_files_are_never_written(world: World, path: str, policy: str) -> None:
    world.write_policy(policy)
    assert await world.says("write", {"path": path, "content": "x"}) == "refuse"
    edit = {"path": path, "old_string": "a", "new_string": "b"}
    assert await world.says("edit", {**edit}) == "refuse"


async def test_the_agents_own_memory_may_be_written(world: World) -> None:
    world.write_policy("mode: auto\n")
    path = "../.perdure/agents/ann/memory/daily/2026-11-21.md"
    assert await world.says("write", {"path": path, "content": "x"}) == "allow"


async def test_the_control_folder_is_known_by_any_name(world: World, tmp_path: Path) -> None:
    """Names that differ in case, or a bind mount; stood in for by the folder's identity."""
    from perdure.guard import Places

    moved = tmp_path / "elsewhere"
    places = Places(workspace=world.workspace, workdir=world.workdir, agent="ann")
    assert places.zone(world.control / "policy.yaml", write=True) == "control"
    world.control.rename(moved)
    world.control.symlink_to(moved)
    assert places.zone(moved / "policy.yaml", write=True) == "control"


@pytest.mark.parametrize("path", ["../.perdure/run/server.json", "../.perdure/secrets.age"])
async def test_secrets_of_the_runtime_are_never_read(world: World, path: str) -> None:
    world.write_policy("mode: auto\nallow: [{tool: '*'}]\n")
    assert await world.says("read", {"path": path}) == "refuse"


@pytest.mark.parametrize("path", ["/proc/self/environ", "/proc/1/environ", "/proc/thread-self/mem"])
async def test_environments_of_processes_are_never_read(world: World, path: str) -> None:
    world.write_policy("mode: auto\nallow: [{tool: '*'}]\n")
    assert await world.says("read", {"path": path}) == "refuse"


async def test_stored_credentials_are_never_read(world: World, tmp_path: Path) -> None:
    world.write_policy("mode: auto\nallow: [{tool: '*'}]\n")
    for path in ("config/perdure/identity.txt", "config/perdure"):
        assert await world.says("read", {"path": str(tmp_path / path)}) == "refuse"


async def test_a_relative_config_folder_counts_as_none_here_too(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "config")
    monkeypatch.setenv("HOME", str(tmp_path))
    world.write_policy("mode: auto\nallow: [{tool: '*'}]\n")
    store = tmp_path / ".config/perdure/credentials.age"
    assert await world.says("read", {"path": str(store)}) == "refuse"


async def test_other_sessions_are_not_read_without_asking(world: World) -> None:
    world.write_policy("mode: auto\n")
    assert await world.says("read", {"path": "../.perdure/sessions/s/events.jsonl"}) == "ask"
    assert await world.says("read", {"path": "../.perdure/agents/ann/SOUL.md"}) == "allow"


async def test_deny_wins_over_allow_and_over_an_approval(world: World) -> None:
    request = await world.asked("write", {"path": "secrets/a", "content": "x"})
    world.write_policy(
        "mode: auto\nallow: [{tool: write}]\ndeny: [{tool: write, path: 'secrets/**'}]\n"
    )
    assert await world.says("write", {"path": "secrets/a", "content": "x"}) == "refuse"
    again = await world.says("write", {"path": "secrets/a", "content": "x"}, decided=yes(request))
    assert again == "refuse"
    assert await world.says("write", {"path": "other", "content": "x"}) == "allow"


async def test_a_policy_that_does_not_parse_refuses_everything_and_says_why(world: World) -> None:
    world.write_policy("mode: auto\nalow: []\n")
    verdict = await world.judge("look")
    assert isinstance(verdict, Refuse)
    assert "policy.yaml:2: unknown key alow" in verdict.result.text
    assert "Did you mean allow?" in verdict.result.text
    world.write_policy("mode: auto\n# repaired\n")
    assert await world.says("look") == "allow"


async def test_wrong_calls_get_a_result_that_says_so(world: World) -> None:
    verdict = await world.judge("raed", {"path": "a"})
    assert isinstance(verdict, Refuse)
    assert verdict.result.status == "invalid"


# Approvals ---------------------------------------------------------------------------------------


async def test_an_approval_shows_what_would_happen_and_then_lets_it(world: World) -> None:
    (world.workdir / "a").write_text("one\n")
    arguments = {"path": "a", "old_string": "one", "new_string": "two"}
    request = await world.asked("edit", {**arguments})
    assert "-one\n+two" in request.preview
    assert request.rule == f"{{tool: edit, path: '{world.workdir}/**'}}"
    assert request.offers == ("once", "session", "always")
    permit = await world.judge("edit", {**arguments}, decided=yes(request))
    assert (await world.run(permit)).status == "ok"
    assert (world.workdir / "a").read_text() == "two\n"


async def test_an_approval_survives_a_restart(world: World) -> None:
    request = await world.asked("bash", {"command": "echo hi"})
    world.gate = world.open(boot="another")
    assert await world.says("bash", {"command": "echo hi"}, decided=yes(request)) == "allow"


async def test_a_refusal_by_the_owner_reaches_the_model_with_its_note(world: World) -> None:
    request = await world.asked("bash", {"command": "echo hi"})
    no = ApprovalDecided(approval=request.approval, answer="deny", note="use make instead")
    verdict = await world.judge("bash", {"command": "echo hi"}, decided=no)
    assert isinstance(verdict, Refuse)
    assert (verdict.result.status, "use make instead" in verdict.result.text) == ("denied", True)


async def test_an_approval_covers_these_arguments_only(world: World) -> None:
    request = await world.asked("bash", {"command": "echo hi"})
    assert await world.says("bash", {"command": "echo ho"}, decided=yes(request)) == "ask"
    assert (
        await world.says("bash", {"command": "echo hi", "timeout": 9}, decided=yes(request))
        == "ask"
    )


async def test_an_approval_covers_this_session_only(world: World) -> None:
    request = await world.asked("bash", {"command": "echo hi"})
    world.gate = world.open(session="s_2")
    assert await world.says("bash", {"command": "echo hi"}, decided=yes(request)) == "ask"


async def test_an_approved_edit_is_void_once_the_file_changed(world: World) -> None:
    path = world.workdir / "a"
    path.write_text("one\n")
    arguments = {"path": "a", "old_string": "one", "new_string": "two"}
    request = await world.asked("edit", {**arguments})
    path.write_text("one, and more\n")
    verdict = await world.judge("edit", {**arguments}, decided=yes(request))
    assert isinstance(verdict, Ask)
    assert "changed since the approval" in verdict.request.reason


async def test_an_approved_edit_is_void_if_the_file_changes_before_it_runs(world: World) -> None:
    path = world.workdir / "a"
    path.write_text("one\n")
    arguments = {"path": "a", "old_string": "one", "new_string": "two"}
    request = await world.asked("edit", {**arguments})
    permit = await world.judge("edit", {**arguments}, decided=yes(request))
    path.write_text("one, and more\n")
    assert (await world.run(permit)).status == "denied"
    assert path.read_text() == "one, and more\n"


async def test_an_approval_is_void_if_the_path_leads_elsewhere(world: World) -> None:
    (world.workdir / "d").mkdir()
    (world.workdir / "e").mkdir()
    request = await world.asked("write", {"path": "d/x", "content": "x"})
    (world.workdir / "d").rmdir()
    (world.workdir / "d").symlink_to("e")
    assert await world.says("write", {"path": "d/x", "content": "x"}, decided=yes(request)) == "ask"


@pytest.mark.parametrize(
    "command", ["./run.sh", "sh run.sh", "bash ./run.sh now", "python3 run.sh"]
)
async def test_an_approved_script_is_void_once_its_content_changed(
    world: World, command: str
) -> None:
    script = world.workdir / "run.sh"
    script.write_text("echo good\n")
    script.chmod(0o755)
    request = await world.asked("bash", {"command": command})
    script.write_text("echo evil\n")
    assert await world.says("bash", {"command": command}, decided=yes(request)) == "ask"


async def test_a_permit_is_good_for_one_run_of_unchanged_arguments_at_its_gate(
    world: World,
) -> None:
    world.write_policy("mode: auto\n")
    permit = await world.judge("look")
    assert (await world.run(permit)).status == "ok"
    assert (await world.run(permit)).status == "denied"
    changed = await world.judge("write", {"path": "a", "content": "x"})
    changed.call.arguments["path"] = "b"  # type: ignore[union-attr]
    assert (await world.run(changed)).status == "denied"
    foreign = await world.judge("look")
    world.gate = world.open()
    assert (await world.run(foreign)).status == "denied"


async def test_a_grant_for_the_session_covers_what_its_rule_says(world: World) -> None:
    request = await world.asked("write", {"path": "a", "content": "x"})
    assert (
        await world.says("write", {"path": "b", "content": "x"}, grants=[request.rule]) == "allow"
    )
    assert await world.says("edit", {"path": "b", "old_string": "x", "new_string": "y"},
                            grants=[request.rule]) == "ask"  # fmt: skip
    outside = {"path": "../../b", "content": "x"}
    assert await world.says("write", {**outside}, grants=[request.rule]) == "ask"
    assert await world.says("look", grants=["not a rule: ["]) == "allow"


@pytest.mark.parametrize(
    "command",
    ["zsh -lc whoami", "ls *.py", "a && b", "echo 'it''s' \"$HOME\"", "x\ny", "a\\b", "tab\there",
     "[ -e x ]", "{tool: bash}", "true", "é\u202e"],
)  # fmt: skip
async def test_always_covers_the_very_command_and_no_other(world: World, command: str) -> None:
    request = await world.asked("bash", {"command": command})
    world.policy.remember(request.rule)
    world.gate = world.open()
    assert await world.says("bash", {"command": command}) == "allow"
    assert await world.says("bash", {"command": command + " "}) == "ask"
    assert await world.says("bash", {"command": command.replace("*", "x") + "; id"}) == "ask"
    assert await world.says("bash", {"command": "zsh -lc id"}) == "ask"


async def test_a_path_with_wildcards_in_its_name_is_granted_literally(world: World) -> None:
    request = await world.asked("write", {"path": "../../[a]*/x", "content": "x"})
    world.policy.remember(request.rule)
    assert await world.says("write", {"path": "../../[a]*/x", "content": "y"}) == "allow"
    assert await world.says("write", {"path": "../../a/x", "content": "y"}) == "ask"
    assert await world.says("write", {"path": "../../[a]b/x", "content": "y"}) == "ask"


# After a crash -----------------------------------------------------------------------------------


async def test_what_a_crash_allows(world: World) -> None:
    def started(
        tool: str, effects: tuple[str, ...] = ("writes",), boot: str = "boot"
    ) -> ToolStarted:
        return ToolStarted(call=CallId("c"), tool=tool, effects=effects, key="k", boot=boot)

    recovery = world.gate.recovery
    assert recovery(started("read", ())) == "rerun"
    assert recovery(started("write")) == "rerun"
    assert recovery(started("edit")) == "rerun"
    assert recovery(started("bash")) == "rejoin"
    assert recovery(started("bash", boot="earlier")) == "doubt"
    assert recovery(started("post")) == "doubt"
    assert recovery(started("gone")) == "doubt"
    assert recovery(started("gone", ())) == "rerun"


async def test_an_approved_edit_cut_off_after_its_change_is_finished_without_asking_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = world.workdir / "a"
    path.write_text("x\n")
    arguments = {"path": "a", "old_string": "x", "new_string": "xx"}
    request = await world.asked("edit", {**arguments})
    permit = await world.judge("edit", {**arguments}, decided=yes(request), key="key")
    assert (await world.run(permit)).status == "ok"
    # The result was never recorded: the process died here.
    world.gate = world.open()
    again = await world.judge("edit", {**arguments}, decided=yes(request), key="key")
    assert (await world.run(again, resumed=True)).status == "ok"
    assert path.read_text() == "xx\n"
    assert files.digest(b"xx\n") in next((world.control / "processes").glob("call-*")).read_text()


async def test_a_command_that_has_begun_is_joined_even_if_it_is_denied_by_now(world: World) -> None:
    world.write_policy("mode: auto\n")
    call = ToolCall(id=CallId("c"), name="bash", arguments={"command": "echo x >> ran"})
    permit = await world.gate.judge(call, key="key", label=OWNER)
    await world.run(permit)
    world.write_policy("mode: auto\ndeny: [{tool: bash}]\n# longer\n")
    world.gate = world.open()
    again = await world.gate.judge(call, key="key")
    assert (await world.run(again, resumed=True)).status == "ok"
    assert (world.workdir / "ran").read_text() == "x\n"
    assert isinstance(await world.gate.judge(call, key="other"), Refuse)


async def test_intents_to_record(world: World) -> None:
    world.write_policy("mode: auto\n")
    look = await world.judge("look", key="k1")
    assert look.started == ToolStarted(  # type: ignore[union-attr]
        call=CallId("c1"), tool="look", key="k1", permit="mode auto"
    )
    bash = await world.judge("bash", {"command": "x"}, key="k2")
    assert bash.started.effects == ("network", "reads", "writes")  # type: ignore[union-attr]
    assert (look.parallel, bash.parallel) == (True, False)  # type: ignore[union-attr]


async def test_what_an_attempt_left_behind_goes_when_the_next_call_is_judged(world: World) -> None:
    world.write_policy("mode: auto\n")
    processes = world.control / "processes"
    for tool, arguments in (
        ("bash", {"command": "true"}),
        ("write", {"path": "a", "content": "x"}),
    ):
        await world.run(await world.judge(tool, {**arguments}))
        assert list(processes.iterdir())
        async with asyncio.timeout(20):
            await world.judge("look")
            while list(processes.iterdir()):  # its supervisor may still be tidying up
                await asyncio.sleep(0.01)
                world.bench.forget("none")
