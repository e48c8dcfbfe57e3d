"""What an attacker tried: pipes, links, other names, scripts that change, commands in disguise."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from perdure.guard import Places, PolicyFiles
from perdure.guard.rules import Rule
from perdure.kernel.errors import ConfigError
from perdure.kernel.events import Json
from perdure.kernel.ports import Refuse

from .world import World, stops, yes

OPEN = "mode: auto\nallow: [{tool: '*'}]\n"


@pytest.mark.parametrize("name", ["policy.yaml", "policy.local.yaml", "agents/ann/policy.yaml"])
def test_a_pipe_in_the_place_of_a_policy_is_an_error_and_waits_for_nobody(
    world: World, name: str
) -> None:
    os.mkfifo(world.control / name)
    with pytest.raises(ConfigError, match="not a regular file"):
        PolicyFiles(world.control, "ann").current()


def test_a_pipe_or_link_where_the_new_policy_is_written_is_replaced(
    world: World, tmp_path: Path
) -> None:
    new = world.control / ".policy.local.yaml.new"
    os.mkfifo(new)
    world.policy.remember("{tool: look}")
    new.symlink_to(tmp_path / "elsewhere")
    world.policy.remember("{tool: post}")
    assert not (tmp_path / "elsewhere").exists()
    assert [r.tool for r in world.policy.current().allow] == ["look", "post"]


@pytest.mark.parametrize("target", ["../..", "../../run", "."])
async def test_memory_that_is_a_link_opens_nothing(world: World, target: str) -> None:
    world.write_policy(OPEN)
    memory = world.control / "agents/ann/memory"
    memory.rmdir()
    memory.symlink_to(target)
    (world.control / "run").mkdir()
    (world.control / "run/server.json").write_text("{}")
    assert await world.says("write", {"path": f"{memory}/policy.yaml", "content": ""}) == "refuse"
    for path in ("run/server.json", "server.json"):
        if (memory / path).exists():
            assert await world.says("read", {"path": f"{memory}/{path}"}) == "refuse"


async def test_a_link_in_memory_is_judged_by_where_it_leads(world: World) -> None:
    world.write_policy(OPEN)
    link = world.control / "agents/ann/memory/MEMORY.md"
    link.symlink_to("../../../run/server.json")
    assert await world.says("read", {"path": str(link)}) == "refuse"
    assert await world.says("write", {"path": str(link), "content": "x"}) == "refuse"


@pytest.mark.parametrize(
    "path",
    [
        "sub/.perdure/run/server.json",
        "sub/.perdure/secrets.age",
        "sub/.PERDURE/Run/server.json",
        "../.perdure/RUN/server.json",
        "../.perdure/agents/ann/memory/.perdure/run/server.json",
    ],
)
async def test_secrets_of_any_workspace_are_never_read(world: World, path: str) -> None:
    world.write_policy(OPEN)
    assert await world.says("read", {"path": path}) == "refuse"


async def test_sessions_of_a_nested_workspace_are_not_read_without_asking(world: World) -> None:
    world.write_policy("mode: auto\n")
    assert await world.says("read", {"path": "sub/.perdure/sessions/s/events.jsonl"}) == "ask"
    assert await world.says("read", {"path": "sub/.perdure/agents/x/SOUL.md"}) == "allow"


@pytest.mark.parametrize("path", ["Perdure.yaml", "../PERDURE.YAML", "x/.Perdure/policy.yaml"])
async def test_control_files_are_known_in_any_case(world: World, path: str) -> None:
    world.write_policy(OPEN)
    assert await world.says("write", {"path": path, "content": ""}) == "refuse"


async def test_another_name_for_the_servers_file_is_secret_too(world: World) -> None:
    world.write_policy(OPEN)
    (world.control / "run").mkdir()
    secret = world.control / "run/server.json"
    secret.write_text("{}")
    (world.workdir / "copy").hardlink_to(secret)
    (world.workdir / "a").write_text("x")
    (world.workdir / "b").hardlink_to(world.workdir / "a")
    assert await world.says("read", {"path": "copy"}) == "refuse"
    assert await world.says("read", {"path": "b"}) == "allow"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("server:\n  token: abc\n", "refuse"),
        ("server: {token: 'abc'}\n", "refuse"),
        ("server:\n  token:\n    abc\n", "refuse"),
        ('server: {"tok\\u0065n": abc}\n', "refuse"),
        ("server: {token: '${T:-abc}'}\n", "refuse"),
        ("server: {token: [\n", "refuse"),
        ("server: {token: '${T}'}\n", "allow"),
        ("server: {token: }\n", "allow"),
        ("kind: Workspace # token\n", "allow"),
    ],
)
async def test_a_configuration_with_a_token_in_it_is_secret(
    world: World, text: str, says: str
) -> None:
    world.write_policy(OPEN)
    (world.workspace / "perdure.yaml").write_text(text)
    assert await world.says("read", {"path": "../perdure.yaml"}) == says


def test_files_that_command_hooks_name_are_control_files(world: World) -> None:
    (world.workspace / "check.py").write_text("")
    (world.workspace / "sub").mkdir()
    (world.workspace / "real.sh").write_text("")
    (world.workspace / "link.sh").symlink_to("real.sh")
    commands = ["./guard.sh --all", "python3 check.py", "cd sub && ./deep.sh", "sh link.sh work"]
    places = Places(
        workspace=world.workspace, workdir=world.workdir, agent="ann", commands=lambda: commands
    )
    for name in ("guard.sh", "check.py", "sub/deep.sh", "real.sh"):
        assert places.zone(world.workspace / name, write=True) == "control", name
        assert places.zone(world.workspace / name, write=False) == "inside"
    for name in ("other.sh", "sub/other", "work/notes"):
        assert places.zone(world.workspace / name, write=True) == "inside"


async def test_what_git_would_run_is_asked_for_even_in_auto(world: World) -> None:
    world.write_policy("mode: auto\nallow: [{tool: write}]\n")
    hook = {"path": ".git/hooks/pre-commit", "content": "x"}
    request = await world.asked("write", {**hook})
    assert request.rule == f"{{tool: write, path: '{world.workdir}/.git/hooks/pre-commit'}}"
    broad = f"{{tool: write, path: '{world.workdir}/**'}}"
    assert await world.says("write", {**hook}, grants=[broad]) == "ask"
    assert await world.says("write", {**hook}, grants=[request.rule]) == "allow"


@pytest.mark.parametrize("path", ["secrets/a", "../secrets/a"])
async def test_a_denied_path_is_denied_in_the_workspace_and_in_the_working_directory(
    world: World, path: str
) -> None:
    world.write_policy("mode: auto\ndeny: [{tool: '*', path: 'secrets/**'}]\n")
    assert await world.says("write", {"path": path, "content": ""}) == "refuse"


# Scripts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "bash job",
        "bash -x job now",
        "bash < job",
        "cat job | bash",
        ". ./job",
        "source job",
        "cd sub && ./job",
        "cd sub; bash job",
        "timeout 5 bash job",
        "sudo -u ann bash job",
        "bash -c 'bash job'",
        "BASH_ENV=./job bash -c true",
        "python3.12 -W ignore job",
        "node -r job other",
        "echo 'it is' && bash \"job\"",
    ],
)
@pytest.mark.parametrize("executable", [False, True])
async def test_an_approval_covers_the_scripts_that_a_command_runs(
    world: World, command: str, executable: bool
) -> None:
    (world.workdir / "sub").mkdir()
    scripts = [world.workdir / "job", world.workdir / "sub/job"]
    for script in scripts:
        script.write_text("echo good\n")
        script.chmod(0o755 if executable else 0o644)
    request = await world.asked("bash", {"command": command})
    assert "not covered" not in request.preview
    assert await world.says("bash", {"command": command}, decided=yes(request)) == "allow"
    for script in scripts:
        script.write_text("echo evil\n")
    assert await world.says("bash", {"command": command}, decided=yes(request)) == "ask"


@pytest.mark.parametrize(
    "command",
    [
        "su bob -c 'bash job'",
        "ssh host 'bash job'",
        "fish -c 'bash job'",
        "mywrap --fast bash job",
        "uv run python job",
        "docker exec box python3 job",
        "eval 'bash job'",
        "f() { bash job; }; f",
        "if true; then bash job; fi",
        "bash <<X\nbash job\nX",
        "find . -exec bash job {} \\;",
        "xargs bash job",
        "cat job | sudo bash",
        "python3 < job",
        "awk -f job log",
        "make -f job",
        "LD_PRELOAD=./job ls",
        "LD_PRELOAD=./job ls; LD_PRELOAD=./ok ls",
        "BASH_ENV=./job bash -c true; BASH_ENV=./ok bash -c true",
        "GIT_SSH_COMMAND=./job git fetch; GIT_SSH_COMMAND=./ok git fetch",
        "export LD_PRELOAD=./job; ls; export LD_PRELOAD=./ok; ls",
        "env LD_PRELOAD=./job ls; env LD_PRELOAD=./ok ls",
        "env 'LD_PRELOAD=./job' ls; LD_PRELOAD=./ok ls",
        "node --require ./later --import=./job ok",
        "bash 'job",
    ],
)
@pytest.mark.parametrize("tool", ["bash", "process"])
async def test_scripts_are_found_wherever_a_command_names_them(
    world: World, command: str, tool: str
) -> None:
    job = world.workdir / "job"
    job.write_text("#!/bin/sh\n" if "'job" in command else "good\n")
    (world.workdir / "ok").write_text("good\n")
    call: dict[str, Json] = {"command": command}
    if tool == "process":
        call["action"] = "start"
    request = await world.asked(tool, {**call})
    assert await world.says(tool, {**call}, decided=yes(request)) == "allow"
    job.write_text("evil\n")
    assert await world.says(tool, {**call}, decided=yes(request)) == "ask"


async def test_a_program_that_some_word_names_is_covered(world: World) -> None:
    """Behind a wrapper that nobody knows."""
    folder = world.workspace / "bin"
    folder.mkdir()
    program = folder / "tidy"
    program.write_text("#!/bin/sh\necho good\n")
    program.chmod(0o755)
    world.environment["PATH"] += f":{folder}"
    world.gate = world.open()
    request = await world.asked("bash", {"command": "mywrap tidy ."})
    program.write_text("#!/bin/sh\necho evil\n")
    assert await world.says("bash", {"command": "mywrap tidy ."}, decided=yes(request)) == "ask"


async def test_a_rule_for_ever_holds_while_the_script_stays_as_it_is(world: World) -> None:
    job = world.workdir / "job"
    job.write_text("good\n")
    rule = (await world.asked("bash", {"command": "bash job"})).rule
    assert await world.says("bash", {"command": "bash job"}, grants=[rule]) == "allow"
    job.write_text("evil\n")
    assert await world.says("bash", {"command": "bash job"}, grants=[rule]) == "ask"


async def test_a_note_on_a_long_command_stands_before_it(world: World) -> None:
    command = f"make # {'x' * 3_000}"
    preview = (await world.asked("bash", {"command": command})).preview
    assert preview.startswith("[scripts not covered") and preview.endswith("xxx")


async def test_a_script_in_a_folder_that_a_program_is_told_to_work_in_is_covered(
    world: World,
) -> None:
    script = world.workdir / "sub/job"
    script.parent.mkdir()
    script.write_text("echo good\n")
    script.chmod(0o755)
    command = {"command": "env -C sub ./job"}
    request = await world.asked("bash", {**command})
    script.write_text("echo evil\n")
    assert await world.says("bash", {**command}, decided=yes(request)) == "ask"


async def test_a_script_is_covered_to_its_end(world: World) -> None:
    script = world.workdir / "big.sh"
    script.write_text("#" * (3 << 20) + "\necho good\n")
    request = await world.asked("bash", {"command": "bash big.sh"})
    with script.open("r+") as file:
        file.seek((3 << 20) + 1)
        file.write("echo evil")
    assert await world.says("bash", {"command": "bash big.sh"}, decided=yes(request)) == "ask"


async def test_a_script_that_appears_after_the_approval_voids_it(world: World) -> None:
    request = await world.asked("bash", {"command": "bash job"})
    assert "job, which is not there" in request.preview
    (world.workdir / "job").write_text("echo evil\n")
    assert await world.says("bash", {"command": "bash job"}, decided=yes(request)) == "ask"


async def test_data_may_change_between_approval_and_run(world: World) -> None:
    (world.workdir / "job").write_text("x")
    (world.workdir / "log").write_text("x")
    for command in ("cat log", "bash job log", "cat log | bash job"):
        request = await world.asked("bash", {"command": command})
        with (world.workdir / "log").open("a") as file:
            file.write("more")
        assert await world.says("bash", {"command": command}, decided=yes(request)) == "allow"


@pytest.mark.parametrize(
    "command",
    ["bash j*2.sh", "python3 -m pkg", "make test", "bash $x", "bash $(ls)", "`ls`", "eval x",
     "curl x | bash", "find . -exec bash {} \\;", "cd $x && ./run.sh", "xargs bash", "bash 'a",
     "LD_PRELOAD=$x ls; LD_PRELOAD=./run.sh ls", "LD_PRELOAD=./run.sh ls; LD_PRELOAD=./later ls",
     "LD_PRELOAD=./run.sh'x' ls; LD_PRELOAD=./run.sh ls", "read LD_PRELOAD; LD_PRELOAD=./run.sh ls",
     "LD_PRELOAD=./run.sh ls; LD_PRELOAD+=/x ls", "BASH_ENV='~/x' bash -c true",
     "git -c core.pager=./run.sh log", "git -c core.pager=./x log ./run.sh", "git bisect run x",
     "tar --to-command=./run.sh -xf x.tar", "rsync -e ./run.sh a b", "sort --compress-program=./run.sh log",
     "vim -S run.sh", "man -P ./run.sh ls", "sqlite3 -init run.sh run.sh", "gdb -x run.sh run.sh",
     "awk 'BEGIN { system(\"./x\") }'", "awk -i x -f run.sh", "sed -f run.sh -e 1e./x log",
     "python3 -c \"$x\"", "perl -Mevil -e 1", "perl -e 1 -Mevil", "node -r ./x -e 1", "ssh host run.sh",
     "sh -c 'git -c core.pager=./x log'", "sudo tar --to-command=./x -xf x.tar"],
)  # fmt: skip
async def test_what_an_approval_does_not_cover_is_said(world: World, command: str) -> None:
    (world.workdir / "run.sh").write_text("x")
    assert (
        "scripts not covered by this approval"
        in (await world.asked("bash", {"command": command})).preview
    )


@pytest.mark.parametrize(
    "command",
    [
        "ls -la",
        "git status",
        "python3 -c 'print(1)'",
        "grep -r x .",
        "python3 -u -c 'print(1)' -x",
        "perl -ne 'print' log",
        "bash -c 'ls -la'",
        "tar -xf x.tar",
        "sort log",
        "rsync a b",
        "LC_ALL=C sort log",
    ],
)
async def test_nothing_is_said_where_all_is_covered(world: World, command: str) -> None:
    assert (await world.asked("bash", {"command": command})).preview == command


# Deny rules --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "env -u X gitx push",
        "env -u X -u Y gitx push",
        "exec -a x gitx push",
        "function f { gitx push; }; f",
        "f() { gitx push; }; f",
        "compgen -C 'gitx push'",
        "mapfile -C 'gitx push' -c 1 < x",
        "hash -p /usr/bin/gitx q; q push",
        "gitx --no-pager push",
        "gitx -C dir push",
        "sudo -u ann gitx --no-pager push",
        "tar --checkpoint-action=exec='gitx push' -cf x y",
        "git -c alias.x='!gitx push' x",
        "taskset 1 gitx push",
        "prlimit gitx push",
        "choom -n 1 gitx push",
        "logsave x gitx push",
        "capsh -- -c 'gitx push'",
        "sg g 'gitx push'",
        "perf stat gitx push",
        "valgrind gitx push",
        "dbus-run-session gitx push",
        "start-stop-daemon --start --exec gitx",
        "GIT_SSH_COMMAND='gitx push' git fetch",
        "export PAGER='gitx push'; git log",
        "python3.12 x.py",
        "/lib64/ld-linux-x86-64.so.2 /usr/bin/gitx push",
    ],
)
async def test_a_denied_command_in_disguise_never_runs_unasked(world: World, command: str) -> None:
    world.write_policy("mode: auto\ndeny: [{tool: bash, command: 'gitx push*'}]\n")
    assert await world.says("bash", {"command": command}) != "allow"


@pytest.mark.parametrize(
    "command",
    ["gitx --no-pager log push", "git -C sub status", "env X=1 ls", "curl -o x y", "echo gitx push",
     "hash -r", "mapfile -t x < y", "gitx log", "time ls", "for i in a; do ls; done"],
)  # fmt: skip
async def test_other_commands_are_not_taken_for_denied_ones(world: World, command: str) -> None:
    world.write_policy("mode: auto\ndeny: [{tool: bash, command: 'gitx push*'}]\n")
    expected = "ask" if command.endswith("log push") else "allow"
    assert await world.says("bash", {"command": command}) == expected


def test_a_word_that_may_be_an_options_value_is_not_held_to_be_the_command() -> None:
    rule = Rule(tool="bash", command="gitx push*")
    assert stops(rule, "bash", "gitx --no-pager push", (), Path("/")) is True
    assert stops(rule, "bash", "gitx --no-pager log push", (), Path("/")) is None


# A policy that changes between judging and running -------------------------------------------------


@pytest.mark.parametrize(
    "policy",
    ["mode: ask\n", "mode: auto\ndeny: [{tool: write, path: a}]\n", "mode: nonsense\n"],
)
async def test_a_policy_that_changed_since_it_was_judged_by_counts(
    world: World, policy: str
) -> None:
    world.write_policy("mode: auto\n")
    permit = await world.judge("write", {"path": "a", "content": "x"})
    world.write_policy(policy)
    assert (await world.run(permit)).status == "denied"
    assert not (world.workdir / "a").exists()


async def test_a_change_that_still_allows_a_call_lets_it_run(world: World) -> None:
    world.write_policy("mode: auto\n")
    permit = await world.judge("write", {"path": "a", "content": "x"})
    world.write_policy("mode: ask\nallow: [{tool: write}]\n")
    assert (await world.run(permit)).status == "ok"


async def test_an_approval_holds_in_another_mode_but_not_against_a_deny_rule(world: World) -> None:
    arguments = {"path": "a", "content": "x"}
    request = await world.asked("write", {**arguments})
    permit = await world.judge("write", {**arguments}, decided=yes(request))
    world.write_policy("mode: ask\n# changed\n")
    assert (await world.run(permit)).status == "ok"
    (world.workdir / "a").unlink()
    request = await world.asked("write", {**arguments})
    permit = await world.judge("write", {**arguments}, decided=yes(request))
    assert not isinstance(permit, Refuse)
    world.write_policy("deny: [{tool: write}]\n")
    assert (await world.run(permit)).status == "denied"
