"""`perdure trust` changes the file that agents' calls are weighed by."""

from __future__ import annotations

import json
from pathlib import Path

from perdure.agents import scaffold

from .conftest import Run


def test_entries_are_added_listed_and_removed(tmp_path: Path, perdure: Run) -> None:
    scaffold(tmp_path)
    nothing = perdure("trust", "list", cwd=tmp_path)
    assert nothing.code == 0 and nothing.out == "" and "perdure trust add" in nothing.err
    assert perdure("trust", "add", "address", "ann@example.org", cwd=tmp_path).code == 0
    named = ("trust", "add", "contact", "--name", "Sarah Baker", "sarah@example.net")
    assert perdure(*named, cwd=tmp_path).out == "Approved: sarah@example.net\n"
    listed = perdure("trust", "list", cwd=tmp_path).out
    assert listed == "address  ann@example.org\ncontact  Sarah Baker: sarah@example.net\n"
    told = [
        json.loads(x) for x in perdure("trust", "list", "--json", cwd=tmp_path).out.splitlines()
    ]
    assert [t["kind"] for t in told] == ["address", "contact"]
    gone = perdure("trust", "remove", "ANN@example.org", cwd=tmp_path)
    assert gone.code == 0 and "Approved no more" in gone.out
    assert "ann@example.org" not in (tmp_path / ".perdure" / "trust.yaml").read_text()


def test_a_person_is_added_listed_and_removed_by_name(tmp_path: Path, perdure: Run) -> None:
    scaffold(tmp_path)
    added = perdure("trust", "add", "person", "--name", "Ann", "api:ann", cwd=tmp_path)
    assert added.out == "Known: api:ann\n"
    assert perdure("trust", "list", cwd=tmp_path).out == "person   Ann: api:ann\n"
    assert perdure("trust", "add", "person", "api:bob", cwd=tmp_path).code == 2
    bad = perdure("trust", "add", "person", "--name", "Bob", "bob", cwd=tmp_path)
    assert bad.code != 0 and "telegram:4711" in bad.err
    assert perdure("trust", "remove", "ann", cwd=tmp_path).out == "Known no more: person api:ann\n"


def test_what_is_wrong_is_said_and_changes_nothing(tmp_path: Path, perdure: Run) -> None:
    scaffold(tmp_path)
    bad = perdure("trust", "add", "address", "nobody", cwd=tmp_path)
    assert bad.code != 0 and "ann@example.org" in bad.err
    assert perdure("trust", "add", "contact", "a@example.org", cwd=tmp_path).code == 2
    (tmp_path / ".perdure" / "trust.yaml").write_text("\nadresses: []\n")
    broken = perdure("trust", "list", cwd=tmp_path)
    assert (
        broken.code != 0
        and "trust.yaml:2" in broken.err
        and "Did you mean addresses?" in broken.err
    )
