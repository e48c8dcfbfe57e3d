"""The vault: sealed, bound, on record."""

from __future__ import annotations

import copy
import fcntl
import json
import multiprocessing
import os
import pickle
import stat
import threading
import traceback
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from perdure.kernel.errors import (
    ConfigError,
    Conflict,
    InvalidInput,
    NotFound,
    PerdureError,
    StorageError,
)
from perdure.sealing import IDENTITY, SealedFile
from perdure.secrets import Binding, NotBound, SecretValue, Vault, name_of
from perdure.secrets.bindings import host_pattern
from perdure.secrets.uses import Use, Uses

VALUE = "ghs-0123456789-very-secret"
AT = datetime(2026, 11, 21, tzinfo=UTC)
BOUND = Binding(
    hosts=("api.example.com",), headers=("Authorization: Bearer {}",), tools=("http_request",)
)
PLACE = {
    "host": "api.example.com",
    "position": "header:authorization",
    "tool": "http_request",
}


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    private = tmp_path / "w/.perdure"
    private.mkdir(parents=True)
    return private, tmp_path / "config/perdure"


@pytest.fixture
def vault(folders: tuple[Path, Path]) -> Vault:
    return Vault(*folders, now=lambda: AT)


def refused(vault: Vault, **changed: str) -> str:
    with pytest.raises(NotBound) as caught:
        vault.find("secret://shop", **{**PLACE, **changed})
    assert VALUE not in str(caught.value)
    return caught.value.message


def test_a_secret_is_handed_out_where_it_is_bound(vault: Vault) -> None:
    vault.set("shop", VALUE, BOUND)
    value = vault.find("secret://shop", template="Bearer {}", method="GET", agent="a", **PLACE)
    assert value.reveal() == VALUE
    assert vault.find("secret://shop", **{**PLACE, "host": "API.Example.com."}).reveal() == VALUE


def test_it_is_refused_anywhere_else_and_says_why(vault: Vault) -> None:
    vault.set("shop", VALUE, BOUND)
    assert "not to evil.test" in refused(vault, host="evil.test")
    assert "api.example.com:8443" in refused(vault, host="api.example.com:8443")
    for host in ("api.example.com.evil.test", "xapi.example.com", "a.api.example.com", "", ":443"):
        refused(vault, host=host)
    assert "not to the header x-key" in refused(vault, position="header:x-key")
    assert "'Authorization: Bearer {}'" in refused(vault, template="Basic {}")
    assert "not to the query parameter key" in refused(vault, position="query:key")
    for position in ("body", "path", "", "cookie:a", "header"):
        refused(vault, position=position)
    assert "not to web_fetch" in refused(vault, tool="web_fetch")


def test_methods_and_agents_are_free_unless_named(vault: Vault) -> None:
    vault.set("shop", VALUE, msgspec.structs.replace(BOUND, methods=("get",), agents=("clerk",)))
    assert vault.find("secret://shop", method="GET", agent="clerk", **PLACE)
    assert "not to POST" in refused(vault, method="POST", agent="clerk")
    assert "agents clerk" in refused(vault, method="GET", agent="guest")
    refused(vault, method="GET")


def test_a_star_covers_what_lies_under_a_name_and_nothing_else(vault: Vault) -> None:
    vault.set("shop", VALUE, msgspec.structs.replace(BOUND, hosts=("*.example.com",)))
    for host in ("a.example.com", "a.b.example.com"):
        assert vault.find("secret://shop", **{**PLACE, "host": host})
    for host in ("example.com", "evilexample.com", "example.com.evil.test", ".example.com"):
        refused(vault, host=host)


def test_nothing_bound_means_nowhere(vault: Vault) -> None:
    vault.set("shop", VALUE, Binding())
    refused(vault)


def test_path_body_and_query_are_places_of_their_own(vault: Vault) -> None:
    vault.set(
        "bot", VALUE, Binding(hosts=("h.test:8443",), queries=("key",), path=True, tools=("t",))
    )
    here = {"host": "h.test:8443", "tool": "t"}
    assert vault.find("secret://bot", position="path", **here)
    assert vault.find("secret://bot", position="query:key", **here)
    for position in ("body", "query:Key", "header:authorization"):
        with pytest.raises(NotBound):
            vault.find("secret://bot", position=position, **here)


def test_an_unknown_or_impossible_name_is_an_error_in_words(vault: Vault) -> None:
    with pytest.raises(NotFound, match=r"no secret secret://none"):
        vault.find("secret://none", **PLACE)
    for name in ("", "secret://", "A", "a/b", "../x", "a" * 64, "a b", "-a", "a\n"):
        with pytest.raises(InvalidInput):
            name_of(name)


def test_every_use_and_every_refusal_is_on_record_without_the_value(
    vault: Vault, folders: tuple[Path, Path]
) -> None:
    vault.set("shop", VALUE, BOUND)
    vault.find("secret://shop", agent="clerk", session="s1", **PLACE)
    refused(vault, host="evil.test")
    first, second = vault.uses.all()
    assert (first.secret, first.host, first.agent, first.session, first.refused) == (
        "shop", "api.example.com", "clerk", "s1", "",
    )  # fmt: skip
    assert first.at == AT and first.pid == os.getpid()
    assert "evil.test" in second.refused
    assert vault.uses.last() == {"shop": AT}
    log = folders[0] / "secrets.uses.jsonl"
    assert VALUE not in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_what_cannot_be_put_on_record_is_not_handed_out(
    vault: Vault, folders: tuple[Path, Path]
) -> None:
    vault.set("shop", VALUE, BOUND)
    (folders[0] / "secrets.uses.jsonl").mkdir()
    with pytest.raises(StorageError, match="cannot be recorded"):
        vault.find("secret://shop", **PLACE)


def test_a_damaged_line_of_the_record_does_not_hide_the_others(
    vault: Vault, folders: tuple[Path, Path]
) -> None:
    vault.set("shop", VALUE, BOUND)
    vault.find("secret://shop", **PLACE)
    with (folders[0] / "secrets.uses.jsonl").open("ab") as log:
        log.write(b'{"torn\n')
    vault.find("secret://shop", **PLACE)
    assert len(list(vault.uses.all())) == 2


def test_nothing_is_in_plain_text_and_all_is_the_owner_s_alone(
    vault: Vault, folders: tuple[Path, Path]
) -> None:
    vault.set("shop", VALUE, BOUND)
    private, keys = folders
    for path in [*private.iterdir(), *keys.iterdir()]:
        data = path.read_bytes()
        assert VALUE.encode() not in data and b"shop" not in data and b"example.com" not in data
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (private / "secrets.age").read_bytes().startswith(b"age-encryption.org/v1")
    assert not (private / IDENTITY).exists() and (keys / IDENTITY).exists()


def test_rotating_keeps_the_binding_and_granting_keeps_the_value(vault: Vault) -> None:
    vault.set("shop", VALUE, BOUND)
    vault.rotate("shop", VALUE[::-1])
    before, after = vault.grant("shop", Binding(hosts=("*.example.org",), tools=("web_fetch",)))
    assert before == BOUND
    assert after.hosts == ("api.example.com", "*.example.org")
    assert after.headers == BOUND.headers and after.tools == ("http_request", "web_fetch")
    found = vault.find("secret://shop", **{**PLACE, "host": "a.example.org", "tool": "web_fetch"})
    assert found.reveal() == VALUE[::-1]
    with pytest.raises(InvalidInput, match="already has"):
        vault.rotate("shop", VALUE[::-1])
    vault.remove("shop")
    assert vault.list() == []
    for change in (lambda: vault.remove("shop"), lambda: vault.rotate("shop", VALUE)):
        with pytest.raises(NotFound):
            change()


def test_setting_does_not_replace_what_is_there(vault: Vault) -> None:
    vault.set("shop", VALUE, BOUND)
    with pytest.raises(Conflict, match="rotate shop"):
        vault.set("shop", "another-value", Binding())
    assert vault.find("secret://shop", **PLACE).reveal() == VALUE


@pytest.mark.parametrize(
    "value", ["", "\n", "   ", "s3v3n!!", "x" * 20_000, "zero\0byte", "\udce9" * 9]
)
def test_what_cannot_be_kept_out_of_a_text_is_refused(vault: Vault, value: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        vault.set("shop", value, BOUND)
    assert not value.strip() or value not in str(caught.value)


def test_another_process_s_change_is_seen_at_once(vault: Vault, folders: tuple[Path, Path]) -> None:
    assert vault.list() == []
    Vault(*folders).set("shop", VALUE, BOUND)
    assert [s.name for s in vault.list()] == ["shop"]
    Vault(*folders).rotate("shop", "another-value")
    assert vault.find("secret://shop", **PLACE).reveal() == "another-value"
    Vault(*folders).remove("shop")
    with pytest.raises(NotFound):
        vault.find("secret://shop", **PLACE)


def _store(private: Path, keys: Path, name: str) -> None:
    Vault(private, keys).set(name, f"value-of-{name}", BOUND)


def test_writers_at_the_same_time_lose_nothing_and_share_one_identity(
    folders: tuple[Path, Path],
) -> None:
    names = [f"name{n}" for n in range(6)]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_store, args=(*folders, name)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
    assert Vault(*folders).values() == {n: f"value-of-{n}" for n in names}


def test_threads_of_one_process_lose_nothing_either(vault: Vault) -> None:
    threads = [
        threading.Thread(target=vault.set, args=(f"name{n}", f"value-of-{n}", BOUND))
        for n in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(vault.values()) == 6


@pytest.mark.parametrize("damage", [lambda d: d[:-3], lambda d: b"", lambda d: b"rubbish" * 9])
def test_a_damaged_store_is_named_and_never_overwritten(
    vault: Vault, folders: tuple[Path, Path], damage: object
) -> None:
    vault.set("shop", VALUE, BOUND)
    store = folders[0] / "secrets.age"
    store.write_bytes(damaged := damage(store.read_bytes()))  # type: ignore[operator]
    fresh = Vault(*folders)
    for look in (fresh.list, fresh.values, lambda: fresh.find("secret://shop", **PLACE)):
        with pytest.raises(ConfigError, match=r"secrets\.age.*damaged"):
            look()
    with pytest.raises(ConfigError):
        fresh.set("other", VALUE, BOUND)
    with pytest.raises(ConfigError):
        fresh.remove("shop")
    assert store.read_bytes() == damaged


def test_sealed_content_of_another_kind_is_no_vault(
    vault: Vault, folders: tuple[Path, Path]
) -> None:
    vault.set("shop", VALUE, BOUND)
    file = SealedFile(folders[0] / "secrets.age", folders[1], again="again")
    file.write(json.dumps({"secrets": VALUE}).encode())
    with pytest.raises(ConfigError) as caught:
        Vault(*folders).list()
    assert VALUE not in "".join(traceback.format_exception(caught.value))


def test_a_lost_identity_is_named_and_not_replaced(
    vault: Vault, folders: tuple[Path, Path]
) -> None:
    vault.set("shop", VALUE, BOUND)
    (folders[1] / IDENTITY).unlink()
    with pytest.raises(ConfigError, match="is missing in"):
        Vault(*folders).list()
    with pytest.raises(ConfigError):
        Vault(*folders).set("other", VALUE, BOUND)
    assert not (folders[1] / IDENTITY).exists()


def test_a_new_workspace_does_not_replace_the_lost_identity_of_the_provider_keys(
    folders: tuple[Path, Path],
) -> None:
    folders[1].mkdir(parents=True)
    (folders[1] / "credentials.age").write_bytes(b"sealed with the one that is lost")
    with pytest.raises(ConfigError, match=r"credentials\.age"):
        Vault(*folders).set("shop", VALUE, BOUND)
    assert not (folders[1] / IDENTITY).exists()


def test_a_full_disk_keeps_the_store_as_it_was(
    vault: Vault, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.set("shop", VALUE, BOUND)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="No space left"):
            vault.set("other", VALUE, BOUND)
    assert list(Vault(*folders).values()) == ["shop"]
    assert sorted(p.name for p in folders[0].iterdir()) == ["secrets.age", "secrets.lock"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("API.Example.COM", "api.example.com"),
        ("api.example.com.", "api.example.com"),
        ("https://api.example.com/v1", "api.example.com"),
        ("api.example.com:443", "api.example.com"),
        ("localhost:8080", "localhost:8080"),
        ("*.Example.com", "*.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("[::1]:8080", "[::1]:8080"),
        ("faß.de", "xn--fa-hia.de"),
        ("*.FAẞ.de", "*.xn--fa-hia.de"),
    ],
)
def test_a_host_is_kept_in_one_spelling(given: str, kept: str) -> None:
    assert host_pattern(given) == kept


@pytest.mark.parametrize(
    "given",
    ["", "*", "*.com", "*.", "a*.example.com", "http://a.test", "a b", "a.test:0", "a.test:x",
     "user@a.test", "a..b", "*.127.0.0.1", "a.test/path", "a.test:99999", "2130706433", "a.test:"],
)  # fmt: skip
def test_what_covers_too_much_or_nothing_is_no_host(given: str) -> None:
    with pytest.raises(InvalidInput):
        host_pattern(given)


@pytest.mark.parametrize(
    "template",
    ["", "Authorization", "Authorization: Bearer", "X: {} {}", "Host: {}", "X Y: {}", "X: {}\r\nY: 1",
     "Content-Length: {}", "X: ü{}"],
)  # fmt: skip
def test_a_header_needs_a_name_and_one_place_for_the_value(vault: Vault, template: str) -> None:
    with pytest.raises(InvalidInput):
        vault.set("shop", VALUE, Binding(headers=(template,)))


def test_a_value_shows_itself_nowhere(vault: Vault) -> None:
    value = SecretValue("shop", VALUE)
    shown = [
        repr(value), str(value), f"{value}", f"{value!r:>80}", "%s" % value,  # noqa: UP031
        repr([value]), repr({"a": value}), repr(vault),
    ]  # fmt: skip
    assert all(VALUE not in text for text in shown)
    assert "secret://shop" in shown[0]
    for cannot in (pickle.dumps, copy.deepcopy, json.dumps, msgspec.json.encode):
        with pytest.raises(TypeError) as caught:
            cannot(value)  # type: ignore[operator]
        assert VALUE not in str(caught.value)
    assert not hasattr(value, "__dict__")
    assert value == SecretValue("shop", VALUE) != SecretValue("shop", "other")


def test_an_error_on_the_way_holds_no_value_in_its_traceback(vault: Vault) -> None:
    vault.set("shop", VALUE, BOUND)
    try:
        vault.find("secret://shop", **{**PLACE, "host": "evil.test"})
    except PerdureError as error:
        whole = traceback.TracebackException.from_exception(error, capture_locals=True)
        assert VALUE not in "".join(whole.format())
    else:
        pytest.fail("it was handed out")


def test_a_use_that_was_written_in_part_is_not_on_record(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.set("shop", VALUE, BOUND)
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr("perdure.secrets.uses.os.write", lambda fd, data: write(fd, data[:9]))
        with pytest.raises(StorageError, match="cannot be recorded"):
            vault.find("secret://shop", **PLACE)
    vault.find("secret://shop", **PLACE)
    assert len(list(vault.uses.all())) == 1


def test_full_records_of_uses_are_kept_by_month_and_none_is_lost(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.secrets.uses.MOST", 1_000)
    path = folders[0] / "u.jsonl"

    def write(name: str, month: int) -> None:
        for n in range(40):
            at = AT.replace(month=month, day=1, microsecond=n)
            Uses(path).append(Use(secret=name, at=at, host="h", position="path", tool="t"))

    threads = [threading.Thread(target=write, args=[f"s{n}", 3]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    write("later", 4)
    found = list(Uses(path).all())
    assert len(found) == 200 and found[-1].secret == "later"
    names = {p.name for p in path.parent.glob("u.*")}
    assert {"u.2026-03.jsonl", "u.2026-03.2.jsonl", "u.2026-04.jsonl"} <= names


def test_a_use_waits_while_another_process_turns_the_record_into_history(
    folders: tuple[Path, Path],
) -> None:
    path = folders[0] / "u.jsonl"
    use = Use(secret="shop", at=AT, host="h", position="path", tool="t")
    Uses(path).append(use)
    adding = threading.Thread(target=Uses(path).append, args=[use])
    with path.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        adding.start()
        adding.join(0.1)
        assert adding.is_alive()
        path.rename(path.with_suffix(".2026-03.jsonl"))
    adding.join(10)
    assert path.read_bytes().count(b"\n") == 1 and len(list(Uses(path).all())) == 2
