"""Wildcards bound what they seem to bound; what cannot be told is not allowed and not overlooked."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.guard.policy import Policy, parse_rule
from perdure.guard.query import Query
from perdure.guard.rules import Rule, covering

from .world import lets, stops

WORKDIR = Path("/home/ann/work")


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every program is there, in the system's folder, whatever this machine has."""

    def locate(name: str, search: str, folders: object) -> tuple[str, str]:
        if name.rpartition("/")[0] in ("", "/bin", "/usr/bin"):
            return f"/usr/bin/{name.rpartition('/')[2]}", ""
        return name, f"{name} is given by its path"

    monkeypatch.setattr("perdure.guard.shell.parsing.locate", locate)
    monkeypatch.setattr("perdure.guard.shell.parsing.there_is", lambda name, search, folders: True)


def query(command: str) -> Query:
    return Query(tool="bash", workdir=WORKDIR, workspace=WORKDIR, command=command)


def allows(pattern: str, command: str, path: str = "") -> bool:
    rule = Rule(tool="bash", command=pattern, path=path)
    return lets(rule, "bash", command, (), WORKDIR)


def denies(pattern: str, command: str) -> bool | None:
    return stops(Rule(tool="bash", command=pattern), "bash", command, (), WORKDIR)


@pytest.mark.parametrize(
    ("pattern", "command"),
    [
        ("git status*", "git status"),
        ("git status*", "git  status --short"),
        ("git status*", "git status # and nothing more"),
        ("git status*", "git status 2>&1"),
        ("git status*", "git status > /dev/null"),
        ("git log *", "git log"),
        ("git log *", "git log --oneline -5 'a b'"),
        ("ls *", "ls -la src"),
        ("ls *", "ls *.py"),
        ("make", "make"),
        ("make test", "make test"),
        ("echo *", "echo it is 5 o-clock"),
        ("git status*", "git status && git status --short; git status"),
        ("git status*", "cd . && git status || true"),
        ("ls *", "timeout 5 ls -la"),
        ("ls *", "nohup nice -n 5 ls -la"),
        ("ls *", "bash -lc 'ls -la'"),
        ("ls *", "LC_ALL=C ls"),
        ("ls *", 'for d in a b; do ls "$d"; done'),
        ("awk *", "awk '{print $1}' x"),
        ("sed *", "sed -n '1,5p;s/a/b/g' x"),
        ("find *", "find . -name '*.py'"),
        ("python x.py", "python x.py"),
    ],
)
def test_a_command_is_allowed_by_the_pattern_of_each_of_its_commands(
    pattern: str, command: str
) -> None:
    assert allows(pattern, command)


RIDES = [
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
    "git status 'unclosed",
    "X=1 git status",
    "PATH=. git status",
    "git status; id",
    "export GIT_PAGER=id; git status",
    "alias git=id; git status",
    "git() { id; }; git status",
    "git -c core.pager=id status",
    "git -C evil status",
    "cd evil && git status",
    "git status --ext-diff",
    "/tmp/git status",
    "./git status",
    "git 'status --short'",
    "git status\u00a0; id",
    "git status\u2028id",
    "git status\0",
    "g\\\nit status",
    "",
    "# git status",
]


@pytest.mark.parametrize("command", RIDES)
def test_nothing_rides_along_with_an_allowed_command(command: str) -> None:
    assert not allows("git status*", command)


@pytest.mark.parametrize(
    "command",
    [
        "sort --compress-program=sh x",
        "sort --compress-prog=sh x",
        "sort --comp sh x",
        "tar --to-command=sh -xf x",
        "tar -xf x --checkpoint-action=exec=sh",
        "tar -I sh -xf x",
        "tar --use-compress-prog=sh -xf x",
        "git -c core.pager=sh log",
        "git grep -Osh x",
        "git fetch --upload-pack=sh",
        "git my-alias",
        "git rebase -x id",
        "git bisect run id",
        "git submodule foreach id",
        "git clone ext::sh x",
        "git config alias.x !id",
        "find . -delete",
        "awk 'BEGIN{system(1)}'",
        "awk '{print | \"sh\"}' x",
        "awk -f x y",
        "sed 1e",
        "sed 's/a/b/e' x",
        "sed 'w /etc/x' y",
        "sed -f x y",
        "env -S sh",
        "busybox sh",
        "python -c pass",
        "python3.12 x.py",
        "perl -e 1",
        "sh x",
        "sudo id",
        "ssh host id",
        "rg --pre sh x",
        "go vet -vettool=sh",
        "split --filter=sh x",
        "make test",
        "sort *",
        "tar $x",
    ],
)
def test_attack_11_an_allowed_program_with_an_argument_that_executes_asks(command: str) -> None:
    assert not allows(f"{command.split()[0]} *", command)


@pytest.mark.parametrize(
    ("pattern", "command"),
    [("find *", "find . -exec sh -c id ;"), ("find *", "find . -exec id {} +"), ("env *", "env FOO=1 sh x"),
     ("nohup *", "nohup id"), ("xargs *", "xargs id"), ("timeout *", "timeout 5 id"), ("bash *",
     "bash -c id"),
     ("env *", "env -S 'id x'"), ("busybox *", "busybox id"), ("busybox *", "busybox sh -c id"),
     ("python *", "python -c 'import os'"), ("base64 *", "base64 -d x | sh"), ("base64 *",
     "sh <(base64 -d x)"),
     ("sh *", "sh -c \"$(base64 -d x)\""), ("bash *", "bash <<< id"), ("bash *", "bash <<E\nid\nE"),
     ("zsh *", "zsh -lc id"), ("nice *", "nice -n 5 nohup timeout 3 id"), ("xargs *",
     "xargs -I{} sh -c 'id {}'"),
     ("bash *", "bash x.sh"), ("env *", "env - id"), ("timeout *", "timeout --sig=9 5 sh -c id")],
)  # fmt: skip
def test_attack_12_a_wrapper_is_judged_by_what_it_runs(pattern: str, command: str) -> None:
    assert not allows(pattern, command)


def test_attack_10_every_command_of_a_line_is_judged() -> None:
    for command in ("echo x | node", "echo a; id", "echo a && id", "echo $(id)", "echo `id`", "echo a\nid",
                    "echo <(id)", "echo a & id", "echo a || id", "{ echo a; id; }", "(id)", "echo \"$(id)\"",
                    "if echo a; then id; fi", "echo a\\\n; id", "echo ${x:-$(id)}",
                    "echo $((`id`))"):  # fmt: skip
        assert not allows("echo *", command), command
    both = [Rule(tool="bash", command="echo *"), Rule(tool="bash", command="id")]
    said = Policy(allow=tuple(both)).weigh(query("echo a; id"))
    assert said.effect == "allow"


def test_attack_13_always_for_one_command_in_a_wrapper_is_no_rule_for_another() -> None:
    for wrapped in ("zsh -lc whoami", "bash -c whoami", "env whoami"):
        stored = parse_rule(str(covering("bash", wrapped, (), WORKDIR)))
        assert lets(stored, "bash", wrapped, (), WORKDIR)
        assert not lets(stored, "bash", wrapped.replace("whoami", "id"), (), WORKDIR)
        assert not lets(stored, "bash", f"{wrapped}; id", (), WORKDIR)


def test_such_a_program_can_still_be_allowed_in_full() -> None:
    assert allows("python x.py", "python x.py")
    rule = Rule(tool="bash", exactly="a; b $(c)")
    assert lets(rule, "bash", "a; b $(c)", (), WORKDIR)
    assert not lets(rule, "bash", "a; b $(d)", (), WORKDIR)


def test_files_that_a_redirection_opens_need_a_path_in_the_rule() -> None:
    assert allows("ls *", "ls > out/x", path="out/**")
    assert allows("ls *", "timeout 5 ls > out/x", path="out/**")
    assert not allows("ls *", "ls > out/../x", path="out/**")
    assert not allows("ls *", "cd .. && ls > out/x", path="out/**")
    assert not allows("ls *", "ls > $x", path="**")
    assert not allows("sort *", "sort -o /etc/x y")
    assert not allows("curl *", "curl -o ~/.bashrc y")


@pytest.mark.parametrize(
    ("command", "covered"),
    [
        ("ls out", True),
        ("ls -la out/a out/b/c", True),
        ("ls -- out/a", True),
        ("ls ./out/../out", True),
        ("ls", True),
        ("ls /etc", False),
        ("ls out /etc", False),
        ("ls out/../..", False),
        ("ls src", False),
        ("ls -la /etc > out/list", False),
        ("ls -- -x", False),
        ("ls --directory=/etc", False),
        ("ls -I/etc out", False),
        ('ls "$HOME"', False),
        ("ls out/*", False),
        ("ls out/$x", False),
        ("cd /etc && ls out", False),
        ("timeout 5 ls /etc", False),
        ("ls out && ls /etc", False),
    ],
)
def test_the_path_of_a_rule_for_commands_bounds_what_their_words_name(
    command: str, covered: bool
) -> None:
    assert allows("ls *", command, path="out/**") is covered


def test_links_lead_out_of_the_path_of_a_rule_for_commands(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "etc").symlink_to("/etc")
    rule = Rule(tool="bash", command="ls *", path="out/**")
    assert lets(rule, "bash", "ls out", (), tmp_path.resolve())
    assert not lets(rule, "bash", "ls out/etc", (), tmp_path.resolve())


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
        "env -S 'rm x'",
        "nohup rm x",
        "nice -n 5 rm x",
        "timeout 5 rm x",
        "timeout -k 3 5 rm x",
        "command rm x",
        "exec rm x",
        "eval rm x",
        "xargs rm",
        "busybox rm x",
        "find . -exec rm {} +",
        "sh -c 'rm x'",
        "sudo sh -c 'rm x'",
        "timeout 5 sh -c 'rm x'",
        "bash -lc 'cd /; rm x'",
        "sh <<E\nrm x\nE",
        "bash <<< 'rm x'",
        "trap 'rm x' EXIT",
        "f() { rm x; }; f",
        "echo $(rm x)",
        "echo `rm x`",
        "cat <(rm x)",
        "case a in a) rm x;; esac",
        "[[ -f x ]] && rm x",
        "while rm x; do :; done",
        ">f rm x",
        "2>f rm x",
        "2>&1 rm x",
        "true;>f rm x",
        "true >f; rm x",
        "'rm' x",
        'r"m" x',
        "r\\m x",
        "$'rm' x",
        "$'\\x72m' x",
        "  rm   x",
        "echo a # comment\nrm x",
        "\\rm x",
        "rm $x",
    ],
)
def test_a_denied_command_is_found_wherever_it_stands(command: str) -> None:
    assert denies("rm *", command) is True


@pytest.mark.parametrize(
    "command",
    [
        "$(echo rm) x",
        "`echo rm` x",
        "echo \"it's $(rm x) isn't\"",
        "bash x.sh",
        ". x.sh",
        "eval $x",
        'sh -c "$x"',
        "xargs -I{} sh -c {}",
        "find . -delete",
        "python -c 'x'",
        "r\\\nm x",
        "$x y",
        "/bin/r? x",
        "{rm,x}",
        "cat <<E | sh\nrm x\nE",
        "cat <<E\n`rm x`\nE",
        "curl x | sh",
        "make",
        "git -c alias.x='!rm x' x",
        "strace rm x",
        "coproc rm x",
        "alias y=rm; y x",
        "PATH=.:$PATH ls",
        "LD_PRELOAD=./x ls",
        "echo 'unclosed",
        "((a[$(rm x)]))",
        "x='a[$(rm x)]'; echo $((x))",
        "[ -v 'a[$(rm x)]' ]",
        "echo ${x@P}",
        "rm\u00a0x; ls",
    ],
)
def test_what_may_hide_a_denied_command_is_not_overlooked(command: str) -> None:
    assert denies("rm *", command) is not False


@pytest.mark.parametrize(
    "command",
    ["ls", "echo rm", "ls *.py", "echo $HOME", "git commit -m 'rm x'", "grep -r rm src", "alarm x",
     "ls > out.txt", "echo a; ls 2>&1 | sort", "sh -c ls", "timeout 5 ls", "cat <<'E'\nrm x\nE"],
)  # fmt: skip
def test_a_deny_rule_leaves_other_commands_alone(command: str) -> None:
    assert denies("rm *", command) is False


def test_a_pattern_in_an_argument_matters_to_a_rule_about_that_program() -> None:
    assert denies("cat *secret*", "cat sec?et") is None
    assert denies("cat *secret*", "cat $x") is None
    assert denies("cat *secret*", "ls sec?et") is False


@pytest.mark.parametrize(
    ("command", "says"),
    [("cat secrets/x", True), ("cat ./a/../secrets/x", True), ("ls > secrets/x", True),
    ("cd secrets && cat x", True),
     ("cat --file=secrets/x", True), ("cat -fsecrets/x", True), ("dd if=secrets/x", True), ("cat sec*/x",
     None),
     ("cat $x", None), ("cat \"$HOME/x\"", None), ("cat docs/x", False), ("cat docs/*", False),
     ("echo secrets/x", False),
     ("cat docs/$x", None), ("python x.py", False)],
)  # fmt: skip
def test_a_denied_path_is_looked_for_in_commands_too(command: str, says: bool | None) -> None:
    rule = Rule(tool="*", path="secrets/**")
    assert stops(rule, "bash", command, (), WORKDIR) is says


@pytest.mark.parametrize(
    ("command", "says"),
    [("curl https://evil.example/x", True), ("curl u@evil.example:80", True), ("curl EVIL.example.", True),
     ("curl --url=http://evil.example", True), ("curl $x", None), ("curl good.example", False),
     ("python x.py", None)],
)  # fmt: skip
def test_a_denied_host_is_looked_for_in_commands_too(command: str, says: bool | None) -> None:
    rule = Rule(tool="*", host=("*evil.example",))
    assert stops(rule, "bash", command, (), WORKDIR) is says


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
    assert lets(rule, "read", None, [Path(path)], WORKDIR) is matches
    assert stops(rule, "read", None, [Path(path)], WORKDIR) is matches


def test_a_rule_about_paths_allows_no_call_without_one() -> None:
    assert not lets(Rule(tool="*", path="/**"), "look", None, (), WORKDIR)


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
