"""Wildcards bound what they seem to bound; what cannot be told is not allowed and not overlooked."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.guard.policy import parse_rule
from perdure.guard.rules import Rule, covering

WORKDIR = Path("/home/ann/work")


def allows(pattern: str, command: str) -> bool:
    return Rule(tool="bash", command=pattern).allows("bash", command, (), WORKDIR)


def denies(pattern: str, command: str) -> bool | None:
    return Rule(tool="bash", command=pattern).denies("bash", command, (), WORKDIR)


@pytest.mark.parametrize(
    ("pattern", "command"),
    [
        ("git status*", "git status"),
        ("git status*", "git  status --short"),
        ("git log *", "git log"),
        ("git log *", "git log --oneline -5 'a b'"),
        ("ls *", "ls -la src"),
        ("make", "make"),
        ("make test", "make test"),
        ("echo *", "echo it is 5 o-clock"),
    ],
)
def test_a_plain_command_is_allowed_by_its_pattern(pattern: str, command: str) -> None:
    assert allows(pattern, command)


@pytest.mark.parametrize(
    "command",
    [
        "git status; rm -rf /",
        "git status && id",
        "git status || id",
        "git status | sh",
        "git status & id",
        "git status $(id)",
        "git status `id`",
        "git status <(id)",
        "git status >(id)",
        "git status > ~/.bashrc",
        "git status >> x",
        "git status < x",
        "git status\nid",
        "git status\r\nid",
        "git status ${x@P}",
        "git status $x",
        "git status {a,b}",
        "git status *",
        "git status # x",
        "git status \\\nid",
        "git status !!",
        "git status 'unclosed",
        "X=1 git status",
        "PATH=. git status",
        " git status; id",
        "git -c core.pager=id status",
        "git status --ext-diff",
        "/tmp/git status",
        "./git status",
        "",
    ],
)
def test_nothing_rides_along_with_an_allowed_command(command: str) -> None:
    assert not allows("git status*", command)
    assert not allows("git *", command) or command == "git status*"
    assert not allows("*", command)


@pytest.mark.parametrize(
    "command",
    [
        "sort --compress-program=sh x",
        "sort --compress-prog=sh x",
        "sort --comp sh x",
        "tar --to-command=sh -xf x",
        "tar -xf x --checkpoint-action=exec=sh",
        "tar -I sh -xf x",
        "git -c core.pager=sh log",
        "git grep -Osh x",
        "git fetch --upload-pack=sh",
        "find . -exec sh ;",
        "find . -name x",
        "awk 1",
        "sed 1e",
        "env -S sh",
        "env FOO=1 sh",
        "busybox sh",
        "nohup id",
        "xargs id",
        "timeout 5 id",
        "python -c pass",
        "python3.12 x.py",
        "perl -e 1",
        "bash -c id",
        "sh x",
        "sudo id",
        "ssh host id",
        "rg --pre sh x",
        "go vet -vettool=sh",
        "split --filter=sh x",
    ],
)
def test_a_program_that_an_argument_makes_run_another_is_not_allowed_by_wildcards(
    command: str,
) -> None:
    program = command.split()[0]
    assert not allows(f"{program} *", command)
    assert not allows("*", command)


def test_such_a_program_can_still_be_allowed_in_full() -> None:
    assert allows("python x.py", "python x.py")
    rule = Rule(tool="bash", exactly="a; b $(c)")
    assert rule.allows("bash", "a; b $(c)", (), WORKDIR)
    assert not rule.allows("bash", "a; b $(d)", (), WORKDIR)


@pytest.mark.parametrize(
    "command",
    [
        "rm -rf x",
        "rm",
        "true; rm x",
        "true && rm x",
        "true||rm x",
        "true|rm x",
        "true & rm x",
        "true\nrm x",
        "(rm x)",
        "{ rm x; }",
        "if true; then rm x; fi",
        "for i in a; do rm x; done",
        "! rm x",
        "/bin/rm x",
        "X=1 rm x",
        "X=1 Y=2 rm x",
        "sudo rm x",
        "sudo -u ann rm x",
        "env rm x",
        "env -i A=1 rm x",
        "nohup rm x",
        "nice -n 5 rm x",
        "timeout 5 rm x",
        "timeout -k 3 5 rm x",
        "command rm x",
        "exec rm x",
        ">f rm x",
        "2>f rm x",
        "2>&1 rm x",
        "true;>f rm x",
        "true >f; rm x",
        "'rm' x",
        'r"m" x',
        "  rm   x",
        "echo a # comment\nrm x",
    ],
)
def test_a_denied_command_is_found_wherever_it_stands(command: str) -> None:
    assert denies("rm *", command) is True


@pytest.mark.parametrize(
    "command",
    [
        "$(echo rm) x",
        "`echo rm` x",
        "echo $(rm x)",
        "echo \"it's $(rm x) isn't\"",
        "sh -c 'rm x'",
        "bash x.sh",
        "eval rm x",
        "xargs rm",
        "find . -delete",
        "python -c 'x'",
        "r\\m x",
        "r\\\nm x",
        "$'rm' x",
        "$x y",
        "/bin/r? x",
        "cat <<E | sh\nrm x\nE",
        "sudo sh -c x",
        "env -S 'rm x'",
        "timeout 5 sh -c x",
        "echo 'unclosed",
    ],
)
def test_what_may_hide_a_denied_command_is_not_overlooked(command: str) -> None:
    assert denies("rm *", command) is not False


@pytest.mark.parametrize(
    "command",
    ["ls", "echo rm", "ls *.py", "echo $HOME", "git commit -m 'rm x'", "grep -r rm src", "alarm x",
     "ls > out.txt", "echo a; ls 2>&1 | sort"],
)  # fmt: skip
def test_a_deny_rule_leaves_other_commands_alone(command: str) -> None:
    assert denies("rm *", command) is False


def test_a_pattern_in_an_argument_matters_to_a_rule_about_that_program() -> None:
    assert denies("cat *secret*", "cat sec?et") is None
    assert denies("cat *secret*", "cat $x") is None
    assert denies("cat *secret*", "ls sec?et") is False


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("docs/**", "/home/ann/work/docs/a/b.md", True),
        ("docs/**", "/home/ann/work/docs", True),
        ("docs/**", "/home/ann/work/docsx/a", False),
        ("docs/*", "/home/ann/work/docs/a", True),
        ("docs/*", "/home/ann/work/docs/a/b", False),
        ("*.py", "/home/ann/work/a.py", True),
        ("*.py", "/home/ann/work/d/a.py", False),
        ("**/*.py", "/home/ann/work/d/e/a.py", True),
        ("**/*.py", "/home/ann/work/a.py", True),
        ("./a", "/home/ann/work/a", True),
        ("/etc/**", "/etc/passwd", True),
        ("**", "/etc/passwd", False),
        ("/**", "/etc/passwd", True),
        ("[ab].txt", "/home/ann/work/a.txt", True),
        ("[!ab].txt", "/home/ann/work/a.txt", False),
        ("a?c", "/home/ann/work/a/c", False),
        ("d/", "/home/ann/work/d/x/y", True),
        ("a", "/home/ann/work/a\nb", False),
    ],
)
def test_path_patterns(pattern: str, path: str, matches: bool) -> None:
    rule = Rule(tool="read", path=pattern)
    assert rule.allows("read", None, [Path(path)], WORKDIR) is matches
    assert rule.denies("read", None, [Path(path)], WORKDIR) is matches


def test_a_rule_about_paths_allows_no_call_without_one() -> None:
    assert not Rule(tool="*", path="/**").allows("look", None, (), WORKDIR)


@pytest.mark.parametrize(
    "text",
    ["ls", "it's", 'say "hi"', "a\nb", "a\\b", "a: b #c", "\u202e", "yes", "[x]", "é 😀", "\x07"],
)
def test_a_rule_reads_back_as_it_is_shown(text: str) -> None:
    rule = Rule(tool="bash", exactly=text)
    assert "\n" not in str(rule)
    assert parse_rule(str(rule)) == rule


def test_the_rule_offered_for_always_is_narrow() -> None:
    inside = [WORKDIR / "a"]
    assert str(covering("edit", None, inside, WORKDIR)) == "{tool: edit, path: '/home/ann/work/**'}"
    assert str(covering("read", None, [Path("/etc/x")], WORKDIR)) == "{tool: read, path: '/etc/x'}"
    assert str(covering("bash", "a | b", (), WORKDIR)) == "{tool: bash, exactly: 'a | b'}"
    assert str(covering("post", None, (), WORKDIR)) == "{tool: post}"
