"""Variables that change what programs run, load or are."""

from __future__ import annotations

import re

RISKY = re.compile(
    r"""(?:
      PATH | CDPATH | FPATH | MANPATH | HOME | SHELL | SHELLOPTS | BASHOPTS | ENV | PS[0-4] | TMPDIR
    | BASH(?:_\w*)? | PROMPT_COMMAND | POSIXLY_CORRECT | ZDOTDIR | FCEDIT | INPUTRC | TMOUT | OLDPWD | PWD
    | (?:LD|DYLD|GIT|SSH|NODE|NPM|npm|YARN|PNPM|JAVA|_JAVA|JDK|MAVEN|GRADLE|CARGO|RUST|RUSTUP|RUSTC|CMAKE|TAR
        |RSYNC|LUA|OPENSSL|CURL|DOCKER|CONTAINER|KUBE|PIP|UV|XDG|GCC|GLIBC|MALLOC|DENO|BUN|R|JULIA|ERL|ELIXIR
        |TMUX|GPG|GNUPG|SUDO|GREP|CONDA|POETRY|TOX|PYTEST|CCACHE|PKG|HG|SVN|ANSIBLE|TF|AWS|GEM|BUNDLE)_\w+
    | (?:PYTHON|PERL|RUBY|LESS|GO|MAKE|PHP|LUA|AWK|NODE|DEBUGINFOD|WGET|KUBE|GIT)[A-Z_]*
    | \w*(?:PAGER|EDITOR|VISUAL|BROWSER|_COMMAND|ASKPASS|_SSH|_SHELL|OPENER|_EXEC|_PROGRAM|_CMD|FLAGS
        |_OPTS|OPTIONS|_PATH|PRELOAD|_RC|_HOME|PROXY|proxy|_CONFIG|_OPEN)
    | CC | CXX | CPP | AS | FC | AR | CPATH | CLASSPATH | GCONV_PATH | LOCPATH | NLSPATH | HOSTALIASES
    | VIRTUAL_ENV | TEXINPUTS | EXINIT | VIMINIT | MAILCAPS | TERMCAP | TERMINFO | RSYNC | ARFLAGS
    )\Z""",
    re.X | re.A,
)
HARMLESS = re.compile(
    r"(?:LC_\w+|LANG|LANGUAGE|TZ|NO_COLOR|CLICOLOR|FORCE_COLOR|CI|TERM|COLUMNS|LINES|DEBIAN_FRONTEND"
    r"|PYTHONUNBUFFERED|PYTHONDONTWRITEBYTECODE|SOURCE_DATE_EPOCH|IFS)\Z",
    re.A,
)
"""Set before a command, they do not make it another one."""


def added(assignment: re.Match[str]) -> bool:
    """`NAME+=value`?"""
    return assignment.string.startswith("+", assignment.end(1))


def risky(name: str) -> bool:
    """Does some program run, load or look for what this variable says?"""
    return RISKY.match(name) is not None and HARMLESS.match(name) is None
