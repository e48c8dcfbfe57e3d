"""Shell lines, harmless ones: every program in them is a stub."""

from __future__ import annotations

import random

PROGRAMS = ["rm", "git", "gcat", "grep", "x1", "id", "gecho", "sort", "make"]
WORDS = ["a", "-x", "--opt=v", "f.txt", "sub/g.txt", "'a b'", '"a b"', "$v", '"$v"', "${v}", '"${v:-d}"',
    "*.txt", "~/x",
         "a\\ b", "\\;", "$'a\\tb'", "{a,b}", "{1..2}", "''", '""', "a#b", "'#'", "$(id)", "`id`",
         '"$(id a)"', '"`x1`"',
         "$((1+2))", "a=b", "@", "!", "%", "+", "1", "22", "é", "'ü b'", "\\$v", '"\\$v \\" x"', "$1",
         '"$@"', "$?", "{}", "}",
         "[", "]", "a'b'\"c\"", "$", '"$"', "<(id b)", "if", "then", "do", "in", "time", "\\\n", "a\\\nb",
         "--", "-",
         "${v#x}", "${v/x/y}", "${#v}", "${v:1:2}", "${v:-$(rm q)}", "?", "[ab]*", "+(a)", "\\", "&1",
         "2", "$((v))",
         "\t", "'\n'", '"\n"']  # fmt: skip
REDIRECTIONS = ["> out", ">> out", "2>&1", "> /dev/null", "< f.txt", "2> err", "&> out", "<<< x",
    "<<< 'a b'", ">| out",
                "2>&1 > out", "> $v", "< <(id c)", "> >(gcat)", ">&2", "3< f.txt", "<> f.txt"]  # fmt: skip
WRAPPERS = ["env", "env A=1", "env -i A=1", "env -u B", "nohup", "nice", "nice -n 5", "timeout 2",
    "timeout -k 1 2",
            "timeout -s KILL 2", "command", "exec", "builtin", "time", "time -p", "!", "xargs",
            "xargs -n 1", "stdbuf -oL",
            "A=1", "v=2 w=3", "command -p", "\\command", "'env'", "env --", "xargs -I{}", "eval",
            "env -S"]  # fmt: skip
INNER = ["sh -c '{}'", 'bash -c "{}"', "eval '{}'", 'eval "{}"', "sh <<E\n{}\nE", "bash <<'E'\n{}\nE",
         "bash <<< '{}'", "gecho x | sh -c '{}'", "env sh -c '{}'", "find . -name f.txt -exec sh -c '{}' \\;",
         "trap '{}' EXIT", "env -S 'sh -c id'", "xargs sh -c '{}' < f.txt", "sh -ec '{}'",
         "bash -o pipefail -c '{}'",
         "timeout 2 sh -c '{}'", "cat f.txt | sh", "sh f.txt", ". ./f.txt", "source f.txt",
         "printf 'rm z' | bash",
         "bash < f.txt", "find . -name f.txt -exec rm {{}} +",
         "find sub -exec x1 {{}} \\; -exec git {{}} \\;",
         "cat <<E\n$({})\nE", "cat <<E\n`id`\nE", "cat <<'E'\n$(id)\nE", "cat <<-E\n\t$v\n\tE",
         "cat <<E | sort\nx $v\nE",
         "cat <<E && id\nx\nE", "cat <<E > out\nx\nE", "cat <<E\nE\nid", "cat <<'E F'\nid\nE F",
         "cat <<E <<F\nid\nE\nrm\nF",
         "alias q=rm; q", "f.txt() {{ {} ; }}; f.txt", "fn() {{ {} ; }}; fn a", "function fn {{ {}; }}; fn",
         "fn() ( {} ); fn", "coproc {}", "coproc N {{ {}; }}"]  # fmt: skip
COMPOUND = ["{a}; {b}", "{a} && {b}", "{a} || {b}", "{a} | {b}", "{a} & {b}", "{a}\n{b}", "( {a}; {b} )",
    "{{ {a}; {b}; }}",
            "if {a}; then {b}; fi", "if {a}\nthen {b}\nelse {a}\nfi", "for v in a b; do {a}; done",
            "for v in $({a}); do {b}; done",
            "while {a}; do {b}; break; done", "until {a}; do {b}; break; done",
            "case a in a) {a};; *) {b};; esac",
            "case $v in (a|b) {a} ;; *) {b} ; esac", "[[ a == a ]] && {a}", "[ -n \"$v\" ] || {a}",
            "((1)) && {a}", "{a} # {b}",
            "{a} |& {b}", "( {a} ) > out", "{{ {a}; }} | {b}", "{a};{b}", "{a}&&{b}", "x=$({a}); {b}",
            "export Q=$({a}); {b}",
            "for ((i=0;i<2;i++)); do {a}; done", "if ! {a}; then {b}; elif {a}; then {b}; else {a}; fi",
            "[[ $({a}) ]] || {b}",
            "{a} 2>&1 | {b}", "(({a})); {b}", "[[ -n a && -z $v ]] || {a}", "[[ ( a ) ]]\n{a}",
            "select v in a; do {a}; break; done",
            "{a} \\\n {b}", "test a = a && {a}", "[ a ] && {b}", "{a} ;; {b}", "! {a} && {b}",
            "{a};\n\n# c\n{b}", "true {a}",
            "v=rm; $v {a}", "IFS=, {a}", "while read -r l; do {a}; done < f.txt", "cd sub && {a}",
            "({a}) & wait; {b}",
            "{a} <<E | {b}\nx\nE", "if {a}; then\n{b} <<E\nq\nE\nfi", "$({a}) {b}", "`{a}` {b}",
            "arr=({a} b); {b}",
            "arr=( $({a}) ); {b}", "echo ${{v:-`{a}`}}", "echo $(( $({a}) ))", "\"{a}\"; {b}",
            "set -- {a}; {b}", "v+=x {a}"]  # fmt: skip
NOISE = [*"'\"`$(){}[]<>|&;#!~*?\\\n \t=:", "\r", "\0", "\xa0", "\u2028", "<<E", "$(", "`", "((",
    "[[", "\\\n", "&&", "esac",
                                                     "fi", "done", "}}", "$'", '$"', "\u200b", "\v",
                                                     "\f"]  # fmt: skip


def simple(r: random.Random) -> str:
    parts = [r.choice(PROGRAMS), *(r.choice(WORDS) for _ in range(r.randrange(4)))]
    if r.random() < 0.3:
        parts.insert(r.randrange(len(parts) + 1), r.choice(REDIRECTIONS))
    for _ in range(r.choice((0, 0, 0, 1, 1, 2))):
        parts.insert(0, r.choice(WRAPPERS))
    return " ".join(parts)


def line(r: random.Random, depth: int = 2) -> str:
    kind = r.random()
    if depth == 0 or kind < 0.3:
        return simple(r)
    if kind < 0.45:
        return r.choice(INNER).format(line(r, depth - 1))
    return r.choice(COMPOUND).format(a=line(r, depth - 1), b=line(r, depth - 1))


def disturbed(r: random.Random, text: str) -> str:
    for _ in range(r.choice((0, 1, 1, 2, 3))):
        at = r.randrange(len(text) + 1)
        if r.random() < 0.4 and text:
            text = text[:at] + text[at + 1 :]
        else:
            text = text[:at] + r.choice(NOISE) + text[at:]
    return text
