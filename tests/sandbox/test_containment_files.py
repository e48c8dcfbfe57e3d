"""What a contained command sees of the files, and what stays as it was."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from perdure.sandbox import Confines, Containment, SupervisedCommands, Unavailable
from perdure.sandbox.planning import view_of

from .containing import BACKENDS, Inside, needs


@pytest.fixture(params=BACKENDS)
async def inside(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Inside]:
    needs(request.param)
    made = Inside(tmp_path, request.param)
    yield made
    await made.commands.close()


async def test_the_working_folder_is_written_and_nothing_else_is_seen(inside: Inside) -> None:
    (inside.root / "beside").write_text("secret")
    assert await inside.says(f"echo x > new; ls {inside.root}") == "work"
    assert (inside.work / "new").read_text() == "x\n"


async def test_a_session_has_a_tmp_and_a_home_of_its_own(inside: Inside) -> None:
    await inside.says("echo one > /tmp/left; echo two > ~/left; echo three > /var/tmp/left")
    assert await inside.says("cat /tmp/left ~/left /var/tmp/left") == "one\ntwo\nthree"
    assert await inside.says("ls /tmp | grep left || true", session="s_2") == ""
    private = inside.root / "state/processes/s_1/.private"
    assert (private / "tmp/left").exists()
    assert not Path("/tmp/left").exists()
    await inside.commands.background.stop_all("s_1")
    assert not private.exists()


async def test_a_virtualenv_on_the_path_works(inside: Inside, tmp_path: Path) -> None:
    import sys

    python = await inside.says(f"PATH={Path(sys.executable).parent}:$PATH; python3 -c 'print(6*7)'")
    assert python == "42"


async def test_a_way_of_links_in_tmp_leads_nowhere(tmp_path: Path, inside: Inside) -> None:
    """The working folder lies below /tmp here, and so in what its commands write to."""
    if not str(inside.work).startswith("/tmp/"):
        pytest.skip("the tests' folder is not below /tmp")
    top = inside.work.relative_to("/tmp").parts[0]
    await inside.says("true")
    target = inside.root / "target"
    target.mkdir()
    private = inside.root / "state/processes/s_1/.private/tmp"
    shutil.rmtree(private / top)
    (private / top).symlink_to(target)
    assert await inside.says("echo x > made; pwd") == str(inside.work)
    assert list(target.iterdir()) == []
    assert (inside.work / "made").exists()


async def test_a_guarded_file_is_kept_also_from_who_renames_the_folders_above(
    inside: Inside,
) -> None:
    control = inside.work / "a/b/.perdure"
    control.mkdir(parents=True)
    (control / "policy.yaml").write_text("mode: ask\n")
    inside.control = (control,)
    for folder in ("a", "a/b", "a/b/.perdure"):
        outcome = await inside.run(f"mv {folder} away")
        assert outcome.exit_code != 0
    assert await inside.says("ls -A a/b/.perdure") == ""
    assert (control / "policy.yaml").read_text() == "mode: ask\n"


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
async def test_git_works_and_its_hooks_and_settings_stay(inside: Inside) -> None:
    subprocess.run(["git", "init", "-q", inside.work], check=True)  # noqa: ASYNC221
    before = (inside.work / ".git/config").read_text()
    who = "-c user.name=A -c user.email=a@example.org"
    await inside.says(f"echo x > f; git add f; git {who} commit -qm one; git log --oneline")
    for attack in (
        "echo x > .git/hooks/post-commit",
        "git config core.fsmonitor ./evil",
        "mv .git g",
        "rm -rf .git/hooks",
        "ln -sf /tmp .git/hooks",
    ):
        assert (await inside.run(attack)).exit_code != 0, attack
    assert (inside.work / ".git/config").read_text() == before
    assert not (inside.work / ".git/hooks/post-commit").exists()


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
async def test_what_would_lead_git_or_perdure_astray_is_set_aside(inside: Inside) -> None:
    subprocess.run(["git", "init", "-q", inside.work], check=True)  # noqa: ASYNC221
    await inside.run("mkdir .perdure; echo x > .perdure/policy.yaml; echo y > perdure.yaml; "
                     "echo ../evil > .git/commondir")  # fmt: skip
    for name in (".perdure", "perdure.yaml", ".git/commondir"):
        assert not (inside.work / name).exists(), name
    assert len(list(inside.work.glob("perdure.yaml.set-aside-*"))) == 1


async def test_a_workspace_deeper_in_the_folder_is_neither_read_nor_written(inside: Inside) -> None:
    """Its hooks would run as the owner's, and its server's token lies there."""
    other = inside.work / "deep" / "other"
    (other / ".perdure" / "run").mkdir(parents=True)
    (other / ".perdure" / "run" / "server.json").write_text("the token")
    (other / "perdure.yaml").write_text("kind: Workspace")
    (other / "notes").write_text("mine")
    assert await inside.says("cat deep/other/notes") == "mine"
    for command in (
        "cat deep/other/.perdure/run/server.json",
        "cat deep/other/perdure.yaml",
        "mv deep/other deep/away && cat deep/away/perdure.yaml",
    ):
        assert (await inside.run(command)).exit_code != 0, command
    await inside.run("mkdir -p deep/other/.perdure/hooks; echo x > deep/other/.perdure/hooks/x.py")
    await inside.run("echo evil >> deep/other/perdure.yaml")
    assert not (other / ".perdure" / "hooks").exists()
    assert (other / "perdure.yaml").read_text() == "kind: Workspace"


async def test_a_repository_that_is_a_link_shows_nothing(inside: Inside) -> None:
    """A command leaves a link where the next one's plan finds a repository."""
    outside = inside.root / "outside"
    (outside / "hooks").mkdir(parents=True)
    (outside / "config").write_text("secret")
    await inside.says(f"mkdir sub; ln -s {outside} sub/.git; ln -s {outside} .git")
    assert (await inside.run("cat sub/.git/config .git/config")).exit_code != 0


async def test_folders_of_the_settings_are_shown_and_written(tmp_path: Path) -> None:
    needs("launcher")
    for name in ("read", "write", "no"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "f").write_text(name)
    made = Inside(tmp_path, "launcher", read=(str(tmp_path / "read"),), write=("../write",))
    assert await made.says("cat ../read/f; echo more >> ../write/f") == "read"
    assert (await made.run("echo x > ../read/f")).exit_code != 0
    assert (await made.run("cat ../no/f")).exit_code != 0
    assert (tmp_path / "write/f").read_text() == "writemore\n"
    await made.commands.close()


async def test_credentials_in_a_folder_that_is_shown_are_hidden(tmp_path: Path) -> None:
    needs("launcher")
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh/id").write_text("secret")
    (home / ".netrc").write_text("secret")
    (home / "notes").write_text("notes")
    (tmp_path / "work").mkdir()
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    commands = SupervisedCommands(tmp_path / "state/processes", environment=environment)
    confines = Confines(backend="launcher", read=("~",))
    session = commands.within(
        lambda: Containment(session="s", workdir=tmp_path / "work", confines=confines)
    )
    outcome = await session.run(
        "cat ~/notes; ls -A ~/.ssh; cat ~/.netrc ~/.ssh/id",
        key="k",
        cwd=tmp_path / "work",
        timeout=30,
    )
    said = outcome.output.read_text()
    assert said.startswith("notes") and "secret" not in said
    await commands.close()


async def test_credentials_beyond_a_folder_that_is_a_link_are_hidden_where_they_lie(
    tmp_path: Path,
) -> None:
    needs("launcher")
    home, dots = tmp_path / "home", tmp_path / "home/dotfiles"
    for name in ("config/gh", "ssh"):
        (dots / name).mkdir(parents=True)
    (dots / "config/gh/hosts.yml").write_text("secret")
    (dots / "ssh/id").write_text("secret")
    (dots / "config/notes").write_text("notes")
    (home / ".config").symlink_to("dotfiles/config")
    (home / ".ssh").symlink_to("dotfiles/ssh")
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    commands = SupervisedCommands(tmp_path / "state/processes", environment=environment)
    confines = Confines(backend="launcher")
    session = commands.within(lambda: Containment(session="s", workdir=dots, confines=confines))
    look = "cat config/notes; cat config/gh/hosts.yml ssh/id; mv config elsewhere || echo stays"
    outcome = await session.run(look, key="k", cwd=dots, timeout=30)
    said = outcome.output.read_text()
    assert said.startswith("notes") and "stays" in said and "secret" not in said
    await commands.close()


@pytest.mark.parametrize("folder", ["/", "/etc", "/usr", "~", "~/.."])
def test_a_folder_that_would_show_everything_is_refused(folder: str) -> None:
    home = Path("/home/somebody")
    workdir = Path(os.path.normpath(str(home) + folder[1:] if folder[0] == "~" else folder))
    containment = Containment(session="s", workdir=workdir)
    with pytest.raises(Unavailable, match="commands do not run in"):
        view_of(containment, {"HOME": str(home)})


async def test_who_swaps_a_folder_for_a_link_all_the_time_wins_nothing(inside: Inside) -> None:
    """The plan is made of paths; by the time it is carried out they may lead elsewhere."""
    secret = inside.root / "outside"
    (secret / "hooks").mkdir(parents=True)
    (secret / "hooks/id").write_text("the secret\n")
    (inside.work / "sub/.git/hooks").mkdir(parents=True)
    (inside.work / "sub/.git/config").touch()
    other = inside.work / "other"
    other.symlink_to(secret)
    swap = inside.work / "sub"

    async def swapping() -> None:
        while True:
            for _ in range(50):
                swap.rename(inside.work / "real")
                other.rename(swap)
                swap.rename(other)
                (inside.work / "real").rename(swap)
            await asyncio.sleep(0)

    task = asyncio.create_task(swapping())
    try:
        for _ in range(8):
            outcome = await inside.run("cat sub/.git/hooks/id sub/hooks/id other/hooks/id")
            assert "the secret" not in outcome.output.read_text()
    finally:
        task.cancel()


def test_the_folders_that_a_command_may_write_to_besides_its_own_are_known(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    inside = Inside(tmp_path, "launcher", write=("../link", str(tmp_path / "later")))
    assert inside.session().writable == (tmp_path / "real", tmp_path / "later")
    assert inside.commands.writable == ()
