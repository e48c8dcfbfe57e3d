"""Ignore rules, held against git's own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from perdure.checkpoints.ignore import Chain, Rules

GIT = shutil.which("git")


def ignores(pattern: str, path: str, folder: bool = False) -> bool:
    return Chain([Rules(pattern)]).ignores(path.rpartition("/")[2], path, folder)


@pytest.mark.parametrize(
    ("pattern", "path", "hit"),
    [
        ("*.log", "a/b/c.log", True),
        ("*.log", "a.logs", False),
        ("/top", "top", True),
        ("/top", "a/top", False),
        ("a/b", "a/b", True),
        ("a/b", "x/a/b", False),
        ("**/b", "x/y/b", True),
        ("a/**", "a/x/y", True),
        ("a/**", "a", False),
        ("a/**/z", "a/z", True),
        ("a/**/z", "a/b/c/z", True),
        ("a*c", "a/c", False),
        ("foo?", "foo1", True),
        ("[a-c].x", "b.x", True),
        ("[!a-c].x", "b.x", False),
        ("[[:digit:]]", "7", True),
        ("[]a]", "]", True),
        (r"\#x", "#x", True),
        (r"\!x", "!x", True),
        ("# comment", "# comment", False),
        ("x   ", "x", True),
        ("x\\ ", "x ", True),
        ("x\r", "x", True),
        ("[unclosed", "[unclosed", False),
        ("ends\\", "ends", False),
        ("", "", False),
        ("/", "a", False),
        ("*", "line\nbreak", True),
    ],
)
def test_patterns_mean_what_git_says(pattern: str, path: str, hit: bool) -> None:
    assert ignores(pattern, path) is hit


def test_a_pattern_with_a_slash_at_its_end_means_folders_only() -> None:
    assert ignores("build/", "build", folder=True)
    assert not ignores("build/", "build")


def test_the_last_pattern_that_matches_decides() -> None:
    rules = "*.txt\n!keep.txt\n"
    assert ignores(rules, "a.txt") and not ignores(rules, "keep.txt")
    assert ignores(rules + "keep.*\n", "keep.txt")


NAMES = st.sampled_from(["a", "b", "ab", "c.o", "d.txt", "b c", "é", "[x]", "x-1"])
PIECES = st.sampled_from(
    [
        "a",
        "b",
        "ab",
        "*",
        "**",
        "?",
        "*.o",
        "d.*",
        "[ab]",
        "[!a]",
        "[a-c]*",
        "\\[x]",
        "x-?",
        "é",
        "b c",
    ]
)
PATTERNS = st.builds(
    lambda bang, root, parts, tail: bang + root + "/".join(parts) + tail,
    st.sampled_from(["", "", "", "!"]),
    st.sampled_from(["", "", "/", "**/"]),
    st.lists(PIECES, min_size=1, max_size=3),
    st.sampled_from(["", "", "/", "/**", " "]),
)
FILES = st.lists(PATTERNS, max_size=6).map("\n".join)
PATHS = st.lists(st.lists(NAMES, min_size=1, max_size=4).map("/".join), min_size=1, max_size=12)


def taken(root: Path) -> set[str]:
    """Files that the rules let through."""
    found: set[str] = set()

    def walk(folder: Path, path: str, chain: Chain) -> None:
        if (file := folder / ".gitignore").is_file():
            chain = chain.with_rules(Rules(file.read_text(), cut=len(path)))
        for item in folder.iterdir():
            if item.name != ".git" and not chain.ignores(
                item.name, path + item.name, item.is_dir()
            ):
                if item.is_dir():
                    walk(item, f"{path}{item.name}/", chain)
                else:
                    found.add(path + item.name)

    walk(root, "", Chain([]))
    return found


@pytest.mark.skipif(GIT is None, reason="git is not installed")
@settings(max_examples=40)
@given(top=FILES, inner=FILES, paths=PATHS)
@example(top="a/**\n!a/b", inner="", paths=["a/b/c.o", "a/b", "b/a"])
@example(top="a\n?", inner="", paths=["é", "a/é"])
@example(top="[[:space:]]x\né\n/d*/é*", inner="", paths=["é", "d.txt/éa", " x"])
@example(top="**", inner="!b", paths=["a/b", "b"])
@example(top="**/", inner="", paths=["a/b", "b"])
@example(top="a**b\n/**/d.txt", inner="", paths=["ab", "a/b", "a/d.txt", "d.txt"])
def test_the_same_files_are_taken_as_by_git(
    tmp_path_factory: pytest.TempPathFactory, top: str, inner: str, paths: list[str]
) -> None:
    root = tmp_path_factory.mktemp("repository")
    for path in paths:
        try:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).touch()
        except OSError:
            continue  # a file where another path needs a folder
    (root / ".gitignore").write_text(top)
    if (root / "a").is_dir():
        (root / "a" / ".gitignore").write_text(inner)
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}

    def git(*words: str) -> bytes:
        ran = subprocess.run(
            [str(GIT), *words], cwd=root, env=environment, capture_output=True, check=True
        )
        return ran.stdout

    git("init", "-q")
    listed = git("ls-files", "--others", "--exclude-standard", "-z")
    assert taken(root) == {p for p in listed.decode().split("\0") if p}
    shutil.rmtree(root)
