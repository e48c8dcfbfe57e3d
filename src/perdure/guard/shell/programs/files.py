"""Programs that only work on files, and those of their options that run something or write elsewhere."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

from ..model import HOLE, Word
from ..options import names_option
from ..scene import Call, Handler, Outcome

_EXECUTING: dict[str, tuple[str, ...]] = {
    "bzip2": (),
    "curl": ("-K", "--config", "--engine", "--proxy-service"),
    "date": (),
    "diff": (),
    "dmesg": (),
    "git-lfs": ("",),
    "gpg": ("--photo-viewer", "--exec-path", "--keyserver-options", "--agent-program", "--dirmngr-program"),
    "grep": (),
    "jq": ("-L", "-f", "--from-file"),
    "ln": (),
    "logrotate": ("",),
    "lsof": (),
    "objdump": (),
    "pr": (),
    "ps": (),
    "rg": ("--pre", "--hostname-bin", "-z", "--search-zip"),
    "ag": ("--pager",),
    "ack": ("--pager", "--ackrc"),
    "bat": ("--pager", "--config-file"),
    "delta": ("--pager",),
    "rsync": ("-e", "--rsh", "--rsync-path", "--files-from", "-M", "--remote-option", "--daemon", "--config"),
    "scp": ("-S", "-o", "-F", "-D"),
    "sftp": ("-S", "-o", "-F", "-D", "-b"),
    "sort": ("--compress-program",),
    "split": ("--filter",),
    "tar": ("--to-command", "--checkpoint-action", "-I", "--use-compress-program", "--rsh-command", "-F",
            "--info-script", "--new-volume-script", "--rmt-command", "-P", "--absolute-names"),
    "bsdtar": ("--use-compress-program", "--options"),
    "cpio": ("--rsh-command", "-H"),
    "unzip": (),
    "wget": ("--use-askpass", "-e", "--execute", "--config", "--use-server-timestamps-program"),
    "aria2c": ("--on-download-complete", "--on-download-start", "--on-download-stop", "--on-download-error",
               "--on-bt-download-complete", "--on-download-pause", "--conf-path"),
    "yt-dlp": ("--exec", "--config-locations", "--netrc-cmd", "--downloader", "--external-downloader",
               "--plugin-dirs", "--use-postprocessor"),
    "youtube-dl": ("--exec", "--config-location", "--external-downloader"),
    "zip": ("-T", "-TT", "--test", "--unzip-command"),
    "7z": (),
    "tcpdump": ("-z", "-w", "-G"),
    "tshark": ("-X",),
    "nmap": ("--script", "-iL", "-o"),
    "pv": (),
    "tail": (),
    "column": (),
    "pandoc": ("-F", "--filter", "-L", "--lua-filter", "--pdf-engine", "-d", "--defaults", "--data-dir"),
    "convert": ("",),
    "magick": ("",),
    "ffmpeg": ("-f",),
    "openssl": ("-engine", "engine", "-provider", "-config", "-provider-path"),
    "certbot": ("",),
    "exiftool": ("-config", "-execute", "-if", "-p"),
    "qpdf": (),
    "hg": ("--config", "--config-file", "-R", "--repository", "--cwd", "--pager"),
    "svn": ("--config-option", "--config-dir", "--diff-cmd", "--diff3-cmd", "--editor-cmd"),
    "gcc": ("-wrapper", "-B", "-specs", "--specs", "-fplugin", "@"),
    "g++": ("-wrapper", "-B", "-specs", "--specs", "-fplugin", "@"),
    "cc": ("-wrapper", "-B", "-specs", "--specs", "-fplugin", "@"),
    "clang": ("-fplugin", "-load", "-B", "@"),
    "ruff": ("--config",),
    "dircolors": (),
    "ip": ("-b", "-batch", "netns", "vrf"),
    "tree": (),
    "uniq": (),
    "xxd": (),
    "gzip": (),
    "zgrep": (),
    "gh": ("alias", "extension", "codespace", "ext"),
    "glab": ("alias",),
    "patch": ("-e", "--ed"),
    "install": ("-s", "--strip", "--strip-program"),
    "split-file": (),
    "sshfs": ("",),
    "nsupdate": ("",),
    "mkisofs": (),
    "start": ("",),
    "open": ("",),
    "xdg-open": ("",),
    "update-rc.d": ("",),
    "visudo": ("",),
    "dpkg-deb": ("",),
    "w3m": ("",),
    "lynx": ("",),
    "links": ("",),
    "elinks": ("",),
    "bc": (),
    "iconv": (),
}  # fmt: skip
"""Options with which an otherwise harmless program runs another; an empty one: whatever it does."""

_OUTPUT: dict[str, tuple[str, ...]] = {
    "curl": ("-o", "-O", "--output", "--remote-name", "-T", "--upload-file", "-c", "--cookie-jar", "-D",
             "--dump-header", "--trace", "--trace-ascii", "--stderr", "--output-dir", "-J", "--hsts",
             "--alt-svc",
             "--etag-save", "--libcurl", "--remote-name-all"),
    "date": ("-s", "--set"),
    "sort": ("-o", "--output", "-T", "--temporary-directory"),
    "tree": ("-o",),
    "wget": ("--post-file", "--body-file", "-O", "--output-document", "-i", "--input-file", "-o",
    "--output-file",
             "-a", "--append-output", "-P", "--directory-prefix", "--save-cookies", "--warc-file"),
    "rg": ("-f", "--file"),
    "xxd": ("-r",),
    "gpg": ("-o", "--output"),
    "diff": ("--output",),
    "pandoc": ("-o", "--output", "--extract-media", "--log"),
    "ps": (),
    "bat": (),
    "gcc": ("-o",),
    "g++": ("-o",),
    "cc": ("-o",),
    "clang": ("-o",),
    "patch": ("-o", "--output", "-r", "--reject-file", "-d", "--directory"),
    "unzip": ("-d",),
    "7z": ("-o",),
    "bsdtar": ("-C", "-f"),
    "openssl": ("-out", "-writerand"),
    "dmesg": ("-c", "-C"),
    "split": (),
}  # fmt: skip
"""Options with which they write where they would read."""
_ALL_WRITTEN = (
    "rm",
    "rmdir",
    "mkdir",
    "touch",
    "tee",
    "truncate",
    "shred",
    "unlink",
    "mkfifo",
    "mknod",
    "mv",
)
_LAST_WRITTEN = ("cp", "ln", "install", "scp", "rsync", "link")
_READERS = (
    "cat", "head", "tail", "tac", "nl", "wc", "od", "hexdump", "strings", "file", "stat", "md5sum",
    "sha256sum", "sha1sum", "sha512sum", "b2sum", "cksum", "base64", "rev", "cut", "paste", "fold",
    "fmt", "expand", "comm", "cmp", "column", "zcat", "bzcat", "xzcat", "ls", "du", "realpath",
    "readlink",
)  # fmt: skip


def tool(call: Call, *, runs: tuple[str, ...], writes: tuple[str, ...]) -> Outcome:
    if "" in runs:
        return Outcome(executes=f"what {call.name} is set up to run")
    args = _options(call.args)
    for word in args:
        dash = word.shape[:1] in ("-", HOLE)
        for option in runs:
            if (dash or option[0] != "-") and names_option(word, option):
                if word.text is None:
                    return Outcome(
                        executes="an argument that is only known when it runs, and may be an option"
                    )
                return Outcome(executes=f"what {word.text[:60]} tells {call.name}")
    opens: list[Word] = []
    for n, word in enumerate(call.args):
        if word.shape[:1] != "-":
            continue
        for option in writes:
            if word.text is not None and names_option(word, option):
                opens.append(_value(call.args, n, option))
    if call.name in _LAST_WRITTEN:
        return _last(call.args, opens)
    return Outcome(reads=_plain(call.args) if call.name in _READERS else (), opens=opens)


def tar(call: Call) -> Outcome:
    """Its first word may be options without a dash."""
    args = list(call.args)
    if args and args[0].text and not args[0].text.startswith("-"):
        args[0] = Word(f"-{args[0].text}", f"-{args[0].text}")
    call.args = args
    found = tool(call, runs=_EXECUTING["tar"], writes=())
    first = (args[0].text or "") if args else ""
    if found.executes or not set(first.lstrip("-")) & set("xc") or first.startswith("--"):
        return found
    return Outcome(opens=[Word(".", ".")] if "x" in first else _plain(args[1:2]))


def written(call: Call) -> Outcome:
    return Outcome(writes=_plain(call.args))


def changed(call: Call) -> Outcome:
    """The first word is a mode or an owner."""
    return Outcome(writes=_plain(call.args)[1:])


def reader(call: Call) -> Outcome:
    return Outcome(reads=_plain(call.args))


def copied(call: Call) -> Outcome:
    return _last(call.args)


def dd(call: Call) -> Outcome:
    out: list[Word] = []
    into: list[Word] = []
    for word in call.args:
        name, _, value = word.shape.partition("=")
        if name == "of":
            out.append(Word(value, value))
        if name == "if":
            into.append(Word(value, value))
    return Outcome(reads=into, writes=out)


def _options(args: Sequence[Word]) -> Sequence[Word]:
    """The words before `--`."""
    return list(itertools.takewhile(lambda word: word.text != "--", args))


def _plain(args: Sequence[Word]) -> Sequence[Word]:
    return [w for w in args if w.text is not None and (not w.text.startswith("-") or w.text == "-")]


def _last(args: Sequence[Word], opens: Sequence[Word] = ()) -> Outcome:
    """It writes the last of its words, and reads the others."""
    plain = _plain(args)
    targets = [w for n in range(len(args)) for w in _target(args, n)]
    return Outcome(reads=plain[:-1], writes=[*plain[-1:], *targets], opens=opens)


def _target(args: Sequence[Word], n: int) -> Sequence[Word]:
    text = args[n].text or ""
    if text.startswith("--target-directory="):
        value = text.partition("=")[2]
        return [Word(value, value)]
    if text in ("-t", "--target-directory"):
        return args[n + 1 : n + 2]
    return ()


def _value(args: Sequence[Word], n: int, option: str) -> Word:
    """What stands for an option's value: within the word or behind it."""
    text = args[n].text or ""
    if "=" in text and text.startswith("--"):
        value = text.partition("=")[2]
    elif len(option) == 2 and not text.startswith("--") and text.index(option[1]) + 1 < len(text):
        value = text[text.index(option[1]) + 1 :]
    else:
        return args[n + 1] if n + 1 < len(args) and args[n + 1].text else Word(".", ".")
    return Word(value, value)


_NAMES = sorted(set(_EXECUTING) | set(_OUTPUT))

HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(_READERS, reader),
    **dict.fromkeys(_ALL_WRITTEN, written),
    **dict.fromkeys(_LAST_WRITTEN, copied),
    **dict.fromkeys(("chmod", "chown", "chgrp", "setfacl", "chattr"), changed),
    **{
        name: functools.partial(tool, runs=_EXECUTING.get(name, ()), writes=_OUTPUT.get(name, ()))
        for name in _NAMES
    },
    "dd": dd,
    **dict.fromkeys(("tar", "gtar"), tar),
}
