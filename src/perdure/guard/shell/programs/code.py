"""Programs that run code which the line does not show, or shows in a language that is not read here."""

from __future__ import annotations

import re

from ..model import HOLE
from ..scene import Call, Handler, Outcome

_INTERPRETERS = (
    "python", "pypy", "perl", "ruby", "node", "nodejs", "deno", "bun", "php", "lua", "luajit",
    "Rscript", "R", "julia", "tclsh", "wish", "irb", "groovy", "scala", "java", "kotlin", "guile",
    "racket", "escript", "erl", "elixir", "iex", "sqlite3", "psql", "mysql", "duckdb", "redis-cli",
    "mongo", "mongosh", "ed", "ex", "vi", "vim", "nvim", "view", "vimdiff", "emacs", "emacsclient",
    "nano", "pico", "micro", "helix", "hx", "jshell", "ghci", "runghc", "runhaskell", "ocaml", "swift",
    "dotnet", "fsi", "tsx", "ts-node", "esbuild", "octave", "gnuplot", "maxima", "gp", "dc", "m4",
    "less", "more", "most", "man", "info", "mutt", "mail", "mailx", "rlfe", "ipython", "jupyter",
    "wasmtime", "wasmer", "wine", "mono", "qemu",
)  # fmt: skip
_BUILDERS = (
    "make", "gmake", "bmake", "cmake", "ctest", "ninja", "meson", "just", "task", "rake", "bundle",
    "gem", "npm", "npx", "pnpm", "pnpx", "yarn", "bunx", "corepack", "pip", "pipx", "pipenv", "poetry",
    "uv", "uvx", "hatch", "pdm", "tox", "nox", "pytest", "py.test", "unittest", "pre-commit", "cargo",
    "rustup", "go", "mvn", "mvnw", "gradle", "gradlew", "ant", "sbt", "lein", "bazel", "buck", "pants",
    "scons", "waf", "jest", "vitest", "mocha", "ava", "eslint", "prettier", "webpack", "vite", "rollup",
    "gulp", "grunt", "nx", "turbo", "lerna", "ansible", "ansible-playbook", "terraform", "tofu",
    "pulumi", "packer", "composer", "mix", "rebar3", "cabal", "stack", "dune", "opam", "zig", "nimble",
    "dart", "flutter", "pub", "xcodebuild", "pod", "fastlane", "conan", "vcpkg", "autoreconf",
    "autoconf", "automake", "libtool", "configure", "mypy", "pylint", "coverage", "django-admin",
    "flask", "uvicorn", "gunicorn", "celery", "invoke", "fab", "honcho", "foreman", "apt", "apt-get",
    "aptitude", "dpkg", "yum", "dnf", "rpm", "zypper", "pacman", "apk", "brew", "port", "emerge",
    "conda", "mamba", "micromamba", "easy_install", "twine", "dpkg-reconfigure", "update-alternatives",
    "ldconfig", "insmod", "modprobe", "mount", "fusermount", "debuild", "dpkg-buildpackage", "ctags",
    "latexmk", "pdflatex", "xelatex", "lualatex", "tex", "latex", "sphinx-build", "mkdocs", "jekyll",
    "hugo",
)  # fmt: skip
_ASKS_NAME = re.compile(r"(?:--version|-V|--help|-v)\Z")


def interpreter(call: Call) -> Outcome:
    args = [w.text for w in call.args]
    if len(args) == 1 and args[0] is not None and _ASKS_NAME.match(args[0]):
        return Outcome()
    return Outcome(executes=f"code that {call.name} reads")


def builder(call: Call) -> Outcome:
    args = [w.text for w in call.args]
    if len(args) == 1 and args[0] in ("--version", "--help"):
        return Outcome()
    return Outcome(executes=f"what the files of the project tell {call.name}")


_SAFE_AWK = re.compile(r"[^|@>`]*\Z")
_AWK_WORDS = re.compile(r"system|getline|close|include|load|printf\s*\(?.*>|ENVIRON\s*\[", re.S)


def awk(call: Call) -> Outcome:
    args = list(call.args)
    program = None
    while args:
        word = args.pop(0)
        text = word.text
        if text is None or text.startswith("--"):
            return Outcome(executes=f"what its options tell {call.name}")
        if text in ("-F", "-v"):
            if args and args.pop(0).text is None:
                continue
        elif re.match(r"-[Fv].", text):
            continue
        elif text.startswith("-") and text != "-":
            return Outcome(executes=f"what its options tell {call.name}")
        else:
            program = text
            break
    if program is None:
        return Outcome()
    if not _SAFE_AWK.match(program) or _AWK_WORDS.search(program):
        return Outcome(executes=f"what the {call.name} program says")
    if any(w.shape.startswith(HOLE) for w in args):
        return Outcome()
    return Outcome(reads=args)


_ADDRESS = r"(?:\d+|\$|/(?:[^/\\\n]|\\.)*/I?)"
_SUBSTITUTE = "|".join(
    rf"s{d}(?:[^{d}\\\n]|\\.)*{d}(?:[^{d}\\\n]|\\.)*{d}[gpIi0-9]*"
    for d in ("/", r"\|", "#", ",", ":", "@", "!")
)
_TRANSLATE = r"y/(?:[^/\\\n]|\\.)*/(?:[^/\\\n]|\\.)*/"
_SED = rf"\s*(?:{_ADDRESS}(?:,[~+]?{_ADDRESS})?\s*!?\s*)?(?:[pdDPhHgGxnN=lqQ]|{_SUBSTITUTE}|{_TRANSLATE})\s*"
_SAFE_SED = re.compile(rf"{_SED}(?:[;\n]{_SED})*[;\n]?\s*\Z")


_HARMLESS_SED = re.compile(
    r"(?:-[nErsuz]+|--(?:quiet|silent|regexp-extended|separate|unbuffered|null-data|posix|sandbox))\Z"
)


def sed(call: Call) -> Outcome:
    """Safe are scripts that print, delete and replace: `e` runs commands, `w` writes files."""
    args = list(call.args)
    scripts: list[str | None] = []
    files: list[int] = []
    in_place = False
    n = 0
    while n < len(args):
        text = args[n].text
        if text is None and args[n].shape.startswith((HOLE, "-")):
            return Outcome(executes="what its options tell sed")
        if text is None or text == "-" or not text.startswith("-"):
            files.append(n)
        elif text in ("-e", "--expression") or re.fullmatch(r"-[nErsuz]*e", text):
            n += 1
            scripts.append(args[n].text if n < len(args) else None)
        elif text.startswith("--expression="):
            scripts.append(text.partition("=")[2])
        elif re.fullmatch(r"-[nErsuz]*i\S*|--in-place(=.*)?", text):
            in_place = True
        elif not _HARMLESS_SED.match(text):
            return Outcome(executes="what its options tell sed")
        n += 1
    if not scripts and files:
        scripts.append(args[files.pop(0)].text)
    for script in scripts:
        if script is None or len(script) > 2_000 or not _SAFE_SED.match(script):
            return Outcome(executes="what the sed script says")
    named = [args[i] for i in files]
    if in_place:
        return Outcome(writes=named, opens=named)
    return Outcome(reads=named)


HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(_INTERPRETERS, interpreter),
    **dict.fromkeys(_BUILDERS, builder),
    **dict.fromkeys(("awk", "gawk", "mawk", "nawk"), awk),
    **dict.fromkeys(("sed", "gsed"), sed),
}
