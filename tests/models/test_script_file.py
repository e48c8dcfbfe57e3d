"""Reading a script: what is wrong is named by file, line and the key that was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.kernel.errors import ConfigError
from perdure.models.script_file import Script, read_script


def read(folder: Path, text: str | bytes) -> Script:
    path = folder / "s.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_script(path)


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("", 1, "is empty"),
        ("- text: a\n", 1, "must be a mapping"),
        ("summary: x\n", 1, "expected `replies:`"),
        ("replies: []\n", 1, "is empty"),
        ("replies: text\n", 1, "`replies` must be a list"),
        ("replies:\n- text: a\n- txt: b\n", 3, "unknown key `txt`"),
        ("replies:\n- {}\n", 2, "needs `text`, `calls` or `error`"),
        ("replies:\n- text: '  '\n", 2, "needs `text`, `calls` or `error`"),
        ("replies:\n- text: a\n  text: b\n", 3, "stands here twice"),
        ("replies:\n- text: [a]\n", 2, "`text` must be text"),
        ("replies:\n- text: a\n  chunk: 0\n", 3, "a whole number, 1 or more"),
        ("replies:\n- text: a\n  delay: -1\n", 3, "a number, zero or more"),
        ("replies:\n- text: a\n  delay: .nan\n", 3, "a number, zero or more"),
        ("replies:\n- text: a\n  stop: ended\n", 3, "`stop` cannot be `ended`"),
        ("replies:\n- text: a\n  status: 400\n", 3, "belongs to an `error` only"),
        ("replies:\n- error: cut\n  calls: []\n", 3, "belongs to an answer only"),
        ("replies:\n- error: slow\n", 2, "`error` cannot be `slow`"),
        ("replies:\n- calls:\n  - tool: a\n    args: {}\n", 4, "unknown key `args`"),
        ("replies:\n- calls:\n  - arguments: {}\n", 3, "needs `tool`"),
        ("replies:\n- calls:\n  - {tool: a, arguments: [1]}\n", 3, "plain JSON values"),
        ("replies:\n- calls:\n  - {tool: a, arguments: {x: .inf}}\n", 3, "plain JSON"),
        ("replies:\n- calls:\n  - {tool: a, arguments: {}, unparsed: x}\n", 3, "not both"),
        ("replies:\n- calls:\n  - {tool: a, arguments: &x {y: *x}}\n", 3, ""),
        ("replies:\n- text: a\n  expect: {}\n", 3, "asks nothing"),
        ("replies:\n- text: a\n  expect: {status: fine}\n", 3, "cannot be `fine`"),
        ("replies:\n- text: a\n  expect: {tools: 1}\n", 3, "true or false"),
        ("at_end: loop\nreplies:\n- text: a\n", 1, "cannot be `loop`"),
        ("at_end: repeat\nreplies:\n- error: cut\n", 1, "would never end"),
        ("replies:\n- text: 'a\n", 3, "is no YAML"),
        ("replies:\n- text: *a\n", 2, "is no YAML"),
        ("replies:\n- &a {<<: *a, text: x}\n", 0, "nested too deeply"),
        (b"replies:\n- text: \xff\n", 2, "is not UTF-8"),
        ("replies: " + "[" * 2_000, 0, ""),
        ("replies:\n- text: !!python/object:os.system {}\n", 2, "must be text"),
    ],
)
def test_a_mistake_is_named_with_its_line(
    tmp_path: Path, text: str | bytes, line: int, problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert problem in caught.value.message
    assert "s.yaml" in str(caught.value)
    if line:
        assert caught.value.line == line


def test_the_nearest_key_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean `thinking`"):
        read(tmp_path, "replies:\n- thinkin: a\n")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        read_script(tmp_path / "nowhere.yaml")


def test_bare_values_are_text_where_text_is_wanted_and_dates_stay_text(tmp_path: Path) -> None:
    script = read(
        tmp_path,
        "replies:\n"
        "- text: 42\n"
        "- text: yes\n"
        "- {calls: [{tool: a, arguments: {day: 2026-11-21, on: true, n: 3}}]}\n",
    )
    assert [r.text for r in script.replies[:2]] == ["42", "yes"]
    assert script.replies[2].calls[0].arguments == {"day": "2026-11-21", "on": True, "n": 3}


def test_anchors_and_merges_work(tmp_path: Path) -> None:
    script = read(
        tmp_path,
        "replies:\n- &first {text: a, delay: 1}\n- {<<: *first, text: b}\n- *first\n",
    )
    assert [(r.text, r.delay) for r in script.replies] == [("a", 1), ("b", 1), ("a", 1)]


def test_the_scripts_in_the_guide_can_be_read(tmp_path: Path) -> None:
    guide = Path(__file__).parents[2] / "docs/guides/script-models.md"
    blocks = [b.partition("```")[0] for b in guide.read_text().split("```yaml\n")[1:]]
    assert blocks
    for block in blocks:
        assert read(tmp_path, block).replies
