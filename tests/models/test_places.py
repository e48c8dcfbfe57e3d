"""A provider's key goes to that provider; to a server elsewhere only what was stored for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure.kernel.errors import ConfigError, ModelError, NotFound
from perdure.kernel.events import RequestId
from perdure.kernel.prompt import Prefix, Prompt
from perdure.models import ModelSpec
from perdure.models.adapter import Adapter
from perdure.models.credentials import Credential, Credentials
from perdure.models.places import origin
from perdure.models.providers import PROVIDERS
from perdure.models.registry import Models
from perdure.models.wire import Http

KEY = "sk-stored-0123456789-secret"
ELSEWHERE = "https://proxy.test/v1"


def key_of(folder: Path, env: dict[str, str], label: str, url: str = "") -> str:
    provider, _, name = label.partition("/")
    models = Models(Http(), Credentials(folder, env), base=folder, env=env)
    model = models.open(ModelSpec(provider=provider, name=name, base_url=url))
    assert isinstance(model, Adapter)
    return model.spec.key()


ROWS = [row for row in PROVIDERS.values() if row.env]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_no_provider_s_key_goes_to_a_custom_address(tmp_path: Path, row: object) -> None:
    name = str(getattr(row, "name"))  # noqa: B009
    env = {variable: KEY for r in ROWS for variable in r.env}
    Credentials(tmp_path, {}).set(name, KEY)
    for url in (
        ELSEWHERE, "http://127.0.0.1:4010/v1", "http://api.openai.com/v1",
        "https://api.openai.com.evil.test", "https://api.openai.com:8443/v1",
        "https://evil.test/https://api.openai.com",
    ):  # fmt: skip
        assert key_of(tmp_path, env, f"{name}/m", url) == "", url


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_provider_s_own_address_is_no_custom_one(tmp_path: Path, row: object) -> None:
    name = str(getattr(row, "name"))  # noqa: B009
    Credentials(tmp_path, {}).set(name, KEY)
    base, hosts = getattr(row, "base_url"), getattr(row, "hosts")  # noqa: B009
    for url in filter(None, ["", base, *(f"https://{host}/v1/other" for host in hosts)]):
        assert key_of(tmp_path, {}, f"{name}/m", url) == KEY


def test_a_key_stored_for_an_address_goes_there_and_nowhere_else(tmp_path: Path) -> None:
    store = Credentials(tmp_path, {})
    store.set("openai", "the-provider-s-own")
    store.set("openai", KEY, ELSEWHERE)
    assert key_of(tmp_path, {}, "openai/m", "https://PROXY.test:443/other/path") == KEY
    assert key_of(tmp_path, {}, "openai-chat/m", ELSEWHERE) == KEY
    assert key_of(tmp_path, {}, "openai/m") == "the-provider-s-own"
    assert key_of(tmp_path, {}, "openai/m", "https://other.test/v1") == ""
    assert key_of(tmp_path, {"OPENAI_API_KEY": "env"}, "openai/m", ELSEWHERE) == KEY
    assert Credential(
        provider="openai", source="store", where=str(tmp_path / "credentials.age"),
        at="https://proxy.test",
    ) in store.list()  # fmt: skip
    store.remove("openai", ELSEWHERE)
    assert key_of(tmp_path, {}, "openai/m", ELSEWHERE) == ""
    assert key_of(tmp_path, {}, "openai/m") == "the-provider-s-own"
    with pytest.raises(NotFound, match=r"at https://proxy\.test"):
        store.remove("openai", ELSEWHERE)


def test_an_environment_that_names_key_and_address_means_both(tmp_path: Path) -> None:
    env = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "https://proxy.test/openai"}
    assert key_of(tmp_path, env, "openai/m", ELSEWHERE) == KEY
    assert key_of(tmp_path, env, "openai/m", "https://other.test/v1") == ""
    assert key_of(tmp_path, env, "anthropic/m", ELSEWHERE) == ""
    env = {"OLLAMA_API_KEY": KEY, "OLLAMA_HOST": "box:11434"}
    assert key_of(tmp_path, env, "ollama/m") == KEY
    assert key_of(tmp_path, env, "ollama/m", ELSEWHERE) == ""


def test_any_name_does_not_reach_any_variable(tmp_path: Path) -> None:
    env = {"GITHUB_API_KEY": KEY}
    assert key_of(tmp_path, env, "github/m", ELSEWHERE) == ""


async def test_a_server_that_wants_a_key_is_explained(tmp_path: Path) -> None:
    import asyncio

    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        seen.append(head + await reader.readexactly(length))
        writer.write(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    env = {"OPENAI_API_KEY": KEY}
    http = Http()
    models = Models(http, Credentials(tmp_path, env), base=tmp_path, env=env)
    model = models.open(ModelSpec(provider="openai-chat", name="m", base_url=url))
    async with server:
        with pytest.raises(ModelError) as caught:
            prompt = Prompt(prefix=Prefix(system="s", digest="d"), items=[])
            await model.call(prompt, RequestId("r1"), lambda delta: None)
        await http.close()
    assert caught.value.kind == "auth"
    assert f"perdure login openai-chat --base-url {origin(url)}" in caught.value.hint
    assert seen and KEY.encode() not in b"".join(seen)


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("https://Host.test/v1/", "https://host.test"),
        ("https://host.test:443", "https://host.test"),
        ("http://host.test:80/x", "http://host.test"),
        ("https://host.test.:8443/x?y", "https://host.test:8443"),
        ("http://[::1]:9/v1", "http://[::1]:9"),
        ("", ""),
    ],
)
def test_an_address_has_one_spelling(url: str, same: str) -> None:
    assert origin(url) == same


@pytest.mark.parametrize(
    "url", ["host.test", "ftp://a", "https://", "https://u:hunter22@a.test", "https://a:x", "//a"]
)
def test_what_is_no_address_is_refused_without_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        key_of(tmp_path, {}, "openai/m", url)
    assert "hunter22" not in str(caught.value)
