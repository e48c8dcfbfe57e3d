"""Secrets of the installation stay out of contexts, logs, events and letters."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perdure.kernel.errors import ConfigError
from perdure.kernel.events import HookActed, MessageReceived, Text, ToolFinished, ToolResult
from perdure.leaks import Leaks, Unavailable
from perdure.runtime import Runtime
from perdure.runtime.audit import audit
from perdure.runtime.secrecy import WITHHELD, Secrecy
from perdure.sealing import config_folder
from perdure.secrets import Binding, Vault
from perdure.tools import Tool, ToolContext, ok

from .house import PlannedModels, ask, call, house, say, seen, workspace
from .test_outbox import channels, deliver

VALUE = "shp-9Qx2LmV7rT4kW8zB1nC6"
FORMAT = "ghp_" + "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5"


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return folder


def store(root: Path, home: Path, **more: str) -> Vault:
    vault = Vault(root / ".perdure", config_folder({"HOME": str(home)}))
    vault.set("shop", VALUE, Binding(hosts=("shop.test",), headers=("X-Key: {}",), tools=("t",)))
    for name, value in more.items():
        vault.set(name, value, Binding())
    return vault


def files_with(folder: Path, *values: str) -> list[str]:
    return [
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and any(value.encode() in path.read_bytes() for value in values)
    ]


class Echo(Tool):
    """Says what it was told, as a service that quotes its caller does."""

    effects = frozenset({"reads"})
    cooperative = True
    how: str

    async def execute(self, context: ToolContext) -> ToolResult:
        match self.how:
            case "returns":
                return ok(f"your key {VALUE} is valid", key=VALUE, nested=[{VALUE: [VALUE]}])
            case "shows":
                context.output(f"using {VALUE}\n")
                return ok("done")
            case "much":
                return ok(f"{VALUE} line\n" * 20_000)
            case _:
                raise TimeoutError(f"POST https://api.test/bot{VALUE}/send timed out")


@pytest.mark.parametrize("how", ["returns", "raises", "shows", "much"])
async def test_a_tool_s_result_holds_no_secret_before_anybody_reads_it(
    tmp_path: Path, home: Path, how: str
) -> None:
    root = workspace(tmp_path / "w")
    store(root, home)
    models = PlannedModels([say("", call("c1", "echo", how=how)), say("done")])
    async with house(root, source=models, tools=(Echo,)) as runtime:
        session = (await runtime.create_session()).id
        outcome = await ask(runtime, session, "go")
        assert outcome.reason == "done"
        (result,) = [
            r.event.result
            for r in await seen(runtime, session)
            if isinstance(r.event, ToolFinished)
        ]
        if how != "shows":
            assert "[redacted: secret://shop]" in json.dumps([p.text for p in result.parts])  # type: ignore[union-attr]
        assert VALUE not in repr(models.prompts)
    assert files_with(root, VALUE) == []


async def test_a_value_that_is_pasted_into_a_message_becomes_its_name(
    tmp_path: Path, home: Path
) -> None:
    root = workspace(tmp_path / "w")
    store(root, home)
    models = PlannedModels([say("done")])
    async with house(root, source=models) as runtime:
        session = (await runtime.create_session(title=f"about {VALUE}")).id
        await ask(runtime, session, f"use {VALUE} for the shop")
        await runtime.configure(session, title=f"still {VALUE}")
        assert (await runtime.session(session)).title == "still [redacted: secret://shop]"
        (said,) = [
            r.event for r in await seen(runtime, session) if isinstance(r.event, MessageReceived)
        ]
        assert said.parts == (Text(text="use [redacted: secret://shop] for the shop"),)
        assert VALUE not in repr(models.prompts)
    assert files_with(root, VALUE) == []


async def test_what_a_hook_complains_of_holds_no_secret(tmp_path: Path, home: Path) -> None:
    root = workspace(tmp_path / "w")
    store(root, home)
    (home / "platform").write_text(VALUE)
    (root / ".perdure/hooks/bad.py").write_text(
        "from pathlib import Path\nfrom perdure.hooks import hook\n"
        '@hook("on_user_message")\ndef bad(event):\n'
        f'    raise RuntimeError("401 for " + Path({str(home / "platform")!r}).read_text())\n'
    )
    async with house(root, [say("done")]) as runtime:
        session = (await runtime.create_session()).id
        await ask(runtime, session, "go")
        acts = [r.event for r in await seen(runtime, session) if isinstance(r.event, HookActed)]
        assert acts and "401 for [redacted: secret://shop]" in acts[0].detail
    assert files_with(root, VALUE) == []


@pytest.mark.parametrize("text", [f"the key is {FORMAT}", f"the key is {VALUE}"])
@pytest.mark.parametrize("tool", ["write", "edit"])
async def test_memory_takes_no_credentials(
    tmp_path: Path, home: Path, text: str, tool: str
) -> None:
    root = workspace(tmp_path / "w", "auto")
    store(root, home)
    memory = root / ".perdure/agents/default/memory/MEMORY.md"
    memory.parent.mkdir(parents=True, exist_ok=True)
    memory.write_text("likes tea\n")
    arguments = (
        {"content": text} if tool == "write" else {"old_string": "likes tea", "new_string": text}
    )
    plan = [say("", call("c1", tool, path=str(memory), **arguments)), say("done")]
    async with house(root, plan) as runtime:
        session = (await runtime.create_session()).id
        accepted = await runtime.submit(session, (Text(text="remember"),))
        if (await runtime.wait(session, accepted.message, 2)) is None:
            for approval in await runtime.approvals():
                await runtime.decide(session, approval.request.approval, "allow")
            await runtime.wait(session, accepted.message, 30)
        (result,) = [
            r.event.result
            for r in await seen(runtime, session)
            if isinstance(r.event, ToolFinished)
        ]
    assert result.status == "denied"
    assert "MEMORY.md was not written" in result.parts[0].text  # type: ignore[union-attr]
    assert memory.read_text() == "likes tea\n"


async def test_a_letter_with_a_credential_is_held_until_its_owner_sends_it(
    tmp_path: Path, home: Path
) -> None:
    root = tmp_path / "w"
    channels(root, phone="cat >> sent; echo id-1")
    store(root, home)
    async with house(root, [say(f"here: {FORMAT}")]) as runtime:
        await deliver(runtime, "phone")
        (letter,) = await _letters(runtime)
        assert letter.status == "failed" and "held, because it holds a GitHub token" in letter.error
        assert FORMAT not in letter.error and not (root / "sent").exists()
        await runtime.redeliver(letter.delivery)
        await _gone(runtime)
        assert FORMAT in (root / "sent").read_text()


async def test_a_letter_with_an_own_secret_never_leaves(tmp_path: Path, home: Path) -> None:
    root = tmp_path / "w"
    channels(root, phone="cat >> sent; echo id-1")
    store(root, home)
    async with house(root, [say(f"here: {VALUE[::-1]}")]) as runtime:
        await deliver(runtime, "phone")
        (letter,) = await _letters(runtime)
        assert "secret://shop" in letter.error and "may not leave" in letter.error
        await runtime.redeliver(letter.delivery)
        session = letter.session
        await _rest(runtime, session)
        assert [one.status for one in await _letters(runtime)] == ["failed"]
    assert not (root / "sent").exists()


async def test_what_a_channel_complains_of_holds_no_secret(tmp_path: Path, home: Path) -> None:
    root = tmp_path / "w"
    (home / "platform").write_text(VALUE)
    channels(
        root, phone=f"echo timed out: https://api.test/bot$(cat {home}/platform)/send; exit 64"
    )
    store(root, home)
    async with house(root, [say("hello")]) as runtime:
        await deliver(runtime, "phone")
        (letter,) = await _letters(runtime)
        assert "timed out: https://api.test/bot[redacted: secret://shop]/send" in letter.error
    found = [f for f in files_with(root, VALUE) if "/processes/" not in f"/{f}"]
    assert found == []


async def test_a_store_that_breaks_hides_no_value_that_was_known(
    tmp_path: Path, home: Path
) -> None:
    root = workspace(tmp_path / "w")
    vault = store(root, home)
    secrecy = Secrecy(root / ".perdure", {"HOME": str(home)})
    assert VALUE not in secrecy.clean(f"x {VALUE}")
    (root / ".perdure/secrets.age").write_bytes(b"broken")
    assert VALUE not in secrecy.clean(f"x {VALUE}")
    vault_now = Vault(root / ".perdure", config_folder({"HOME": str(home)}))
    assert vault_now is not vault


def test_keys_of_providers_tokens_and_credentials_of_the_environment_are_known(
    tmp_path: Path,
) -> None:
    from perdure.models.credentials import Credentials

    env = {
        "HOME": str(tmp_path), "OPENAI_API_KEY": "sk-env-0123456789abcdef",
        "MY_SERVICE_TOKEN": "tok-0123456789-abcdef", "PATH": "/usr/bin:/bin:/usr/local/bin",
        "TOKENIZERS_PARALLELISM": "definitely-not-one", "CLOUD_SECRET_KEY": "/pX7/q+Zr2mN9vT4wKd81",
        "CLOUD_CREDENTIALS": str(tmp_path / "run/cloud.json"),
    }  # fmt: skip
    Credentials(config_folder(env), {}).set("mistral", "stored-0123456789abc")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/server.json").write_text('{"token": "local-0123456789abc", "pid": 1}')
    secrecy = Secrecy(tmp_path, env, token="configured-0123456789")
    for value in (
        env["OPENAI_API_KEY"], env["MY_SERVICE_TOKEN"], "stored-0123456789abc",
        "local-0123456789abc", "configured-0123456789", env["CLOUD_SECRET_KEY"],
    ):  # fmt: skip
        assert value not in secrecy.clean(f"a {value} b")
    # A file in a folder that is there is where a credential is kept, and no credential.
    for value in (env["PATH"], env["TOKENIZERS_PARALLELISM"], env["CLOUD_CREDENTIALS"]):
        assert secrecy.clean(value) is value


def test_what_cannot_be_searched_is_withheld(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrecy = Secrecy(tmp_path, {"HOME": str(tmp_path)})

    def fails(*_: object, **__: object) -> None:
        raise Unavailable("no library")

    monkeypatch.setattr(Leaks, "scan", fails)
    monkeypatch.setattr(Leaks, "redact", fails)
    assert secrecy.clean("anything") == WITHHELD
    memory = tmp_path / "agents/default/memory/MEMORY.md"
    assert "no library" in secrecy.refusal([memory], ["anything"])


def test_an_audit_names_every_agent_tool_file_and_use(tmp_path: Path, home: Path) -> None:
    from perdure.agents import open_workspace

    root = workspace(tmp_path / "w")
    vault = store(root, home, other="0123456789")
    (root / ".perdure/agents/default/INSTRUCTIONS.md").write_text("Use secret://shop there.\n")
    (root / ".perdure/agents/default/notes.md").write_text("secret://shopping is another\n")
    vault.find(
        "secret://shop", host="shop.test", position="header:x-key", tool="t", session="s1",
        agent="default",
    )  # fmt: skip
    found = open_workspace(root, {"HOME": str(home), "OPENAI_API_KEY": "sk-0123456789abc"})
    rows = {row.name: row for row in audit(found, vault)}
    shop = rows["secret://shop"]
    assert shop.hosts == ("shop.test",) and shop.tools == ("t",) and shop.agents == ("default",)
    assert shop.named_in == (".perdure/agents/default/INSTRUCTIONS.md",)
    assert [(u.host, u.session, u.agent) for u in shop.uses] == [("shop.test", "s1", "default")]
    assert (
        rows["openai"].kind == "provider key" and "https://api.openai.com" in rows["openai"].hosts
    )
    assert rows["local token"].kind == "server token"
    assert VALUE not in repr(rows) and "sk-0123456789abc" not in repr(rows)
    assert [row.name for row in audit(found, vault, "shop")] == ["secret://shop"]


async def _letters(runtime: Runtime):  # type: ignore[no-untyped-def]
    return await runtime.letters()


async def _gone(runtime: Runtime) -> None:
    import asyncio

    async with asyncio.timeout(30):
        while await _letters(runtime):
            await asyncio.sleep(0.01)


async def _rest(runtime: Runtime, session: object) -> None:
    from .house import until

    await until(lambda: not runtime._rooms.get(session).running)  # type: ignore[arg-type,union-attr]


async def test_a_request_carries_the_value_and_nothing_else_ever_does(
    tmp_path: Path, home: Path
) -> None:
    import asyncio

    seen_by_server: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen_by_server.append(await reader.readuntil(b"\r\n\r\n"))
        body = f'{{"you sent": "{VALUE}"}}'.encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
        writer.write(head.encode() + b"\r\nconnection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    root = workspace(tmp_path / "w")
    with (root / "perdure.yaml").open("a") as file:
        file.write(f"egress:\n  private: ['{place}']\n  allow: [{{to: 'http://{place}/'}}]\n")
    vault = Vault(root / ".perdure", config_folder({"HOME": str(home)}))
    vault.set(
        "shop", VALUE, Binding(hosts=(place,), headers=("X-Key: k={}",), tools=("http_request",))
    )

    def request(id_: str, **headers: str):  # type: ignore[no-untyped-def]
        return call(id_, "http_request", method="GET", url=f"http://{place}/a", headers=headers)

    plan = [
        say("", request("c1", **{"X-Key": "k=secret://shop"})),
        say("", request("c2", **{"X-Key": "secret://shop"})),
        say("", request("c3", **{"X-Other": "secret://shop"})),
        say("done"),
    ]
    models = PlannedModels(plan)
    async with server, house(root, source=models) as runtime:
        session = (await runtime.create_session()).id
        accepted = await runtime.submit(session, (Text(text=f"GET http://{place}/a"),))
        while (await runtime.wait(session, accepted.message, 0.3)) is None:
            for one in await runtime.approvals():
                await runtime.decide(session, one.request.approval, "allow")
        results = [
            r.event.result
            for r in await seen(runtime, session)
            if isinstance(r.event, ToolFinished)
        ]
    texts = [str(result.parts) for result in results]
    assert len(seen_by_server) == 1, texts
    assert f"x-key: k={VALUE}\r\n".encode() in seen_by_server[0].replace(b"X-Key", b"x-key")
    assert "[redacted: secret://shop]" in texts[0]
    assert "may only stand as" in texts[1] and "not to the header x-other" in texts[2]
    assert VALUE not in repr(models.prompts)
    assert files_with(root, VALUE) == []
    uses = list(vault.uses.all())
    assert [bool(use.refused) for use in uses] == [False, True, True]
    assert {(use.session, use.agent, use.tool, use.host) for use in uses} == {
        (session, "default", "http_request", place)
    }


async def test_a_kill_between_the_attempt_s_record_and_its_command_lets_no_letter_out(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    from perdure.kernel.events import DeliveryStarted
    from perdure.runtime.secrecy import ScreenedOutbox

    root = tmp_path / "w"
    channels(root, phone="cat >> sent; echo id-1")
    store(root, home)

    async def killed(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    with monkeypatch.context() as dying:
        dying.setattr(ScreenedOutbox, "send", killed)
        async with house(root, [say(f"here: {VALUE[::-1]}")]) as runtime:
            session = (await runtime.create_session()).id
            await ask(runtime, session, "hi", deliver="phone")
            async with asyncio.timeout(30):
                while not any(
                    isinstance(r.event, DeliveryStarted) for r in await seen(runtime, session)
                ):
                    await asyncio.sleep(0.01)
    async with house(root) as runtime:
        async with asyncio.timeout(30):
            while not any("held" in one.error for one in await _letters(runtime)):
                await asyncio.sleep(0.01)
        (letter,) = await _letters(runtime)
        assert "may not leave" in letter.error
    assert not (root / "sent").exists()


async def test_an_attempt_whose_command_has_begun_is_joined_whatever_it_holds(
    tmp_path: Path, home: Path
) -> None:
    from datetime import UTC, datetime

    from perdure.kernel.events import DeliveryId, SessionId
    from perdure.kernel.ports import Sent
    from perdure.kernel.state import Delivery
    from perdure.runtime.secrecy import ScreenedOutbox

    class Out:
        async def send(self, *_: object, **__: object) -> Sent:
            return Sent(outcome="delivered")

        async def ended(self, *_: object, **__: object) -> None: ...

    root = workspace(tmp_path / "w")
    store(root, home)
    secrecy = Secrecy(root / ".perdure", {"HOME": str(home)})
    letter = Delivery(
        delivery=DeliveryId("d"), to="phone", text=f"key {VALUE}", at=datetime.now(UTC)
    )
    for begun, resumed, outcome in (
        (True, True, "delivered"), (False, True, "failed"), (True, False, "failed"),
    ):  # fmt: skip
        outbox = ScreenedOutbox(Out(), secrecy, lambda _, begun=begun: begun)  # type: ignore[misc]
        sent = await outbox.send(SessionId("s"), letter, resumed=resumed)
        assert sent.outcome == outcome, (begun, resumed)


def test_an_identity_that_comes_back_opens_the_scanners_eyes(tmp_path: Path, home: Path) -> None:
    root = workspace(tmp_path / "w")
    store(root, home)
    identity = config_folder({"HOME": str(home)}) / "identity.txt"
    away = identity.rename(tmp_path / "elsewhere")
    secrecy = Secrecy(root / ".perdure", {"HOME": str(home)})
    assert VALUE in secrecy.clean(f"x {VALUE}")  # nobody here can know it
    away.rename(identity)
    assert VALUE not in secrecy.clean(f"x {VALUE}")


def test_a_store_that_could_not_be_read_for_a_moment_is_read_the_next_time(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = workspace(tmp_path / "w")
    store(root, home)
    secrecy = Secrecy(root / ".perdure", {"HOME": str(home)})

    def fails(_: Vault) -> None:
        raise ConfigError("cannot be read: too many open files")

    with monkeypatch.context() as busy:
        busy.setattr(Vault, "values", fails)
        secrecy.clean("anything")
    assert VALUE not in secrecy.clean(f"x {VALUE}")


def test_a_store_that_cannot_be_reached_is_not_taken_for_none(tmp_path: Path, home: Path) -> None:
    root = workspace(tmp_path / "w")
    vault = store(root, home)
    secrecy = Secrecy(root / ".perdure", {"HOME": str(home)})
    assert VALUE not in secrecy.clean(f"key {VALUE}")
    private = root / ".perdure"
    private.rename(root / "away")
    private.symlink_to(private)
    with pytest.raises(ConfigError):
        vault.values()
    assert VALUE not in secrecy.clean(f"key {VALUE}")


def test_another_identity_lets_all_stores_be_read_again(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = workspace(tmp_path / "w")
    store(root, home)
    secrecy = Secrecy(root / ".perdure", {"HOME": str(home)})
    reads: list[int] = []
    monkeypatch.setattr(Vault, "values", lambda _: reads.append(1) or {"shop": VALUE})
    for _ in range(3):
        secrecy.clean("anything")
    assert len(reads) == 1
    identity = config_folder({"HOME": str(home)}) / "identity.txt"
    identity.write_text(identity.read_text() + "\n")
    secrecy.clean("anything")
    assert len(reads) == 2


@pytest.mark.parametrize(
    "slashes", ["/", "//", "///", "/./", "/../", "/usr/../", "/usr/bin/../../"]
)
def test_a_credential_that_begins_with_slashes_is_no_path(tmp_path: Path, slashes: str) -> None:
    value = f"{slashes}Ab3dK9mX2pQ7rT4w"
    env = {"HOME": str(tmp_path), "APP_TOKEN": value, "FILE_TOKEN": f"/{tmp_path}/./not-there-yet"}
    own = Secrecy(tmp_path, env).leaks.scan(f"it is {value} and {tmp_path}", formats=False)
    assert [leak.name for leak in own] == ["variable APP_TOKEN"]
    assert not Secrecy(tmp_path, env).leaks.scan(f"/{tmp_path}/./not-there-yet", formats=False)


async def test_secrets_that_cannot_be_opened_are_told_with_the_status(
    tmp_path: Path, home: Path
) -> None:
    store(workspace(tmp_path), home)
    identity = config_folder({"HOME": str(home)}) / "identity.txt"
    identity.rename(home / "moved.txt")
    async with house(tmp_path) as runtime:
        [told] = runtime.status().unread
        assert told.startswith("what secrets.age holds cannot be read")
        (home / "moved.txt").rename(identity)
        assert runtime.status().unread == ()
