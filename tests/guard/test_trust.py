"""trust.yaml: the owner's directory, read strictly and changed without losing a word of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from perdure.guard import TrustFile
from perdure.kernel.errors import ConfigError, InvalidInput, NotFound

WHOLE = """\
# whom I trust
addresses: [Ann@Example.org, 'bob@xn--mller-kva.example']
domains:
  - team.example
hosts: [docs.example.org, "api.example:8443"]
accounts: [DE89 3704 0044 0532 0130 00]
paths: [/srv/shared]
contacts:
  Sarah Baker: sarah@example.net
  Bank: [DE02120300000000202051, help@bank.example]
lists: [get_channels]
people:
  Ann: ['api:ann', 'mail:Ann@Home.Example']
  Bob: "matrix:@bob:example.org"
"""


def trust(folder: Path, text: str | None = None) -> TrustFile:
    path = folder / "trust.yaml"
    if text is not None:
        path.write_text(text)
    return TrustFile(path)


def test_no_file_approves_nothing(tmp_path: Path) -> None:
    assert not trust(tmp_path).current().addresses


def test_entries_are_known_in_the_one_form_of_their_kind(tmp_path: Path) -> None:
    found = trust(tmp_path, WHOLE).current()
    assert dict(found.addresses) == {
        "ann@example.org": "trust.yaml:2", "bob@müller.example": "trust.yaml:2",
    }  # fmt: skip
    assert dict(found.domains) == {"team.example": "trust.yaml:4"}
    assert set(found.hosts) == {"docs.example.org", "api.example:8443"}
    assert set(found.accounts) == {"DE89370400440532013000"}
    assert found.path("/srv/shared/a") and not found.path("/srv/shared2")
    assert found.contacts["sarah baker"] == ("sarah@example.net",)
    assert len(found.contacts["bank"]) == 2 and set(found.lists) == {"get_channels"}


@pytest.mark.parametrize(
    ("source", "sender", "name"),
    [
        ("api", "ann", "Ann"),
        ("mail", "ann@home.example", "Ann"),
        ("mail", "ANN@home.example", "Ann"),
        ("matrix", "@bob:example.org", "Bob"),
        ("matrix:home", "@bob:example.org", "Bob"),
        ("api", "Ann", ""),
        ("api", "", ""),
        ("telegram", "ann", ""),
        ("telegram", "ann@home.example", ""),
        ("mail", "Eve <ann@home.example>", ""),
        ("mail", "eve@x.example ann@home.example", ""),
        ("mail", "\u0430nn@home.example", ""),
        ("api", "ann\u200b", ""),
        ("api", "ann ", ""),
        ("", "api:ann", ""),
        ("matrix", "@bob", ""),
    ],
)
def test_a_person_is_known_by_source_and_sender_together(
    tmp_path: Path, source: str, sender: str, name: str
) -> None:
    found = trust(tmp_path, WHOLE).current()
    assert found.person(source, sender) == name
    assert not found.address("ann@home.example")  # to be known is not to be written to


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("adresses: []", 1, "Did you mean addresses?"),
        ("addresses: ann@example.org", 1, "must be a list"),
        ("hosts: []\naddresses: [nobody]", 2, "ann@example.org"),
        ("addresses: ['*']", 1, "no entry"),
        ("addresses: [Ann <ann@example.org>]", 1, "no entry"),
        ("addresses: ['\u0430nn@example.org']", 1, "no entry"),
        ("addresses: [[a@example.org]]", 1, "no entry"),
        ("domains: [org]", 1, "no entry"),
        ("domains: ['*.example.org']", 1, "no entry"),
        ("hosts: [https://docs.example.org/a]", 1, "no entry"),
        ("hosts: [user@docs.example.org]", 1, "no entry"),
        ("paths: [relative]", 1, "no entry"),
        ("paths: [/srv/../etc]", 1, "no entry"),
        ("paths: [/]", 1, "no entry"),
        ("accounts: [abc]", 1, "no entry"),
        ("lists: ['a b']", 1, "no entry"),
        ("contacts: [a]", 1, "mapping"),
        ("contacts: {'': a@example.org}", 1, "name"),
        ("people: ['api:ann']", 1, "mapping"),
        ("people: {Ann: ann}", 1, "no entry"),
        ("people: {Ann: ['api:']}", 1, "no entry"),
        ("people: {Ann: ['api:a\u200bnn']}", 1, "no entry"),
        ("people: {'': 'api:ann'}", 1, "name"),
        ("addresses: []\naddresses: []", 2, "twice"),
        ("- a", 1, "mapping"),
        ("a: [", 1, ""),
        ("addresses: [*x]", 1, ""),
    ],
)
def test_a_bad_file_is_an_error_with_its_line_and_approves_nothing(
    tmp_path: Path, text: str, line: int, said: str
) -> None:
    file = trust(tmp_path, text)
    for _ in range(2):
        with pytest.raises(ConfigError) as caught:
            file.current()
        assert caught.value.line == line and said in str(caught.value)


def test_what_is_no_file_approves_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "trust.yaml")
    with pytest.raises(ConfigError, match="regular"):
        trust(tmp_path).current()
    (tmp_path / "trust.yaml").unlink()
    (tmp_path / "trust.yaml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="UTF-8"):
        trust(tmp_path).current()


def test_a_change_by_hand_counts_at_once(tmp_path: Path) -> None:
    file = trust(tmp_path, "addresses: [a@example.org]")
    assert file.current().address("a@example.org")
    trust(tmp_path, "addresses: [bb@example.org]")
    assert not file.current().address("a@example.org")
    assert file.current().address("bb@example.org")
    (tmp_path / "trust.yaml").write_text("nonsense: 1")
    with pytest.raises(ConfigError):
        file.current()
    (tmp_path / "trust.yaml").unlink()
    assert not file.current().addresses


def test_adding_and_removing_keep_all_the_rest(tmp_path: Path) -> None:
    file = trust(tmp_path, WHOLE)
    before = file.entries()
    assert file.add("addresses", "new@example.org")
    assert not file.add("addresses", "NEW@example.org.")
    assert file.add("contacts", "x@example.org", "O'Neil: the first")
    assert file.current().contacts["o'neil: the first"] == ("x@example.org",)
    assert (tmp_path / "trust.yaml").read_text().startswith("# whom I trust\n")
    assert len(file.entries()) == len(before) + 2
    assert [e.key for e in file.remove("New@Example.org")] == ["addresses"]
    assert len(file.remove("o'neil: the first")) == 1
    key = lambda e: (e.key, e.name, e.value)  # noqa: E731
    assert sorted(map(key, file.entries())) == sorted(map(key, before))


def test_what_is_no_entry_is_not_added_nor_what_is_not_there_removed(tmp_path: Path) -> None:
    file = trust(tmp_path, WHOLE)
    for key, value in (
        ("addresses", "x"),
        ("contacts", "a@example.org"),
        ("people", "a@example.org"),
    ):
        with pytest.raises(InvalidInput):
            file.add(key, value)
    with pytest.raises(NotFound):
        file.remove("nobody@example.org")
    assert (tmp_path / "trust.yaml").read_text() == WHOLE


def test_a_broken_file_is_not_written_over(tmp_path: Path) -> None:
    file = trust(tmp_path, "adresses: [mine@example.org]")
    with pytest.raises(ConfigError):
        file.add("addresses", "new@example.org")
    with pytest.raises(ConfigError):
        file.remove("mine@example.org")
    assert (tmp_path / "trust.yaml").read_text() == "adresses: [mine@example.org]"
