"""What a line is said to run, and what is said not to be known."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.guard.shell import HOLE, Parsed, parse

WORK = Path("/home/ann/work")


def read(text: str) -> Parsed:
    return parse(text, workdir=WORK, search="/usr/bin:/bin")


def words(text: str) -> list[list[str | None]]:
    return [list(command.argv) for command in read(text).commands]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a 'b c' \"d e\" f\\ g", [["a", "b c", "d e", "f g"]]),
        ("a $'\\x41\\t\\u00e9' é", [["a", "A\té", "é"]]),
        ("a \"x\\$y\\`\\\"\\\\z\"", [["a", 'x$y`"\\z']]),
        ("a $x \"$x\" ${x:-y} x$y", [["a", None, None, None, None]]),
        ("a *.py b?c [x]y", [["a", None, None, None]]),
        ("a {b,c} {} {1..3}", [["a", None, "{}", None]]),
        ("a 1 2>&1 3", [["a", "1", "3"]]),
        ("a;b&&c||d|e&f", [["a"], ["b"], ["c"], ["d"], ["e"], ["f"]]),
        ("a\n\n# x\nb # y", [["a"], ["b"]]),
        ("a $(b c) `d`", [["b", "c"], ["d"], ["a", None, None]]),
        ("a <(b) >(c)", [["b"], ["c"], ["a", None, None]]),
        ("x=$(a) b", [["a"], ["b"]]),
        ("a <<'E'\n$(b)\nE\nc", [["a"], ["c"]]),
        ("a <<-E | b\n\tx\n\tE\nc", [["a"], ["b"], ["c"]]),
        ("a <<E && b > f\nx\nE", [["a"], ["b"]]),
        ("env -u A B=1 c d", [["env", "-u", "A", "B=1", "c", "d"], ["c", "d"]]),
        ("xargs -n1 a b", [["xargs", "-n1", "a", "b"], ["a", "b", None]]),
        ("nohup nice -n 5 a", [["nohup", "nice", "-n", "5", "a"], ["nice", "-n", "5", "a"], ["a"]]),
        ("find . -exec a {} + -o -ok b ';'",
         [["find", ".", "-exec", "a", "{}", "+", "-o", "-ok", "b", ";"], ["a", None], ["b"]]),
        ("bash -c 'a; b' x", [["bash", "-c", "a; b", "x"], ["a"], ["b"]]),
        ("eval 'a b' c", [["eval", "a b", "c"], ["a", "b", "c"]]),
        ("trap 'a' EXIT", [["trap", "a", "EXIT"], ["a"]]),
    ],
)  # fmt: skip
def test_the_commands_of_a_line(text: str, expected: list[list[str | None]]) -> None:
    assert read(text).unknown == ()
    assert words(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "a\0b", "a\rb", "a\u00a0b", "a\u2028b", "a\u200bb", "a\x0bb", HOLE, "\ud800",
        "$x a", "a'", 'a"', "a $(", "a `", "a )", "if a", "a &&", "( a", "{ a", "a <<E\nx", "a &&& b",
        "r\\\nm x", "a b\\\nc", "a=(", "a ${x", "a $((", "[[ a", "case x in", "for", "a | | b",
        "a ${x@P}", "a ${!x}", "a ${x:=y}", "a $[1]", 'a $"x"', "a $((x[$(b)]))", "[[ -v x ]]",
        "[[ $x -eq a[0] ]]", "x='a[$(b)]'; a $((x))", "read x; ((x))", "read 'x[$(a)]'", "unset 'x[$(a)]'",
        "printf -v 'x[$(a)]' y", "test -v 'x[$(a)]'", "let 'x[$(a)]=1'", "declare -i x=y", "declare -n x=y",
        "PATH=x a", "export PATH=x", "declare PATH=x", "read PATH", "for PATH in a; do b; done",
        "LD_PRELOAD=x a",
        "BASH_ENV=x a", "GIT_SSH_COMMAND=x git fetch", "PAGER=x man", "EDITOR=x git commit", "env PATH=x a",
        "PATH+=:x a", "IFS=/ PS4='$(a)' bash -xc b", "HOME=. git status",
        "alias a=b", "shopt -s expand_aliases", "enable -n test", "source x", ". x", "eval $x", "bash -c $x",
        "sh -c \"$x\"", "a | sh", "sh < x", "bash <(a)", "coproc a", "a <<A <<B\nA\nB", "a <<E\n$(b)\nE",
        "a <<E\n`b`\nE", "a > $x", "a > /dev/tcp/h/1", "cd $x", "exec {f}>x", "a {f}>x", "zsh -c '=a'",
        "zsh -c '*(e:a:)'", "fish -c 'a (b)'", "bash -ic a", "bash --rcfile x -i", "strace a", "flock x a",
        "a && \\\n", "hash -p x ls", "wait -p 'x[$(a)]'",
        "wait -np 'x[$(a)]'", "((PATH=1))", "a $((PATH=1))", "unset PATH", "BASH_ALIASES[ls]=id",
        "env 'BASH_FUNC_ls%%=() { id; }' bash -c ls", "function /bin/ls { id; }; /bin/ls", "mapfile -C a",
        "set -k", "set -o posix",
        "ssh -o ProxyCommand=a h", "sudo -s", "env -S 'a $x'", "sh --x", "f() { a; } > $x",
        "parallel a ::: b",
        "time -f x a", "command -x a", "xargs --odd a", "[ $x ]",
    ],
)  # fmt: skip
def test_what_is_not_understood_is_said(text: str) -> None:
    assert read(text).unknown


def test_a_line_in_sh_is_not_read_as_one_in_bash() -> None:
    for text in (
        "[[ a && b ]]",
        "a <(b)",
        "a <<< b",
        "a &> b",
        "function f { a; }",
        "((a))",
        "a $'b'",
        "x=(a)",
    ):
        assert not read(text).unknown, text
        assert read(f"sh -c {text!r}" if "'" not in text else f'sh -c "{text}"').unknown, text


def test_programs_are_resolved_and_told_by_where_they_are(tmp_path: Path) -> None:
    tool = tmp_path / "bin" / "ls"
    tool.parent.mkdir()
    tool.write_text("")
    tool.chmod(0o755)
    (found,) = parse("ls", workdir=tmp_path, search="/usr/bin:/bin").commands
    assert found.program.endswith("/ls")
    assert not found.foreign
    (planted,) = parse("ls", workdir=tmp_path, search=f"{tool.parent}:/usr/bin").commands
    assert planted.program == str(tool)
    assert "outside the system's folders" in planted.foreign
    (local,) = parse("./bin/ls", workdir=tmp_path, search="/usr/bin").commands
    assert local.program == str(tool)
    assert "by its path" in local.foreign
    (relative,) = parse("ls", workdir=tmp_path, search="bin:/usr/bin").commands
    assert relative.foreign
    (absent,) = parse("no-such-program", workdir=tmp_path, search="/usr/bin").commands
    assert (absent.program, bool(absent.foreign)) == ("", True)


def test_a_program_that_appears_later_is_seen_although_the_line_was_read_before(
    tmp_path: Path,
) -> None:
    (before,) = parse("tool", workdir=tmp_path, search=str(tmp_path)).commands
    (tmp_path / "tool").write_text("")
    (tmp_path / "tool").chmod(0o755)
    (after,) = parse("tool", workdir=tmp_path, search=str(tmp_path)).commands
    assert (before.program, after.program) == ("", str(tmp_path / "tool"))


def test_whether_there_is_a_bash_is_looked_up_each_time(tmp_path: Path) -> None:
    """Without one, `[[` is a program's name, and it is sh that reads the line."""
    assert parse("[[ -f a ]]", workdir=tmp_path, search=str(tmp_path)).unknown
    (tmp_path / "bash").write_text("")
    (tmp_path / "bash").chmod(0o755)
    assert not parse("[[ -f a ]]", workdir=tmp_path, search=str(tmp_path)).unknown
    (tmp_path / "bash").unlink()
    assert parse("[[ -f a ]]", workdir=tmp_path, search=str(tmp_path)).unknown


def test_files_that_are_read_and_written() -> None:
    (cat,) = read("cat a > b < c").commands
    assert (set(cat.reads), cat.writes) == ({str(WORK / "a"), str(WORK / "c")}, (str(WORK / "b"),))
    assert set(cat.opens) == {str(WORK / "b"), str(WORK / "c")}
    (_, copy) = read("cd sub && cp a b").commands
    assert set(copy.writes) == {str(WORK / "b"), str(WORK / "sub/b")}
    (quiet,) = read("a > /dev/null 2>&1").commands
    assert quiet.opens == ()
    (_, sort) = read("a | sort > b").commands
    assert sort.opens == (str(WORK / "b"),)


@pytest.mark.parametrize(
    "text",
    ["python x.py", "node", "make", "npm test", "pip install x", "cargo run", "git alias", "bash x.sh",
     "sort --compress-prog=a x", "tar --to-com=a", "awk 'BEGIN{system(1)}'", "sed 1e", "sed 's/a/b/w x'",
     "rsync -e a b c",
     "docker run a", "ssh h a", "vim x", "rg --pre a b"],
)  # fmt: skip
def test_code_that_the_line_does_not_show_is_named(text: str) -> None:
    assert any(command.executes for command in read(text).commands)


def test_a_long_or_deep_line_is_not_understood_and_takes_no_more_than_its_length() -> None:
    work = 0

    def count(*_: object) -> None:
        nonlocal work
        work += 1

    for text in ("a;" * 40_000, "(" * 3_000, "$(" * 3_000, "a " * 40_000,
    "{ " * 2_000 + "a" + " ;}" * 2_000, "[[ " + "== " * 5_000 + "]]", "[[ " + "$a" * 5_000 + "! ]]",
                 "a ${x:-" + "$y" * 5_000 + "(}", "a" * 60_000, "sed 's/" + "a\\" * 900 + "' x",
                 "$((" + "(" * 5_000):  # fmt: skip
        work = 0
        sys.setprofile(count)
        try:
            found = read(text)
        finally:
            sys.setprofile(None)
        assert found.unknown or len(found.commands) <= 2
        assert work < 20 * len(text) + 1_000, text[:10]


PIECES = st.sampled_from(
    ["rm", "a", "b", " ", "  ", "\n", "\t", ";", "&", "&&", "|", "||", "(", ")", "{", "}", "$(", "`", "'",
    '"', "\\", "$",
     "<", ">", "<<", "<<E\n", "E\n", "<<<", "${x", "$((", "))", "((", "[[", "]]", "if", "then", "fi",
     "for", "in", "do",
     "done", "case", "esac", ";;", "#", "=", "x=", "*", "?", "~", "!", "$'", "é", "\0", "\r", "\u00a0",
     "sh -c ", "env ",
     "eval ", "xargs ", "find . -exec ", "function f ", "f()", "time ", "1", ">&", "|&", "+=(", "\\\n"]
)  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=40))
def test_no_text_makes_it_raise(text: str) -> None:
    found = read(text)
    assert isinstance(found.unknown, tuple)
    for command in found.commands:
        assert command.words
