"""A workspace that an agent's command made elsewhere is not opened by being there."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.agents import scaffold
from perdure.kernel.labels import SELF, Label
from perdure.storage import FileLabels

from .conftest import Run

EVE = Label(trust="third_party", origins=("web:evil.example",))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, perdure: Run) -> FileLabels:
    """The home workspace's book of labels, on a file system without attributes."""
    scaffold(tmp_path / "home")
    monkeypatch.setenv("PERDURE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("perdure.storage.attributes.SUPPORTED", False)
    return FileLabels(tmp_path / "home" / ".perdure" / "labels.sqlite", boot="b")


@pytest.mark.parametrize("many", [False, True])
def test_one_that_the_home_workspace_has_noted_is_refused_until_it_is_named(
    tmp_path: Path,
    home: FileLabels,
    perdure: Run,
    monkeypatch: pytest.MonkeyPatch,
    many: bool,
) -> None:
    """`many`: the command changed more than was labelled one by one."""
    if many:
        monkeypatch.setattr("perdure.storage.filelabels.LABELLED", 0)
    work = tmp_path / "work"
    work.mkdir()
    home.begin("s_1.c", work, EVE)
    scaffold(work / "deeper")
    home.end("s_1.c")
    home.close()
    refused = perdure("trust", "list", cwd=work / "deeper")
    assert refused.code != 0 and "what others said" in refused.err and "--workspace" in refused.err
    assert perdure("--workspace", str(work / "deeper"), "trust", "list").code == 0
    if not many:
        file = str(work / "deeper" / "perdure.yaml")
        cleared = perdure("--workspace", str(tmp_path / "home"), "label", "clear", file)
        assert cleared.code == 0, cleared.err
        assert perdure("trust", "list", cwd=work / "deeper").code == 0


def test_one_of_the_owners_is_opened(tmp_path: Path, home: FileLabels, perdure: Run) -> None:
    home.begin("s_1.c", tmp_path / "home", EVE)
    home.end("s_1.c")
    (tmp_path / "work").mkdir()
    home.mark(tmp_path / "work" / "page.md", EVE)
    scaffold(tmp_path / "work" / "mine")
    home.replaced(tmp_path / "work" / "mine" / "perdure.yaml", SELF)
    home.close()
    for folder in ("work/mine", "home"):
        assert perdure("trust", "list", cwd=tmp_path / folder).code == 0
