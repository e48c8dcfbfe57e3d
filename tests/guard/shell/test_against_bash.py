"""What bash really runs, under trace, is what was said, or it was said that something is not known."""

from __future__ import annotations

import random
import shutil

import pytest

from perdure.guard.shell import parse

from .bash_trace import Trace, told
from .lines import COMPOUND, INNER, disturbed, line

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")

WRITTEN = [
    "rm a\\\n b", "r\\\nm a", "'rm' a", "$'\\x72m' a", "\"r\"m a", "\\rm a", "{rm,a}", "${x:-rm} a",
    "$(gecho rm) a",
    "x=rm; $x a", "rm <<E\nx\nE", "cat <<E\n$(rm a)\nE", "cat <<E\n`rm a`\nE", "cat <<'E'\n`rm a`\nE",
    "cat <<\\E\n$(rm)\nE",
    "cat <<-E\n\t$(rm)\n\tE\nid", "cat <<E; rm a\nx\nE", "cat <<E;rm a\nx\nE\nid",
    "cat <<E\nx\nE \nrm a\nE", "cat <<E # x\nrm\nE",
    "cat << E\nrm\nE\nid", "cat <<E)\nrm", "(cat <<E\nx\nE\n); id", "x=$(cat <<E\n$(id)\nE\n); rm",
    "git status#;rm", "git #;rm\nid",
    "case rm in rm) rm a;; esac", "case a in b) rm;; *) id;& c) x1;; esac",
    "case esac in (esac) rm;; esac", "if rm; then id; fi",
    "while rm; do id; break; done", "for rm in a; do id $rm; done", "for x do rm; done",
    "for x; do rm; done", "select x in a; do rm; done",
    "function rm { id; }; rm", "rm() { id; }; rm a", "rm() ( id ); rm", "f() { \"$@\"; }; f rm a",
    "time rm a", "time -p rm a",
    "time { rm a; }", "! rm a", "! ! rm", "coproc rm a", "coproc X { rm; }", "[[ $(rm) ]]",
    "[[ a && rm ]]", "[[ a ]] && rm",
    "[ a ] && rm a", "[ a && rm ]", "((1)) && rm", "(( $(rm) ))", "((rm) ; (id))", "( (rm) )",
    "$((1+1)) rm", "$( (rm) )", "`rm`",
    "echo `echo \\`rm\\``", "echo \"`rm \"a\"`\"", "echo $(echo \")\"; rm)",
    "echo $(case a in a) rm;; esac)", "echo ${x:-`rm`}",
    "echo ${x:-$(rm)}", "echo \"${x:-\"$(rm)\"}\"", "a[$(rm)]=1", "a=([$(rm)]=1)", "a=($(rm))",
    "let 'a[$(rm)]=1'", "x='a[$(rm)]'; echo $((x))",
    "x='a[$(rm)]'; [[ x -eq 1 ]]", "[ -v 'a[$(rm)]' ]", "unset 'a[$(rm)]'", "printf -v 'a[$(rm)]' 1",
    "read 'a[$(rm)]' <<< 1",
    "declare 'a[$(rm)]=1'", "x='$(rm)'; echo ${x@P}", "PS4='$(rm)' bash -xc id", "alias id=rm\nid",
    "shopt -s expand_aliases\nalias id=rm\nid",
    "eval 'r''m a'", "eval \"rm\" a", "eval $'rm\\na'", "trap rm EXIT", "trap 'rm a' 0",
    "trap rm DEBUG; id", "set -- rm; $1", "set -- rm; \"$@\"",
    "env rm", "env -i /bin/sh -c 'id'", "env -u X A=1 rm", "env -S 'rm a'", "env -S'rm a'",
    "env --split-string='rm a' b", "env -S 'A=1 rm'",
    "env - rm", "env -- rm", "xargs rm < f.txt", "xargs -a f.txt rm", "xargs -I% sh -c '%' < f.txt",
    "xargs -I{} {} a < f.txt", "xargs < f.txt",
    "find . -name f.txt -exec rm {} \\;", "find . -name f.txt -exec {} \\;",
    "find . -name f.txt -exec sh -c 'rm \"$1\"' x {} \\;",
    "find . -execdir rm {} +", "timeout 2 rm", "timeout -k1 2 rm", "timeout --kill-after=1 2 rm",
    "timeout --k 1 2 rm", "nohup rm a",
    "nice rm", "nice -5 rm", "nice -n5 rm", "nice --adj 5 rm", "stdbuf -oL rm", "command rm",
    "command -p rm", "command -v rm", "builtin command rm",
    "exec rm a", "exec -a x rm", "exec > out; rm", "sh -c rm", "sh -ec 'rm a'", "sh -c -e 'rm a'",
    "sh -e -c 'rm; id'", "sh +e -c rm",
    "bash -c 'rm \"$0\"' a", "bash -c '$0' rm", "bash -c -- rm", "bash --norc -c rm",
    "bash -O extglob -c rm", "bash -s < f.txt", "bash - f.txt", "sh f.txt",
    "sh < f.txt", "cat f.txt | sh", "sh <<< 'rm a'", "sh <<E\nrm $x\nE", "sh <<'E'\nrm a\nE",
    "sh <(gecho rm)", ". ./f.txt", "source f.txt",
    "sh /dev/stdin < f.txt", "bash /dev/fd/0 <<< 'rm a'", "bash <<E -s a\nrm\nE", "A=1 B=2 rm",
    "A=$(rm) id", "A=1 | rm", "> out rm", "< f.txt > out rm a",
    "rm>out", "rm 2>&1 a", "rm &> out a", "rm a>|out", "2 rm", "2>out rm", "2 > out rm", "{ rm; }",
    "{ rm; } > out", "{rm; }", "{ rm;}", "(rm)", "(rm)&",
    "rm & id", "rm &\nid", "rm && id", "rm &&\nid", "rm &&\\\nid", "rm |\nid", "rm ||id", "rm;id",
    "rm; ; id", "rm ;; id", "id\n\n\nrm", "\n\nrm", " \t rm",
    "cd sub && rm *", "cd sub; ./g.txt", "rm *", "rm ~", "rm ~/a", "rm ~+", "rm $HOME", "rm {a,b}{1..2}",
    "rm [a-f]*", "rm @(a|b)", "rm !(a)",
    "echo a >out;rm", "echo $\"rm\"", "echo \\$(rm)", "echo '$(rm)'", "echo \"\\$(rm)\"", "echo \\`rm\\`",
    "echo a\\;rm", "echo 'a' 'b';'rm' c",
    "echo \"a\nrm\"", "echo 'a\nrm'\nid", "echo a\\\n;rm", "echo a \\\n;rm", "echo a\\\\\nrm", "r''m",
    "r\"\"m a", "${x}rm", "$x rm", "$x$y rm a", "\"\" rm",
    "if id; then rm; elif x1; then rm b; else rm c; fi", "if ! id; then rm; fi", "until id; do rm; done",
    "for ((i=0;i<1;i++)); do rm; done",
    "for ((i=0;i<1;i++)) { rm; }", "for x in `id`; do rm $x; done",
    "while read x; do rm $x; done < f.txt", "cat f.txt | while read x; do $x; done",
    "mapfile -C rm -c 1 x < f.txt", "f() { rm; }; export -f f; bash -c f",
    "command_not_found_handle() { rm; }; nope", "hash -p /bin/true rm; rm",
    "enable -n test; test", "PATH=/usr/bin id", "IFS=r; x=arm; id $x", "rm\u00a0a", "r\u200bm",
    "id\u2028rm", "id\x0crm", "id\rrm", "[[ a == \"$(rm)\" ]]",
    "[[ a =~ $(rm) ]]", "[[ -n a || $(rm) ]]", "[[ ( -n a ) && -n \"b c\" ]] && rm", "test -n \"$(rm)\"",
    "rm $(( $(id) ))", "rm $((1 + (2*3)))",
    "echo $((rm) || (id))", "echo $( (rm); id )", "echo $(( (1) ))", "bash -c \"$(gecho rm)\"",
    "bash -c 'eval \"rm\"'", "env bash -c 'sh -c rm'",
]  # fmt: skip


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    return Trace(tmp_path_factory.mktemp("trace"))


def check(trace: Trace, text: str) -> bool:
    """False: it is not understood, and need not be run."""
    if "\0" in text:
        return False
    parsed = parse(text, workdir=trace.work, search=str(trace.bin))
    # A script's commands are not in the line: that it runs one is.
    if parsed.unknown or any("the script" in command.executes for command in parsed.commands):
        return False
    for call in trace.run(text):
        assert told(parsed, call), (text, call, [command.argv for command in parsed.commands])
    return True


@pytest.mark.parametrize("text", WRITTEN)
def test_written_lines(trace: Trace, text: str) -> None:
    check(trace, text)


@pytest.mark.parametrize("template", [*INNER, *COMPOUND])
def test_each_construct_with_a_plain_command_in_it(trace: Trace, template: str) -> None:
    check(trace, template.format("rm x", a="rm x", b="git y"))


@pytest.mark.parametrize("part", range(4))
def test_lines_made_up(trace: Trace, part: int) -> None:
    understood = 0
    for seed in range(150):
        generator = random.Random(f"{part}.{seed}")
        text = line(generator)
        understood += check(trace, disturbed(generator, text) if seed % 2 else text)
    assert understood > 30  # or this shows nothing
