"""What the egress refuses to a command stands in its result, with how the owner can allow it."""

from __future__ import annotations

from pathlib import Path

from perdure.egress import Refusals, Refused
from perdure.kernel.events import ToolFinished

from .house import ask, call, house, say, seen, workspace

ASK = """python3 -c "
import os, socket, urllib.parse
proxy = urllib.parse.urlsplit(os.environ['HTTPS_PROXY'])
for host in ('shop.example', 'shop.example', 'evil.example'):
    s = socket.create_connection((proxy.hostname, proxy.port))
    s.sendall(f'CONNECT {host}:443 HTTP/1.1\\r\\n\\r\\n'.encode())
    print(s.recv(12).decode())
"
"""


async def test_a_refused_connection_is_told_in_the_result_of_the_command(tmp_path: Path) -> None:
    workspace(tmp_path)
    plan = [
        say("", call("c1", "bash", command=ASK)),
        say("", call("c2", "bash", command="echo quiet")),
        say("done"),
    ]
    async with house(tmp_path, plan) as runtime:
        session = (await runtime.create_session()).id
        await ask(runtime, session, "go")
        first, second = [
            r.event.result
            for r in await seen(runtime, session)
            if isinstance(r.event, ToolFinished)
        ]
    assert "HTTP/1.1 403" in first.text, first.text
    assert first.text.count("refused on its way out") == 2
    assert "no rule allows all of shop.example" in first.text
    assert 'The owner can allow it in perdure.yaml: egress: {allow: ["shop.example"]}' in first.text
    assert second.text.strip() == "quiet"


def refused(host: str) -> Refused:
    hint = f'In perdure.yaml: egress: {{allow: ["{host}"]}}'
    return Refused(f"Not connected: {host}.", stage="policy", hint=hint)


def test_a_session_hears_of_its_own_refusals_since_its_command_began_and_of_a_few() -> None:
    all_ = Refusals()
    mine, other = all_.of("mine"), all_.of("other")
    all_.add("mine", refused("before.example"))
    mark = mine.mark()
    all_.add("other", refused("theirs.example"))
    for n in range(20):
        all_.add("mine", refused(f"h{n % 8}.example"))
    told = mine.since(mark)
    assert len(told) == 6 and told[-1] == "and 3 more: perdure egress log"
    assert not any("before" in t or "theirs" in t for t in told)
    assert len(other.since(mark)) == 1
    all_.forget("mine")
    assert not mine.since(mark)


def test_what_is_told_is_one_line_of_a_sane_length() -> None:
    all_ = Refusals()
    all_.add("s", Refused("a\n\x1b[31mb" + "x" * 5_000, stage="leak"))
    [told] = all_.of("s").since(0)
    assert "\n" not in told and "\x1b" not in told and len(told) <= 400
