"""`perdure label`, as the owner uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from perdure.agents import Refused
from perdure.cli.app import perdure
from perdure.cli.place import locate, locate_server
from perdure.kernel.labels import Label
from perdure.runtime.labelling import file_labels
from perdure.storage.attributes import SUPPORTED, write
from tests.runtime.house import workspace

WEB = Label(trust="third_party", origins=("web:evil.example",))


def run(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(perdure, ["-w", str(root), "label", *arguments])


def test_the_owner_sees_labels_and_vouches_for_files(tmp_path: Path) -> None:
    root = workspace(tmp_path)
    path, key = root / "page.md", root / ".env"
    path.write_text("x")
    key.write_text("KEY=1")
    file_labels(root / ".perdure").mark(path, WEB)
    shown = run(root, "show", str(path), str(key))
    assert f"{path}: third party (web:evil.example), private" in shown.output
    assert f"{key}: self, secret" in shown.output
    told = json.loads(run(root, "show", "--json", str(path)).output)
    assert told["label"]["origins"] == ["web:evil.example"]
    assert f"Cleared: {path}" in run(root, "clear", "--yes", str(root)).output
    assert run(root, "show", str(path)).output == f"{path}: self, private\n"
    again = run(root, "clear", str(path))
    assert again.return_value is None or again.exit_code == 0
    assert "Nothing there" in again.output


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    shown = run(workspace(tmp_path), "show", str(tmp_path / "gone.md"))
    assert shown.output.endswith("gone.md: there is no such file\n")


@pytest.mark.skipif(not SUPPORTED, reason="no extended attributes")
@pytest.mark.parametrize("name", ["perdure.yaml", ".perdure"])
def test_a_workspace_that_others_wrote_is_not_opened_until_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    root = workspace(tmp_path)
    monkeypatch.chdir(root)
    assert locate(None).root == root
    if not write(str(root / name), WEB):
        pytest.skip("no extended attributes here")
    for find in (locate, locate_server):
        with pytest.raises(Refused, match="what others said") as caught:
            find(None)
        assert f"--workspace {root}" in caught.value.hint
        assert find(str(root)).root == root
    run(root, "clear", str(root / name))
    assert locate(None).root == root


def test_it_stands_in_the_help() -> None:
    assert "label" in CliRunner().invoke(perdure, ["--help"]).output
    assert "Vouch for files" in CliRunner().invoke(perdure, ["label", "clear", "--help"]).output


def test_where_the_labels_are_gone_the_owner_can_begin_anew(tmp_path: Path) -> None:
    root = workspace(tmp_path)
    path = root / "page.md"
    path.write_text("x")
    labels = file_labels(root / ".perdure")
    labels.mark(root / "other.md", WEB)
    labels.close()
    assert "can be read" in str(run(root, "reset", "--yes").exception)
    (root / ".perdure/labels.sqlite").unlink()
    assert "third party" in run(root, "show", str(path)).output
    assert "Begun anew" in run(root, "reset", "--yes").output
    assert run(root, "show", str(path)).output == f"{path}: self, private\n"


def test_a_folder_is_asked_about_with_what_lies_in_it(tmp_path: Path) -> None:
    root = workspace(tmp_path)
    path = root / "page.md"
    path.write_text("x")
    file_labels(root / ".perdure").mark(path, WEB)
    asked = run(root, "clear", str(root))
    assert asked.exit_code != 0 and str(path) in asked.output and "Cleared" not in asked.output
    assert "third party" in run(root, "show", str(path)).output
    agreed = CliRunner().invoke(
        perdure, ["-w", str(root), "label", "clear", str(root)], input="y\n"
    )
    assert f"Cleared: {path}" in agreed.output


@pytest.mark.skipif(not SUPPORTED, reason="no extended attributes")
def test_a_folder_is_cleared_without_other_workspaces_and_what_runtimes_keep(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine").mkdir()
    root = workspace(tmp_path / "mine")
    other = root / "other"
    names = ("notes.md", "perdure.yaml", ".perdure/processes/p1/output", "sub/deep.md")
    kept = [other / name for name in names] + [root / ".perdure/processes/p2/output"]
    mine = [root / "a.md", root / ".perdure/agents/default/MEMORY.md"]
    for path in (*kept, *mine):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        if not write(str(path), WEB):
            pytest.skip("no extended attributes here")
    labels = file_labels(root / ".perdure")
    labels.mark_all(kept[:1], WEB)  # of one the book knows too
    labels.close()
    cleared = run(root, "clear", "--yes", str(root)).output
    assert all(f"Cleared: {path}\n" in cleared for path in mine)
    assert not [path for path in kept if str(path) in cleared]
    named = run(root, "clear", "--yes", str(other))
    assert "a workspace of its own" in named.output and "Cleared" not in named.output
    labels = file_labels(root / ".perdure")
    assert all(labels.of(path).tainted for path in kept)
    labels.close()
    assert f"Cleared: {kept[1]}" in run(root, "clear", str(kept[1])).output  # named, one by one
