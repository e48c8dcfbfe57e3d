"""Keys: from the environment, else from the encrypted store."""

from __future__ import annotations

import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from perdure.kernel.errors import ConfigError, InvalidInput, ModelError, NotFound, StorageError
from perdure.models.credentials import IDENTITY, STORE, Credential, Credentials, config_folder

KEY = "sk-ant-very-secret-0123456789"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_environment_comes_first(tmp_path: Path) -> None:
    env: dict[str, str] = {}
    credentials = Credentials(tmp_path, env)
    credentials.set("anthropic", "stored")
    assert credentials.get("anthropic") == "stored"
    env["ANTHROPIC_API_KEY"] = " from-env \n"
    assert credentials.get("anthropic") == "from-env"
    env["ANTHROPIC_API_KEY"] = "  "
    assert credentials.get("anthropic") == "stored"


def test_the_second_variable_of_a_provider_counts_too(tmp_path: Path) -> None:
    assert Credentials(tmp_path, {"GOOGLE_API_KEY": "g"}).get("gemini") == "g"


def test_an_environment_with_the_key_needs_no_store(tmp_path: Path) -> None:
    (tmp_path / STORE).write_text("rubbish")
    assert Credentials(tmp_path, {"OPENAI_API_KEY": "k"}).get("openai") == "k"


def test_a_stored_key_is_found_by_another_process_and_by_any_name(tmp_path: Path) -> None:
    Credentials(tmp_path, {}).set("google", KEY)
    fresh = Credentials(tmp_path, {})
    assert fresh.get("gemini") == fresh.get("google") == KEY


def test_openai_s_two_protocols_share_a_key(tmp_path: Path) -> None:
    credentials = Credentials(tmp_path, {})
    credentials.set("openai-chat", KEY)
    assert credentials.get("openai") == KEY
    assert [c.provider for c in credentials.list()] == ["openai"]


def test_a_provider_nobody_listed_can_have_a_key(tmp_path: Path) -> None:
    env: dict[str, str] = {}
    credentials = Credentials(tmp_path, env)
    credentials.set("my-gateway", KEY)
    assert credentials.get("my-gateway") == KEY
    env["MY_GATEWAY_API_KEY"] = "env"
    assert credentials.get("my-gateway") == "env"


def test_nothing_is_ever_in_plain_text_and_all_is_the_owner_s_alone(tmp_path: Path) -> None:
    folder = tmp_path / "config/perdure"
    before = os.umask(0)
    try:
        Credentials(folder, {}).set("anthropic", KEY)
    finally:
        os.umask(before)
    assert mode(folder) == 0o700
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert {p.name for p in files} >= {STORE, IDENTITY}
    for path in files:
        assert mode(path) == 0o600
        assert KEY.encode() not in path.read_bytes()
        assert b"anthropic" not in path.read_bytes()
    assert (folder / STORE).read_bytes().startswith(b"age-encryption.org/v1")


def test_a_key_is_not_shown_by_repr_list_or_error(tmp_path: Path) -> None:
    credentials = Credentials(tmp_path, {})
    credentials.set("anthropic", KEY)
    assert credentials.list() == [
        Credential(provider="anthropic", source="store", where=str(tmp_path / STORE))
    ]
    assert KEY not in repr(credentials) + repr(credentials.secret("anthropic"))
    with pytest.raises(InvalidInput) as caught:
        credentials.set("anthropic", f"{KEY} {KEY}")
    assert KEY not in str(caught.value)


def test_the_list_tells_where_each_key_comes_from(tmp_path: Path) -> None:
    credentials = Credentials(tmp_path, {"OPENAI_API_KEY": "k", "OLLAMA_API_KEY": ""})
    credentials.set("openai", KEY)
    credentials.set("mistral", KEY)
    assert [(c.provider, c.source) for c in credentials.list()] == [
        ("mistral", "store"),
        ("openai", "environment"),
    ]


def test_a_removed_key_is_gone(tmp_path: Path) -> None:
    credentials = Credentials(tmp_path, {})
    credentials.set("anthropic", KEY)
    credentials.set("openai", "other")
    credentials.remove("anthropic")
    assert credentials.get("anthropic") is None
    assert Credentials(tmp_path, {}).get("openai") == "other"
    with pytest.raises(NotFound, match="No key is stored"):
        credentials.remove("anthropic")


def test_a_key_that_comes_from_the_environment_cannot_be_removed_here(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="unset OPENAI_API_KEY"):
        Credentials(tmp_path, {"OPENAI_API_KEY": "k"}).remove("openai")


@pytest.mark.parametrize("key", ["", "  ", "two words", "a\nb", "schlüssel", "x" * 20_000])
def test_what_cannot_be_a_key_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(InvalidInput):
        Credentials(tmp_path, {}).set("anthropic", key)
    assert not (tmp_path / STORE).exists()


@pytest.mark.parametrize("provider", ["script", "rehearsal"])
def test_models_without_a_server_take_no_key(tmp_path: Path, provider: str) -> None:
    with pytest.raises(InvalidInput, match="takes no key"):
        Credentials(tmp_path, {}).set(provider, KEY)


def test_a_secret_without_a_key_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no key for Anthropic") as caught:
        Credentials(tmp_path, {}).secret("anthropic")()
    assert caught.value.kind == "auth"
    assert "perdure login anthropic" in caught.value.hint
    assert "ANTHROPIC_API_KEY" in caught.value.hint
    assert Credentials(tmp_path, {}).secret("ollama", needed=False)() == ""


def test_a_damaged_store_is_named_and_not_overwritten(tmp_path: Path) -> None:
    credentials = Credentials(tmp_path, {})
    credentials.set("anthropic", KEY)
    store = tmp_path / STORE
    store.write_bytes(damaged := store.read_bytes()[:-3])
    with pytest.raises(ConfigError, match=r"credentials\.age.*damaged"):
        credentials.get("anthropic")
    with pytest.raises(ConfigError):
        credentials.set("openai", KEY)
    assert store.read_bytes() == damaged


def test_a_lost_identity_is_named_and_not_replaced(tmp_path: Path) -> None:
    credentials = Credentials(tmp_path, {})
    credentials.set("anthropic", KEY)
    (tmp_path / IDENTITY).unlink()
    with pytest.raises(ConfigError, match="is missing beside it"):
        Credentials(tmp_path, {}).get("anthropic")
    with pytest.raises(ConfigError):
        Credentials(tmp_path, {}).set("openai", KEY)
    assert not (tmp_path / IDENTITY).exists()


@pytest.mark.parametrize("text", ["", "# only a comment\n", "hello\n", "AGE-SECRET-KEY-1XYZ\n"])
def test_an_identity_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    Credentials(tmp_path, {}).set("anthropic", KEY)
    (tmp_path / IDENTITY).write_text(text)
    with pytest.raises(ConfigError):
        Credentials(tmp_path, {}).get("anthropic")


def test_an_identity_with_comments_as_age_keygen_writes_it_is_read(tmp_path: Path) -> None:
    Credentials(tmp_path, {}).set("anthropic", KEY)
    path = tmp_path / IDENTITY
    path.write_text(f"# created: today\n# public key: age1…\n{path.read_text()}")
    assert Credentials(tmp_path, {}).get("anthropic") == KEY


def test_a_key_stored_by_another_process_is_seen_without_a_restart(tmp_path: Path) -> None:
    running = Credentials(tmp_path, {})
    assert running.get("anthropic") is None
    Credentials(tmp_path, {}).set("anthropic", KEY)
    assert running.get("anthropic") == KEY


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        Credentials(tmp_path / "file" / "perdure", {}).set("anthropic", KEY)


def _store(folder: Path, name: str) -> None:
    Credentials(folder, {}).set(name, f"key-of-{name}")


def test_logins_at_the_same_time_do_not_lose_each_other(tmp_path: Path) -> None:
    names = [f"provider{n}" for n in range(6)]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_store, args=(tmp_path, name)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
    credentials = Credentials(tmp_path, {})
    assert {n: credentials.get(n) for n in names} == {n: f"key-of-{n}" for n in names}


@pytest.mark.parametrize(
    ("env", "folder"),
    [
        ({"XDG_CONFIG_HOME": "/etc/xdg", "HOME": "/home/a"}, "/etc/xdg/perdure"),
        ({"XDG_CONFIG_HOME": "relative", "HOME": "/home/a"}, "/home/a/.config/perdure"),
        ({"HOME": "/home/a"}, "/home/a/.config/perdure"),
    ],
)
def test_the_store_lies_in_the_owner_s_configuration(env: dict[str, str], folder: str) -> None:
    assert config_folder(env) == Path(folder)
