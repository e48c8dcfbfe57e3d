"""Attacks in command lines, before the real server, with rules that allow their first words.

Each docstring begins with its number in docs/security.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.attacks.test_approvals import House, request_of

WORDS = (
    "echo", "cat", "sort", "tar", "git", "find", "awk", "env", "busybox", "nohup", "xargs", "timeout",
    "nice", "base64", "ls",
)  # fmt: skip
POLICY = "mode: ask\nallow:\n" + "".join(f"  - {{tool: bash, command: '{w} *'}}\n" for w in WORDS)


async def each_asks(root: Path, lines: Sequence[str], harmless: Sequence[str]) -> None:
    """Every line asks, and only then those that the rules do cover run."""
    house = House(root, *lines, *harmless)
    (house.root / ".perdure" / "policy.yaml").write_text(POLICY)
    async with house.open() as door:
        session = await door.session()
        for number, line in enumerate(lines):
            asked = request_of(await door.says(session, key=str(number)))
            assert line in asked["preview"]
            assert (await door.answers(session, asked, answer="deny")).status == 200
            assert (await door.says(session, key=str(number)))["reason"] == "done", line
        for number, line in enumerate(harmless):
            assert (await door.says(session, key=f"h{number}"))["reason"] == "done", line
        assert len(await door.events(session, "tool_started")) == len(harmless)


async def test_more_commands_behind_an_allowed_first_word(tmp_path: Path) -> None:
    """10: pipes, lists, substitutions, newlines: every command is judged, and asks."""
    lines = (
        "echo x | node", "echo a; id", "echo a && id", "echo a || id", "echo a & id", "echo $(id)",
        "echo `id`", 'echo "$(id)"', "echo a\nid", "cat <(id)", "echo a > >(sh)", "{ echo a; id; }",
        "(echo a; id)", "if echo a; then id; fi", "for x in a; do id; done", "echo a | tee ~/.profile",
    )  # fmt: skip
    await each_asks(tmp_path, lines, ("echo a; echo b", "echo a | cat -n"))


async def test_an_option_that_executes(tmp_path: Path) -> None:
    """11: an allowed program whose option runs another one asks."""
    lines = (
        "sort --compress-prog=sh list", "sort --compress-program sh list", "tar -xf a.tar --to-command=id",
        "tar -cf a.tar --checkpoint=1 --checkpoint-action=exec=id .", "git -c core.pager=id log",
        "git -c alias.x='!id' x", "git --exec-path=. log", "find . -exec id ;", "find . -execdir id ;",
        "find . -delete", """awk 'BEGIN { system("id") }'""", "awk -f program.awk",
    )  # fmt: skip
    await each_asks(tmp_path, lines, ("echo --compress-prog=sh",))


async def test_a_wrapper_that_runs_another_command(tmp_path: Path) -> None:
    """12: what a wrapper runs is judged, or the line asks."""
    lines = (
        "env -S 'id -u'", "env X=1 id", "busybox sh -c id", "nohup id", "echo id | xargs sh -c",
        "echo a | xargs id", "timeout 5 id", "nice -n 5 timeout 5 id", "env python3 -c 'import os'",
        "echo aWQK | base64 -d | sh", "timeout 5 sh -c 'echo a; id'", "xargs -I{} sh -c {}",
    )  # fmt: skip
    await each_asks(tmp_path, lines, ("timeout 5 echo a", "nice -n 5 echo a"))
